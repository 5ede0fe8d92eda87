// Package forward carries a request that is no upgrade to a backend and the answer back. Both bodies
// stream, at the same time, in constant memory.
//
// fasthttp reads the heads of requests. HostClient takes no part: it sends whole requests before it reads,
// pools connections after a 101, and repeats what may have been executed. Nor does fasthttp's Response,
// which has an order and a spelling of its own: an answer goes to the client's connection as it came, each
// piece at once.
package forward

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"wsproxy/internal/head"
	"wsproxy/internal/inbound"
	"wsproxy/routing"
)

// ErrClient is what Forward and Relay fail with on the client's side: it went away, or its body failed,
// before there was an answer. What fails on the backend's side is one of routing's errors; ErrAnswer is
// then an answer whose head is malformed, cut off, ambiguous about where it ends, or an upgrade nobody
// asked for.
var ErrClient = errors.New("client's request cut off")

// To says where a request goes, and how its answer comes back.
type To struct {
	// Backend is asked. A connection to it is reused for it alone.
	Backend *routing.Backend

	// DialTimeout bounds connecting, TLS included. Zero means five seconds.
	DialTimeout time.Duration

	// Preface goes first on the connection, before TLS, which is then of no use for another request. Empty
	// for none.
	Preface []byte

	// Sources are the addresses that a new connection may come from. None leaves the choice to the system.
	Sources []netip.Addr

	// Pool is how connections to the backend wait for their next request.
	Pool routing.Pool

	// Head is the request's head. Its fields are the client's, gated: at most one of Content-Length and
	// Transfer-Encoding frames the body, and the client's Body is set to read it so.
	Head head.Request

	Answer
}

// Answer is how an answer comes back.
type Answer struct {
	// ResponseTimeout bounds the wait for the answer's head, counted from the end of the request or from
	// the last interim answer, and while a body is sent the wait for the backend to take more of it. Zero
	// waits for ever.
	ResponseTimeout time.Duration

	// ReadTimeout bounds each pause of the backend within its answer, of one that rests by a second more at
	// most. Zero and less wait for ever.
	ReadTimeout time.Duration

	// Edit changes the fields of the head. Nil leaves them as they are.
	Edit *head.Edit

	// HTTP10 is a client that knows neither chunks nor interim answers.
	HTTP10 bool

	// Close says that the client's connection ends with the answer.
	Close bool

	// Begins is called when the head of the answer has come and is good, before the client gets any of it:
	// there is no error from then on. Nil means that nobody wants to know.
	Begins func()
}

// Forward sends the client's request and its body to the backend, and writes the answer to the client. It
// returns when that is done. keep says whether the client's connection can carry another request;
// otherwise the caller closes it, lingering. With an error, which wraps one of the sentinels and its cause,
// there has been no answer yet but interim ones.
//
// An answer that pauses may rest: Forward returns then with keep being false, and has called the client's
// Rest. The answer goes on when its connection is closed.
//
// An answer may come while the client still sends. Such a connection is announced and closed behind its
// answer, unless the body had been read by then.
func (t *Transport) Forward(client *inbound.Conn, to *To) (keep bool, err error) {
	x := &exchange{transport: t, client: client, answer: &to.Answer, method: to.Head.Method, addr: to.Backend.Addr, pool: to.Pool}
	x.once = len(to.Preface) > 0
	defer func() {
		if !x.rests {
			x.end()
		}
	}()
	if err := x.ask(to); err != nil {
		return false, err
	}
	return x.bring()
}

// Relay answers the client with the response that is about to be read from br, which reads from conn; the
// request had the given method and no body. It is for a connection that is used once: an opening handshake
// that was refused. Relay owns conn, and closes it. release is called once when nobody uses br any more.
// The results are those of Forward.
func (t *Transport) Relay(client *inbound.Conn, c net.Conn, br *bufio.Reader, method []byte, how *Answer, release func()) (keep bool, err error) {
	x := &exchange{
		transport: t, client: client, answer: how, method: method, addr: c.RemoteAddr().String(),
		conn: &conn{Conn: c}, br: br, once: true, release: release,
	}
	defer x.end()
	client.Attend(x)
	return x.bring()
}

// Unsent reports whether an error of Forward's says that the request can go to another backend: nothing of
// its body has been read, and nothing of it sent that must not be sent twice.
func Unsent(err error) bool {
	_, ok := errors.AsType[*unsent](err)
	return ok
}

type unsent struct{ error }

func (u *unsent) Unwrap() error { return u.error }

// failure is an error that names its operation, its object and its cause, and is of one of the kinds a
// caller tests for.
type failure struct {
	op, addr    string
	kind, cause error
}

func fail(op, addr string, kind, cause error) error {
	// net's errors repeat the operation and the addresses.
	if netErr, ok := errors.AsType[*net.OpError](cause); ok {
		cause = netErr.Err
	}
	return &failure{op: op, addr: addr, kind: kind, cause: cause}
}

func (f *failure) Error() string {
	return fmt.Sprintf("%s backend %s: %v: %v", f.op, f.addr, f.kind, f.cause)
}

func (f *failure) Unwrap() []error { return []error{f.kind, f.cause} }
