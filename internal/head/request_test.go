package head

import (
	"net/netip"
	"testing"
)

func TestRequestAppend(t *testing.T) {
	const forwarded = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: site.test\r\n\r\n"
	upgrade := func(r *Request) { r.Upgrade = true }
	tests := []struct {
		name   string
		change func(*Request)
		fields string
		want   string // behind the request line and before what the proxy adds
	}{
		{name: "order, spelling and duplicates stay",
			fields: "b: 1\r\nHOST: site.test\r\nA: 2\r\nb: 3\r\n\r\n",
			want:   "b: 1\r\nHOST: site.test\r\nA: 2\r\nb: 3\r\n"},
		{name: "cookies stay as they are",
			fields: "Host: site.test\r\nCookie: a=b; c=\"d, e\"\r\nCookie: f=g\r\n",
			want:   "Host: site.test\r\nCookie: a=b; c=\"d, e\"\r\nCookie: f=g\r\n"},
		{name: "white space around values is made one space",
			fields: "Host:site.test\r\nA: \t b \r\nB:\r\n",
			want:   "Host: site.test\r\nA: b\r\nB: \r\n"},
		{name: "hop-by-hop fields go",
			fields: "Host: site.test\r\nConnection: close\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\n" +
				"Trailer: A\r\nUpgrade: h2c\r\nProxy-Authorization: Basic x\r\nA: b\r\n",
			want: "Host: site.test\r\nA: b\r\n"},
		{name: "Expect is the backend's to answer",
			fields: "Host: site.test\r\nexpect: 100-Continue\r\nContent-Length: 3\r\n",
			want:   "Host: site.test\r\nexpect: 100-Continue\r\nContent-Length: 3\r\n"},
		{name: "but not that of a handshake",
			change: upgrade,
			fields: "Host: site.test\r\nExpect: 100-continue\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
			want:   "Host: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"},
		{name: "a field that is called like a plain word of Connection",
			fields: "Host: site.test\r\nConnection: close, Keep-Alive, UPGRADE, x\r\nClose: 1\r\nKeep-Alive: 2\r\nUpgrade: a\r\nX: 3\r\n",
			want:   "Host: site.test\r\nClose: 1\r\n"},
		{name: "fields that Connection names go",
			fields: "X-One: 1\r\nHost: site.test\r\nConnection: x-one, X-TWO\r\nX-Two: 2\r\nConnection: X-Three\r\n" +
				"X-Three: 3\r\nX-Four: 4\r\n",
			want: "Host: site.test\r\nX-Four: 4\r\n"},
		{name: "what frames a body stays, whatever Connection says",
			fields: "Host: site.test\r\nConnection: Content-Length, Transfer-Encoding, Host\r\nContent-Length: 03\r\n",
			want:   "Host: site.test\r\nContent-Length: 03\r\n"},
		{name: "chunked stays",
			fields: "Host: site.test\r\ntransfer-encoding: Chunked\r\n",
			want:   "Host: site.test\r\ntransfer-encoding: Chunked\r\n"},
		{name: "nobody else says where it came from",
			fields: "X-Forwarded-For: 10.0.0.1\r\nx-forwarded-proto: ftp\r\nX_Forwarded_For: 10.0.0.2\r\n" +
				"X-Forwarded_Host: evil\r\nX-Forwarded-Anything: x\r\nForwarded: for=10.0.0.3\r\nHost: site.test\r\n" +
				"X-Forwarded: y\r\n",
			want: "Host: site.test\r\nX-Forwarded: y\r\n"},
		{name: "nor who it is",
			fields: "X-Client-Cert-Subject: CN=root\r\nx_client_cert_san: DNS:root\r\nClient-Cert: :AA==:\r\nHost: site.test\r\n",
			want:   "Host: site.test\r\n"},
		{name: "Host is replaced where it stands",
			change: func(r *Request) { r.Host = "backend:81" },
			fields: "A: b\r\nhost: site.test\r\nC: d\r\n",
			want:   "A: b\r\nhost: backend:81\r\nC: d\r\n"},
		{name: "Host is added where there is none",
			change: func(r *Request) { r.Host = "backend:81" },
			fields: "A: b\r\n",
			want:   "A: b\r\nHost: backend:81\r\n"},
		{name: "a handshake keeps Connection and Upgrade, once, where they stood",
			change: upgrade,
			fields: "connection: keep-alive\r\nHost: site.test\r\nUPGRADE: h2c, WebSocket\r\nConnection: Upgrade\r\n" +
				"upgrade: websocket\r\nSec-WebSocket-Key: k\r\n",
			want: "connection: Upgrade\r\nHost: site.test\r\nUPGRADE: websocket\r\nSec-WebSocket-Key: k\r\n"},
		{name: "a handshake drops what Connection names and what frames a body",
			change: upgrade,
			fields: "Host: site.test\r\nConnection: upgrade, X-One\r\nUpgrade: websocket\r\nX-One: 1\r\nContent-Length: 0\r\n" +
				"Keep-Alive: 1\r\n",
			want: "Host: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"},
		{name: "a handshake keeps subprotocols and extensions",
			change: upgrade,
			fields: "Host: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: b, a\r\n" +
				"Sec-WebSocket-Protocol: c\r\nSec-WebSocket-Extensions: permessage-deflate; x=\"1,2\", foo\r\n",
			want: "Host: site.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: b, a\r\n" +
				"Sec-WebSocket-Protocol: c\r\nSec-WebSocket-Extensions: permessage-deflate; x=\"1,2\", foo\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Check([]byte(tt.fields)); err != nil {
				t.Fatalf("Check(%q) = %v", tt.fields, err)
			}
			r := Request{
				Method: []byte("PATCH"), Target: []byte("/a%20b//c?x=%zz&y#"), Fields: []byte(tt.fields),
				Origin: Origin{Peer: netip.MustParseAddr("192.0.2.7"), Proto: "https", Host: "site.test"},
			}
			if tt.change != nil {
				tt.change(&r)
			}
			want := "before PATCH /a%20b//c?x=%zz&y# HTTP/1.1\r\n" + tt.want + forwarded
			if got := string(r.Append([]byte("before "))); got != want {
				t.Errorf("Append:\n%q, want\n%q", got, want)
			}
		})
	}
}

func TestRequestAppendWithoutClientHost(t *testing.T) {
	r := Request{Method: []byte("GET"), Target: []byte("/"), Host: "b:1", Origin: Origin{Peer: netip.IPv6Loopback(), Proto: "http"}}
	want := "GET / HTTP/1.1\r\nHost: b:1\r\nX-Forwarded-For: ::1\r\nX-Forwarded-Proto: http\r\n\r\n"
	if got := string(r.Append(nil)); got != want {
		t.Errorf("Append:\n%q, want\n%q", got, want)
	}
}
