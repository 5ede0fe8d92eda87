package forward

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"wsproxy/routing"
)

// origin is what the proxy adds to a request.
const origin = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.com\r\n"

func TestRequestReachesBackendAsItIs(t *testing.T) {
	tests := []struct {
		name, request, want string
	}{
		{"fields", "GET /a%2Fb?c=d#e HTTP/1.1\r\nhost: a\r\nX-B: 1\r\nx-a:2\r\nX-B: 3\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n",
			"GET /a%2Fb?c=d#e HTTP/1.1\r\nhost: a\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\n" + origin + "\r\n"},
		{"small body", "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\nConnection: close\r\n\r\nhello",
			"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n" + origin + "\r\nhello"},
		{"chunks and trailers", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5;x\r\nhello\r\n0\r\nx-sum: 1\r\nX-Two: 2\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + origin + "\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\nX-Two: 2\r\n\r\n"},
		{"empty body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + origin + "\r\n"},
		{"an expectation is the backend's to meet", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nhi",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n" + origin + "\r\nhi"},
	}
	overWays(t, func(t *testing.T, w way) {
		p := startProxy(t, proxyOptions{way: w})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				seen := make(chan string, 1)
				p.direct(To{Backend: at(rawBackend(t, func(c *rawConn) {
					b := make([]byte, len(tt.want))
					n, _ := io.ReadFull(c, b)
					seen <- string(b[:n])
					_ = c.send("HTTP/1.1 204 No Content\r\n\r\n")
				}))})
				p.exchange(t, tt.request)
				if got := <-seen; got != tt.want {
					t.Errorf("got\n%q, want\n%q", got, tt.want)
				}
			})
		}
	})
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
	overWays(t, func(t *testing.T, w way) {
		p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend)}})
		c := p.dial(t)
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
	})
}

// Requests that came in one packet are answered in their order, those with bodies too.
func TestPipelinedRequests(t *testing.T) {
	backend := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/1" {
			w.(http.Flusher).Flush()
		}
		fmt.Fprintf(w, "%s%s;", r.URL.Path, b)
	})
	overWays(t, func(t *testing.T, w way) {
		p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(backend)}})
		c := p.dial(t)
		_ = c.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab\r\n" +
			"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ncd\r\n0\r\n\r\n" +
			"GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		var got strings.Builder
		for range 4 {
			resp, err := http.ReadResponse(c.Reader, nil)
			if err != nil {
				t.Fatalf("behind %q: %v", got.String(), err)
			}
			_, _ = io.Copy(&got, resp.Body)
		}
		if want := "/1;/2ab;/3cd;/4;"; got.String() != want {
			t.Errorf("got %q, want %q", got.String(), want)
		}
		if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
			t.Errorf("behind the answers %q, %v, want the end", rest, err)
		}
	})
}

func TestUnreachableAndSlowBackends(t *testing.T) {
	silent := rawBackend(t, endlessly)
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
		{"no answer", To{Backend: at(silent), Answer: Answer{ResponseTimeout: 10 * time.Millisecond}}, get, routing.ErrTimeout, "504"},
		{"no answer to a small body", To{Backend: at(silent), Answer: Answer{ResponseTimeout: 10 * time.Millisecond}},
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", routing.ErrTimeout, "504"},
		{"no answer to chunks", To{Backend: at(silent), Answer: Answer{ResponseTimeout: 10 * time.Millisecond}},
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n", routing.ErrTimeout, "504"},
		{"body not taken", To{Backend: at(stalled), Answer: Answer{ResponseTimeout: 50 * time.Millisecond}},
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n" + strings.Repeat("x", 32<<20), routing.ErrTimeout, "504"},
	}
	overWays(t, func(t *testing.T, w way) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				config := Config{}
				if tt.to.DialTimeout > 0 {
					config.Dial = neverDials
				}
				p := startProxy(t, proxyOptions{way: w, config: config, to: tt.to})
				c := p.dial(t)
				go c.send(tt.request)
				line, err := c.ReadString('\n')
				if !strings.HasPrefix(line, "HTTP/1.1 "+tt.status) {
					t.Errorf("got %q, %v, want %s", line, err, tt.status)
				}
				p.wantError(t, tt.want)
			})
		}
	})
}
