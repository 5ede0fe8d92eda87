package head

import (
	"net/netip"
	"slices"
	"testing"
)

func TestConnectionNames(t *testing.T) {
	tests := []struct {
		name, block string
		want        []string
	}{
		{"no fields", "", nil},
		{"no Connection", "A: b\r\nProxy-Connection: x\r\n", nil},
		{"plain words", "Connection: close, Keep-Alive\r\nconnection: UPGRADE\r\n", nil},
		{"names", "Connection: keep-alive, X-A,x-b\r\nA: b\r\nCONNECTION: \"c,d\"\r\n", []string{"X-A", "x-b", "\"c,d\""}},
	}
	for _, tt := range tests {
		var got []string
		for _, n := range ConnectionNames([]byte(tt.block)) {
			got = append(got, string(n))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: ConnectionNames(%q) = %q, want %q", tt.name, tt.block, got, tt.want)
		}
	}
}

// A head that is built costs no allocation: neither the common one nor what an operator changes.
func TestAppendAllocatesNothing(t *testing.T) {
	request, answer := appendedRequest(), appendedAnswer()
	edited := appendedAnswer()
	edited.Edit = &Edit{Remove: []string{"Server"}, Set: []Field{field("Cache-Control-That-Has-A-Very-Long-Name", "x")}, Add: []Field{field("X", "y")}}
	dst := make([]byte, 0, 4<<10)
	for name, appendHead := range map[string]func(){
		"Request":                 func() { dst = request.Append(dst[:0]) },
		"AnswerHead":              func() { dst = answer.Append(dst[:0]) },
		"AnswerHead with an edit": func() { dst = edited.Append(dst[:0]) },
		"Response":                func() { dst = answer.Response.Append(dst[:0], nil) },
		"Reserved":                func() { Reserved([]byte("X_Forwarded_Something_That_Is_Very_Long_And_Has_Underscores")) },
	} {
		if n := testing.AllocsPerRun(100, appendHead); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func appendedRequest() *Request {
	line := len("GET /socket?room=42&token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N HTTP/1.1\r\n")
	return &Request{
		Method: []byte("GET"), Target: []byte("/socket"), Fields: []byte(browserHead[line:]), Host: "backend:8080", Upgrade: true,
		Origin: Origin{Peer: netip.MustParseAddr("2001:db8::1"), Proto: "https", Host: "chat.example.com", Port: 8443, Prefix: "/a", Forwarded: true},
	}
}

func appendedAnswer() *AnswerHead {
	return &AnswerHead{Chunked: true, Close: true, Response: &Response{Status: 200, Reason: []byte("OK"), Fields: []byte(
		"Date: Tue, 01 Dec 2026 00:00:00 GMT\r\nServer: nginx/1.28.0\r\nContent-Type: text/html; charset=utf-8\r\nTransfer-Encoding: chunked\r\n" +
			"Connection: keep-alive\r\nVary: Accept-Encoding\r\nETag: \"674c1b2f-2d1\"\r\nCache-Control: max-age=3600\r\n" +
			"Set-Cookie: session=9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c; Path=/; HttpOnly\r\nSet-Cookie: theme=dark\r\n")}}
}

// A browser's handshake on its way to a backend.
func BenchmarkRequestAppend(b *testing.B) {
	r := appendedRequest()
	dst := r.Append(nil)
	b.SetBytes(int64(len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		dst = r.Append(dst[:0])
	}
}

// An answer with ten fields.
func BenchmarkAnswerHeadAppend(b *testing.B) {
	a := appendedAnswer()
	dst := a.Append(nil)
	b.SetBytes(int64(len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		dst = a.Append(dst[:0])
	}
}
