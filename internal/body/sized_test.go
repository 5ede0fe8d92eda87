package body

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSized(t *testing.T) {
	for _, tt := range []struct {
		name, in, body, rest string
		length               int64
		err                  error
	}{
		{"all there is", "hello", "hello", "", 5, nil},
		{"something behind it", "hello, world", "hello", ", world", 5, nil},
		{"one byte", "xy", "x", "y", 1, nil},
		{"cut off", "hell", "hell", "", 5, io.ErrUnexpectedEOF},
		{"nothing", "", "", "", 5, io.ErrUnexpectedEOF},
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(tt.in), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
		} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				br := bufio.NewReader(r)
				s := NewSized(br, tt.length)
				b, err := io.ReadAll(&s)
				if string(b) != tt.body || err != tt.err {
					t.Errorf("got %q, %v, want %q, %v", b, err, tt.body, tt.err)
				}
				if left := tt.length - int64(len(tt.body)); s.Left() != left {
					t.Errorf("%d bytes left, want %d", s.Left(), left)
				}
				if rest, _ := io.ReadAll(br); string(rest) != tt.rest {
					t.Errorf("behind it %q, want %q", rest, tt.rest)
				}
			})
		}
	}
}

// The end comes with the last byte: whoever waited for it behind that could wait for ever.
func TestSizedEndsWithItsLastByte(t *testing.T) {
	s := NewSized(bufio.NewReader(strings.NewReader("hello")), 5)
	if n, err := s.Read(make([]byte, 10)); n != 5 || err != io.EOF {
		t.Errorf("Read = %d, %v, want 5, %v", n, err, io.EOF)
	}
}

func TestParseLength(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "5": 5, "007": 7, "9223372036854775807": 1<<63 - 1,
		"": -1, "9223372036854775808": -1, "-1": -1, "+1": -1, " 1": -1, "1 ": -1, "1,1": -1, "0x1": -1, "1_0": -1, "١": -1,
	} {
		n, err := ParseLength([]byte(text))
		if want < 0 && err != ErrLength || want >= 0 && (n != want || err != nil) {
			t.Errorf("ParseLength(%q) = %d, %v, want %d", text, n, err, want)
		}
	}
}
