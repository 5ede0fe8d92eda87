package tlsterm

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"

	"wsproxy/internal/record"
)

// State is what is known of a handshake, and kept of it.
type State struct {
	Version, Suite       uint16 // as crypto/tls numbers them
	ServerName, Protocol string // Protocol is ALPN's
	DidResume            bool

	// PeerCertificates are a client's, nil when it has shown none.
	PeerCertificates []*x509.Certificate
}

// tls is the state as fasthttp asks for it.
func (s State) tls() tls.ConnectionState {
	return tls.ConnectionState{
		Version: s.Version, CipherSuite: s.Suite, HandshakeComplete: s.Version != 0,
		ServerName: s.ServerName, NegotiatedProtocol: s.Protocol, DidResume: s.DidResume,
		PeerCertificates: s.PeerCertificates,
	}
}

// takeover is a connection while crypto/tls shakes hands over it. crypto/tls never gets a byte beyond
// the record that it reads, so that nothing is left inside it, and what passes is looked at for the
// two hellos' randoms and for the records that are sent under the application keys. Then the record
// layer takes over.
type takeover struct {
	net.Conn

	secrets        record.Secrets
	sentHello, got greeting

	// What has been read of the connection and not been handed out yet: a pooled buffer.
	buf        *[]byte
	start, end int

	// The record that crypto/tls is reading: how much of its header it has, and how much of its content
	// is still to come.
	head     [record.HeaderSize]byte
	headSize int
	left     int

	// tail is what has been sent since the secrets are known.
	tail []byte
}

// takeoverBuffers hold what one read brings during a handshake.
var takeoverBuffers = sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}

func newTakeover(conn net.Conn) *takeover {
	return &takeover{Conn: conn, buf: takeoverBuffers.Get().(*[]byte)}
}

// shaking is the connection below, which knows its listener.
func (c *takeover) shaking() *shakingConn { return c.Conn.(*shakingConn) }

// release forgets the secrets and gives back what the handshake needed.
func (c *takeover) release() {
	for _, secret := range [...][]byte{c.secrets.ClientTraffic, c.secrets.ServerTraffic, c.secrets.Master} {
		clear(secret)
	}
	c.secrets = record.Secrets{}
	takeoverBuffers.Put(c.buf)
	c.buf, c.tail = nil, nil
}

// Read hands out what is there of the record under way, and reads more when nothing is.
func (c *takeover) Read(p []byte) (n int, err error) {
	if c.start == c.end {
		c.start = 0
		if c.end, err = c.Conn.Read(*c.buf); c.end == 0 {
			return 0, err // an error with bytes comes again
		}
	}
	there := (*c.buf)[c.start:c.end]
	if c.left == 0 {
		n = copy(p, there[:min(len(there), len(c.head)-c.headSize)])
		c.headSize += copy(c.head[c.headSize:], p[:n])
		if c.headSize == len(c.head) {
			c.headSize, c.left = 0, record.RecordSize(c.head[:])-len(c.head)
		}
	} else {
		n = copy(p, there[:min(len(there), c.left)])
		c.left -= n
		c.got.feed(c.head[0], p[:n])
	}
	c.start += n
	return n, nil
}

// Write sends records, always whole ones.
func (c *takeover) Write(p []byte) (n int, err error) {
	for rest := p; !c.sentHello.whole(); {
		size := record.RecordSize(rest)
		if size == 0 || size > len(rest) {
			break
		}
		c.sentHello.feed(rest[0], rest[record.HeaderSize:size])
		rest = rest[size:]
	}
	if c.secrets.Master != nil || c.secrets.ServerTraffic != nil {
		c.tail = append(c.tail, p...)
	}
	return c.Conn.Write(p)
}

// greeting is the beginning of the first handshake message that goes in one direction, a ClientHello
// or a ServerHello: type, length, version and random (RFC 5246 §7.4.1).
type greeting struct {
	b [1 + 3 + 2 + 32]byte
	n int
}

