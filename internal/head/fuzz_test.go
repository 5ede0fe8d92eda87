package head

import (
	"bufio"
	"bytes"
	"net/http"
	"net/textproto"
	"reflect"
	"strings"
	"testing"
)

// What we accept as a response's head, net/http reads alike.
func FuzzPeekResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nA: b\r\na: c\r\nContent-Length: 2\r\n\r\nhi",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n\x81\x00",
		"HTTP/1.0 302\r\nLocation:/\r\n\r\n",
		"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\nA: b\n\n",
		"HTTP/1.1 204 No\r\n\tA: b\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		r, err := PeekResponse(bufio.NewReader(bytes.NewReader(stream)))
		if err != nil {
			return
		}
		if r.Size > len(stream) || !bytes.HasSuffix(stream[:r.Size], []byte("\r\n\r\n")) {
			t.Fatalf("Size = %d of %q", r.Size, stream)
		}
		// net/http judges the framing of the body as well, which is not the head's: without those
		// fields it must accept.
		plain := bytes.Clone(stream[:r.Size-len(r.Fields)-len(crlf)])
		fields := make(http.Header)
		for field := range Fields(r.Fields) {
			if field.Is("Content-Length") || field.Is("Transfer-Encoding") || field.Is("Trailer") {
				continue
			}
			plain = AppendField(plain, field.Name, field.Value)
			name := textproto.CanonicalMIMEHeaderKey(string(field.Name))
			fields[name] = append(fields[name], string(field.Value))
		}
		if _, ok := fields["Cache-Control"]; !ok && reflect.DeepEqual(fields["Pragma"], []string{"no-cache"}) {
			fields.Set("Cache-Control", "no-cache") // net/http adds it
		}
		plain = append(plain, "\r\n"...)
		other, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(plain)), nil)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", plain, err)
		}
		defer other.Body.Close()
		if other.StatusCode != r.Status || other.ProtoMinor != r.Minor {
			t.Errorf("%q: status %d minor %d, net/http %d, %d", plain, r.Status, r.Minor, other.StatusCode, other.ProtoMinor)
		}
		// net/http's Status is the code and the reason with what surrounds both trimmed.
		if _, reason, _ := strings.Cut(other.Status, " "); strings.TrimLeft(string(r.Reason), " ") != strings.TrimLeft(reason, " ") {
			t.Errorf("%q: reason %q, net/http %q", plain, r.Reason, reason)
		}
		if !reflect.DeepEqual(fields, other.Header) {
			t.Errorf("%q: fields %q, net/http %q", plain, fields, other.Header)
		}
	})
}

// What Check passes is the same block when it is taken apart and put together again, and net/http
// reads the same fields.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"", "A: b\r\n", "A:b\r\nB: \tc \r\n\r\n", "A: b\r\n c\r\n", "A : b\r\n", "A: b\nC: d\r\n", ":\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		if Check(block) != nil {
			return
		}
		var rebuilt []byte
		fields := make(http.Header)
		for field := range Fields(block) {
			rebuilt = AppendField(rebuilt, field.Name, field.Value)
			name := textproto.CanonicalMIMEHeaderKey(string(field.Name))
			fields[name] = append(fields[name], string(field.Value))
		}
		if err := Check(rebuilt); err != nil {
			t.Errorf("Check(%q) = %v, from %q", rebuilt, err, block)
		}
		for _, b := range [][]byte{block, rebuilt} {
			if !bytes.HasSuffix(b, []byte("\r\n\r\n")) {
				b = append(bytes.Clone(b), "\r\n"...)
			}
			other, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(b))).ReadMIMEHeader()
			if err != nil {
				t.Fatalf("net/textproto refuses %q: %v", b, err)
			}
			if len(fields)+len(other) > 0 && !reflect.DeepEqual(fields, http.Header(other)) {
				t.Errorf("%q: fields %q, net/textproto %q", b, fields, other)
			}
		}
	})
}
