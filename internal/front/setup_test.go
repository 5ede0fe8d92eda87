package front_test

import (
	"context"
	"net/netip"
	"testing"

	"wsproxy/internal/front"
	"wsproxy/internal/front/fronttest"
	"wsproxy/routing"
	"wsproxy/tlsterm"
)

// update has p serve routes from now on, with what change changes.
func update(t *testing.T, p *fronttest.Proxy, routes []routing.RouteConfig, change func(*front.Served)) (settled func(context.Context) error) {
	t.Helper()
	table, err := routing.NewTable(&routing.Config{Routes: routes}, nil, p.Table)
	if err != nil {
		t.Fatal(err)
	}
	served := front.Served{Table: table}
	if change != nil {
		change(&served)
	}
	return p.Server.Update(served)
}

func TestUpdateGoesOnCounting(t *testing.T) {
	backend := fronttest.Listen(t)
	limited := func(l routing.LinkLimits) []routing.RouteConfig {
		return []routing.RouteConfig{{Path: "/chat", Backends: backendAt(backend.Addr), Limits: l}}
	}
	p := fronttest.Start(t, fronttest.Config{Routes: limited(routing.LinkLimits{})})
	c1, b1 := open(t, p, backend, fronttest.Handshake)

	// Links that were there before there was a limit are counted.
	update(t, p, limited(routing.LinkLimits{Links: 1}), nil)
	expectRefusal(t, p, fronttest.Handshake, 503, "route_links")
	update(t, p, limited(routing.LinkLimits{}), func(s *front.Served) { s.Limits.Links = 1 })
	expectRefusal(t, p, fronttest.Handshake, 503, "links")

	// So are those of a route that was gone for a while.
	update(t, p, []routing.RouteConfig{{Path: "/other", Backends: backendAt(backend.Addr)}}, nil)
	expectRefusal(t, p, fronttest.Handshake, 404, "no_route")
	update(t, p, limited(routing.LinkLimits{Links: 2, LinksPerClient: 1}), nil)
	c2, b2 := open(t, p, backend, fronttest.Handshake) // the first that is counted for its client
	expectRefusal(t, p, fronttest.Handshake, 429, "route_client_links")
	update(t, p, limited(routing.LinkLimits{Links: 2, LinksPerClient: 2}), nil)
	expectRefusal(t, p, fronttest.Handshake, 503, "route_links")

	end(t, p, 1, c1, b1)
	c1, b1 = open(t, p, backend, fronttest.Handshake)
	expectRefusal(t, p, fronttest.Handshake, 429, "route_client_links")
	end(t, p, 2, c1, b1)
	end(t, p, 3, c2, b2)
	awaitLimits(t, p, front.LimitStats{})
}

func TestUpdateWaitsForHandshakes(t *testing.T) {
	backend := fronttest.Listen(t)
	routes := []routing.RouteConfig{{Backends: backendAt(backend.Addr)}}
	p := fronttest.Start(t, fronttest.Config{Routes: routes})
	c, b := open(t, p, backend, fronttest.Handshake) // nobody waits for links
	ctx, cancel := context.WithTimeout(context.Background(), fronttest.Hung)
	defer cancel()
	if err := update(t, p, routes, nil)(ctx); err != nil {
		t.Errorf("without a handshake: %v", err)
	}
	other := fronttest.Dial(t, p.Addr)
	other.Send(fronttest.Handshake)
	asked := backend.Accept()
	asked.Head()
	settled := update(t, p, routes, nil)
	none, done := context.WithCancel(context.Background())
	done()
	if err := settled(none); err != context.Canceled {
		t.Errorf("during a handshake: %v, want that the wait is over before it", err)
	}
	if err := update(t, p, routes, nil)(ctx); err != nil {
		t.Errorf("without a handshake under what is replaced: %v", err)
	}
	asked.Send(fronttest.Switching)
	other.Bytes(fronttest.Switching)
	if err := settled(ctx); err != nil {
		t.Errorf("after the handshake: %v", err)
	}
	end(t, p, 1, c, b)
	end(t, p, 2, other, asked)
}

func TestUpdateChangesWhoIsServed(t *testing.T) {
	var p *fronttest.Proxy
	backend := fronttest.Listen(t)
	routes := []routing.RouteConfig{{Backends: backendAt(backend.Addr)}}
	loopback := routing.Networks{netip.MustParsePrefix("127.0.0.0/8")}
	p = fronttest.Start(t, fronttest.Config{Routes: routes, Plain: func(c *tlsterm.Config) {
		c.Admits = func(client netip.Addr) bool { return p.Server.Admits("plain", client) }
	}})
	for _, tt := range []struct {
		name   string
		access map[string]routing.Access
		served bool
	}{
		{"never said", nil, true},
		{"not in allow", map[string]routing.Access{"plain": {Allow: routing.Networks{netip.MustParsePrefix("192.0.2.0/24")}}}, false},
		{"the listener is gone", map[string]routing.Access{"other": {}}, false},
		{"in allow", map[string]routing.Access{"plain": {Allow: loopback}}, true},
		{"in deny", map[string]routing.Access{"plain": {Deny: loopback}}, false},
		{"without lists", map[string]routing.Access{"plain": {}}, true},
	} {
		update(t, p, routes, func(s *front.Served) { s.Access = tt.access })
		if !tt.served {
			expectRefusal(t, p, fronttest.Handshake, 403, "address")
			continue
		}
		n := len(p.Log.Lines("msg=link "))
		c, b := open(t, p, backend, fronttest.Handshake)
		end(t, p, n+1, c, b)
	}
}
