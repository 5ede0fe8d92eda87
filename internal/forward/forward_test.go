package forward

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"wsproxy/routing"
)

const (
	get    = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	get10  = "GET / HTTP/1.0\r\nHost: a\r\n\r\n"
	head11 = "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
)

// What the client gets of what the backend sends, byte by byte.
func TestAnswers(t *testing.T) {
	tests := []struct {
		name, request, answer, want string
	}{
		{"length", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"equal lengths", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"bytes behind the length", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"no body", get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"chunked", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"},
		{"chunked, nothing in it", get, "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"},
		{"until close", get, "HTTP/1.1 200 OK\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"HTTP/1.0 backend", get, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},
		{"trailers announced", get, "HTTP/1.1 200 OK\r\nTrailer: X-Sum, x-two\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nx-two: 2\r\nx-two: 3\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, x-two\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nx-two: 2\r\nx-two: 3\r\n\r\n"},
		{"trailers unannounced", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nDate: then\r\nX-Sum: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nDate: then\r\nX-Sum: 1\r\n\r\n"},
		{"trailer announced that is a field as well", get, "HTTP/1.1 200 OK\r\nX-Sum: 0\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nX-Sum: 0\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"},
		{"trailers without a place there", get, "HTTP/1.1 200 OK\r\nTrailer: Content-Length, Set-Cookie, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nContent-Length: 1\r\nSet-Cookie: a=b\r\nUpgrade: x\r\nX-Sum: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"},

		{"HEAD with a length", head11, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
		{"HEAD of a chunked body", head11, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
		{"204", get, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"204 with a length", get, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
			"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"304", get, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nConnection: close\r\n\r\n"},
		{"304 with a length", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
		{"interim answers", get, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},

		{"HTTP/1.0 client, chunked", get10, "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"},
		{"HTTP/1.0 client, until close", get10, "HTTP/1.1 200 OK\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"},
		{"HTTP/1.0 client, length", get10, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},

		{"duplicates and order", get, "HTTP/1.1 299 As You Like\r\nDate: then\r\nx-lower: \t a b \r\nSet-Cookie: b=1\r\nX-Multi: 1\r\nSet-Cookie: a=2; Path=/\r\nx-multi: \xc3\xa9\r\nset-cookie: b=3\r\nServer: s/1\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\nContent-Type: x/y\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 299 As You Like\r\nServer: s/1\r\nContent-Type: x/y\r\nContent-Encoding: gzip, br\r\nContent-Length: 0\r\nDate: then\r\nx-lower: a b\r\nX-Multi: 1\r\nx-multi: \xc3\xa9\r\nSet-Cookie: b=1\r\nSet-Cookie: a=2; Path=/\r\nSet-Cookie: b=3\r\nConnection: close\r\n\r\n"},
		{"hop-by-hop fields go", get, "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nx-hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nX-Stays: 1\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Stays: 1\r\nConnection: close\r\n\r\n"},

		{"large head", get, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 15<<10) + "\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + strings.Repeat("x", 15<<10) + "\r\nConnection: close\r\n\r\n"},

		{"101", get, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "answer invalid"},
		{"too many interim answers", get, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 9), "answer invalid"},
		{"nothing", get, "", "answer invalid"},
		{"cut off head", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", "answer invalid"},
		{"no HTTP", get, "SSH-2.0-OpenSSH_9.9\r\n\r\n", "answer invalid"},
		{"HTTP/2", get, "HTTP/2.0 200 OK\r\n\r\n", "answer invalid"},
		{"head too large", get, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 17<<10) + "\r\n\r\n", "answer invalid"},
		{"name that is no token", get, "HTTP/1.1 200 OK\r\nX-\xc3\xa9: no\r\nContent-Length: 0\r\n\r\n", "answer invalid"},
		{"folded field", get, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", "answer invalid"},
		{"bare LF", get, "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "answer invalid"},
		{"two lengths", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "answer invalid"},
		{"list of lengths", get, "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "answer invalid"},
		{"negative length", get, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "answer invalid"},
		{"empty length", get, "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello", "answer invalid"},
		{"length beyond all bounds", get, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "answer invalid"},
		{"both framings", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "answer invalid"},
		{"other coding", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "answer invalid"},
		{"identity", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello", "answer invalid"},
		{"two codings", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "answer invalid"},
		{"chunked in HTTP/1.0", get, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "answer invalid"},
		{"both framings for HEAD", head11, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "answer invalid"},

		{"length cut off", get, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhello"},
		{"chunk cut off", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n"},
		{"chunks cut off", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n"},
		{"trailers cut off", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n"},
		{"malformed chunk", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n"},
	}
	listeners := []struct {
		name string
		wrap func(net.Listener) net.Listener
	}{
		{"tcp", nil},
		{"wrapped", plainListen},
	}
	for _, l := range listeners {
		for _, tt := range tests {
			t.Run(l.name+"/"+tt.name, func(t *testing.T) {
				p := startProxy(t, proxyOptions{to: To{Backend: at(answerOnce(t, tt.answer))}, listen: l.wrap})
				got := exchangeRaw(t, p.addr, tt.request)
				if tt.want == "answer invalid" {
					wantError(t, p, routing.ErrAnswer)
					if !strings.HasPrefix(got, "HTTP/1.1 502 Bad Gateway\r\n") {
						t.Errorf("got %q, want a 502", got)
					}
					return
				}
				if got != tt.want {
					t.Errorf("got\n%q, want\n%q", got, tt.want)
				}
			})
		}
	}
}

// An HTTP/1.0 client knows the end of such a body only by the end of the connection.
func TestCutOffAnswerIsResetForOldClients(t *testing.T) {
	backend := answerOnce(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	c := dialRaw(t, p.addr)
	if err := c.send(get10); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err == nil {
		t.Errorf("read %q and an orderly end, want a reset", b)
	}
}

func TestRequestReachesBackendAsItIs(t *testing.T) {
	tests := []struct {
		name, request, want string
	}{
		{"fields", "GET /a%2Fb?c=d#e HTTP/1.1\r\nhost: a\r\nX-B: 1\r\nx-a:2\r\nX-B: 3\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n",
			"GET /a%2Fb?c=d#e HTTP/1.1\r\nhost: a\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.com\r\n\r\n"},
		{"small body", "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\nConnection: close\r\n\r\nhello",
			"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.com\r\n\r\nhello"},
		{"chunks and trailers", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5;x\r\nhello\r\n0\r\nx-sum: 1\r\nX-Two: 2\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.com\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\nX-Two: 2\r\n\r\n"},
		{"empty body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.com\r\n\r\n"},
		{"expectation met in front", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nhi",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.com\r\n\r\nhi"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seen := make(chan string, 1)
			backend := rawBackend(t, func(c *rawConn) {
				b := make([]byte, len(tt.want))
				n, _ := io.ReadFull(c, b)
				seen <- string(b[:n])
				_ = c.send("HTTP/1.1 204 No Content\r\n\r\n")
			})
			p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
			exchangeRaw(t, p.addr, tt.request)
			if got := <-seen; got != tt.want {
				t.Errorf("got\n%q, want\n%q", got, tt.want)
			}
		})
	}
}

func TestKeepAliveAcrossKindsOfAnswers(t *testing.T) {
	backend := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/chunked":
			w.(http.Flusher).Flush()
		case "/204":
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Write(append([]byte(r.Method+" "), b...))
	})
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	c := dialRaw(t, p.addr)
	for i := range 3 {
		for _, path := range []string{"/", "/chunked", "/204"} {
			for _, body := range []string{"", "small", strings.Repeat("large", 10000)} {
				r, _ := http.NewRequest("POST", "http://a"+path, strings.NewReader(body))
				if i == 1 {
					r.ContentLength = -1
				}
				if err := r.Write(c); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(c.Reader, r)
				if err != nil {
					t.Fatalf("%s with %d bytes: %v", path, len(body), err)
				}
				got, err := io.ReadAll(resp.Body)
				want := "POST " + body
				if path == "/204" {
					want = ""
				}
				if err != nil || string(got) != want {
					t.Errorf("%s: %d bytes, %v, want %d", path, len(got), err, len(want))
				}
				if resp.Close {
					t.Errorf("%s with %d bytes: Connection: close, want it kept", path, len(body))
				}
			}
		}
	}
}

// Requests that came in one packet are answered in their order, though bodies pass fasthttp's buffer.
func TestPipelinedRequests(t *testing.T) {
	backend := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/1" {
			w.(http.Flusher).Flush()
		}
		io.WriteString(w, r.URL.Path)
	})
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	got := exchangeRaw(t, p.addr, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	var order []string
	for _, part := range strings.Split(got, "/")[1:] {
		if part[0] == '1' && part[1] != '.' || part[0] == '2' || part[0] == '3' {
			order = append(order, part[:1])
		}
	}
	if s := strings.Join(order, ""); s != "1213" {
		t.Errorf("order %q of %q, want 1213", s, got)
	}
}

func TestUnreachableAndSlowBackends(t *testing.T) {
	silent := rawBackend(t, func(c *rawConn) { io.Copy(io.Discard, c) })
	stalled := rawBackend(t, func(c *rawConn) { // takes nothing, says nothing
		c.readHead()
		<-t.Context().Done()
	})
	closed := listen(t)
	closed.Close()
	tests := []struct {
		name    string
		to      To
		request string
		want    error
		status  string
	}{
		{"nobody listens", To{Backend: at(closed.Addr().String())}, get, routing.ErrDial, "502"},
		{"dial too slow", To{Backend: at("192.0.2.1:1"), DialTimeout: time.Millisecond}, get, routing.ErrTimeout, "504"},
		{"no answer", To{Backend: at(silent), ResponseTimeout: 10 * time.Millisecond}, get, routing.ErrTimeout, "504"},
		{"no answer to a small body", To{Backend: at(silent), ResponseTimeout: 10 * time.Millisecond},
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", routing.ErrTimeout, "504"},
		{"no answer to chunks", To{Backend: at(silent), ResponseTimeout: 10 * time.Millisecond},
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n", routing.ErrTimeout, "504"},
		{"body not taken", To{Backend: at(stalled), ResponseTimeout: 50 * time.Millisecond},
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n" + strings.Repeat("x", 32<<20), routing.ErrTimeout, "504"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := Config{}
			if tt.to.DialTimeout > 0 {
				config.Dial = neverDials
			}
			p := startProxy(t, proxyOptions{config: config, to: tt.to})
			c := dialRaw(t, p.addr)
			go c.send(tt.request)
			line, err := c.ReadString('\n')
			if !strings.HasPrefix(line, "HTTP/1.1 "+tt.status) {
				t.Errorf("got %q, %v, want %s", line, err, tt.status)
			}
			wantError(t, p, tt.want)
		})
	}
}
