package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// scenarios are what every combination goes through.
var scenarios = []struct {
	name string
	run  func(*testing.T, *combination)
}{
	{"text", exchange(func(p *payloads) []payload { return []payload{p.text} })},
	{"binary", exchange(func(p *payloads) []payload { return []payload{p.binary} })},
	{"empty messages", exchange(func(p *payloads) []payload { return []payload{p.emptyText, p.emptyBinary} })},
	{"many messages", exchange(func(p *payloads) []payload { return p.row })},
	{"16 MiB messages", exchange(func(p *payloads) []payload { return []payload{p.largeText, p.largeBinary} })},
	{"fragmented messages", fragmented},
	{"ping between fragments", pingBetweenFragments},
	{"ping and pong", pingPong},

	{"client closes with 1000", clientCloses(1000, "")},
	{"client closes with 1001", clientCloses(1001, "leaving")},
	{"client closes with 3000", clientCloses(3000, "später")},
	{"client closes with 4999", clientCloses(4999, longestReason)},
	{"client closes without a code", clientCloses(noCode, "")},
	{"backend closes with 1000", backendCloses(1000, "")},
	{"backend closes with 1001", backendCloses(1001, "leaving")},
	{"backend closes with 3000", backendCloses(3000, "später")},
	{"backend closes with 4999", backendCloses(4999, longestReason)},
	{"backend closes without a code", backendCloses(noCode, "")},
	{"client vanishes", clientVanishes},
	{"backend vanishes", backendVanishes},

	{"subprotocol", subprotocol},
	{"no subprotocol", noSubprotocol},
	{"extensions", extensions},
	{"request reaches the backend", requestReachesBackend},
	{"answer reaches the client", answerReachesClient},
	{"refusal reaches the client whole", refusal},
}

// longestReason fills a Close frame (RFC 6455 §5.5).
var longestReason = strings.Repeat("x", 123)

// exchange sends messages both ways, all at once, and wants each as it was and in its order.
func exchange(choose func(*payloads) []payload) func(*testing.T, *combination) {
	return func(t *testing.T, c *combination) {
		client, backend, _, _ := c.link(t, handshake{path: "echo"})
		messages := choose(c.payloads)
		for _, p := range messages {
			client.send(p)
			backend.send(p)
		}
		for _, p := range messages {
			backend.awaitMessage(p)
			client.awaitMessage(p)
		}
		finish(client, backend)
	}
}

func fragmented(t *testing.T, c *combination) {
	client, backend, _, _ := c.link(t, handshake{})
	for _, p := range []payload{c.payloads.row[len(c.payloads.row)-1], c.payloads.row[len(c.payloads.row)-2]} {
		for _, frames := range []int{2, 7} {
			order := map[string]any{"kind": p.kind, "file": p.file, "frames": frames}
			client.order("send", order)
			backend.awaitMessage(p)
			backend.order("send", order)
			client.awaitMessage(p)
		}
	}
	finish(client, backend)
}

// A control frame may stand between the frames of a message (RFC 6455 §5.4).
func pingBetweenFragments(t *testing.T, c *combination) {
	client, backend, _, _ := c.link(t, handshake{})
	p := c.payloads.row[len(c.payloads.row)-1]
	order := map[string]any{"kind": p.kind, "file": p.file, "frames": 3, "ping": "between"}
	for _, way := range [][2]*end{{client, backend}, {backend, client}} {
		from, to := way[0], way[1]
		from.order("send", order)
		to.awaitMessage(p)
		if got := from.await("pong").Data; got != "between" {
			t.Errorf("%s: pong %q, want %q", from.peer.name, got, "between")
		}
	}
	finish(client, backend)
}

func pingPong(t *testing.T, c *combination) {
	client, backend, _, _ := c.link(t, handshake{})
	for _, from := range []*end{client, backend} {
		for _, data := range []string{"p", "ping from the " + from.peer.name, strings.Repeat("x", 125)} {
			from.order("ping", map[string]any{"data": data})
			if got := from.await("pong").Data; got != data {
				t.Errorf("%s: pong %q, want %q", from.peer.name, got, data)
			}
		}
	}
	finish(client, backend)
}

func clientCloses(code int, reason string) func(*testing.T, *combination) {
	return func(t *testing.T, c *combination) {
		client, backend, _, _ := c.link(t, handshake{})
		client.close(code, reason)
		backend.awaitClose(code, reason)
		client.awaitClose(code, reason)
	}
}

func backendCloses(code int, reason string) func(*testing.T, *combination) {
	return func(t *testing.T, c *combination) {
		client, backend, _, _ := c.link(t, handshake{})
		backend.close(code, reason)
		client.awaitClose(code, reason)
		backend.awaitClose(code, reason)
	}
}

func clientVanishes(t *testing.T, c *combination) {
	client, backend, _, _ := c.link(t, handshake{})
	client.order("vanish", nil)
	backend.awaitClose(abnormal, "") // as without a proxy
	client.await("closed")
}

func backendVanishes(t *testing.T, c *combination) {
	client, backend, _, _ := c.link(t, handshake{})
	backend.order("vanish", nil)
	client.awaitClose(1014, "backend gone")
	backend.await("closed")
}

