package body

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/iotest"
)

func TestChunks(t *testing.T) {
	tests := []struct {
		name, in, body, trailers string
		err                      error
	}{
		{"one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", "", nil},
		{"several", "5\r\nhello\r\n01\r\n \r\n5\r\nworld\r\n000\r\n\r\n", "hello world", "", nil},
		{"digits in both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", "", nil},
		{"padded size", "5  \r\nhello\r\n0\r\n\r\n", "hello", "", nil},
		{"extensions", "5;a=b\r\nhello\r\n0 ; c=\"d\"\r\n\r\n", "hello", "", nil},
		{"trailers", "0\r\nA: 1\r\nb: 2\r\n\r\n", "", "A: 1\r\nb: 2\r\n", nil},
		{"nothing", "", "", "", io.ErrUnexpectedEOF},
		{"no size", "\r\nhello\r\n", "", "", ErrChunkSize},
		{"signed size", "+5\r\nhello\r\n0\r\n\r\n", "", "", ErrChunkSize},
		{"prefixed size", "0x5\r\nhello\r\n0\r\n\r\n", "", "", ErrChunkSize},
		{"huge size", "8000000000000000\r\n", "", "", ErrChunkSize},
		{"endless size", strings.Repeat("0", 5000) + "\r\n", "", "", ErrChunkSize},
		{"size without CR", "5\nhello\r\n0\r\n\r\n", "", "", ErrChunkSize},
		{"CR in the extension", "5;\ra\r\nhello\r\n0\r\n\r\n", "", "", ErrChunkSize},
		{"no line end behind a chunk", "5\r\nhello0\r\n\r\n", "hello", "", ErrChunkEnd},
		{"LF behind a chunk", "5\r\nhello\n0\r\n\r\n", "hello", "", ErrChunkEnd},
		{"cut off in a chunk", "5\r\nhel", "hel", "", io.ErrUnexpectedEOF},
		{"cut off behind a chunk", "5\r\nhello\r\n", "hello", "", io.ErrUnexpectedEOF},
		{"cut off before the trailers", "0\r\n", "", "", io.ErrUnexpectedEOF},
		{"trailers too large", "0\r\n" + strings.Repeat("A: 1\r\n", 1000) + "\r\n", "", "", ErrTrailers},
	}
	for _, tt := range tests {
		for _, cut := range []struct {
			name string
			r    io.Reader
		}{
			{"whole", strings.NewReader(tt.in)},
			{"byte by byte", iotest.OneByteReader(strings.NewReader(tt.in))},
			{"with pauses", &pausing{r: strings.NewReader(tt.in)}},
		} {
			t.Run(tt.name+"/"+cut.name, func(t *testing.T) {
				c := NewChunks(bufio.NewReader(cut.r))
				body, err := readAll(&c)
				if string(body) != tt.body || !errors.Is(err, tt.err) {
					t.Errorf("got %q, %v, want %q, %v", body, err, tt.body, tt.err)
				}
				if err == nil && string(c.Trailers()) != tt.trailers {
					t.Errorf("trailers %q, want %q", c.Trailers(), tt.trailers)
				}
			})
		}
	}
}

var errPause = errors.New("nothing yet")

// pausing fails before each byte that it gives.
type pausing struct {
	r      io.Reader
	passes bool
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.passes = !p.passes; p.passes {
		return 0, errPause
	}
	return p.r.Read(b[:1])
}

// readAll reads to the end, or to an error that is no pause.
func readAll(r io.Reader) (all []byte, err error) {
	for b := make([]byte, 64); ; {
		n, err := r.Read(b)
		all = append(all, b[:n]...)
		switch {
		case err == io.EOF:
			return all, nil
		case err != nil && err != errPause:
			return all, err
		}
	}
}

func TestMalformedTrailersAreRefused(t *testing.T) {
	for _, trailers := range []string{"A : 1\r\n", " A: 1\r\n", "A: 1\n", "A\r\n", "A: \x00\r\n"} {
		c := NewChunks(bufio.NewReader(strings.NewReader("0\r\n" + trailers + "\r\n")))
		if b, err := io.ReadAll(&c); err == nil {
			t.Errorf("trailers %q: read %q, want an error", trailers, b)
		}
	}
}

// What we take for a chunked body, net/http takes for the same, if for one at all: it refuses white
// space before an extension and bodies that are mostly framing.
func FuzzChunks(f *testing.F) {
	for _, in := range []string{
		"5\r\nhello\r\n0\r\n\r\n", "5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n", "a \r\n0123456789\r\n00\r\n\r\n", "1\r\nx\r\n1\r\ny\r\n0\r\n\r\nrest",
		"5 ; x\r\nhello\r\n0\r\n\r\n",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		br := bufio.NewReader(bytes.NewReader(in))
		c := NewChunks(br)
		got, err := io.ReadAll(&c)
		if err != nil {
			return
		}
		want, err := io.ReadAll(httputil.NewChunkedReader(bufio.NewReader(bytes.NewReader(in))))
		if err == nil && !bytes.Equal(got, want) {
			t.Errorf("%q: got %q, net/http %q", in, got, want)
		}
		cut := NewChunks(bufio.NewReader(iotest.OneByteReader(bytes.NewReader(in))))
		if again, err := io.ReadAll(&cut); err != nil || !bytes.Equal(got, again) {
			t.Errorf("%q: got %q whole, and %q, %v byte by byte", in, got, again, err)
		}
	})
}

func TestChunksAllocateNothing(t *testing.T) {
	const in = "5\r\nhello\r\n5;x=y\r\nworld\r\n"
	r := strings.NewReader("")
	br, buf := bufio.NewReader(r), make([]byte, 100)
	if allocs := testing.AllocsPerRun(100, func() {
		r.Reset(in)
		br.Reset(r)
		c := NewChunks(br)
		if n, err := c.Read(buf); string(buf[:n]) != "helloworld" {
			t.Errorf("got %q, %v", buf[:n], err)
		}
	}); allocs > 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}
