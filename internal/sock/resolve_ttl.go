package sock

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// answers looks at the DNS answers of one lookup as they pass, and notes the smallest time to live
// of the addresses or services and of the aliases that lead to them. net.Resolver tells none.
//
// Whether an answer fits its question is left to net.Resolver: a forged one that it drops can only
// shorten the time, to no less than minTTL.
type answers struct {
	mu       sync.Mutex // guards the fields below; A and AAAA are asked for at the same time
	seconds  uint32
	answered bool
}

// ttl is the smallest time to live so far; ok is false if no answer had one.
func (a *answers) ttl() (ttl time.Duration, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Duration(a.seconds) * time.Second, a.answered
}

// note takes one message. A truncated one counts if it came by TCP: net.Resolver drops those of UDP
// and asks again.
func (a *answers) note(message []byte, datagram bool) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil || !h.Response || h.RCode != dnsmessage.RCodeSuccess || h.Truncated && datagram {
		return
	}
	if p.SkipAllQuestions() != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		record, err := p.AnswerHeader()
		if err != nil {
			return // the section's end, or nothing that can be read
		}
		switch record.Type {
		case dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeSRV, dnsmessage.TypeCNAME:
			seconds := record.TTL
			if seconds > 1<<31-1 {
				seconds = 0 // RFC 2181 §8
			}
			if !a.answered || seconds < a.seconds {
				a.seconds, a.answered = seconds, true
			}
		}
		if p.SkipAnswer() != nil {
			return
		}
	}
}

// watch gives net.Resolver a connection to a server whose answers are noted. It is closed at the
// end of ctx, if not before: net.Resolver, told to stop, would first wait for the server's answer.
func (a *answers) watch(ctx context.Context, conn net.Conn) net.Conn {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if udp, ok := conn.(*net.UDPConn); ok {
		return &datagrams{UDPConn: udp, seen: a, stop: stop}
	}
	return &stream{Conn: conn, seen: a, stop: stop}
}

// datagrams is a connection on which each read is a message. net.Resolver tells it by its being a
// net.PacketConn.
type datagrams struct {
	*net.UDPConn
	seen *answers
	stop func() bool
}

func (c *datagrams) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	if err == nil {
		c.seen.note(b[:n], true)
	}
	return n, err
}

func (c *datagrams) Close() error {
	c.stop()
	return c.UDPConn.Close()
}

// stream is a connection on which each message stands behind its length, two bytes (RFC 1035
// §4.2.2). It must not be a net.PacketConn.
type stream struct {
	net.Conn
	seen   *answers
	stop   func() bool
	unread []byte // what has come of the next message, its length included: at most 64 KiB
}

func (c *stream) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.collect(b[:n])
	return n, err
}

// collect notes each message as it becomes whole.
func (c *stream) collect(b []byte) {
	c.unread = append(c.unread, b...)
	for len(c.unread) >= 2 {
		end := 2 + int(binary.BigEndian.Uint16(c.unread))
		if len(c.unread) < end {
			return
		}
		c.seen.note(c.unread[2:end], false)
		c.unread = c.unread[end:]
	}
}

func (c *stream) Close() error {
	c.stop()
	return c.Conn.Close()
}
