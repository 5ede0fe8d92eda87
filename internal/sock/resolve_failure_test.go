package sock

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"wsproxy/internal/sock/dnstest"
)

func TestAddressWithoutPortIsRefused(t *testing.T) {
	r := newTestResolver(t, dnstest.NewServer(t), ResolverConfig{})
	for _, address := range []string{"", "db.test", "192.0.2.1", "::1", "192.0.2.1:", "192.0.2.1:http", "192.0.2.1:65536"} {
		if got, err := r.AppendAddrPorts(nil, address, 0); err == nil || got != nil {
			t.Errorf("AppendAddrPorts(%q) = %v, %v, want an error", address, got, err)
		}
	}
	for _, host := range []string{"", "a..b", "1.2.3.4.5.", ":", strings.Repeat("x", 300)} {
		if got, err := r.Lookup(host, 0); err == nil {
			t.Errorf("Lookup(%q) = %v, want an error", host, got)
		}
	}
}

func TestFailedRefreshKeepsTheLastAnswer(t *testing.T) {
	tests := []struct {
		name string
		bad  dnstest.Reply
		said string
	}{
		{"server failure", dnstest.Reply{Code: dnsmessage.RCodeServerFailure}, "server misbehaving"},
		{"refused", dnstest.Reply{Code: dnsmessage.RCodeRefused}, "server misbehaving"},
		{"no such name", dnstest.Reply{Code: dnsmessage.RCodeNameError}, "no such host"},
		{"no addresses", dnstest.Reply{}, "no such host"},
		{"silence", dnstest.Reply{Silent: true}, "timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := dnstest.NewServer(t)
			good := dnstest.Address("db.test.", "192.0.2.1", 30)
			server.SetRecords(good)
			var log bytes.Buffer
			r := newTestResolver(t, server, ResolverConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
			r.want("db.test.", "192.0.2.1")
			if tt.bad.Silent {
				r.cfg.Timeout = 20 * time.Millisecond
			}
			server.Set(func(dnsmessage.Question, string) dnstest.Reply { return tt.bad })
			r.ahead(30 * time.Second)
			for _, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
				r.want("db.test.", "192.0.2.1")
				if got := r.due("db.test."); got != wait*time.Second {
					t.Errorf("tried again after %v, want %v", got, wait*time.Second)
				}
				r.ahead(wait*time.Second - 1)
				r.want("db.test.", "192.0.2.1")
				if got := r.due("db.test."); got != 1 {
					t.Errorf("tried again before it was due: next after %v", got)
				}
				r.ahead(1)
			}
			line := log.String()
			if strings.Count(line, "\n") != 1 || !strings.Contains(line, "level=WARN") ||
				!strings.Contains(line, "host=db.test.") || !strings.Contains(line, tt.said) {
				t.Errorf("seven failures said %q, want one warning with %q", line, tt.said)
			}

			log.Reset()
			r.cfg.Timeout = 10 * time.Second
			server.SetRecords(dnstest.Address("db.test.", "192.0.2.2", 30))
			r.want("db.test.", "192.0.2.1")
			r.want("db.test.", "192.0.2.2")
			if line := log.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, "level=INFO") {
				t.Errorf("the recovery said %q, want one line", line)
			}

			log.Reset()
			r.ahead(30 * time.Second)
			r.want("db.test.", "192.0.2.2")
			if log.Len() > 0 {
				t.Errorf("a refresh like any other said %q", &log)
			}
			server.Set(func(dnsmessage.Question, string) dnstest.Reply { return dnstest.Reply{Code: dnsmessage.RCodeRefused} })
			r.ahead(30 * time.Second)
			r.want("db.test.", "192.0.2.2")
			if got := r.due("db.test."); got != minRetry {
				t.Errorf("after a recovery tried again after %v, want %v", got, minRetry)
			}
		})
	}
}

func TestEachKindOfFailureIsSaidOnce(t *testing.T) {
	server := dnstest.NewServer(t)
	server.SetRecords(dnstest.Address("db.test.", "192.0.2.1", 1))
	var log bytes.Buffer
	r := newTestResolver(t, server, ResolverConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
	r.want("db.test.", "192.0.2.1")
	for _, code := range []dnsmessage.RCode{dnsmessage.RCodeServerFailure, dnsmessage.RCodeRefused, dnsmessage.RCodeNameError} {
		server.Set(func(dnsmessage.Question, string) dnstest.Reply { return dnstest.Reply{Code: code} })
		r.ahead(maxRetry)
		r.want("db.test.", "192.0.2.1")
	}
	if got := strings.Count(log.String(), "\n"); got != 2 {
		t.Errorf("%d lines, want one for the server's failing and one for the name's:\n%s", got, &log)
	}
}

func TestNegativeAnswerIsKeptShortly(t *testing.T) {
	server := dnstest.NewServer(t)
	var log bytes.Buffer
	r := newTestResolver(t, server, ResolverConfig{Log: slog.New(slog.NewTextHandler(&log, nil))})
	missing := func() {
		t.Helper()
		addrs, err := r.Lookup("db.test.", 0)
		if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
			t.Errorf("Lookup = %v, %v, want not found", addrs, err)
		}
	}
	r.asks(server, true, missing)
	r.ahead(negativeTTL - 1)
	r.asks(server, false, missing)
	r.ahead(1)
	r.asks(server, true, missing)
	server.SetRecords(dnstest.Address("db.test.", "192.0.2.1", 30))
	r.ahead(negativeTTL)
	r.want("db.test.", "192.0.2.1")
	if log.Len() > 0 {
		t.Errorf("said %q: the callers have the error", &log)
	}
}

func TestDeadServerIsAnError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	r := NewResolver(ResolverConfig{Server: ln.Addr().String(), Timeout: 200 * time.Millisecond})
	defer r.Close()
	addrs, err := r.Lookup("db.test.", 0)
	if dns, ok := errors.AsType[*net.DNSError](err); !ok || dns.IsNotFound {
		t.Errorf("Lookup = %v, %v, want the server's fault", addrs, err)
	}
}
