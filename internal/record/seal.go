package record

import (
	"encoding/binary"
	"slices"
)

// overhead is the most that a record adds to its content.
const overhead = HeaderSize + explicitSize + tagSize

// updateSize is that of a record with a KeyUpdate.
const updateSize = HeaderSize + 4 + 1 + 1 + tagSize

// MaxDue is the most that AppendDue, AppendCloseNotify and AppendKeyUpdate each append.
const MaxDue = 2 * updateSize

// SealedSize is the most that Seal appends for n bytes of data.
func SealedSize(n int) int {
	return n + (n+maxData-1)/maxData*overhead + updateSize
}

// Seal appends to dst the records that carry data, none for no data. A KeyUpdate goes before them
// when one is due, or when the key has served for as many records as it may (RFC 8446 §5.5). With
// SealedSize of room in dst it allocates nothing; data must not overlap dst.
//
// It appends nothing once the session has failed or SentClose.
func (s *Session) Seal(c *Ciphers, dst, data []byte) []byte {
	dst = slices.Grow(dst, SealedSize(len(data)))
	for len(data) > 0 && s.mayseal() {
		if s.flags&dueUpdate != 0 || s.out.seq >= suites[s.suite].limit {
			dst = s.AppendKeyUpdate(c, dst, false)
		}
		part := data[:min(len(data), maxData)]
		data = data[len(part):]
		dst = s.seal(c, dst, typeData, part)
	}
	return dst
}

// mayseal reports whether anything but an alert may be sent, and makes sure that sequence numbers do
// not wrap in TLS 1.2.
func (s *Session) mayseal() bool {
	if s.suite == 0 || s.flags&(left|failed) != 0 {
		return false
	}
	if s.out.seq == limit12 {
		s.flags |= left
		return false
	}
	return true
}

// Due reports whether AppendDue has something to append. A KeyUpdate that is due may wait for the
// next Seal, which puts it first (RFC 8446 §4.6.3); an alert is all that is still to be sent.
func (s *Session) Due() bool { return s.flags&(dueUpdate|dueAlert) != 0 }

// AppendDue appends the records that are due: one KeyUpdate, however many were asked for meanwhile,
// or the alert that a violation calls for.
func (s *Session) AppendDue(c *Ciphers, dst []byte) []byte {
	if s.flags&dueUpdate != 0 {
		dst = s.AppendKeyUpdate(c, dst, false)
	}
	if s.flags&dueAlert != 0 {
		s.flags &^= dueAlert
		if s.flags&left != 0 || s.out.seq == limit12 {
			return dst // nothing may follow a close_notify
		}
		s.flags |= left
		level := byte(levelFatal)
		if s.fault == alertNoRenegotiation {
			level = levelWarning // always (RFC 5246 §7.2.2)
		}
		dst = s.seal(c, dst, typeAlert, []byte{level, byte(s.fault)})
	}
	return dst
}

// AppendCloseNotify appends the close_notify that ends what this side sends, the first time; what the
// other side sends may go on.
func (s *Session) AppendCloseNotify(c *Ciphers, dst []byte) []byte {
	if !s.mayseal() {
		return dst
	}
	s.flags |= left
	s.flags &^= dueUpdate
	return s.seal(c, dst, typeAlert, []byte{levelWarning, byte(alertCloseNotify)})
}

// AppendKeyUpdate appends a KeyUpdate and goes on with the next key; with request it asks the other
// side to do the same. TLS 1.2 has none, and nothing is appended.
func (s *Session) AppendKeyUpdate(c *Ciphers, dst []byte, request bool) []byte {
	s.flags &^= dueUpdate
	if !s.is13() || !s.mayseal() {
		return dst
	}
	msg := [...]byte{msgKeyUpdate, 0, 0, 1, 0}
	if request {
		msg[4] = 1
	}
	dst = s.seal(c, dst, typeHandshake, msg[:])
	s.out.next(s.suite)
	return dst
}

// seal appends one record.
func (s *Session) seal(c *Ciphers, dst []byte, typ byte, content []byte) []byte {
	dst = slices.Grow(dst, len(content)+overhead)
	aead, h, start := c.aead(s.suite, &s.out), &s.out, len(dst)
	if s.is13() {
		size := len(content) + 1 + tagSize
		dst = append(dst, typeData, wireVersion>>8, wireVersion&0xff, byte(size>>8), byte(size))
		body := len(dst)
		dst = append(append(dst, content...), typ)
		sealed := aead.Seal(dst[body:body], c.nonceOf(s.suite, h, nil), dst[body:], dst[start:body])
		dst = dst[:body+len(sealed)]
	} else {
		size := len(content) + suites[s.suite].expansion()
		dst = append(dst, typ, wireVersion>>8, wireVersion&0xff, byte(size>>8), byte(size))
		if suites[s.suite].explicit {
			// The sequence number never repeats, which is all that RFC 5288 §3 asks of it.
			dst = binary.BigEndian.AppendUint64(dst, h.seq)
		}
		explicit := dst[start+HeaderSize:]
		dst = aead.Seal(dst, c.nonceOf(s.suite, h, explicit), content, c.extraOf(h, typ, len(content)))
	}
	h.seq++
	return dst
}

// Sent counts a record that this side had sent before the Session was made, and reports whether it
// was one under its key: the next one, if any. room is for its content, MaxOpened.
func (s *Session) Sent(c *Ciphers, room, record []byte) bool {
	size := RecordSize(record)
	if s.suite == 0 || size != len(record) || size < HeaderSize+suites[s.suite].expansion() || size > MaxRecord {
		return false
	}
	if _, _, ok := unseal(c, s.suite, &s.out, room, record); !ok {
		return false
	}
	s.out.seq++
	return true
}
