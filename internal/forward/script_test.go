package forward

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
)

// message is a request or an answer as a script has it and as the other side is to see it.
type message struct {
	start    string
	fields   []string
	body     string
	trailers []string
	interim  []message // before an answer
}

// script is an exchange: what each side sends, in bytes, and what the other is to get.
type script struct {
	method          string
	sends, answers  string
	request, answer message
	closes          bool // the backend ends its connection behind the answer
}

// newScript makes one. The target of its request is id, and last says that the client's connection ends
// with it.
func newScript(r *rand.Rand, id string, last bool) *script {
	s := &script{method: pick(r, "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "x-own!")}
	target := id + pick(r, "", "?", "?a=b&c=%zz", "/%2F//..", "/\xc3\xa9")

	s.request = message{start: s.method + " " + target + " HTTP/1.1"}
	var sent []string
	fields(r, &sent, &s.request.fields)
	insert(r, &sent, &s.request.fields, pick(r, "Host: a", "host:a:1", "HOST: \t[::1]  "))
	if last {
		sent = append(sent, "Connection: close")
	}
	var framed string
	if s.method == "GET" || s.method == "HEAD" || r.IntN(3) == 0 {
		framed = ""
	} else {
		framed = framedBody(r, &sent, &s.request, r.IntN(2) == 0)
	}
	s.request.fields = append(s.request.fields, strings.Split(strings.TrimSuffix(origin, "\r\n"), "\r\n")...)
	s.sends = s.request.start + "\r\n" + lines(sent) + "\r\n" + framed

	for r.IntN(4) == 0 {
		i := message{start: pick(r, "HTTP/1.1 100 Continue", "HTTP/1.1 103 Early Hints", "HTTP/1.1 102 ")}
		var sent []string
		fields(r, &sent, &i.fields)
		s.answers += i.start + "\r\n" + lines(sent) + "\r\n"
		s.answer.interim = append(s.answer.interim, i)
	}
	s.makeAnswer(r, last)
	return s
}

// makeAnswer makes the final answer.
func (s *script) makeAnswer(r *rand.Rand, last bool) {
	s.answer.start = "HTTP/1.1 " + pick(r, "200 OK", "200 OK", "404 Not Found", "204 No Content", "304 Not Modified", "299 ", "500 \xc3\xa9 \t!")
	var sent []string
	fields(r, &sent, &s.answer.fields)
	framed := ""
	status := strings.Fields(s.answer.start)[1]
	switch {
	case status == "204":
	case s.method == "HEAD" || status == "304":
		if r.IntN(2) == 0 {
			insert(r, &sent, &s.answer.fields, "Content-Length: 5")
		}
	case r.IntN(4) == 0:
		s.closes = true
		s.answer.body = text(r)
		framed = s.answer.body
		s.answer.fields = append(s.answer.fields, "Transfer-Encoding: chunked")
	default:
		framed = framedBody(r, &sent, &s.answer, r.IntN(2) == 0)
	}
	if r.IntN(8) == 0 {
		s.closes = true
		sent = append(sent, "Connection: close")
	}
	if last {
		s.answer.fields = append(s.answer.fields, "Connection: close")
	}
	s.answers += s.answer.start + "\r\n" + lines(sent) + "\r\n" + framed
}

// fields appends random fields to what is sent, and to seen what the other side is to see of them.
func fields(r *rand.Rand, sent, seen *[]string) {
	for range r.IntN(6) {
		name := pick(r, "X-A", "x-a", "X-b", "Cookie", "Set-Cookie", "accept", "X.Odd!name", "Content-Encoding", "Via", "ETag", strings.Repeat("Long-", 50)+"Name")
		value := pick(r, "", "1", "a, b", "a=b; c=\"d\\\"\"", "\xc3\xa9\xff", "W/\"x\"", "a \t b", strings.Repeat("v", r.IntN(2000)))
		*sent = append(*sent, name+":"+pick(r, "", " ", "\t ")+value+pick(r, "", " "))
		*seen = append(*seen, name+": "+value)
	}
	if r.IntN(4) == 0 {
		*sent = append(*sent, "X-Hop: 1", "connection: x-hop, Keep-Alive", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "x-hop: 2")
	}
}

// insert puts a field at a random place.
func insert(r *rand.Rand, sent, seen *[]string, field string) {
	name, value, _ := strings.Cut(field, ":")
	if at := r.IntN(len(*seen) + 1); len(*sent) == len(*seen) {
		*sent = append((*sent)[:at], append([]string{field}, (*sent)[at:]...)...)
		*seen = append((*seen)[:at], append([]string{name + ": " + strings.Trim(value, " \t")}, (*seen)[at:]...)...)
		return
	}
	*sent, *seen = append(*sent, field), append(*seen, name+": "+strings.Trim(value, " \t"))
}

// framedBody gives the message a body and returns it framed.
func framedBody(r *rand.Rand, sent *[]string, m *message, chunked bool) (framed string) {
	m.body = text(r)
	if !chunked {
		insert(r, sent, &m.fields, pick(r, "Content-Length: ", "content-length:")+strconv.Itoa(len(m.body)))
		return m.body
	}
	insert(r, sent, &m.fields, pick(r, "Transfer-Encoding: chunked", "transfer-encoding:chunked"))
	var b strings.Builder
	for left := m.body; left != ""; {
		n := 1 + r.IntN(min(len(left), 1+r.IntN(20000)))
		fmt.Fprintf(&b, pick(r, "%x", "%X", "00%x")+pick(r, "", "", ";x", ";a=\"b\" ")+"\r\n%s\r\n", n, left[:n])
		left = left[n:]
	}
	b.WriteString(pick(r, "0", "000", "0;last") + "\r\n")
	for range r.IntN(3) {
		name, value := pick(r, "X-Sum", "x-two", "Server-Timing"), pick(r, "", "1", "a b")
		b.WriteString(name + ":" + pick(r, "", " ") + value + "\r\n")
		m.trailers = append(m.trailers, name+": "+value)
		if r.IntN(4) == 0 {
			b.WriteString("Content-Length: 1\r\nConnection: x\r\n") // which have no place there
		}
	}
	return b.String() + "\r\n"
}

// text is a body: none, a small one, or one that no buffer holds.
func text(r *rand.Rand) string {
	n := r.IntN(pick(r, 1, 20, 5000, 200000))
	at := r.IntN(len(period) - 1)
	return strings.Repeat(string(period[at:]), n/(len(period)-at)+1)[:n]
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func lines(of []string) string {
	if len(of) == 0 {
		return ""
	}
	return strings.Join(of, "\r\n") + "\r\n"
}

// sendCut writes in random pieces.
func sendCut(r *rand.Rand, w io.Writer, s string) error {
	for most := pick(r, 3, 200, 5000, 1<<20); s != ""; {
		n := min(len(s), 1+r.IntN(most))
		if len(s) > 300*most { // not for ever
			n = min(len(s), 1000)
		}
		if _, err := io.WriteString(w, s[:n]); err != nil {
			return err
		}
		s = s[n:]
	}
	return nil
}

// readMessage reads a message, by the plainest of means. bodiless is an answer without a body.
func readMessage(br *bufio.Reader, bodiless bool) (m message, err error) {
	if m.start, err = readLine(br); err != nil {
		return m, err
	}
	if m.fields, err = readLines(br); err != nil {
		return m, err
	}
	length := 0
	for _, f := range m.fields {
		name, value, _ := strings.Cut(f, ": ")
		switch {
		case strings.EqualFold(name, "Content-Length"):
			length, err = strconv.Atoi(value)
		case strings.EqualFold(name, "Transfer-Encoding"):
			length = -1
		}
	}
	var b bytes.Buffer
	switch {
	case bodiless:
	case length >= 0:
		_, err = io.CopyN(&b, br, int64(length))
	default:
		for size := int64(1); size > 0 && err == nil; {
			var line string
			if line, err = readLine(br); err != nil {
				break
			}
			if size, err = strconv.ParseInt(line, 16, 32); err != nil || size == 0 {
				break
			}
			if _, err = io.CopyN(&b, br, size); err == nil {
				_, err = readLine(br)
			}
		}
		if err == nil {
			m.trailers, err = readLines(br)
		}
	}
	m.body = b.String()
	return m, err
}

func readLine(br *bufio.Reader) (string, error) {
	line, err := br.ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

func readLines(br *bufio.Reader) (of []string, err error) {
	for {
		line, err := readLine(br)
		if err != nil || line == "" {
			return of, err
		}
		of = append(of, line)
	}
}
