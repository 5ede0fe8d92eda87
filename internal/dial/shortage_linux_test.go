package dial

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"wsproxy/routing"
)

// What this machine lacks is no fault of the backend's.
func TestShortageIsNoFaultOfTheBackend(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	table, err := routing.NewTable(&routing.Config{Routes: []routing.RouteConfig{
		{Backends: []routing.BackendConfig{{URL: "http://" + ln.Addr().String(), Addr: ln.Addr().String()}}},
	}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := table.Backends()[0]
	_, err = new(Dialer).Dial(b, Request{Sources: []netip.Addr{netip.MustParseAddr("203.0.113.1")}})
	const want = "no source port left: 203.0.113.1: bind: cannot assign requested address"
	if !errors.Is(err, routing.ErrPorts) || errors.Is(err, routing.ErrDial) || err.Error() != "dial backend "+b.Addr+": "+want {
		t.Errorf("Dial: %v, want %s", err, want)
	}
}
