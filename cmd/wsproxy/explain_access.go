package main

import (
	"net/netip"

	"wsproxy/internal/head"
	"wsproxy/routing"
)

// refusedBy says why a route does not serve a request, as far as allow, deny and origins are concerned. It
// is empty where it does, or where --from does not say who the client is.
func (q *question) refusedBy(r *routing.RouteConfig, client netip.Addr, trusted bool, scheme string) string {
	if client.IsValid() && !r.Access.Everybody() && !r.Access.Admits(client) {
		return "allow and deny of the route leave " + client.String() + " out; it is refused with 403"
	}
	if !q.upgrade {
		return ""
	}
	var origins [][]byte
	for f := range head.Fields(q.fields) {
		if f.Is("Origin") {
			origins = append(origins, f.Value)
		}
	}
	host := []byte(q.host)
	if asked := head.ForwardedHost(q.fields); trusted && len(asked) > 0 {
		host = asked
	}
	switch {
	case len(origins) == 0 && r.Origins.RefuseMissing:
		return "the route has missing_origin: refuse; a handshake without an Origin is refused with 403"
	case len(origins) == 1 && !r.Origins.Match(origins[0], scheme, host),
		len(origins) > 1 && !r.Origins.Any():
		return "origins of the route leave this Origin out; it is refused with 403"
	}
	return ""
}

// someClients notes that the answer is for those who are served, where it was not said who asks.
func (e *explanation) someClients(what string, access *routing.Access, client netip.Addr) {
	switch {
	case access.Everybody():
	case !client.IsValid():
		e.Notes = append(e.Notes, what+" serves some addresses alone; --from says whose request it is")
	case !access.Admits(client):
		e.Notes = append(e.Notes, what+" refuses "+client.String()+" with 403, by its allow and deny")
	}
}
