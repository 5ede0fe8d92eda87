package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	firstPiece  = 16 << 10 // how much of a body leaves together with its head
	minInterval = time.Millisecond
)

// serving is a plain request that the backend has not done with.
type serving struct {
	body  body
	size  int64 // of the body that goes or comes, or of each event
	pos   int64 // bytes gone or come
	right int64 // of those that came, how many are as they should be, from the first on

	// Of events.
	interval time.Duration
	number   uint64 // of the next
	started  bool   // there is a timer for it
}

// answerPlain handles the head of a request that is no upgrade. The last element of its path says what is asked for.
func (c *backendConn) answerPlain(method, path, query, head string, out []byte) []byte {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if !isHTTP(name) {
		if method != "GET" {
			return c.refuse(out)
		}
		const body = "wsbench backend\n"
		return fmt.Appendf(out, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	t, ok := parseTag([]byte(parameter(query, "tag")))
	size, err := strconv.ParseInt(parameter(query, "size"), 10, 64)
	wanted := "GET"
	if name == workUpload {
		wanted = "POST"
		size, err = strconv.ParseInt(headerValue(head, "Content-Length"), 10, 64)
	}
	if !ok || err != nil || size < 0 || method != wanted {
		return c.refuse(out)
	}
	x := &serving{body: newBody(t), size: size}
	c.exchange = x
	switch name {
	case workUpload:
		c.mode = modeUpload
		return c.received(out)
	case workEvents:
		x.interval, err = time.ParseDuration(parameter(query, "interval"))
		if err != nil || x.interval < minInterval || size < int64(minEvent) || size > maxEvent {
			return c.refuse(out)
		}
		c.mode = modeEvents
		return append(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"...)
	}
	out = append(out, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: "...)
	out = append(strconv.AppendInt(out, size, 10), "\r\n\r\n"...)
	for c.mode = modeDownload; c.mode == modeDownload && x.pos < firstPiece; {
		p := c.download()
		p = p[:min(len(p), firstPiece)]
		out = append(out, p...)
		c.downloaded(len(p))
	}
	return out
}

// download is the part of an answer's body that goes next; it must not be changed. downloaded says how much of it went.
func (c *backendConn) download() []byte {
	x := c.exchange
	p := x.body.from(x.pos)
	return p[:min(int64(len(p)), x.size-x.pos)]
}

func (c *backendConn) downloaded(n int) {
	x := c.exchange
	x.pos += int64(n)
	if x.pos == x.size {
		c.mode, c.exchange = modeHTTP, nil
	}
}

// upload takes the part of p that belongs to a request's body, and answers if that is all of it.
func (c *backendConn) upload(p, out []byte) (rest, answer []byte) {
	x := c.exchange
	n := min(int64(len(p)), x.size-x.pos)
	if x.right == x.pos {
		x.right += int64(x.body.agrees(p[:n], x.pos))
	}
	x.pos += n
	return p[n:], c.received(out)
}

// received answers an upload once it is whole.
func (c *backendConn) received(out []byte) []byte {
	x := c.exchange
	if x.pos < x.size {
		return out
	}
	report := appendReport(nil, &x.body, x.pos, x.right)
	c.mode, c.exchange = modeHTTP, nil
	return fmt.Appendf(out, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(report), report)
}

// event appends the next event, written at a moment, as a chunk.
func (x *serving) event(out []byte, at int64) []byte {
	out = fmt.Appendf(out, "%x\r\n", x.size)
	out = appendEvent(out, &x.body, x.number, at, int(x.size))
	x.number++
	return append(out, "\r\n"...)
}

// firstEvent is how long after its request the first event of a stream comes: some part of the interval that depends on
// the tag, so that many streams are spread over it.
func (x *serving) firstEvent() time.Duration {
	return time.Duration(int64(x.interval) / bodyPeriod * int64(x.body.offset))
}

// parameter returns the value of a query's parameter, "" if there is none. The load escapes nothing.
func parameter(query, name string) string {
	for pair := range strings.SplitSeq(query, "&") {
		if key, value, _ := strings.Cut(pair, "="); key == name {
			return value
		}
	}
	return ""
}
