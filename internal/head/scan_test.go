package head

import (
	"errors"
	"strings"
	"testing"
)

func TestScanner(t *testing.T) {
	const line = "GET / HTTP/1.1\r\n"
	long := strings.Repeat("x", maxMethod)
	tests := []struct {
		name   string
		limits Limits
		head   string // up to the byte at fault, or whole
		rest   string // from that on, or what is behind
		err    error
	}{
		{name: "no fields", head: line + "\r\n"},
		{name: "a body behind", head: "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", rest: "abc"},
		{name: "a next head behind", head: line + "Host: a\r\n\r\n", rest: line},
		{name: "HTTP/1.0", head: "GET / HTTP/1.0\r\n\r\n"},
		{name: "an empty line first", head: "\r\n" + line + "Host: a\r\n\r\n"},
		{name: "every byte of a token", head: "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\n!#$%&'*+-.^`|~09azAZ: x\r\n\r\n"},
		{name: "the longest method", head: long + " / HTTP/1.1\r\n\r\n"},
		{name: "targets of all kinds", head: "OPTIONS *#?\\\"~\x80\xff HTTP/1.1\r\n\r\n"},
		{name: "values", head: line + "A:b\r\nB:\r\nC: \r\nD:\t \te \xff\x80\t~ f\t\r\n\r\n"},
		{name: "an underscore that is allowed", limits: Limits{Underscores: true}, head: line + "_a_: b\r\n\r\n"},

		{name: "LF", rest: "\n", err: ErrBareLineEnd},
		{name: "CR and no LF", head: "\r", rest: "GET", err: ErrBareLineEnd},
		{name: "two empty lines first", head: "\r\n", rest: "\r\n" + line, err: ErrRequestLine},
		{name: "a space first", rest: " " + line, err: ErrRequestLine},
		{name: "TLS", rest: "\x16\x03\x01", err: ErrMethodToken},
		{name: "a high byte in the method", head: "GE", rest: "\xd4 /", err: ErrMethodToken},
		{name: "a separator in the method", head: "GE", rest: "(T /", err: ErrMethodToken},
		{name: "a tab behind the method", head: "GET", rest: "\t/", err: ErrMethodToken},
		{name: "a long method", head: long, rest: "x /", err: ErrMethodToken},
		{name: "a method alone", head: "GET", rest: "\r\n", err: ErrRequestLine},
		{name: "a method alone, LF", head: "GET", rest: "\n", err: ErrBareLineEnd},
		{name: "two spaces before the target", head: "GET ", rest: " / HTTP/1.1\r\n", err: ErrRequestLine},
		{name: "a control character in the target", head: "GET /0123456789", rest: "\x1f HTTP/1.1\r\n", err: ErrRequestLine},
		{name: "NUL in the target", head: "GET /", rest: "\x00 HTTP/1.1\r\n", err: ErrRequestLine},
		{name: "DEL in the target", head: "GET /", rest: "\x7f HTTP/1.1\r\n", err: ErrRequestLine},
		{name: "a tab in the target", head: "GET /", rest: "\tHTTP/1.1\r\n", err: ErrRequestLine},
		{name: "HTTP/0.9", head: "GET /", rest: "\r\n", err: ErrRequestLine},
		{name: "HTTP/0.9, LF", head: "GET /", rest: "\n", err: ErrBareLineEnd},
		{name: "two spaces behind the target", head: "GET / ", rest: " HTTP/1.1\r\n", err: ErrRequestLine},
		{name: "a space in the target", head: "GET /a ", rest: "b HTTP/1.1\r\n", err: ErrRequestLine},
		{name: "a fourth word that begins alike", head: "GET /a HTTP", rest: "S HTTP/1.1\r\n", err: ErrRequestLine},
		{name: "no version", head: "GET / ", rest: "\r\n", err: ErrRequestLine},
		{name: "lower case", head: "GET / ", rest: "http/1.1\r\n", err: ErrRequestLine},
		{name: "HTTP/2.0", head: "GET / HTTP/", rest: "2.0\r\n", err: ErrVersion},
		{name: "the preface of HTTP/2", head: "PRI * HTTP/", rest: "2.0\r\n\r\nSM\r\n\r\n", err: ErrVersion},
		{name: "HTTP/1.2", head: "GET / HTTP/1.", rest: "2\r\n", err: ErrVersion},
		{name: "HTTP/1.10", head: "GET / HTTP/1.1", rest: "0\r\n", err: ErrVersion},
		{name: "HTTP/1", head: "GET / HTTP/1", rest: "\r\n", err: ErrVersion},
		{name: "HTTP/1.", head: "GET / HTTP/1.", rest: "\r\n", err: ErrVersion},
		{name: "HTTP/", head: "GET / HTTP/", rest: "\r\n", err: ErrVersion},
		{name: "a space behind the version", head: "GET / HTTP/1.1", rest: " \r\n", err: ErrVersion},
		{name: "LF behind the version", head: "GET / HTTP/1.1", rest: "\n", err: ErrBareLineEnd},
		{name: "CR behind the version", head: "GET / HTTP/1.1\r", rest: "\r\n", err: ErrBareLineEnd},

		{name: "a first line that is folded", head: line, rest: " A: b\r\n", err: ErrFolded},
		{name: "folded with a tab", head: line + "A: b\r\n", rest: "\tc\r\n", err: ErrFolded},
		{name: "a line that is only white space", head: line + "A: b\r\n", rest: " \r\n", err: ErrFolded},
		{name: "an empty name", head: line, rest: ": b\r\n", err: ErrName},
		{name: "no colon", head: line + "A", rest: "\r\n", err: ErrName},
		{name: "no colon, LF", head: line + "A", rest: "\n", err: ErrBareLineEnd},
		{name: "a space before the colon", head: line + "Transfer-Encoding", rest: " : chunked\r\n", err: ErrName},
		{name: "a space in a name", head: line + "X", rest: " A: b\r\n", err: ErrName},
		{name: "a high byte in a name", head: line + "X", rest: "\xe9: b\r\n", err: ErrName},
		{name: "NUL in a name", head: line + "X", rest: "\x00: b\r\n", err: ErrName},
		{name: "a control character before a name", head: line, rest: "\x0bX: b\r\n", err: ErrName},
		{name: "a separator in a name", head: line + "X", rest: "(y): b\r\n", err: ErrName},
		{name: "an underscore in a name", head: line + "X", rest: "_A: b\r\n", err: ErrUnderscore},
		{name: "an underscore first", head: line, rest: "_A: b\r\n", err: ErrUnderscore},
		{name: "a bare LF behind a value", head: line + "A: b", rest: "\nC: d\r\n", err: ErrBareLineEnd},
		{name: "a bare CR in a value", head: line + "A: b\r", rest: "C: d\r\n", err: ErrBareLineEnd},
		{name: "CR CR LF", head: line + "A: b\r", rest: "\r\n", err: ErrBareLineEnd},
		{name: "NUL in a value", head: line + "A: 0123456789", rest: "\x00\r\n", err: ErrValue},
		{name: "an escape in a value", head: line + "A: ", rest: "\x1b[1m\r\n", err: ErrValue},
		{name: "DEL in a value", head: line + "A: \xff\xff\xff\xff\xff\xff\xff\xff~", rest: "\x7f\r\n", err: ErrValue},
		{name: "an empty line in LF", head: line + "A: b\r\n", rest: "\n", err: ErrBareLineEnd},
		{name: "an empty line in CR", head: line + "A: b\r\n\r", rest: "\r\n", err: ErrBareLineEnd},

		{name: "a size that is just enough", limits: Limits{Size: 18}, head: line + "\r\n", rest: "body"},
		{name: "with an empty line first", limits: Limits{Size: 20}, head: "\r\n" + line + "\r\n"},
		{name: "a size too small by one", limits: Limits{Size: 17}, head: line + "\r", rest: "\n", err: ErrHeadSize},
		{name: "a size that ends in a value", limits: Limits{Size: 20}, head: line + "A: b", rest: "c\r\n\r\n", err: ErrHeadSize},
		{name: "a fault behind the size", limits: Limits{Size: 20}, head: line + "A: b", rest: "\n", err: ErrHeadSize},
		{name: "a fault before the size", limits: Limits{Size: 21}, head: line + "A: b", rest: "\n", err: ErrBareLineEnd},
		{name: "a target that is just short enough", limits: Limits{Target: 3}, head: "GET /ab HTTP/1.1\r\n\r\n"},
		{name: "a target too long by one", limits: Limits{Target: 3}, head: "GET /ab", rest: "c HTTP/1.1\r\n", err: ErrTargetSize},
		{name: "a target too long, at the size", limits: Limits{Size: 7, Target: 3}, head: "GET /ab", rest: "c", err: ErrTargetSize},
		{name: "a target that is not over, at the size", limits: Limits{Size: 7, Target: 4}, head: "GET /ab", rest: "c", err: ErrHeadSize},
		{name: "a target that is over, at the size", limits: Limits{Size: 7, Target: 3}, head: "GET /ab", rest: " ", err: ErrHeadSize},
		{name: "a fault at the target's limit", limits: Limits{Target: 3}, head: "GET /ab", rest: "\x00", err: ErrRequestLine},
		{name: "fields that are just few enough", limits: Limits{Fields: 2}, head: line + "A: b\r\nA: b\r\n\r\n"},
		{name: "one field too many", limits: Limits{Fields: 2}, head: line + "A: b\r\nA: b\r\n", rest: "A: b\r\n", err: ErrFieldCount},
		{name: "a folded line is no field", limits: Limits{Fields: 1}, head: line + "A: b\r\n", rest: " c\r\n", err: ErrFolded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stream := []byte(tt.head + tt.rest)
			for size := 1; size <= len(stream); size++ {
				n, done, err := scanPieces(stream, size, &tt.limits)
				if n != len(tt.head) || done != (tt.err == nil) || !errors.Is(err, tt.err) {
					t.Errorf("%q in pieces of %d: %d, %v, %v, want %d, %v", stream, size, n, done, err, len(tt.head), tt.err)
				}
			}
		})
	}
}

