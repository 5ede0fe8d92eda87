package forward

import (
	"io"
	"strings"
	"testing"

	"wsproxy/routing"
)

const (
	get    = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	get10  = "GET / HTTP/1.0\r\nHost: a\r\n\r\n"
	keep10 = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
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
		{"no reason", get, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"chunked", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"},
		{"chunked, nothing in it", get, "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"},
		{"until close", get, "HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"HTTP/1.0 backend", get, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},
		{"HTTP/1.0 backend, until close", get, "HTTP/1.0 200 OK\r\n\r\nhi",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
		{"trailers announced", get, "HTTP/1.1 200 OK\r\nTrailer: X-Sum, x-two\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nx-two: 2\r\nx-two: 3\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTrailer: X-Sum, x-two\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nx-two: 2\r\nx-two: 3\r\n\r\n"},
		{"trailers unannounced", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum:1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"},
		{"trailer announced that is a field as well", get, "HTTP/1.1 200 OK\r\nX-Sum: 0\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nX-Sum: 0\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"},
		{"trailers without a place there", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nContent-Length: 1\r\nDate: then\r\nSet-Cookie: a=b\r\nUpgrade: x\r\nX-Sum: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"},

		{"HEAD with a length", head11, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
		{"HEAD of a chunked body", head11, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
		{"HEAD without either", head11, "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
		{"204", get, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"204 with a length", get, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
			"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"304", get, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nConnection: close\r\n\r\n"},
		{"304 with a length", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
		{"interim answers", get, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\nLink: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
			"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\nLink: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},
		{"an interim answer with fields that it cannot have", get, "HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},

		{"HTTP/1.0 client, chunked", get10, "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"},
		{"HTTP/1.0 client that would stay, chunked", keep10, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"},
		{"HTTP/1.0 client, until close", get10, "HTTP/1.1 200 OK\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"},
		{"HTTP/1.0 client, length", get10, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"HTTP/1.0 client, interim answers", get10, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"},

		{"duplicates, order and spelling", get, "HTTP/1.1 299 As You Like\r\nDate: then\r\nx-lower: \t a b \r\nSet-Cookie: b=1\r\nX-Multi: 1\r\nSet-Cookie: a=2; Path=/\r\nx-multi: \xc3\xa9\r\nset-cookie: b=3\r\nServer: s/1\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\nContent-Type: x/y\r\ncontent-LENGTH: 0\r\nX-Empty:\r\n\r\n",
			"HTTP/1.1 299 As You Like\r\nDate: then\r\nx-lower: a b\r\nSet-Cookie: b=1\r\nX-Multi: 1\r\nSet-Cookie: a=2; Path=/\r\nx-multi: \xc3\xa9\r\nset-cookie: b=3\r\nServer: s/1\r\nContent-Encoding: gzip\r\nContent-Encoding: br\r\nContent-Type: x/y\r\ncontent-LENGTH: 0\r\nX-Empty: \r\nConnection: close\r\n\r\n"},
		{"gzip stays", get, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x08\x00\xff",
			"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\nConnection: close\r\n\r\n\x1f\x8b\x08\x00\xff"},
		{"hop-by-hop fields go", get, "HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nx-hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nX-Stays: 1\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nX-Stays: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
		{"large head", get, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 15<<10) + "\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 15<<10) + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},

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
	overWays(t, func(t *testing.T, w way) {
		p := startProxy(t, proxyOptions{way: w})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				p.direct(To{Backend: at(answerOnce(t, tt.answer))})
				if got := p.exchange(t, tt.request); got != tt.want {
					t.Errorf("got\n%q, want\n%q", got, tt.want)
				}
				p.wantError(t, nil)
			})
		}
	})
}

// An answer whose head is not to be trusted is none, and the client gets nothing of it.
func TestAnswersThatAreRefused(t *testing.T) {
	tests := []struct {
		name, request, answer string
	}{
		{"101", get, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
		{"nothing", get, ""},
		{"cut off head", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"},
		{"no HTTP", get, "SSH-2.0-OpenSSH_9.9\r\n\r\n"},
		{"HTTP/2", get, "HTTP/2.0 200 OK\r\n\r\n"},
		{"head too large", get, "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 17<<10) + "\r\n\r\n"},
		{"name that is no token", get, "HTTP/1.1 200 OK\r\nX-\xc3\xa9: no\r\nContent-Length: 0\r\n\r\n"},
		{"folded field", get, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"},
		{"bare LF", get, "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"},
		{"two lengths", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"},
		{"list of lengths", get, "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello"},
		{"negative length", get, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"},
		{"empty length", get, "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello"},
		{"length beyond all bounds", get, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"},
		{"both framings", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"other coding", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
		{"identity", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello"},
		{"two codings", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"chunked in HTTP/1.0", get, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"both framings for HEAD", head11, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"bare CR in a value", get, "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n"},
		{"bare LF in a value", get, "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n"},
		{"an empty line in bare LF", get, "HTTP/1.1 200 OK\r\nX: a\n\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"CR in the reason", get, "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"},
		{"NUL in a value", get, "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n"},
		{"space before the colon", get, "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"},
		{"folded by a tab", get, "HTTP/1.1 200 OK\r\nX: a\r\n\tb\r\nContent-Length: 0\r\n\r\n"},
		{"a bare LF in an interim answer", get, "HTTP/1.1 103 Early Hints\r\nX: a\nb: c\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	}
	overWays(t, func(t *testing.T, w way) {
		p := startProxy(t, proxyOptions{way: w})
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				p.direct(To{Backend: at(answerOnce(t, tt.answer))})
				got := p.exchange(t, tt.request)
				p.wantError(t, routing.ErrAnswer)
				if !strings.HasPrefix(got, "HTTP/1.1 502 Bad Gateway\r\n") {
					t.Errorf("got %q, want a 502", got)
				}
			})
		}
	})
}

// Interim answers are passed on, but not without end.
func TestTooManyInterimAnswers(t *testing.T) {
	backend := answerOnce(t, strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim+1))
	p := startProxy(t, proxyOptions{to: To{Backend: at(backend)}})
	got := p.exchange(t, get)
	p.wantError(t, routing.ErrAnswer)
	if n := strings.Count(got, "HTTP/1.1 102 Processing\r\n\r\n"); n != maxInterim || !strings.Contains(got, "HTTP/1.1 502 ") {
		t.Errorf("%d interim answers, and %q at the end, want %d and a 502", n, got[max(0, len(got)-300):], maxInterim)
	}
}

// What tells a client of HTTP/1.0 that there is no more to come is the end of the connection, so that
// an answer which is cut off must not end in order.
func TestCutOffAnswerIsResetForOldClients(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		for _, answer := range []string{
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		} {
			p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(answerOnce(t, answer))}})
			c := p.dial(t)
			if err := c.send(get10); err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(c)
			if sized := strings.Contains(answer, "Length"); (err == nil) != sized {
				t.Errorf("of %q got %q, %v, want a reset unless the length tells", answer, b, err)
			}
		}
	})
}

// A client of HTTP/1.0 may stay where a length says how much there is.
func TestOldClientThatStays(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		p := startProxy(t, proxyOptions{way: w, to: To{Backend: at(rawBackend(t, answerNumbers))}})
		c := p.dial(t)
		const want = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n1"
		for range 3 {
			if err := c.send(keep10); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, len(want))
			if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
				t.Fatalf("got %q, %v, want %q", b, err, want)
			}
		}
	})
}
