package head

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"reflect"
	"testing"
)

// Any cut of a stream gives what the whole gives, and what Scanner passes, Check passes and net/http
// reads alike: method, target, version and fields.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		"GET /a?b=%20 HTTP/1.1\r\nHost: a:80\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n\x81\x80",
		"\r\nPOST / HTTP/1.0\r\nX:y \r\nx: \tz\r\n\r\nabcGET",
		"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nX_Y: a\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\r\n\r\n",
		"GET http://a/x HTTP/1.2\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\r\nX: b\r\n c\r\n\r\n",
		"GET /%zz# HTTP/1.1\r\nX Y: b\r\nTransfer-Encoding : chunked\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\x00\r\nB: c\rd\r\n\r\n",
	} {
		f.Add([]byte(seed), 0, 0, uint8(0), false)
		f.Add([]byte(seed), 30, 5, uint8(1), true)
	}
	f.Fuzz(func(t *testing.T, stream []byte, size, target int, fields uint8, underscores bool) {
		l := Limits{Size: max(0, size), Target: max(0, target), Fields: int(fields), Underscores: underscores}
		n, done, err := scanPieces(stream, max(1, len(stream)), &l)
		checkCuts(t, stream, &l, n, done, err)
		if err != nil && (done || n >= len(stream)) || !done && err == nil && n != len(stream) {
			t.Fatalf("Scan(%q) = %d, %v, %v", stream, n, done, err)
		}
		if !done {
			return
		}
		if l.Size > 0 && n > l.Size {
			t.Errorf("%q: %d bytes with a limit of %d", stream, n, l.Size)
		}
		compareWithNetHTTP(t, bytes.TrimPrefix(stream[:n], crlf), &l)
	})
}

// checkCuts scans the stream in two pieces, for every two, and in single bytes.
func checkCuts(t *testing.T, stream []byte, l *Limits, n int, done bool, err error) {
	if m, d, e := scanPieces(stream, 1, l); m != n || d != done || !errors.Is(e, err) {
		t.Errorf("%q in ones: %d, %v, %v, in one piece %d, %v, %v", stream, m, d, e, n, done, err)
	}
	for cut := range min(len(stream), 256) {
		var s Scanner
		m, d, e := s.Scan(stream[:cut], l)
		if !d && e == nil {
			var more int
			more, d, e = s.Scan(stream[cut:], l)
			m += more
		}
		if m != n || d != done || !errors.Is(e, err) {
			t.Errorf("%q cut at %d: %d, %v, %v, in one piece %d, %v, %v", stream, cut, m, d, e, n, done, err)
		}
		if s.Begun() != (len(stream) > 0) {
			t.Errorf("%q cut at %d: Begun() = %v", stream, cut, s.Begun())
		}
	}
}

func compareWithNetHTTP(t *testing.T, head []byte, l *Limits) {
	line, block, _ := bytes.Cut(head, crlf)
	if err := Check(block); err != nil {
		t.Fatalf("Check refuses %q: %v", block, err)
	}
	words := bytes.Split(line, []byte(" "))
	if len(words) != 3 {
		t.Fatalf("%q: %d words", line, len(words))
	}
	if l.Target > 0 && len(words[1]) > l.Target {
		t.Errorf("%q: a target longer than %d", line, l.Target)
	}
	// What a target says is the gate's to judge, and net/http judges it and what frames the body.
	if _, err := url.ParseRequestURI(string(words[1])); err != nil || string(words[0]) == http.MethodConnect {
		words[1] = []byte("/")
	}
	plain := append(bytes.Join(words, []byte(" ")), crlf...)
	count := 0
	want := make(http.Header)
	for field := range Fields(block) {
		count++
		if field.Is("Host") || field.Is("Content-Length") || field.Is("Transfer-Encoding") || field.Is("Trailer") {
			continue
		}
		if !l.Underscores && bytes.IndexByte(field.Name, '_') >= 0 {
			t.Errorf("an underscore in %q", field.Name)
		}
		plain = AppendField(plain, field.Name, field.Value)
		name := textproto.CanonicalMIMEHeaderKey(string(field.Name))
		want[name] = append(want[name], string(field.Value))
	}
	if l.Fields > 0 && count > l.Fields {
		t.Errorf("%d fields with a limit of %d", count, l.Fields)
	}
	if _, ok := want["Cache-Control"]; !ok && len(want["Pragma"]) > 0 && want["Pragma"][0] == "no-cache" {
		want.Set("Cache-Control", "no-cache") // net/http adds it
	}
	plain = append(plain, crlf...)
	got, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(plain)))
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", plain, err)
	}
	if got.Method != string(words[0]) || got.RequestURI != string(words[1]) || got.Proto != string(words[2]) {
		t.Errorf("%q: net/http reads %q %q %q", line, got.Method, got.RequestURI, got.Proto)
	}
	if !reflect.DeepEqual(got.Header, want) {
		t.Errorf("%q: fields %q, net/http %q", plain, want, got.Header)
	}
}