// scanPieces scans stream in pieces of one size and says at which byte of it the head ends or fails.
func scanPieces(stream []byte, size int, l *Limits) (n int, done bool, err error) {
	var s Scanner
	for n < len(stream) && !done && err == nil {
		m := 0
		m, done, err = s.Scan(stream[n:min(len(stream), n+size)], l)
		n += m
	}
	return n, done, err
}

func TestScannerWaitsForMore(t *testing.T) {
	const head = "\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n"
	for size := range len(head) {
		var s Scanner
		if n, done, err := s.Scan([]byte(head[:size]), &Limits{Size: len(head)}); n != size || done || err != nil {
			t.Errorf("Scan(%q) = %d, %v, %v", head[:size], n, done, err)
		}
		if s.Begun() != (size > 0) {
			t.Errorf("Begun() = %v behind %d bytes", s.Begun(), size)
		}
	}
}

func TestScannerRepeatsItsVerdictUntilReset(t *testing.T) {
	var s Scanner
	for _, tt := range []struct {
		head string
		done bool
		err  error
	}{{"GET / HTTP/1.1\r\n\r\n", true, nil}, {"\n", false, ErrBareLineEnd}, {"GET / HTTP/1.1\r\nA: b\r\n\r\n", true, nil}} {
		if s.Reset(); s.Begun() {
			t.Error("Begun() behind Reset")
		}
		for range 2 {
			if _, done, err := s.Scan([]byte(tt.head), &Limits{}); done != tt.done || !errors.Is(err, tt.err) {
				t.Errorf("Scan(%q) = %v, %v, want %v, %v", tt.head, done, err, tt.done, tt.err)
			}
			if !s.Begun() {
				t.Errorf("not Begun() behind %q", tt.head)
			}
		}
	}
}

