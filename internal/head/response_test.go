package head

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestPeekResponse(t *testing.T) {
	tests := []struct {
		name, stream string
		status       int
		reason       string
		minor        int
		fields       string
		err          error
	}{
		{"plain", "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\nbody", 200, "OK", 1, "A: b\r\nC: d\r\n", nil},
		{"no fields", "HTTP/1.1 404 Not Found\r\n\r\n", 404, "Not Found", 1, "", nil},
		{"no reason", "HTTP/1.1 200 \r\n\r\n", 200, "", 1, "", nil},
		{"no reason and no space", "HTTP/1.1 200\r\n\r\n", 200, "", 1, "", nil},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", 200, "OK", 0, "", nil},
		{"high bytes in the reason", "HTTP/1.1 500 \xe4\r\n\r\n", 500, "\xe4", 1, "", nil},
		{"100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 100, "Continue", 1, "", nil},
		{"999", "HTTP/1.1 999 \r\n\r\n", 999, "", 1, "", nil},

		{name: "nothing", stream: "", err: io.EOF},
		{name: "cut in the status line", stream: "HTTP/1.", err: io.ErrUnexpectedEOF},
		{name: "cut in a field", stream: "HTTP/1.1 200 OK\r\nA: b", err: io.ErrUnexpectedEOF},
		{name: "cut before the empty line", stream: "HTTP/1.1 200 OK\r\nA: b\r\n", err: io.ErrUnexpectedEOF},
		{name: "cut in the empty line", stream: "HTTP/1.1 200 OK\r\nA: b\r\n\r", err: io.ErrUnexpectedEOF},
		{name: "only LF", stream: "HTTP/1.1 200 OK\n\n", err: ErrBareLineEnd},
		{name: "status 099", stream: "HTTP/1.1 099 X\r\n\r\n", err: ErrStatusLine},
		{name: "status of two digits", stream: "HTTP/1.1 20 X\r\n\r\n", err: ErrStatusLine},
		{name: "status of four digits", stream: "HTTP/1.1 2000 X\r\n\r\n", err: ErrStatusLine},
		{name: "status not a number", stream: "HTTP/1.1 2x0 X\r\n\r\n", err: ErrStatusLine},
		{name: "signed status", stream: "HTTP/1.1 +20 X\r\n\r\n", err: ErrStatusLine},
		{name: "two spaces", stream: "HTTP/1.1  200 X\r\n\r\n", err: ErrStatusLine},
		{name: "HTTP/2", stream: "HTTP/2.0 200 X\r\n\r\n", err: ErrStatusLine},
		{name: "HTTP/1.2", stream: "HTTP/1.2 200 X\r\n\r\n", err: ErrStatusLine},
		{name: "lower case", stream: "http/1.1 200 X\r\n\r\n", err: ErrStatusLine},
		{name: "ICY", stream: "ICY 200 OK\r\n\r\n", err: ErrStatusLine},
		{name: "an empty line first", stream: "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", err: ErrStatusLine},
		{name: "a control character in the reason", stream: "HTTP/1.1 200 a\x01b\r\n\r\n", err: ErrStatusLine},
		{name: "bare LF behind the status line", stream: "HTTP/1.1 200 OK\nA: b\r\n\r\n", err: ErrBareLineEnd},
		{name: "bare LF behind a field", stream: "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", err: ErrBareLineEnd},
		{name: "a folded field", stream: "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", err: ErrFolded},
		{name: "a space before the colon", stream: "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", err: ErrName},
		{name: "NUL in a value", stream: "HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", err: ErrValue},
	}
	for _, tt := range tests {
		for _, cut := range []struct {
			name string
			r    io.Reader
		}{
			{"whole", strings.NewReader(tt.stream)},
			{"one byte at a time", iotest.OneByteReader(strings.NewReader(tt.stream))},
			{"with the end at once", iotest.DataErrReader(strings.NewReader(tt.stream))},
		} {
			t.Run(tt.name+", "+cut.name, func(t *testing.T) {
				br := bufio.NewReader(cut.r)
				r, err := PeekResponse(br)
				if !errors.Is(err, tt.err) {
					t.Fatalf("PeekResponse(%q): error %v, want %v", tt.stream, err, tt.err)
				}
				if err != nil {
					return
				}
				if r.Status != tt.status || string(r.Reason) != tt.reason || r.Minor != tt.minor || string(r.Fields) != tt.fields {
					t.Errorf("PeekResponse(%q) = %d %q minor %d fields %q, want %d %q minor %d fields %q", tt.stream,
						r.Status, r.Reason, r.Minor, r.Fields, tt.status, tt.reason, tt.minor, tt.fields)
				}
				size := strings.Index(tt.stream, "\r\n\r\n") + 4
				if r.Size != size {
					t.Errorf("Size = %d, want %d", r.Size, size)
				}
				if _, err := br.Discard(r.Size); err != nil {
					t.Fatal(err)
				}
				if rest, _ := io.ReadAll(br); string(rest) != tt.stream[size:] {
					t.Errorf("behind the head: %q, want %q", rest, tt.stream[size:])
				}
			})
		}
	}
}

func TestPeekResponseLimit(t *testing.T) {
	const size = 64 // of the reader, and so the limit
	stream := func(length int) string {
		const line = "HTTP/1.1 200 "
		return line + strings.Repeat("x", length-len(line)-4) + "\r\n\r\n"
	}
	for _, tt := range []struct {
		length int
		want   error
	}{{size - 1, nil}, {size, nil}, {size + 1, ErrTooLarge}, {10 * size, ErrTooLarge}} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(stream(tt.length)),
			"ones":  iotest.OneByteReader(strings.NewReader(stream(tt.length))),
		} {
			if _, err := PeekResponse(bufio.NewReaderSize(r, size)); !errors.Is(err, tt.want) {
				t.Errorf("PeekResponse of %d bytes with a limit of %d, %s: %v, want %v", tt.length, size, name, err, tt.want)
			}
		}
	}
}

