package health

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// short is the timeout of probes that are meant to reach it.
const short = 100 * time.Millisecond

func TestHTTPProbe(t *testing.T) {
	leavesNothing(t)
	body := func(text string) Check { return Check{Body: text} }
	for _, tt := range []struct {
		name   string
		behave func(net.Conn, *bufio.Reader)
		check  Check
		want   string
	}{
		{"good", answer("HTTP/1.1 204 No Content\r\n\r\n"), Check{}, ""},
		{"a redirect is good", answer("HTTP/1.1 302 Found\r\n\r\n"), Check{}, ""},
		{"interim answers", answer("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), Check{}, ""},
		{"wrong status", answer("HTTP/1.1 503 Busy\r\n\r\n"), Check{}, "status 503"},
		{"a status that was asked for", answer("HTTP/1.1 503 Busy\r\n\r\n"), Check{Statuses: []StatusRange{{200, 200}, {500, 503}}}, ""},
		{"a status that was not", answer("HTTP/1.1 204 OK\r\n\r\n"), Check{Statuses: []StatusRange{{200, 200}, {500, 503}}}, "status 204"},
		{"101", answer("HTTP/1.1 101 Go\r\n\r\n"), Check{}, "status 101"},
		{"interim answers without end", answer(strings.Repeat("HTTP/1.1 102 Wait\r\n\r\n", 20)), Check{}, "answer: too many 1xx"},
		{"silence", silence, Check{Timeout: short}, "no answer within 100ms"},
		{"a head that stops", func(c net.Conn, br *bufio.Reader) {
			answer("HTTP/1.1 200 OK\r\n")(c, br)
			silence(c, br)
		}, Check{Timeout: short}, "no answer within 100ms"},
		{"death before", func(c net.Conn, br *bufio.Reader) { _, _ = http.ReadRequest(br) }, Check{}, "answer: connection closed"},
		{"death in the middle", answer("HTTP/1.1 200 OK\r\nDa"), Check{}, "answer: connection closed"},
		{"not HTTP", answer("SSH-2.0-OpenSSH_9.9\r\n\r\n"), Check{}, "answer: malformed status line"},
		{"a folded header", answer("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"), Check{}, "answer: obsolete line folding in header"},
		{"bare line ends", answer("HTTP/1.1 200 OK\n\n"), Check{}, "answer: line end that is not CRLF in header"},
		{"a head without end", answer("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 20<<10)), Check{}, "answer: head larger than the limit"},

		{"body", answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nstatus ok"), body("us ok"), ""},
		{"body in chunks", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsta\r\n6\r\ntus ok\r\n0\r\n\r\n"), body("status ok"), ""},
		{"body to the end", answer("HTTP/1.0 200 OK\r\n\r\nall ok"), body("ok"), ""},
		{"a body that goes on", func(c net.Conn, br *bufio.Reader) {
			answer("HTTP/1.1 200 OK\r\n\r\nevent: ok\n")(c, br)
			silence(c, br)
		}, body("event: ok"), ""},
		{"wrong body", answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nnot ok"), body("all ok"), `body has no "all ok" in its first 6 bytes`},
		{"what is behind the body", answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnot ok"), body("ok"), `body has no "ok" in its first 3 bytes`},
		{"empty body", answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nok"), body("ok"), `body has no "ok" in its first 0 bytes`},
		{"body of a 204", answer("HTTP/1.1 204 OK\r\n\r\nok"), body("ok"), `body has no "ok" in its first 0 bytes`},
		{"at the bound", answer("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("a", maxBody-2) + "ok"), body("ok"), ""},
		{"behind the bound", answer("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("a", maxBody-1) + "ok"), body("ok"), `body has no "ok" in its first 65536 bytes`},
		{"death in the body", answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsta"), body("ok"), "body: connection closed"},
		{"a body that stops", func(c net.Conn, br *bufio.Reader) {
			answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsta")(c, br)
			silence(c, br)
		}, Check{Body: "ok", Timeout: short}, "no end of the body within 100ms"},
		{"malformed chunks", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nok\r\n"), body("ok"), "body: malformed chunked body: chunk size"},
		{"two ends", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok"), body("ok"), "body: both Transfer-Encoding and Content-Length"},
		{"two lengths", answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nok"), body("ok"), "body: malformed or contradictory Content-Length"},
		{"another coding", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"), body("ok"), "body: Transfer-Encoding other than chunked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.check.Kind = HTTP
			r := probeOnce(t, serve(t, tt.behave).target, tt.check)
			if r.Reason != tt.want || r.Up != (tt.want == "") || r.Row != 1 {
				t.Errorf("the probe says %+v, want reason %q", r, tt.want)
			}
		})
	}
}

// TestHTTPProbeSendsWhatItsCheckSays lets net/http read the request.
func TestHTTPProbeSendsWhatItsCheckSays(t *testing.T) {
	for _, tt := range []struct {
		name  string
		check Check
		want  string
	}{
		{"nothing", Check{}, "GET / backend.example close wsproxy-health "},
		{"everything", Check{Method: "HEAD", Path: "/health?deep=1", Host: "a.example:81",
			Headers: []Header{{"user-agent", "mine"}, {"Authorization", "Basic eA=="}}}, "HEAD /health?deep=1 a.example:81 close mine Basic eA=="},
	} {
		requests := make(chan string, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			closes := ""
			if r.Close {
				closes = "close"
			}
			requests <- fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Host, " ", closes, " ", r.UserAgent(), " ", r.Header.Get("Authorization"))
		}))
		tt.check.Kind = HTTP
		b := backend{addr: server.Listener.Addr().String()}
		if r := probeOnce(t, b.target, tt.check); !r.OK() {
			t.Errorf("%s: %s", tt.name, r.Reason)
		}
		if got := await(t, requests); got != tt.want {
			t.Errorf("%s: the request is %q, want %q", tt.name, got, tt.want)
		}
		server.Close()
	}
}

func TestProbeThatCannotConnect(t *testing.T) {
	leavesNothing(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	refusing := backend{addr: l.Addr().String()}
	for _, kind := range []Kind{TCP, HTTP, WebSocket} {
		if r := probeOnce(t, refusing.target, Check{Kind: kind}); r.Reason != "connect: connection refused" || r.Up {
			t.Errorf("kind %d says %+v, want connect: connection refused", kind, r)
		}
	}
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{"a timeout", "no connection within 2s", &net.OpError{Op: "dial", Err: timeoutError{}}},
		{"two lines", "connect: a  b", errors.New("a\r\nb")},
		{"a long one", "connect: " + strings.Repeat("a", 191) + "…", errors.New(strings.Repeat("a", 500))},
		{"a name", "connect: lookup app: no such host", fmt.Errorf("%w: %w", errors.New("unreachable"), &net.DNSError{Err: "no such host", Name: "app"})},
	} {
		target := func(probed func(Result)) Target {
			return Target{Probed: probed, Dial: func(time.Duration) (net.Conn, error) { return nil, tt.err }}
		}
		if r := probeOnce(t, target, Check{}); r.Reason != tt.want {
			t.Errorf("%s says %q, want %q", tt.name, r.Reason, tt.want)
		}
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestProbesWithTLS(t *testing.T) {
	leavesNothing(t)
	web := serveTLS(t, shake(nil, pong("", 1)))
	plain := serveTLS(t, answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	hanging := serve(t, silence)
	hanging.conf = web.conf
	unknown := &backend{addr: web.addr, conf: &tls.Config{ServerName: "localhost", RootCAs: x509.NewCertPool()}}
	for _, tt := range []struct {
		name  string
		b     *backend
		check Check
		want  string
	}{
		{"tcp", plain, Check{}, ""},
		{"http", plain, Check{Kind: HTTP, Body: "ok"}, ""},
		{"websocket", web, Check{Kind: WebSocket}, ""},
		{"no TLS", hanging, Check{Timeout: short}, "no connection within 100ms"},
		{"unknown certificate", unknown, Check{}, "connect: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
	} {
		if r := probeOnce(t, tt.b.target, tt.check); r.Reason != tt.want {
			t.Errorf("%s says %q, want %q", tt.name, r.Reason, tt.want)
		}
	}
}

// TestVerdict: the first probe decides alone, then Rise and Fall in a row do.
func TestVerdict(t *testing.T) {
	for _, tt := range []struct{ probes, want string }{
		{"+--+---", "++++++-"},
		{"----", "----"},
		{"-+-++", "----+"},
		{"-++---", "--+++-"},
		{"+++++--+--+---", "+++++++++++++-"},
	} {
		c := Check{}
		c.fillDefaults()
		var v verdict
		got := ""
		for _, probe := range tt.probes {
			v.add(probe == '+', &c)
			got += map[bool]string{true: "+", false: "-"}[v.up]
		}
		if got != tt.want {
			t.Errorf("probes %s give %s, want %s", tt.probes, got, tt.want)
		}
	}
}

// TestFlappingBackend: what a backend does from one probe to the next comes out as the row and the verdict.
func TestFlappingBackend(t *testing.T) {
	leavesNothing(t)
	script := make(chan string, 8)
	for _, status := range []string{"200", "500", "500", "200", "500", "500", "500", "200"} {
		script <- status
	}
	close(script)
	b := serve(t, func(c net.Conn, br *bufio.Reader) {
		status, ok := <-script
		if !ok {
			status = "200"
		}
		answer("HTTP/1.1 "+status+" x\r\n\r\n")(c, br)
	})
	type step struct {
		row int
		up  bool
	}
	steps := make(chan step, 1000)
	p := New(Config{Log: noLog})
	p.Add(b.target(func(r Result) { steps <- step{r.Row, r.Up} }), Check{Kind: HTTP, Interval: time.Millisecond})
	var got []step
	for range 9 {
		got = append(got, await(t, steps))
	}
	p.Close()
	want := []step{{1, true}, {1, true}, {2, true}, {1, true}, {1, true}, {2, true}, {3, false}, {1, false}, {2, true}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("rows and verdicts are %v, want %v", got, want)
	}
}
