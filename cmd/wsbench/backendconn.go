package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"strings"
)

// maxRequestHead bounds a request's header block.
const maxRequestHead = 16 << 10

type backendMode uint8

// http → echo, sink or flood, by an upgrade and its path; http → download or upload → http, and http → events, by the
// path of a plain request.
const (
	modeHTTP backendMode = iota
	modeEcho
	modeSink
	modeFlood
	modeDownload
	modeUpload
	modeEvents
)

// backendConn is one connection of the backend. It turns bytes received into bytes to send and does no
// I/O; the backend's loop owns it.
type backendConn struct {
	fd        int
	slot, gen int32
	watched   uint32 // 0: as registered, for reading
	pending   []byte // answered, not yet taken by the kernel
	finished  bool   // close once pending is empty
	closed    bool

	mode     backendMode
	head     []byte   // request bytes so far
	exchange *serving // the body that goes or comes; nil with modes of WebSockets

	frame     headerReader
	header    frameHeader
	inFrame   bool
	inMessage bool
	left      uint64
	pos       int
}

// receive appends to out what answers p. It changes p.
func (c *backendConn) receive(p, out []byte) []byte {
	for len(p) > 0 && !c.finished {
		switch c.mode {
		case modeHTTP:
			p, out = c.request(p, out)
			continue
		case modeUpload:
			p, out = c.upload(p, out)
			continue
		case modeDownload, modeEvents: // the answer is not over: proxies send nothing behind such a request
			c.finished = true
			return out
		}
		if !c.inFrame {
			n, done := c.frame.feed(p, &c.header)
			p = p[n:]
			if done {
				out = c.beginFrame(out)
			}
			continue
		}
		n := len(p)
		if uint64(n) > c.left {
			n = int(c.left)
		}
		if c.answers() {
			xorMask(p[:n], c.header.key, c.pos)
			out = append(out, p[:n]...)
		}
		p = p[n:]
		c.pos += n
		c.left -= uint64(n)
		c.endFrame()
	}
	return out
}

// answers tells whether the current frame goes back: everything does on /echo, only Pong and Close do elsewhere.
func (c *backendConn) answers() bool {
	switch c.header.op {
	case opPing, opClose:
		return true
	case opPong:
		return false
	}
	return c.mode == modeEcho
}

func (c *backendConn) beginFrame(out []byte) []byte {
	h := &c.header
	if err := h.validate(c.inMessage, true); err != nil {
		c.finished = true
		return appendClose(out, 1002, false, 0)
	}
	if !h.control() {
		c.inMessage = !h.fin
	}
	c.inFrame, c.left, c.pos = true, h.length, 0
	if c.answers() {
		op := h.op
		if op == opPing {
			op = opPong
		}
		out = appendHeader(out, h.fin, op, h.length, false, 0)
	}
	c.endFrame()
	return out
}

func (c *backendConn) endFrame() {
	if c.left > 0 {
		return
	}
	c.inFrame = false
	c.finished = c.header.op == opClose
}

// request collects a request and answers it; it returns what follows in p.
func (c *backendConn) request(p, out []byte) (rest, answer []byte) {
	seen := len(c.head)
	c.head = append(c.head, p...)
	end := bytes.Index(c.head[max(0, seen-3):], []byte("\r\n\r\n"))
	if end < 0 {
		if len(c.head) > maxRequestHead {
			c.finished = true
			out = append(out, "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"...)
		}
		return nil, out
	}
	end += max(0, seen-3) + 4
	rest = p[end-seen:]
	out = c.answer(string(c.head[:end]), out)
	c.head = nil
	return rest, out
}

// answer handles one whole request head.
func (c *backendConn) answer(head string, out []byte) []byte {
	method, path, query, ok := requestLine(head)
	if !ok {
		return c.refuse(out)
	}
	key := headerValue(head, "Sec-WebSocket-Key")
	if key == "" {
		return c.answerPlain(method, path, query, head, out)
	}
	if method != "GET" {
		return c.refuse(out)
	}
	switch path {
	case "/sink":
		c.mode = modeSink
	case "/flood":
		c.mode = modeFlood
	default:
		c.mode = modeEcho
	}
	out = append(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	out = append(out, acceptKey(key)...)
	return append(out, "\r\n\r\n"...)
}

// refuse answers what is no request that the backend knows; the connection ends behind it.
func (c *backendConn) refuse(out []byte) []byte {
	c.finished = true
	return append(out, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"...)
}

// requestLine splits "GET /path?query HTTP/1.1".
func requestLine(head string) (method, path, query string, ok bool) {
	line, _, _ := strings.Cut(head, "\r\n")
	method, rest, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	path, query, _ = strings.Cut(target, "?")
	return method, path, query, ok1 && ok2 && strings.HasPrefix(version, "HTTP/1.")
}

// headerValue returns the first value of a header, "" if there is none.
func headerValue(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if len(line) > len(name) && line[len(name)] == ':' && strings.EqualFold(line[:len(name)], name) {
			return strings.TrimSpace(line[len(name)+1:])
		}
	}
	return ""
}

// acceptKey is what a server answers a Sec-WebSocket-Key with (RFC 6455 §4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
