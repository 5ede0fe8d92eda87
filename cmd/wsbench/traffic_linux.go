package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// send writes bytes of one link, sealed if it is TLS, and watches for room if the kernel takes only a part.
func (l *loadLoop) send(k *link, p []byte) {
	if k.tls != nil {
		// Records are gathered so that one message is one system call.
		sealed := l.sealed[:0]
		k.held = &sealed
		_, err := k.tls.Write(p)
		k.held = nil
		if err != nil {
			k.broken = err
		}
		l.sealed = sealed
		p = sealed
	}
	k.rawWrite(p)
	if k.broken != nil {
		l.writeFailed(k, k.broken)
		return
	}
	l.watch(k)
}

// writeFailed lets the read side report what a write failed with.
func (l *loadLoop) writeFailed(k *link, err error) {
	k.broken = err
	// The event for it has come or comes once: do not rely on it.
	l.timers.push(timer{at: l.now(), slot: k.slot, gen: k.gen, what: timerRead})
}

// watch waits for what a link needs: for bytes to read, and for room if there is more to send.
func (l *loadLoop) watch(k *link) {
	events := uint32(unix.EPOLLIN)
	if k.unsent() {
		events |= unix.EPOLLOUT
	}
	if events != k.watched {
		l.poll.modify(k.fd, events, k.slot, k.gen)
		k.watched = events
	}
}

// opened follows a valid 101; with HTTP it follows as soon as TCP and TLS stand.
func (l *loadLoop) opened(k *link) {
	now := l.now()
	k.state, k.since = linkOpen, now
	l.dialling--
	l.open++
	l.stats.opened(now-k.dialled, k.tls != nil && k.tls.ConnectionState().DidResume)
	if l.onOpen != nil {
		l.onOpen(k)
	}
	l.pump(k)
}

// owe makes n more messages of a link due now.
func (l *loadLoop) owe(k *link, n int) {
	k.owed += n
	l.owed += n
	l.pump(k)
}

// pump sends what is due and may be in flight.
func (l *loadLoop) pump(k *link) {
	for k.state == linkOpen && k.outstanding() < l.opt.InFlight && k.broken == nil {
		now := l.now()
		due := now
		switch {
		case l.endless && l.sending:
		case k.owed > 0:
			k.owed--
			l.owed--
			if l.paced {
				due = k.due
				k.due += int64(l.opt.Interval)
			}
		default:
			return
		}
		if k.stamps == nil {
			k.stamps = make([]stamp, l.opt.InFlight)
		}
		seq := k.check.sent
		k.stamps[seq%uint64(len(k.stamps))] = stamp{due, now}
		k.check.sent++
		l.outstanding++
		if k.exchange != nil {
			l.ask(k, seq)
			continue
		}
		key := l.rng.Uint32()
		p := appendHeader(l.frame[:0], true, opBinary, uint64(l.opt.Size), true, key)
		at := len(p)
		p = l.msgs.appendTo(p, k.check.id, seq)
		xorMask(p[at:], key, 0)
		l.frame = p
		l.send(k, p)
	}
}

// echoed follows each whole message received.
func (l *loadLoop) echoed(k *link) {
	c := &k.check
	if c.fault.kind != "" {
		l.stats.fault(c.fault)
		c.fault = fault{}
	} else if st := k.stamps[(c.want-1)%uint64(len(k.stamps))]; true {
		now := l.now()
		if now-st.sent > int64(l.opt.Timeout) {
			l.stats.fault(fault{faultLate, 1, lateText(c.id, c.want-1, now-st.sent)})
		}
		l.stats.received(st.due, now)
		l.stats.bytes += 2 * int64(l.opt.Size)
	}
	l.pump(k)
}

func lateText(id uint32, seq uint64, ns int64) string {
	return fmt.Sprintf("link %d: message %d: no echo within %.3f s", id, seq, float64(ns)/1e9)
}

// late gives a link up whose oldest message is overdue.
func (l *loadLoop) late(k *link, ns int64) {
	l.stats.fault(fault{faultLate, 1, lateText(k.check.id, k.check.want, ns)})
	if n := k.outstanding() - 1; n > 0 {
		l.stats.fault(fault{faultMissing, n, fmt.Sprintf("link %d: %d messages behind a late one", k.check.id, n)})
	}
	l.end(k, ending{how: "timeout"})
}

