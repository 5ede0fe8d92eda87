package tlsterm

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"wsproxy/internal/sock"
)

// Errors by which a handshake ends that crypto/tls has nothing against.
var (
	errBusy      = errors.New("too many handshakes at a time")
	errGone      = errors.New("client gone while its handshake waited")
	errChallenge = errors.New("challenge of an ACME server answered")
)

// shakingConn is a connection as crypto/tls has it while it shakes hands:
//
//	begun → greeted   when its ClientHello is whole, which takes a slot of the budget;
//	greeted → over    with end, whatever became of it.
//
// While it is greeted it has a slot from each read to the next write or read, which is when the
// client is waited for: what a client makes wait for costs nobody else a turn. A client that sends
// nothing, or half a ClientHello, has never had one.
//
// One goroutine shakes hands and owns it until then; afterwards it only passes on.
type shakingConn struct {
	halfCloser // the connection: a *sock.Conn or a *net.TCPConn
	listener   *Listener
	owner      *conn // of the connection, knows who the client is

	deadline time.Time // of the handshake
	heard    bool      // the client has sent something
	greeted  bool
	slot     bool // taken of the budget
	over     bool
}

// begin starts the clock of the handshake. Whoever calls it calls end.
func (c *shakingConn) begin() {
	c.deadline = time.Now().Add(c.listener.cfg.HandshakeTimeout)
	_ = c.SetDeadline(c.deadline)
	c.listener.counts.inFlight.Add(1)
}

// greeted is tls.Config.GetConfigForClient of every handshake: crypto/tls has read the ClientHello
// and done nothing about it yet. Its Conn must be a shakingConn, or give one with shaking.
//
// What it returns is shared. A Config that is to differ for one connection is a Clone of it.
func (l *Listener) greeted(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c := hello.Conn.(interface{ shaking() *shakingConn }).shaking()
	longest := min(l.cfg.HandshakeTimeout/4, time.Until(c.deadline))
	l.counts.queued.Add(1)
	waited, ok := l.cfg.Budget.take(longest)
	l.counts.queued.Add(-1)
	if !ok {
		return nil, errBusy
	}
	c.greeted, c.slot = true, true
	if waited && sock.Gone(c.halfCloser) {
		return nil, errGone
	}
	if l.cfg.ACME != nil && len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == challengeProtocol {
		return l.challenges, nil
	}
	return l.settings.Load(), nil
}

func (c *shakingConn) shaking() *shakingConn { return c }

// NetConn is the connection below, as package sock asks for it.
func (c *shakingConn) NetConn() net.Conn { return c.halfCloser }

// Read waits for the client without a slot, and goes on with one.
func (c *shakingConn) Read(p []byte) (int, error) {
	if c.over {
		return c.halfCloser.Read(p)
	}
	c.pause()
	n, err := c.halfCloser.Read(p)
	c.heard = c.heard || n > 0
	if n > 0 && c.greeted {
		if err := c.resume(); err != nil {
			return 0, err
		}
	}
	return n, err
}

// Write ends what needed the slot: a flight is written once it is complete.
func (c *shakingConn) Write(p []byte) (int, error) {
	if !c.over {
		c.pause()
	}
	return c.halfCloser.Write(p)
}

// pause gives the slot back before something is waited for.
func (c *shakingConn) pause() {
	if c.slot {
		c.slot = false
		c.listener.cfg.Budget.release()
	}
}

// resume takes a slot again, before those whose handshakes have not begun.
func (c *shakingConn) resume() error {
	if !c.listener.cfg.Budget.again(time.Until(c.deadline)) {
		return errBusy
	}
	c.slot = true
	return nil
}

// end counts how the handshake ended and gives back what it held. It returns err, or an error of its
// own when the connection has served its purpose. state is what a handshake without err has come to.
func (c *shakingConn) end(err error, state *tls.ConnectionState) error {
	c.pause()
	c.over = true
	l := c.listener
	l.counts.inFlight.Add(-1)
	if err == nil {
		if state.NegotiatedProtocol == challengeProtocol {
			l.counts.ended(ResultChallenge)
			return errChallenge
		}
		l.counts.shaken(state)
		return nil
	}
	result := resultOf(err)
	if !c.heard && (result == ResultTimeout || result == ResultGone) {
		result = ResultSilent
	}
	l.counts.ended(result)
	l.cfg.Log.Debug("tls handshake", "client", c.owner.Client().String(), "reason", string(result), "err", err)
	return err
}

// isPlainHTTP reports whether the error of a handshake says that the client sent plain HTTP.
func isPlainHTTP(err error) bool {
	header, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok {
		return false
	}
	switch string(header.RecordHeader[:4]) {
	case "GET ", "HEAD", "POST", "PUT ", "OPTI", "DELE", "PATC":
		return true
	}
	return false
}

// left reports whether an error is the other side's leaving.
func left(err error) bool {
	var op *net.OpError
	var errno syscall.Errno // of a *sock.Conn
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &errno) ||
		errors.As(err, &op) && (op.Op == "read" || op.Op == "write") && !op.Timeout()
}
