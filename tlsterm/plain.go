package tlsterm

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// errTLSOnPlain is what a Read gives once a client has begun with TLS where none is spoken.
var errTLSOnPlain = errors.New("TLS on a plain port")

// recordHandshake is the first byte of a TLS connection (RFC 8446 §5.1); no HTTP request has it.
const recordHandshake = 0x16

// plainConn carries ws and http.
type plainConn struct {
	conn
	listener *Listener
	err      error // what Handshake came to
}

func (c *plainConn) NetConn() net.Conn { return c.halfCloser }

// Handshake reads the PROXY protocol header if one is due, within the listener's HandshakeTimeout.
func (c *plainConn) Handshake() error {
	if c.due {
		c.err = c.handshake()
	}
	return c.err
}

func (c *plainConn) handshake() error {
	_ = c.SetReadDeadline(time.Now().Add(c.listener.cfg.HandshakeTimeout))
	heard, err := c.readHeader(c.halfCloser)
	if err == nil {
		return c.SetReadDeadline(time.Time{})
	}
	result := resultOf(err)
	if !heard && (result == ResultTimeout || result == ResultGone) {
		result = ResultSilent
	}
	c.listener.counts.ended(result)
	c.listener.cfg.Log.Debug("proxy header", "client", c.Client().String(), "reason", string(result), "err", err)
	c.Close()
	return err
}

// Read begins with what Handshake does, and closes a connection at once whose client begins with TLS: an
// answer in HTTP would be noise to it, and the ClientHello is none to a parser of HTTP.
func (c *plainConn) Read(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		// The end of file is what front takes for a client that has left.
		return 0, fmt.Errorf("%w: %w", err, io.EOF)
	}
	first := !c.heard.Load()
	n, err := c.conn.Read(p)
	if first && n > 0 && p[0] == recordHandshake {
		c.listener.counts.ended(ResultTLSOnPlain)
		c.listener.cfg.Log.Debug("tls on a plain port", "client", c.Client().String())
		c.Close()
		// The end of file is what front takes for a client that has left.
		return 0, fmt.Errorf("%w: %w", errTLSOnPlain, io.EOF)
	}
	return n, err
}

// Admits is as Conn has it.
func (c *plainConn) Admits(client netip.Addr) bool { return c.listener.admits(client) }

// HTTPSPort is the port of https that requests on this connection are redirected to, 0 when they are
// served.
func (c *plainConn) HTTPSPort() int { return c.listener.cfg.HTTPSPort }