// control sends a control frame.
func (l *loadLoop) control(k *link, op byte, payload []byte) {
	key := l.rng.Uint32()
	p := appendHeader(l.frame[:0], true, op, uint64(len(payload)), true, key)
	at := len(p)
	p = append(p, payload...)
	xorMask(p[at:], key, 0)
	l.send(k, p)
}

// close begins the closing handshake of an open link.
func (l *loadLoop) closeLink(k *link) {
	if k.state != linkOpen {
		return
	}
	k.state, k.since = linkClosing, l.now()
	l.open--
	l.control(k, opClose, []byte{1000 >> 8, 1000 & 0xFF})
}

// closeReceived answers a Close, or takes note of the answer to ours. The other side ends the TCP connection.
func (l *loadLoop) closeReceived(k *link) {
	k.sawClose = true
	if k.state == linkOpen {
		k.state, k.since = linkClosing, l.now()
		l.open--
		l.control(k, opClose, k.check.control[:min(2, len(k.check.control))])
		if !l.forgiving {
			l.endedEarly(k, "Close", closeCode(k.check.control))
		}
	}
}

// closeCode reads a Close's code, 1005 if there is none (RFC 6455 §7.1.5).
func closeCode(payload []byte) int {
	if len(payload) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(payload))
}

// endedEarly reports a link that ended though nobody asked for it.
func (l *loadLoop) endedEarly(k *link, how string, code int) {
	text := fmt.Sprintf("link %d: ended by itself: %s", k.check.id, how)
	if code != 0 {
		text += fmt.Sprintf(" %d", code)
	}
	l.stats.fault(fault{faultEnded, 1, text})
	if n := k.outstanding(); n > 0 {
		l.stats.fault(fault{faultMissing, n, fmt.Sprintf("link %d: %s from %d on missing: the link ended", k.check.id, k.unit(), k.check.want)})
	}
}

// finished follows the end of a connection that we did not drop.
func (l *loadLoop) finished(k *link, err error) {
	e := ending{how: "eof"}
	switch {
	case k.sawClose:
		e = ending{how: "close", code: closeCode(k.check.control)}
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		e.how = "reset"
	case err == errCloseTimeout:
		e.how = "timeout"
	case err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF):
		e.how = err.Error()
	}
	switch k.state {
	case linkConnecting, linkUpgrading:
		l.failed(k, fmt.Errorf("connection ended before the answer to the upgrade: %w", err))
		return
	case linkOpen:
		if !l.forgiving {
			l.endedEarly(k, e.how, 0)
		}
	case linkClosing:
		if !k.sawClose && !l.forgiving {
			l.stats.fault(fault{faultEnded, 1, fmt.Sprintf("link %d: %s instead of an answer to Close", k.check.id, e.how)})
		}
	}
	l.end(k, e)
}

// failed ends an attempt to open a link.
func (l *loadLoop) failed(k *link, err error) {
	l.stats.connectFailed(err)
	l.dialling--
	l.release(k)
	if l.onFail != nil {
		l.onFail(k)
	}
}

// end closes a link that was open.
func (l *loadLoop) end(k *link, e ending) {
	l.release(k)
	if l.onEnd != nil {
		l.onEnd(k, e)
	}
}

// drop ends a link with a reset, in whatever state it is, and tells nobody.
func (l *loadLoop) drop(k *link) {
	if k.fd >= 0 {
		closeReset(k.fd)
		k.fd = -1
	}
	if k.state == linkConnecting || k.state == linkUpgrading {
		l.dialling--
	}
	l.release(k)
}

// release closes the descriptor and forgets what was unanswered.
func (l *loadLoop) release(k *link) {
	if k.state == linkOpen {
		l.open--
	}
	if k.fd >= 0 {
		_ = unix.Close(k.fd)
	}
	l.outstanding -= k.outstanding()
	l.owed -= k.owed
	k.owed, k.fd, k.tls, k.pending, k.state = 0, -1, nil, nil, linkDown
	k.check.want = k.check.sent
}

// runTimers does what is due.
func (l *loadLoop) runTimers(now int64) {
	for {
		if at, ok := l.timers.first(); !ok || at > now {
			return
		}
		t := l.timers.pop()
		k := l.links[t.slot]
		if k.gen != t.gen {
			continue
		}
		switch {
		case t.what == timerDial && k.state == linkDown:
			l.dial(k)
		case t.what == timerRead && k.state > linkConnecting:
			l.receive(k)
		case t.what == timerSend && k.state == linkOpen && l.sending:
			l.owe(k, 1)
			t.at += int64(l.opt.Interval)
			l.timers.push(t)
		}
	}
}
