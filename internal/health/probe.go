package health

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"wsproxy/internal/head"
)

// maxInterim is how many 1xx answers may come before the one that counts, as on the request path.
const maxInterim = 8

// probe is one that runs. outcome is called once, then end.
type probe struct {
	*entry
	deadline time.Time

	conn net.Conn
	br   *bufio.Reader // on conn; nil for TCP
}

// outcome connects and asks. The connection stays open until end.
func (p *probe) outcome() error {
	conn, err := p.Dial(time.Until(p.deadline))
	if err != nil {
		return p.fault("connect", "connection", err)
	}
	p.conn = conn
	if !p.hold(conn, p.deadline) {
		return errRemoved
	}
	switch p.check.Kind {
	case HTTP:
		return p.http()
	case WebSocket:
		return p.webSocket()
	}
	return nil
}

// errRemoved is told nobody.
var errRemoved = errors.New("target removed")

// end closes the connection, and a WebSocket that is in order the way one is closed.
func (p *probe) end(ok bool) {
	if p.conn != nil {
		if ok && p.check.Kind == WebSocket {
			p.leave()
		}
		p.letGo()
		p.conn.Close()
	}
	if p.br != nil {
		p.br.Reset(nil)
		readers.Put(p.br)
	}
}

// readers are large enough for the head of an answer.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

// ask sends a request and reads the head of the answer, which the next read from p.br makes invalid;
// what is next is the first byte behind it.
func (p *probe) ask(request []byte) (r head.Response, err error) {
	if _, err := p.conn.Write(request); err != nil {
		return r, p.fault("send", "sending", err)
	}
	p.br = readers.Get().(*bufio.Reader)
	p.br.Reset(p.conn)
	for range maxInterim + 1 {
		if r, err = head.PeekResponse(p.br); err != nil {
			return r, p.fault("answer", "answer", err)
		}
		_, _ = p.br.Discard(r.Size) // it has been peeked whole
		if r.Status == 101 || r.Status >= 200 {
			return r, nil
		}
	}
	return r, errors.New("answer: too many 1xx")
}

// fault says what went wrong in an operation: its error, or that there was none of what was waited for.
func (p *probe) fault(operation, awaited string, err error) error {
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case ok && timeout.Timeout():
		return fmt.Errorf("no %s within %v", awaited, p.check.Timeout)
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return fmt.Errorf("%s: connection closed", operation)
	}
	return fmt.Errorf("%s: %w", operation, cause(err))
}

// cause is what is at the bottom of an error, without the operations and addresses that net and the
// dialler put before it: the log names the target.
func cause(err error) error {
	for {
		var below error
		switch e := err.(type) {
		case *net.OpError:
			below = e.Err
		case *os.SyscallError:
			below = e.Err
		case interface{ Unwrap() []error }:
			// Kinds come first, the error itself last.
			if all := e.Unwrap(); len(all) > 0 {
				below = all[len(all)-1]
			}
		}
		if below == nil {
			return err
		}
		err = below
	}
}

// reason is an error in one line of bounded length.
func reason(err error) string {
	const most = 200
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, err.Error())
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
