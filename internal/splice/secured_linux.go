package splice

import (
	"io"
	"sync"

	"wsproxy/internal/record"
	"wsproxy/internal/sock"
)

// secured is the TLS of an end under a loop. Between two turns it holds no buffer unless a part of a
// record has come.
type secured struct {
	session record.Session

	raw   *[]byte // pooled: what has been read and not opened; nil when that is nothing
	have  int32   // how much of it
	fresh bool    // whole records may be in raw, or the end has come, which no event tells of
}

// Raw buffers of two sizes: a part of a record is most often the end of a small one, and who sends a
// byte of a header and then nothing costs no more than that.
const smallRaw = 256

var smallRaws, largeRaws = bufferPool(smallRaw), bufferPool(record.MaxRecord)

// cachedKeys is how many of a loop's keys have their cipher at hand: both of some two hundred links.
const cachedKeys = 512

// secure makes the TLS of an end, nil for none.
func secure(s *Secured) *secured {
	if s == nil {
		return nil
	}
	t := &secured{session: s.Session}
	t.keep(s.Raw)
	t.fresh = len(s.Raw) > 0 || s.Session.Err() != nil
	s.Session.Wipe()
	return t
}

// early reports whether there is something to open that no event tells of.
func (t *secured) early() bool { return t != nil && t.fresh }

// keep keeps b, less than a record has, in place of what there was.
func (t *secured) keep(b []byte) {
	if t.raw != nil && (len(b) == 0 || len(b) > len(*t.raw)) {
		rawPool(len(*t.raw)).Put(t.raw)
		t.raw = nil
	}
	if t.raw == nil && len(b) > 0 {
		t.raw = rawPool(len(b)).Get().(*[]byte)
	}
	t.have = int32(len(b))
	if len(b) > 0 {
		copy(*t.raw, b)
	}
}

// rawPool has buffers for n bytes.
func rawPool(n int) *sync.Pool {
	if n <= smallRaw {
		return smallRaws
	}
	return largeRaws
}

// read reads what an end has sent, and opens it, into room. drained says that there is nothing left,
// unless an event tells of it. Without an error n may be zero: not all that is read is data.
func (lp *loop) read(src *side, room []byte) (n int, drained bool, err error) {
	t := src.tls
	if t == nil {
		n, err = src.Read(room)
		return n, n < len(room), err
	}
	if err := t.session.Err(); err != nil {
		return 0, true, err
	}
	have := 0
	if t.raw != nil {
		have = copy(lp.sealed, (*t.raw)[:t.have])
	}
	// What is opened is never more than what is read, so that there is room for it.
	part := lp.sealed[have:len(room)]
	got, err := 0, error(nil)
	fresh := t.fresh
	if t.fresh = false; !fresh { // an end must not be found before what has come in front of it
		got, err = src.Read(part)
	}
	if err == io.EOF {
		err = record.ErrTruncated
	}
	if err != nil {
		return 0, true, err
	}
	data, used, err := t.session.Open(lp.ciphers, room[:0:len(room)], lp.sealed[:have+got])
	t.keep(lp.sealed[used : have+got])
	if len(data) > 0 {
		// An error comes again.
		return len(data), !fresh && got < len(part) && err == nil, nil
	}
	return 0, !fresh && got < len(part), err
}

// seal makes records of out for an end, out itself where there is no TLS. It returns false when
// nothing can be said to the end any more.
func (lp *loop) seal(dst *side, out []byte) ([]byte, bool) {
	t := dst.tls
	if t == nil {
		return out, true
	}
	out = t.session.Seal(lp.ciphers, lp.records[:0], out)
	return out, len(out) > 0
}

// complain sends the alert that an end's violation of TLS calls for, if there is room.
func (lp *loop) complain(s *side) {
	if s.tls == nil || s.unsent != nil || !s.Open() {
		return
	}
	// A KeyUpdate may be due as well, behind which data may follow: it is not to be lost for want of room.
	if _, failed := s.tls.session.Err().(*record.AlertError); failed && s.tls.session.Due() {
		_, _ = s.Write(s.tls.session.AppendDue(lp.ciphers, lp.records[:0]))
	}
}

// takeLeave tells an end by TLS's close_notify that it is sent no more. The connection below stays as
// it is, as with crypto/tls. What there is no room for is sent later.
func (lp *loop) takeLeave(s *side) {
	bye := s.tls.session.AppendCloseNotify(lp.ciphers, lp.records[:0])
	if n, err := s.Write(bye); err == sock.ErrAgain {
		lp.stall(s)
		s.unsent.append(bye[n:])
	}
}

// forget ends the TLS of an end that is closed now: with a close_notify, if polite, for which it does
// not wait. The keys are gone afterwards.
func (lp *loop) forget(s *side, polite bool) {
	t := s.tls
	if t == nil {
		return
	}
	if bye := t.session.AppendCloseNotify(lp.ciphers, lp.records[:0]); polite && len(bye) > 0 {
		_, _ = s.Write(bye)
	}
	t.keep(nil)
	lp.ciphers.Forget(&t.session)
	t.session.Wipe()
	s.tls = nil
}
