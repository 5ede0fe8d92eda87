package front

import (
	"errors"
	"fmt"

	"wsproxy/internal/head"
)

// Clients that are not served: by the listener, by the route, or because of the page they are on.
var (
	errAddress      = errors.New("address not allowed")
	errRouteAddress = errors.New("address not allowed here")
	errOrigin       = errors.New("origin not allowed")
	errNoOrigin     = errors.New("no Origin")
)

// onListener holds the client against the listener's lists, and onRoute against its route's. It is the one
// that can be believed: behind trusted proxies the address that they tell.
func (r *request) onListener() error {
	if !r.conn.Admits(r.client) {
		return errAddress
	}
	return nil
}

func (r *request) onRoute() error {
	if access := &r.route.Access; !access.Everybody() && !access.Admits(r.client) {
		return errRouteAddress
	}
	return nil
}

// fromPage holds the Origin of a handshake against those of the route. A browser sets it, and lets no page
// change it, so that a page cannot open WebSockets in the name of whoever looks at it (RFC 6455 §10.2).
func (r *request) fromPage() error {
	origins := &r.route.Origins
	if origins.Any() && !origins.RefuseMissing {
		return nil
	}
	fields := r.ctx.Request.Header.RawHeaders()
	var origin []byte
	n := 0
	for f := range head.Fields(fields) {
		if f.Is("Origin") {
			origin = f.Value
			n++
		}
	}
	switch {
	case n == 0 && origins.RefuseMissing:
		return errNoOrigin
	case n == 0, n == 1 && origins.Match(origin, r.scheme, r.askedHost(fields)):
		return nil
	case n > 1 && !origins.Any():
		return fmt.Errorf("%w: it is said %d times", errOrigin, n)
	case n > 1:
		return nil
	}
	const most = 100 // of a line of the log
	return fmt.Errorf("%w: %q", errOrigin, origin[:min(len(origin), most)])
}

// askedHost is the host that the client has asked for: what it has sent as Host, which a trusted proxy may
// have replaced.
func (r *request) askedHost(fields []byte) []byte {
	if r.trusted {
		if host := head.ForwardedHost(fields); len(host) > 0 {
			return host
		}
	}
	return r.host
}
