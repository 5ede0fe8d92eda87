package health

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"wsproxy/internal/body"
	"wsproxy/internal/head"
)

// maxBody is how much of a body is looked at.
const maxBody = 64 << 10

// http makes a request, looks at the status, and looks for what the body must have.
func (p *probe) http() error {
	request := p.requestHead(p.check.Method, "Connection", "close")
	r, err := p.ask(append(request, "\r\n"...))
	if err != nil {
		return err
	}
	good := func(s StatusRange) bool { return s.First <= r.Status && r.Status <= s.Last }
	if !slices.ContainsFunc(p.check.Statuses, good) {
		return fmt.Errorf("status %d", r.Status)
	}
	if p.check.Body == "" {
		return nil
	}
	content, err := p.body(&r)
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return p.find(content)
}

// requestHead is the head of a request up to its last field. name and value are those of the
// Connection field.
func (p *probe) requestHead(method, name, value string) []byte {
	host := p.check.Host
	fill(&host, p.Host)
	b := make([]byte, 0, 512)
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, p.check.Path...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = head.AppendField(b, "Host", host)
	b = head.AppendField(b, name, value)
	agent := false
	for _, h := range p.check.Headers {
		b = head.AppendField(b, h.Name, h.Value)
		agent = agent || strings.EqualFold(h.Name, "User-Agent")
	}
	if !agent {
		b = head.AppendField(b, "User-Agent", "wsproxy-health")
	}
	return b
}

// body reads the body of an answer to its end (RFC 9112 §6.3), for which the connection's passes where
// nothing else is said.
func (p *probe) body(r *head.Response) (io.Reader, error) {
	coded, length := false, int64(-1)
	for f := range head.Fields(r.Fields) {
		switch {
		case f.Is("Content-Length"):
			n, err := body.ParseLength(f.Value)
			if err != nil || length >= 0 && length != n {
				return nil, errors.New("malformed or contradictory Content-Length")
			}
			length = n
		case f.Is("Transfer-Encoding"):
			if coded || r.Minor == 0 || !head.EqualFold(f.Value, "chunked") {
				return nil, errors.New("Transfer-Encoding other than chunked")
			}
			coded = true
		}
	}
	switch {
	case coded && length >= 0:
		return nil, errors.New("both Transfer-Encoding and Content-Length")
	case p.check.Method == "HEAD", r.Status == 204, r.Status == 304, length == 0:
		return bytes.NewReader(nil), nil
	case coded:
		chunks := body.NewChunks(p.br)
		return &chunks, nil
	case length > 0:
		sized := body.NewSized(p.br, length)
		return &sized, nil
	}
	return p.br, nil
}

// find looks for what the body must have, and waits for no more than it needs.
func (p *probe) find(content io.Reader) error {
	want := []byte(p.check.Body)
	seen := make([]byte, 0, 4<<10)
	for len(seen) < maxBody {
		seen = slices.Grow(seen, 1<<10)
		n, err := content.Read(seen[len(seen):min(cap(seen), maxBody)])
		from := max(0, len(seen)-len(want)+1)
		seen = seen[:len(seen)+n]
		if bytes.Contains(seen[from:], want) {
			return nil
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return p.fault("body", "end of the body", err)
		}
	}
	return fmt.Errorf("body has no %.40q in its first %d bytes", p.check.Body, len(seen))
}
