package main

import (
	"bytes"
	"fmt"
)

// reportKept bounds what is kept of the answer to an upload; a right one is shorter.
const reportKept = 128

// appendReport appends the answer to an upload: how many bytes of the body came, and how many of them, from the first on,
// are as they should be.
func appendReport(dst []byte, b *body, received, right int64) []byte {
	return fmt.Appendf(dst, "%s received %d right %d\n", b.head[:], received, right)
}

// answerCheck compares an answer with the one that its request must have. It keeps nothing of a body but its start.
type answerCheck struct {
	// Of all requests of a link.
	size   int64 // of the request's body with uploads, otherwise of the answer's
	upload bool

	// Of the present one.
	tag   tag
	body  body
	pos   int64 // bytes of the answer so far
	right int64 // how many of them are as they should be, from the first on
	wrong byte  // the first that is not
	start []byte
}

// begin starts over with the answer to another request.
func (c *answerCheck) begin(t tag) {
	c.tag, c.body = t, newBody(t)
	c.pos, c.right, c.start = 0, 0, c.start[:0]
}

// take handles the next bytes of the answer's body.
func (c *answerCheck) take(p []byte) {
	keep := tagSize
	if c.upload {
		keep = reportKept
	}
	if missing := keep - len(c.start); missing > 0 {
		c.start = append(c.start, p[:min(missing, len(p))]...)
	}
	if c.right == c.pos && !c.upload {
		n := c.body.agrees(p, c.pos)
		c.right += int64(n)
		if n < len(p) {
			c.wrong = p[n]
		}
	}
	c.pos += int64(len(p))
}

// end says what is wrong with the whole answer, kind "" if nothing is. answers tells whether it is the one to this
// request, rightly or not: one that was there before is not.
func (c *answerCheck) end(status int) (f fault, answers bool) {
	blame := func(kind faultKind, format string, args ...any) fault {
		return fault{kind, 1, fmt.Sprintf("link %d: request %d: %s", c.tag.link, c.tag.seq, fmt.Sprintf(format, args...))}
	}
	if status != 200 {
		return blame(faultStatus, "answered with status %d, want 200", status), true
	}
	if got, ok := parseTag(c.start[:min(tagSize, len(c.start))]); ok && got.run == c.tag.run {
		if got.link != c.tag.link {
			return blame(faultForeign, "it is answer %d of link %d", got.seq, got.link), true
		}
		if got.seq < c.tag.seq {
			return blame(faultDuplicate, "answer %d came again", got.seq), false
		}
	}
	if c.upload {
		if want := appendReport(nil, &c.body, c.size, c.size); !bytes.Equal(c.start, want) {
			return blame(faultCorrupt, "the backend tells %q, want %q", c.start, want), true
		}
		return fault{}, true
	}
	if c.pos != c.size {
		return blame(faultCorrupt, "%d bytes long, want %d", c.pos, c.size), true
	}
	if c.right < c.pos {
		return blame(faultCorrupt, "byte %d is %#02x, want %#02x", c.right, c.wrong, c.body.from(c.right)[0]), true
	}
	return fault{}, true
}