const typeHandshake = 22

func (h *greeting) feed(typ byte, content []byte) {
	if typ == typeHandshake {
		h.n += copy(h.b[h.n:], content)
	}
}

func (h *greeting) whole() bool { return h.n == len(h.b) }

// random is that of a greeting of TLS 1.2, nil when it is none.
func (h *greeting) random(msg byte) []byte {
	if !h.whole() || h.b[0] != msg {
		return nil
	}
	return h.b[len(h.b)-32:]
}

// shake has crypto/tls shake hands over c and takes over from it. What is left of the connection's
// bytes is read already. On an error crypto/tls has sent the alert, if there is one to send, and the
// connection is good for nothing.
func (c *takeover) shake(over *tls.Conn, client bool) (session record.Session, read []byte, state State, err error) {
	if err := over.Handshake(); err != nil {
		return record.Session{}, nil, State{}, err
	}
	agreed := over.ConnectionState()
	state = State{
		Version: agreed.Version, Suite: agreed.CipherSuite,
		ServerName: agreed.ServerName, Protocol: agreed.NegotiatedProtocol, DidResume: agreed.DidResume,
	}
	if !client {
		state.PeerCertificates = agreed.PeerCertificates
	}
	session, err = c.takeOver(state, client)
	if err != nil {
		return record.Session{}, nil, State{}, fmt.Errorf("take over tls connection: %w", err)
	}
	read = append(read, (*c.buf)[c.start:c.end]...)
	return session, read, state, nil
}

// takeOver makes the Session. Whatever is not as expected ends the connection.
func (c *takeover) takeOver(state State, client bool) (record.Session, error) {
	const clientHello, serverHello = 1, 2
	fromClient, fromServer := &c.got, &c.sentHello
	if client {
		fromClient, fromServer = fromServer, fromClient
	}
	c.secrets.Suite, c.secrets.Client = state.Suite, client
	c.secrets.ClientRandom, c.secrets.ServerRandom = fromClient.random(clientHello), fromServer.random(serverHello)
	session, err := record.New(c.secrets)
	if err != nil {
		return record.Session{}, err
	}
	if session.Version() != state.Version {
		return record.Session{}, errors.New("cipher suite of another version")
	}
	if c.headSize > 0 || c.left > 0 {
		return record.Session{}, errors.New("handshake ended inside a record")
	}
	sent, err := c.countSent(&session)
	if err != nil {
		return record.Session{}, err
	}
	if session.Version() == tls.VersionTLS12 {
		// Each side's Finished is all that went under its key. crypto/tls does not look at what may
		// stand behind it in its record.
		const finished = 4 + 12
		if sent != 1 || c.head[0] != typeHandshake ||
			record.RecordSize(c.head[:]) != record.HeaderSize+session.Overhead()+finished {
			return record.Session{}, errors.New("handshake did not end with Finished")
		}
	}
	if client && session.Version() == tls.VersionTLS13 && sent != 0 {
		return record.Session{}, errors.New("client sent records behind its Finished")
	}
	return session, nil
}

// countSent finds the records at the end of what was sent that are under the application key: in
// TLS 1.3 those of a server's tickets, in TLS 1.2 Finished. It tries each, since nothing else tells.
func (c *takeover) countSent(session *record.Session) (n int, err error) {
	ciphers := cipherPool.Get().(*record.Ciphers)
	defer cipherPool.Put(ciphers)
	room := partBuffers.Get().(*[]byte)
	defer partBuffers.Put(room)
	for rest := c.tail; len(rest) > 0; {
		size := record.RecordSize(rest)
		if size == 0 || size > len(rest) {
			return 0, errors.New("handshake sent a part of a record")
		}
		switch {
		case session.Sent(ciphers, (*room)[:0], rest[:size]):
			n++
		case n > 0:
			return 0, errors.New("handshake sent something behind the first record under the application key")
		}
		rest = rest[size:]
	}
	return n, nil
}