func TestPeekResponsePassesOnTheReadersError(t *testing.T) {
	broken := errors.New("reset")
	for _, start := range []string{"", "HTTP/1.1 2"} {
		br := bufio.NewReader(io.MultiReader(strings.NewReader(start), iotest.ErrReader(broken)))
		if _, err := PeekResponse(br); !errors.Is(err, broken) {
			t.Errorf("PeekResponse behind %q: %v, want %v", start, err, broken)
		}
	}
}

func TestResponseAppend(t *testing.T) {
	tests := []struct{ name, stream, want string }{
		{"order and spelling stay",
			"HTTP/1.1 101 Sure\r\nsec-websocket-ACCEPT: x\r\nSet-Cookie: a=1\r\nupgrade: WebSocket\r\nDate: today\r\n" +
				"Set-Cookie: b=2\r\nconnection: Upgrade\r\nServer: odd\r\n\r\n",
			"HTTP/1.1 101 Sure\r\nsec-websocket-ACCEPT: x\r\nSet-Cookie: a=1\r\nupgrade: websocket\r\nDate: today\r\n" +
				"Set-Cookie: b=2\r\nconnection: Upgrade\r\nServer: odd\r\n\r\n"},
		{"no reason", "HTTP/1.1 101\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 101 \r\nUpgrade: websocket\r\n\r\n"},
		{"hop-by-hop, a body's length and what Connection names go",
			"HTTP/1.1 101 X\r\nConnection: upgrade, x-hop\r\nX-Hop: 1\r\nContent-Length: 0\r\nKeep-Alive: 5\r\n" +
				"Upgrade: websocket\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\nA: b\r\n\r\n",
			"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := PeekResponse(bufio.NewReader(strings.NewReader(tt.stream)))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(r.Append(nil, nil)); got != tt.want {
				t.Errorf("Append:\n%q, want\n%q", got, tt.want)
			}
		})
	}
}
