package interop

import (
	"fmt"
	"path/filepath"
	"testing"
)

// combination is a client, a backend, and what lies between them.
type combination struct {
	proxy           *proxy
	client, backend *peer
	from, to        library // theirs
	scheme          string  // ws or wss
	offered, taken  bool    // permessage-deflate, by the client and by the backend
	secure          bool    // the backend is reached by wss
	payloads        *payloads
}

func (c *combination) String() string {
	deflate := "no deflate"
	switch {
	case c.offered && c.taken:
		deflate = "deflate"
	case c.offered:
		deflate = "deflate declined"
	case c.taken:
		deflate = "deflate not offered"
	}
	over := ""
	if c.secure {
		over = " over TLS"
	}
	return fmt.Sprintf("client %s → backend %s%s, %s, %s", c.from.name, c.to.name, over, c.scheme, deflate)
}

// path is one that is routed to the backend.
func (c *combination) path(rest string) string { return pathTo(c.to, c.taken, c.secure) + rest }

func pathTo(lib library, deflate, secure bool) string {
	path := "/" + lib.name
	if secure {
		path += "/secure"
	}
	if deflate {
		return path + "/deflate/"
	}
	return path + "/plain/"
}

// combinations runs wsproxy between the libraries' programs and gives every combination of them;
// mixed are those in which only one side wants permessage-deflate. Backends with TLS are in all, each
// with its own library's client, which is enough: what clients differ in does not reach them. More routes
// may be given.
func combinations(t *testing.T, payloads *payloads, routes ...route) (all, mixed []*combination) {
	t.Helper()
	libraries := []library{ws, websockets}

	dir := t.TempDir()
	cert, key := filepath.Join(dir, "backend.pem"), filepath.Join(dir, "backend-key.pem")
	writeCertificate(t, cert, key)
	backends := make(map[string]*peer)
	for _, lib := range libraries {
		for argument, deflate := range map[string]bool{"deflate": true, "plain": false} {
			p, port := startPeer(t, "backend", lib, argument, payloads.refusal.file)
			path := pathTo(lib, deflate, false)
			backends[path] = p
			routes = append(routes, route{path: path + "*", backend: fmt.Sprintf("http://127.0.0.1:%d", port)})
		}
		p, port := startPeer(t, "backend", lib, "plain", payloads.refusal.file, cert, key)
		path := pathTo(lib, false, true)
		backends[path] = p
		routes = append(routes, route{path + "*", fmt.Sprintf("wss://127.0.0.1:%d", port), cert})
	}
	proxy := startProxy(t, routes)
	for _, from := range libraries {
		client, _ := startPeer(t, "client", from, proxy.cert)
		for _, to := range libraries {
			for _, scheme := range []string{"ws", "wss"} {
				for _, deflate := range [][2]bool{{false, false}, {true, true}, {true, false}, {false, true}} {
					c := &combination{
						proxy: proxy, client: client, backend: backends[pathTo(to, deflate[1], false)],
						from: from, to: to, scheme: scheme,
						offered: deflate[0], taken: deflate[1], payloads: payloads,
					}
					if deflate[0] == deflate[1] {
						all = append(all, c)
					} else {
						mixed = append(mixed, c)
					}
				}
				if from.name == to.name {
					all = append(all, &combination{
						proxy: proxy, client: client, backend: backends[pathTo(to, false, true)],
						from: from, to: to, scheme: scheme, secure: true, payloads: payloads,
					})
				}
			}
		}
	}
	return all, mixed
}

func TestWebSocket(t *testing.T) {
	need(t, nodeWS, pythonWebsockets)
	all, mixed := combinations(t, newPayloads(t))
	for _, c := range all {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			for _, s := range scenarios {
				t.Run(s.name, func(t *testing.T) { s.run(t, c) })
			}
		})
	}
	for _, c := range mixed {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			t.Run("text", sends(c, func(p *payloads) []payload { return []payload{p.text} }))
			t.Run("many messages", sends(c, func(p *payloads) []payload { return p.row }))
		})
	}
}

func sends(c *combination, choose func(*payloads) []payload) func(*testing.T) {
	return func(t *testing.T) { exchange(choose)(t, c) }
}

// handshake is what a client asks for.
type handshake struct {
	path      string // behind the route's
	query     string
	protocols []string
	headers   map[string]string
}

// args are those of a client's open.
func (c *combination) args(link string, h handshake) map[string]any {
	args := map[string]any{
		"url":     c.proxy.at(c.scheme, c.path(h.path)+"?link="+link+h.query),
		"deflate": c.offered,
	}
	if h.protocols != nil {
		args["protocols"] = h.protocols
	}
	if h.headers != nil {
		args["headers"] = h.headers
	}
	return args
}

// link opens a link and gives its ends, and what each was told of the other.
func (c *combination) link(t *testing.T, h handshake) (client, backend *end, answer, request event) {
	t.Helper()
	name := linkName()
	client, backend = c.client.end(t, name), c.backend.end(t, name)
	client.order("open", c.args(client.link, h))
	return client, backend, client.await("open"), backend.await("open")
}

// finish closes a link that must still be well.
func finish(client, backend *end) {
	client.t.Helper()
	client.close(1000, "done")
	backend.awaitClose(1000, "done")
	client.awaitClose(1000, "done")
}
