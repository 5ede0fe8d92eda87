package front

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"wsproxy/upgrade"
)

// errRedirects is a handshake on a listener that redirects. WebSocket clients follow no redirect:
// browsers must not (WHATWG WebSockets §2.2), and most libraries do not; a client that is sent
// elsewhere says only that it could not connect. The text of a refusal says what is wrong.
var (
	errRedirects = errors.New("no WebSockets on this port; use wss://")

	// errNoHost is a request of HTTP/1.0 without a Host, which could be sent anywhere.
	errNoHost = errors.New("no Host to redirect to")
)

// challenged answers challenges of an ACME server, which come to plain listeners and from anywhere, and
// reports whether the request was one.
func (s *Server) challenged(r *request) (done bool) {
	if s.cfg.Challenge == nil || r.conn.TLS() != nil {
		return false
	}
	body, ok := s.cfg.Challenge(hostname(string(r.host)), string(r.path))
	if !ok {
		return false
	}
	r.ctx.SetContentType("application/octet-stream") // RFC 8555 §8.3
	r.ctx.SetBody(body)
	if !r.conn.Body().Whole() {
		r.hangUp()
	}
	s.cfg.Log.Debug("challenge answered", "client", r.from())
	return true
}

// redirected sends everything to https where the listener, a plain one, does that, and reports whether it
// does.
func (s *Server) redirected(r *request) (done bool) {
	conn, ok := r.conn.Conn.(interface{ HTTPSPort() int })
	if !ok || conn.HTTPSPort() == 0 {
		return false
	}
	switch host := hostname(string(r.host)); {
	case upgrade.Wanted(&r.ctx.Request.Header):
		s.refuse(r, errRedirects)
	case host == "":
		s.refuse(r, errNoHost)
	default:
		r.redirect(host, conn.HTTPSPort())
	}
	return true
}

// redirect answers with the same URL in https. A request that is more than a question keeps its
// method and body with 308, which old clients do not know; 301 is known to all.
func (r *request) redirect(host string, port int) {
	ctx := r.ctx
	status := fasthttp.StatusPermanentRedirect
	if ctx.IsGet() || ctx.IsHead() {
		status = fasthttp.StatusMovedPermanently
	}
	var location strings.Builder
	location.WriteString("https://" + host)
	if port != 443 {
		location.WriteString(":" + strconv.Itoa(port))
	}
	for _, c := range r.target {
		if c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&location, "%%%02X", c)
		} else {
			location.WriteByte(c)
		}
	}
	ctx.Response.Header.DisableNormalizing()
	ctx.SetStatusCode(status)
	ctx.Response.Header.Set("Location", location.String())
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString("this is at " + location.String() + "\n")
	if !r.conn.Body().Whole() {
		r.hangUp()
	}
}

// hostname is a Host field without its port; an IPv6 address keeps its brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		if strings.Contains(name, ":") {
			return "[" + name + "]"
		}
		return name
	}
	return strings.TrimSuffix(host, ":")
}
