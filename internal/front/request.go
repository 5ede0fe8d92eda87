package front

import (
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"wsproxy/internal/dial"
	"wsproxy/internal/forward"
	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
	"wsproxy/routing"
)

// request is one request on its way. Its slices are fasthttp's, until the handler returns.
type request struct {
	*setup // as it was when the request came

	ctx  *fasthttp.RequestCtx
	conn *inbound.Conn
	gated

	client  netip.Addr // as far as it can be believed
	trusted bool       // a trusted proxy has sent it
	scheme  string     // http or https, as the client sees it

	route *routing.Route // nil until it is found

	attempt // the last; zero before the first
}

// identify finds out who the client is: who is connected, or whoever a trusted proxy says.
func (s *Server) identify(r *request) {
	peer := r.conn.Client().Addr()
	fields := r.ctx.Request.Header.RawHeaders()
	if r.scheme = "http"; r.conn.TLS() != nil {
		r.scheme = "https"
	}
	if r.trusted = r.TrustedProxies.Contains(peer); !r.trusted {
		return
	}
	r.client = head.ClientAddr(fields, peer, r.TrustedProxies.Contains, r.Forwarded)
	if proto := head.ForwardedProto(fields); proto != "" {
		r.scheme = proto
	}
}

// clientPort is the client's port, 0 where only its address is known.
func (r *request) clientPort() uint16 {
	if peer := r.conn.Client(); peer.Addr() == r.client {
		return peer.Port()
	}
	return 0
}

// from is the client for a line of the log.
func (r *request) from() string { return clientText(r.client, r.clientPort()) }

func clientText(client netip.Addr, port uint16) string {
	if port == 0 {
		return client.String()
	}
	return netip.AddrPortFrom(client, port).String()
}

// head is the head that the backend gets.
func (s *Server) head(r *request) head.Request {
	h := &r.ctx.Request.Header
	own := "http"
	req := head.Request{
		Method: h.Method(),
		Target: r.target,
		Fields: h.RawHeaders(),
		Host:   r.route.HostHeader.HostFor(r.backend),
		Edit:   r.edit(r.route.RequestHeaders),
	}
	if r.route.Rewrites() {
		req.Target = r.route.Rewrite(nil, r.target)
	}
	if state := r.conn.TLS(); state != nil {
		own = "https"
		// With certificates that nobody has verified there is no handshake.
		if len(state.PeerCertificates) > 0 {
			req.ClientCert = head.ClientCertOf(state.PeerCertificates[0])
		}
	}
	if len(r.host) == 0 && req.Host == "" {
		req.Host = r.backend.Host
	}
	req.Origin = head.Origin{
		Peer:      r.conn.Client().Addr(),
		Trusted:   r.trusted,
		Proto:     own,
		Host:      string(r.host),
		Port:      r.conn.Port(),
		Prefix:    r.route.StripsPrefix(),
		Forwarded: r.Forwarded,
	}
	return req
}

// edit is what a route's rules come to for this request, nil without any.
func (r *request) edit(rules routing.HeaderRules) *head.Edit {
	if rules.Empty() {
		return nil
	}
	_, query, _ := strings.Cut(string(r.target), "?")
	vars := routing.Vars{
		ClientIP: r.client, ClientPort: r.clientPort(),
		Host: r.host, Method: r.ctx.Method(), Path: r.path, Query: []byte(query),
		Scheme: r.scheme, ServerPort: r.conn.Port(),
		Route: r.route.Name, Backend: r.backend.Addr,
	}
	fields := func(rules []routing.HeaderRule) (fields []head.Field) {
		for _, rule := range rules {
			fields = append(fields, head.Field{Name: []byte(rule.Name), Value: rule.Value.Append(nil, &vars)})
		}
		return fields
	}
	return &head.Edit{Remove: rules.Remove, Set: fields(rules.Set), Add: fields(rules.Add)}
}

// answerEdit is what becomes of the fields of an answer: the route's rules, and a cookie for a client that is
// not where its own would bring it.
func (r *request) answerEdit() *head.Edit {
	edit, sticky := r.edit(r.route.ResponseHeaders), r.route.Sticky
	if sticky == nil || sticky.Backend(r.cookie(sticky.Cookie())) == r.backend {
		return edit
	}
	if edit == nil {
		edit = new(head.Edit)
	}
	cookie := sticky.SetCookie(r.backend, r.scheme == "https")
	edit.Add = append(edit.Add, head.Field{Name: []byte("Set-Cookie"), Value: []byte(cookie)})
	return edit
}

// answer is how the client gets the backend's answer.
func (r *request) answer() forward.Answer {
	return forward.Answer{
		ResponseTimeout: r.route.ResponseTimeout,
		ReadTimeout:     r.route.ReadTimeout,
		Edit:            r.answerEdit(),
		HTTP10:          r.http10,
	}
}

// preface is what the backend is told of the client before anything else, nil for nothing.
func (r *request) preface() []byte {
	if r.route.ProxyProtocol == 0 {
		return nil
	}
	return dial.AppendProxyHeader(nil, r.route.ProxyProtocol, netip.AddrPortFrom(r.client, r.clientPort()), r.conn.Destination())
}

// answered leaves fasthttp nothing to write, and the connection open if it can be kept.
func (r *request) answered(keep bool) {
	r.conn.Mute()
	if !keep {
		r.ctx.SetConnectionClose()
		r.conn.Linger()
	}
}
