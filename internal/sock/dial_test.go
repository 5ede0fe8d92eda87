package sock

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"wsproxy/internal/sock/dnstest"
)

func TestDialerLooksNamesUp(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	server := dnstest.NewServer(t)
	r := newTestResolver(t, server, ResolverConfig{})
	d := Dialer{Resolver: r.Resolver}
	dial := func(host string, timeout time.Duration) error {
		t.Helper()
		conn, err := d.Dial(net.JoinHostPort(host, port), Request{Timeout: timeout, First: []byte("hello")})
		if err != nil {
			return err
		}
		defer conn.Close()
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		b := make([]byte, 5)
		if _, err := io.ReadFull(accepted, b); err != nil || string(b) != "hello" {
			t.Errorf("the server reads %q, %v", b, err)
		}
		return nil
	}

	// Nobody listens at the first address, or the second: the other one is tried.
	server.SetRecords(dnstest.Address("app.test.", "127.0.0.2", 60), dnstest.Address("app.test.", "127.0.0.1", 60))
	for range 2 {
		if err := dial("app.test", time.Minute); err != nil {
			t.Errorf("dial a name: %v", err)
		}
	}
	asked := server.Questions.Load()
	if err := dial("127.0.0.1", time.Minute); err != nil || server.Questions.Load() != asked {
		t.Errorf("dial an address: %v, with %d questions, want none", err, server.Questions.Load()-asked)
	}

	server.Set(func(dnsmessage.Question, string) dnstest.Reply { return dnstest.Reply{Code: dnsmessage.RCodeNameError} })
	var unknown *net.DNSError
	if err := dial("none.test", time.Minute); !errors.As(err, &unknown) || !unknown.IsNotFound {
		t.Errorf("dial an unknown name: %v", err)
	}
	server.Set(func(dnsmessage.Question, string) dnstest.Reply { return dnstest.Reply{Silent: true} })
	var timeout net.Error
	if err := dial("silent.test", 10*time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("dial a name that takes too long: %v, want a timeout", err)
	}
	r.Close()
	if err := dial("late.test", time.Minute); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after Close: %v, want %v", err, net.ErrClosed)
	}
	if _, err := new(Dialer).Dial("app.test:80", Request{Timeout: time.Minute}); err == nil {
		t.Error("a name was dialled without a resolver")
	}
}
