package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialsAtOnce bounds how many links are being opened at a time, except in a storm.
const dialsAtOnce = 128

var (
	errOpenTimeout  = errors.New("not open within the timeout")
	errCloseTimeout = errors.New("not closed within the timeout")
)

// dialer is the part of the loop that opens links.
type dialer struct {
	waiting  []*link       // to be dialled, in order
	dialling int           // being opened now
	atOnce   int           // bound of dialling
	gap      time.Duration // between two dials, from --ramp
	nextDial int64
	source   int // next of opt.Sources

	request   string // the upgrade request up to the key; with HTTP any request up to the tag
	afterTag  string // the rest of an HTTP request's head
	tlsConfig *tls.Config
	dialCtx   context.Context
	stopDials context.CancelFunc
}

// tlsDialed is what a handshake goroutine hands to the loop. The loop owns fd from then on.
type tlsDialed struct {
	slot, gen int32
	fd        int
	conn      *tls.Conn
	raw       *loopConn
	err       error
}

func newDialer(ctx context.Context, opt *Options, t *target) dialer {
	ctx, cancel := context.WithCancel(ctx)
	var sessions tls.ClientSessionCache // nil: each handshake is a full one
	if opt.Workload == workResumed {
		sessions = tls.NewLRUClientSessionCache(1)
	}
	request, afterTag := "GET "+t.path+" HTTP/1.1\r\nHost: "+t.host+"\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ", ""
	if isHTTP(opt.Workload) {
		request, afterTag = requestHead(opt, t)
	}
	return dialer{
		atOnce: dialsAtOnce, request: request, afterTag: afterTag,
		// One key exchange for every proxy.
		tlsConfig: &tls.Config{
			ServerName: t.name, InsecureSkipVerify: opt.Insecure,
			CurvePreferences: []tls.CurveID{tls.X25519}, MinVersion: tls.VersionTLS12,
			ClientSessionCache: sessions,
		},
		dialCtx: ctx, stopDials: cancel,
	}
}

// dial queues a link that is down.
func (l *loadLoop) dial(k *link) {
	k.dialled = l.now()
	l.waiting = append(l.waiting, k)
}

// nextDialAt is when the next queued dial may begin; false if none waits or all places are taken.
func (l *loadLoop) nextDialAt() (int64, bool) {
	return l.nextDial, len(l.waiting) > 0 && l.dialling < l.atOnce
}

func (l *loadLoop) pumpDials(now int64) {
	for len(l.waiting) > 0 && l.dialling < l.atOnce && now >= l.nextDial {
		k := l.waiting[0]
		l.waiting = l.waiting[1:]
		if l.gap > 0 {
			l.nextDial = max(l.nextDial, now-int64(time.Second)) + int64(l.gap)
		}
		if l.gap > 0 || l.atOnce == dialsAtOnce {
			k.dialled = now // the wait in the queue was ours
		}
		l.begin(k)
	}
}

// begin starts one attempt.
func (l *loadLoop) begin(k *link) {
	var source net.IP
	if n := len(l.opt.Sources); n > 0 {
		source = l.opt.Sources[l.source%n]
		l.source++
	}
	k.gen++
	k.state, k.since = linkConnecting, l.now()
	k.fd, k.tls, k.pending, k.head, k.broken, k.sawClose = -1, nil, nil, nil, nil, false
	k.check = checker{msgs: l.msgs, id: k.check.id, want: k.check.sent, sent: k.check.sent}
	if isHTTP(l.opt.Workload) {
		k.exchange = newExchange(&l.opt)
	}
	l.dialling++
	if l.target.secure {
		l.handshakes.Add(1)
		go l.handshakeTLS(k.slot, k.gen, source)
		return
	}
	fd, err := connectTCP(l.target.addr, source)
	if err != nil {
		l.failed(k, err)
		return
	}
	k.fd, k.watched = fd, unix.EPOLLOUT
	if err := l.poll.add(fd, k.watched, k.slot, k.gen); err != nil {
		l.failed(k, err)
	}
}

// connected follows a plain TCP connect.
func (l *loadLoop) connected(k *link) {
	errno, err := unix.GetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = syscall.Errno(errno)
	}
	if err != nil {
		l.failed(k, fmt.Errorf("connect: %w", err))
		return
	}
	l.watch(k)
	l.stands(k)
}

// stands follows when TCP and TLS stand.
func (l *loadLoop) stands(k *link) {
	if k.exchange != nil {
		l.opened(k)
		return
	}
	l.askUpgrade(k)
}