func subprotocol(t *testing.T, c *combination) {
	client, backend, answer, request := c.link(t, handshake{protocols: []string{"chat.v1", "chat.v2", "chat.v3"}})
	// The backends choose the second.
	if answer.Protocol != "chat.v2" || request.Protocol != "chat.v2" {
		t.Errorf("subprotocol %q at the client, %q at the backend, want chat.v2", answer.Protocol, request.Protocol)
	}
	if got := valueOf(request.Headers, "Sec-WebSocket-Protocol"); !slices.Equal(elements(got), []string{"chat.v1", "chat.v2", "chat.v3"}) {
		t.Errorf("backend was offered %q, want all three subprotocols in their order", got)
	}
	finish(client, backend)
}

func noSubprotocol(t *testing.T, c *combination) {
	client, backend, answer, request := c.link(t, handshake{})
	if answer.Protocol != "" || request.Protocol != "" {
		t.Errorf("subprotocol %q at the client, %q at the backend, want none", answer.Protocol, request.Protocol)
	}
	finish(client, backend)
}

func extensions(t *testing.T, c *combination) {
	client, backend, answer, request := c.link(t, handshake{})
	if answer.Extensions != request.Extensions {
		t.Errorf("extensions %q at the client, %q at the backend, want the same", answer.Extensions, request.Extensions)
	}
	agreed := c.offered && c.taken
	if got := strings.Contains(answer.Extensions, "permessage-deflate"); got != agreed {
		t.Errorf("agreed extensions %q, want permessage-deflate: %t", answer.Extensions, agreed)
	}
	finish(client, backend)
}

func requestReachesBackend(t *testing.T, c *combination) {
	const query = "&q=a%20b%2Fc&x=1;y&empty=&q=%F0%9F%90%99"
	client, backend, _, request := c.link(t, handshake{
		path: "a//b/%7e%2F/c;v=1", query: query,
		headers: map[string]string{
			"Cookie":          `session="a=b"; theme=dark`,
			"X-MiXeD-Case":    "kept, as it is",
			"Authorization":   "Bearer abc.def",
			"Origin":          "https://example.com",
			"User-Agent":      "interop",
			"X-Forwarded-For": "203.0.113.9",
		},
	})
	if want := c.path("a//b/%7e%2F/c;v=1") + "?link=" + client.link + query; request.Target != want {
		t.Errorf("target %q, want %q", request.Target, want)
	}
	address := strings.TrimPrefix(c.proxy.at(c.scheme, ""), c.scheme+"://")
	for _, want := range [][2]string{
		{"Cookie", `session="a=b"; theme=dark`},
		{"X-MiXeD-Case", "kept, as it is"},
		{"Authorization", "Bearer abc.def"},
		{"Origin", "https://example.com"},
		{"User-Agent", "interop"},
		{"Host", address},
		// The client's own is not to be believed.
		{"X-Forwarded-For", "127.0.0.1"},
		{"X-Forwarded-Proto", map[string]string{"ws": "http", "wss": "https"}[c.scheme]},
		{"X-Forwarded-Host", address},
	} {
		var got []string
		for _, h := range request.Headers {
			if strings.EqualFold(h[0], want[0]) {
				got = append(got, h[0]+": "+h[1])
			}
		}
		if line := want[0] + ": " + want[1]; !slices.Equal(got, []string{line}) {
			t.Errorf("backend got %q, want %q once", got, line)
		}
	}
	finish(client, backend)
}

func answerReachesClient(t *testing.T, c *combination) {
	client, backend, answer, _ := c.link(t, handshake{})
	for name, want := range map[string]string{"X-Answered-By": c.to.name, "Set-Cookie": "seen=1; Path=/"} {
		if got := valueOf(answer.Headers, name); got != want {
			t.Errorf("client got %s: %q, want %q", name, got, want)
		}
	}
	finish(client, backend)
}

func refusal(t *testing.T, c *combination) {
	client := c.client.end(t, linkName())
	args := c.args(client.link, handshake{path: "refuse"})
	args["refused"] = true
	client.order("open", args)
	got := client.await("refused")
	want := c.payloads.refusal
	if got.Status != 401 || got.Size != want.size || got.SHA256 != want.sha256 {
		t.Errorf("refused with %d and %d bytes, sha256 %s; want 401 and %d bytes, sha256 %s",
			got.Status, got.Size, got.SHA256, want.size, want.sha256)
	}
	for name, want := range map[string]string{
		"WWW-Authenticate": `Basic realm="interop"`,
		"Content-Type":     "text/plain",
		"Content-Length":   fmt.Sprint(want.size),
	} {
		if got := valueOf(got.Headers, name); got != want {
			t.Errorf("refusal has %s: %q, want %q", name, got, want)
		}
	}
}

// valueOf is the first value of a field.
func valueOf(headers [][2]string, name string) string {
	for _, h := range headers {
		if strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}

// elements are those of a list (RFC 9110 §5.6.1).
func elements(list string) []string {
	all := strings.Split(list, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}
