package main

import (
	"fmt"
	"strings"
	"testing"
)

// readAnswers reads a stream in pieces and tells about each answer as "status:body", and "!" behind the last one of a
// connection.
func readAnswers(stream string, piece int) (answers []string, err error) {
	var (
		r    answerReader
		body []byte
	)
	for rest := []byte(stream); len(rest) > 0; {
		chunk := rest[:min(piece, len(rest))]
		rest = rest[len(chunk):]
		for len(chunk) > 0 {
			n, part, done, err := r.next(chunk)
			if err != nil {
				return answers, err
			}
			chunk = chunk[n:]
			body = append(body, part...)
			if done {
				text := fmt.Sprintf("%d:%s", r.status, body)
				if r.last {
					text += "!"
				}
				answers, body = append(answers, text), nil
			}
		}
	}
	return answers, nil
}

func TestAnswersAreReadInAnyPieces(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name, stream string
		answers      string // joined by blanks
		err          string
	}{
		{"with a length", ok + "Content-Length: 5\r\n\r\nhello", "200:hello", ""},
		{"two", ok + "content-length:1\r\n\r\na" + ok + "CONTENT-LENGTH: 1\r\n\r\nb", "200:a 200:b", ""},
		{"empty", ok + "Content-Length: 0\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nb", "200: 200:b", ""},
		{"in chunks", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00A;x=y\r\n, you all!\r\n0\r\n\r\n", "200:hello, you all!", ""},
		{"in chunks, with trailers", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\n" + ok + "Content-Length: 1\r\n\r\nb", "200:a 200:b", ""},
		{"in one empty chunk", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200:", ""},
		{"an interim answer first", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: 1\r\n\r\na", "200:a", ""},
		{"without a body", "HTTP/1.1 204 No Content\r\n\r\n" + "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "204: 304:", ""},
		{"the last", "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", "502:a!", ""},
		{"without a reason", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", "200:a", ""},
		{"without a length", ok + "\r\nabc", "", "answer of status 200 without a length"},
		{"with two lengths", ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", "", `header "Content-Length: 1" of an answer`},
		{"with a length that is none", ok + "Content-Length: -1\r\n\r\na", "", `header "Content-Length: -1" of an answer`},
		{"with length and chunks", ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "", "answer with chunks and Content-Length 1 (RFC 9112 §6.2)"},
		{"with another coding", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", "", `header "Transfer-Encoding: gzip, chunked" of an answer`},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "", `status line "HTTP/1.0 200 OK"`},
		{"no HTTP", "SSH-2.0-x\r\n\r\n", "", `status line "SSH-2.0-x"`},
		{"an upgrade", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "", "answer with status 101 that nobody asked for"},
		{"a chunk longer than its size", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "", `"bc" behind a chunk`},
		{"a chunk of no size", ok + "Transfer-Encoding: chunked\r\n\r\nx\r\n", "", `chunk size "x"`},
		{"an endless head", ok + strings.Repeat("A: b\r\n", 4000), "", "head of an answer longer than 16384 bytes"},
		{"an endless chunk size", ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", 5000), "", "line between chunks of an answer longer than 4096 bytes"},
	} {
		for _, piece := range []int{1, 2, 7, 1 << 20} {
			answers, err := readAnswers(tt.stream, piece)
			said := ""
			if err != nil {
				said = err.Error()
			}
			if got := strings.Join(answers, " "); said != tt.err || got != tt.answers {
				t.Errorf("%s in pieces of %d: answers %q, error %q, want %q, %q", tt.name, piece, got, said, tt.answers, tt.err)
			}
		}
	}
}

// bodyOf is the first n bytes of a body.
func bodyOf(t tag, n int) []byte {
	b := newBody(t)
	var p []byte
	for len(p) < n {
		p = append(p, b.from(int64(len(p)))...)
	}
	return p[:n]
}

func TestAnswerCheckTellsWhatDiffers(t *testing.T) {
	const size = 100_000
	asked := tag{0x2a, 7, 5}
	report := func(tg tag, received, right int64) []byte {
		b := newBody(tg)
		return appendReport(nil, &b, received, right)
	}
	changed := bodyOf(asked, size)
	changed[99_999] ^= 1
	swapped := bodyOf(asked, size)
	copy(swapped[bodyPeriod-1000:], swapped[:1000])
	lost := bodyOf(asked, size+4096)
	lost = append(lost[:8192], lost[8192+4096:]...)
	for _, tt := range []struct {
		name    string
		upload  bool
		status  int
		answer  []byte
		kind    faultKind
		text    string
		answers bool
	}{
		{"right", false, 200, bodyOf(asked, size), "", "", true},
		{"a byte changed", false, 200, changed, faultCorrupt,
			fmt.Sprintf("byte 99999 is %#02x, want %#02x", changed[99_999], changed[99_999]^1), true},
		{"a piece from elsewhere", false, 200, swapped, faultCorrupt, fmt.Sprintf("byte %d is ", bodyPeriod-1000), true},
		{"4096 bytes lost", false, 200, lost, faultCorrupt, "byte 8192 is ", true},
		{"too short", false, 200, bodyOf(asked, size-1), faultCorrupt, "99999 bytes long, want 100000", true},
		{"too long", false, 200, bodyOf(asked, size+1), faultCorrupt, "100001 bytes long, want 100000", true},
		{"empty", false, 200, nil, faultCorrupt, "0 bytes long, want 100000", true},
		{"shorter than its tag", false, 200, bodyOf(asked, 5), faultCorrupt, "5 bytes long, want 100000", true},
		{"of another link", false, 200, bodyOf(tag{0x2a, 8, 3}, size), faultForeign, "it is answer 3 of link 8", true},
		{"an older one", false, 200, bodyOf(tag{0x2a, 7, 4}, size), faultDuplicate, "answer 4 came again", false},
		{"of another run", false, 200, bodyOf(tag{0x2b, 7, 5}, size), faultCorrupt, "byte 7 is ", true},
		{"not found", false, 404, []byte("not found\n"), faultStatus, "answered with status 404, want 200", true},
		{"report", true, 200, report(asked, size, size), "", "", true},
		{"report of fewer bytes", true, 200, report(asked, size-1, size-1), faultCorrupt, "the backend tells ", true},
		{"report of wrong bytes", true, 200, report(asked, size, 17), faultCorrupt, `received 100000 right 17\n"`, true},
		{"report of another link", true, 200, report(tag{0x2a, 8, 5}, size, size), faultForeign, "it is answer 5 of link 8", true},
		{"endless report", true, 200, make([]byte, 1<<20), faultCorrupt, "the backend tells ", true},
	} {
		for _, piece := range []int{1, 1000, 1 << 20} {
			c := answerCheck{size: size, upload: tt.upload}
			c.begin(asked)
			for rest := tt.answer; len(rest) > 0; {
				n := min(piece, len(rest))
				c.take(rest[:n])
				rest = rest[n:]
			}
			f, answers := c.end(tt.status)
			if f.kind != tt.kind || !strings.Contains(f.text, tt.text) || answers != tt.answers {
				t.Errorf("%s in pieces of %d: fault %+v, answers %t, want %s %q, %t", tt.name, piece, f, answers, tt.kind, tt.text, tt.answers)
			}
			if f.kind != "" && !strings.HasPrefix(f.text, "link 7: request 5: ") {
				t.Errorf("%s: %q does not name the request", tt.name, f.text)
			}
		}
	}
}

func TestTagsAreReadBack(t *testing.T) {
	want := tag{0xdeadbeef, 3, 1 << 40}
	text := want.appendTo(nil)
	if got, ok := parseTag(text); !ok || got != want || len(text) != tagSize {
		t.Errorf("%q read as %+v, %t, want %+v", text, got, ok, want)
	}
	for _, wrong := range []string{"", "deadbeef", strings.Repeat("x", tagSize), string(text) + "0"} {
		if got, ok := parseTag([]byte(wrong)); ok {
			t.Errorf("%q read as %+v, want none", wrong, got)
		}
	}
}