// handshakeTLS connects and shakes hands on its own goroutine, then leaves the result in the inbox. It ends
// with dialCtx or the timeout at the latest; close waits for it.
func (l *loadLoop) handshakeTLS(slot, gen int32, source net.IP) {
	defer l.handshakes.Done()
	d := tlsDialed{slot: slot, gen: gen}
	d.fd, d.conn, d.raw, d.err = dialTLS(l.dialCtx, l.target.addr, source, l.tlsConfig, l.opt.Timeout)
	l.inbox.Lock()
	l.inbox.done = append(l.inbox.done, d)
	l.inbox.Unlock()
	l.poll.wakeUp()
}

// dialTLS returns a connection after its handshake with its descriptor taken out of Go's poller.
func dialTLS(ctx context.Context, addr *net.TCPAddr, source net.IP, config *tls.Config, timeout time.Duration) (int, *tls.Conn, *loopConn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	nd := net.Dialer{}
	if source != nil {
		nd.LocalAddr = &net.TCPAddr{IP: source}
		nd.Control = func(_, _ string, c syscall.RawConn) error { return c.Control(func(fd uintptr) { bindLate(int(fd)) }) }
	}
	conn, err := nd.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return -1, nil, nil, err
	}
	defer conn.Close()
	raw := &loopConn{conn: conn}
	t := tls.Client(raw, config)
	if err := t.HandshakeContext(ctx); err != nil {
		return -1, nil, nil, fmt.Errorf("TLS handshake: %w", err)
	}
	control, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return -1, nil, nil, err
	}
	fd, dupErr := -1, error(nil)
	if err := control.Control(func(p uintptr) { fd, dupErr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, nil, nil, err
	}
	return fd, t, raw, dupErr
}

// takeInbox goes on with the connections whose handshake is over.
func (l *loadLoop) takeInbox() {
	l.inbox.Lock()
	done := l.inbox.done
	l.inbox.done = nil
	l.inbox.Unlock()
	for _, d := range done {
		k := l.links[d.slot]
		if k.gen != d.gen || k.state != linkConnecting {
			if d.err == nil {
				_ = unix.Close(d.fd)
			}
			continue
		}
		if d.err != nil {
			l.failed(k, d.err)
			continue
		}
		k.fd, k.tls, k.watched = d.fd, d.conn, unix.EPOLLIN
		d.raw.conn, d.raw.link = nil, k
		if err := l.poll.add(k.fd, k.watched, k.slot, k.gen); err != nil {
			l.failed(k, err)
			continue
		}
		l.stands(k)
		if k.state == linkUpgrading || k.state == linkOpen {
			l.receive(k) // session tickets, which crypto/tls may hold already
		}
	}
}

func (l *loadLoop) askUpgrade(k *link) {
	var nonce [16]byte
	binary.LittleEndian.PutUint64(nonce[:], l.rng.Uint64())
	binary.LittleEndian.PutUint64(nonce[8:], l.rng.Uint64())
	key := base64.StdEncoding.EncodeToString(nonce[:])
	k.accept = acceptKey(key)
	k.state = linkUpgrading
	l.send(k, append(append(append(l.frame[:0], l.request...), key...), "\r\n\r\n"...))
}

// answered collects the answer to the upgrade request. It returns what follows a valid one.
func (l *loadLoop) answered(k *link, p []byte) []byte {
	k.head = append(k.head, p...)
	head := string(k.head)
	end := strings.Index(head, "\r\n\r\n")
	if end < 0 {
		if len(k.head) > maxResponseHead {
			l.failed(k, fmt.Errorf("answer to the upgrade longer than %d bytes", maxResponseHead))
		}
		return nil
	}
	rest := p[len(p)-(len(head)-end-4):]
	head, k.head = head[:end], nil
	if err := checkUpgrade(head, k.accept); err != nil {
		l.failed(k, err)
		return nil
	}
	l.opened(k)
	return rest
}

// checkUpgrade says what is wrong with the answer to an upgrade request (RFC 6455 §4.1).
func checkUpgrade(head, accept string) error {
	line, _, _ := strings.Cut(head, "\r\n")
	if version, status, _ := strings.Cut(line, " "); version != "HTTP/1.1" || !strings.HasPrefix(status, "101") {
		return fmt.Errorf("upgrade refused: %q", line)
	}
	if !strings.EqualFold(headerValue(head, "Upgrade"), "websocket") || !strings.EqualFold(headerValue(head, "Connection"), "Upgrade") {
		return errors.New("101 without Upgrade: websocket and Connection: Upgrade")
	}
	if got := headerValue(head, "Sec-WebSocket-Accept"); got != accept {
		return fmt.Errorf("101 with Sec-WebSocket-Accept %q, want %q", got, accept)
	}
	if ext := headerValue(head, "Sec-WebSocket-Extensions"); ext != "" {
		return fmt.Errorf("101 with extensions %q that nobody asked for", ext)
	}
	return nil
}
