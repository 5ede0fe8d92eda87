package head

import (
	"bufio"
	"strings"
	"testing"
)

func TestAnswerHeadAppend(t *testing.T) {
	tests := []struct {
		name, stream string
		head         AnswerHead
		want         string
	}{
		{name: "order, spelling and duplicates stay",
			stream: "HTTP/1.1 200 Fine\r\nset-cookie: a=1\r\nDATE: today\r\nServer: odd\r\nSet-Cookie: b=2\r\nX-Empty:\r\n" +
				"content-type: a/b\r\nContent-Encoding: x\r\nContent-Encoding: y\r\ncontent-LENGTH: 3\r\nContent-Type: c/d\r\n\r\n",
			want: "HTTP/1.1 200 Fine\r\nset-cookie: a=1\r\nDATE: today\r\nServer: odd\r\nSet-Cookie: b=2\r\nX-Empty: \r\n" +
				"content-type: a/b\r\nContent-Encoding: x\r\nContent-Encoding: y\r\ncontent-LENGTH: 3\r\nContent-Type: c/d\r\n\r\n"},
		{name: "no reason", stream: "HTTP/1.1 204\r\n\r\n", want: "HTTP/1.1 204 \r\n\r\n"},
		{name: "HTTP/1.0", stream: "HTTP/1.0 404 No\r\nA: b\r\n\r\n", want: "HTTP/1.1 404 No\r\nA: b\r\n\r\n"},
		{name: "early hints", stream: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", want: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"},
		{name: "hop-by-hop fields go",
			stream: "HTTP/1.1 426 Upgrade Required\r\nConnection: close, X-Hop\r\nUpgrade: h2c\r\nKeep-Alive: timeout=5\r\nx-hop: 1\r\n" +
				"Trailer: X\r\nProxy-Connection: a\r\nProxy-Authenticate: Basic\r\nTE: x\r\nA: b\r\n\r\n",
			want: "HTTP/1.1 426 Upgrade Required\r\nA: b\r\n\r\n"},
		{name: "a request's fields mean nothing here",
			stream: "HTTP/1.1 200 OK\r\nHost: a\r\nExpect: b\r\nX-Forwarded-For: c\r\nForwarded: d\r\nClient-Cert: e\r\n\r\n",
			want:   "HTTP/1.1 200 OK\r\nHost: a\r\nExpect: b\r\nX-Forwarded-For: c\r\nForwarded: d\r\nClient-Cert: e\r\n\r\n"},

		{name: "one length", stream: "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nA: b\r\nContent-Length: 3\r\n\r\n",
			want: "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nA: b\r\n\r\n"},
		{name: "a length that Connection names", stream: "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 3\r\n\r\n",
			want: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"},
		{name: "no length", stream: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\nContent-Length: 3\r\n\r\n", head: AnswerHead{DropLength: true},
			want: "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"},
		{name: "chunks that end here", stream: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nA: b\r\n\r\n",
			want: "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"},
		{name: "chunks", stream: "HTTP/1.1 200 OK\r\ntrailer: X\r\ntransfer-ENCODING: Chunked\r\nA: b\r\nTrailer: Y\r\n\r\n", head: AnswerHead{Chunked: true},
			want: "HTTP/1.1 200 OK\r\ntrailer: X\r\ntransfer-ENCODING: chunked\r\nA: b\r\nTrailer: Y\r\n\r\n"},
		{name: "chunks twice, and named", head: AnswerHead{Chunked: true},
			stream: "HTTP/1.1 200 OK\r\nConnection: Transfer-Encoding, trailer\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n",
			want:   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{name: "chunks of a body that had none", stream: "HTTP/1.0 200 OK\r\nA: b\r\n\r\n", head: AnswerHead{Chunked: true},
			want: "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{name: "chunks of a body that had a length", stream: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\n\r\n", head: AnswerHead{Chunked: true},
			want: "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"},

		{name: "close", stream: "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nA: b\r\n\r\n", head: AnswerHead{Close: true},
			want: "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n"},
		{name: "keep alive", stream: "HTTP/1.1 200 OK\r\nConnection: close\r\nA: b\r\n\r\n", head: AnswerHead{KeepAlive: true},
			want: "HTTP/1.1 200 OK\r\nA: b\r\nConnection: keep-alive\r\n\r\n"},
		{name: "close rather than keep alive", stream: "HTTP/1.1 200 OK\r\n\r\n", head: AnswerHead{Close: true, KeepAlive: true},
			want: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
		{name: "all of it", stream: "HTTP/1.1 200 OK\r\nDate: a\r\nX-Powered-By: b\r\nServer: c\r\n\r\n",
			head: AnswerHead{Chunked: true, Close: true, Edit: &Edit{
				Remove: []string{"x-powered-by"}, Set: []Field{field("server", "s"), field("X-Frame-Options", "DENY")}, Add: []Field{field("Date", "d")}}},
			want: "HTTP/1.1 200 OK\r\nDate: a\r\nserver: s\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nX-Frame-Options: DENY\r\nDate: d\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := PeekResponse(bufio.NewReader(strings.NewReader(tt.stream)))
			if err != nil {
				t.Fatal(err)
			}
			tt.head.Response = &r
			if got := string(tt.head.Append([]byte("before "))); got != "before "+tt.want {
				t.Errorf("Append:\n%q, want\n%q", got, tt.want)
			}
		})
	}
}