func TestPlain(t *testing.T) {
	for _, least := range []byte{' ', '!', 0, 0x80} {
		for c := range 256 {
			for at := range 20 {
				b := []byte("\xff~\x80~~~~~\xff~~~~~~~~~~~")
				b[at] = byte(c)
				want := 0
				for want < len(b) && b[want] >= least && b[want] != 0x7f {
					want++
				}
				if got := plain(b, least); got != want {
					t.Errorf("plain(%q, %#x) = %d, want %d", b, least, got, want)
				}
			}
		}
	}
}

const browserHead = "GET /socket?room=42&token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N HTTP/1.1\r\n" +
	"Host: chat.example.com\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Sec-WebSocket-Version: 13\r\nOrigin: https://chat.example.com\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Connection: keep-alive, Upgrade\r\nCookie: session=9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c; theme=dark; consent=1\r\n" +
	"Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: websocket\r\nSec-Fetch-Site: same-origin\r\n" +
	"Pragma: no-cache\r\nCache-Control: no-cache\r\nUpgrade: websocket\r\n\r\n"

func TestScannerAllocatesNothing(t *testing.T) {
	var s Scanner
	l := Limits{Size: 16 << 10, Target: 8 << 10, Fields: 100}
	if n := testing.AllocsPerRun(100, func() {
		s.Reset()
		_, _, _ = s.Scan([]byte(browserHead), &l)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A browser's handshake in one piece.
func BenchmarkScanner(b *testing.B) {
	head := []byte(browserHead)
	l := Limits{Size: 16 << 10, Target: 8 << 10, Fields: 100}
	var s Scanner
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		s.Reset()
		if _, done, _ := s.Scan(head, &l); !done {
			b.Fatal("not done")
		}
	}
}
