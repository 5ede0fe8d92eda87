// Package record is the record layer of TLS 1.3 (RFC 8446 §5) and TLS 1.2 (RFC 5246 §6.2) after the
// handshake, as arithmetic: it seals and opens records, follows KeyUpdate, alerts and session tickets,
// and does no I/O, starts no goroutine and owns no buffer. Whoever shakes hands makes a Session of the
// secrets that came of it. AEADs, HKDF and HMAC are not ours.
package record

import (
	"crypto/tls"
	"encoding/binary"
	"io"
)

// Sizes of records on the wire and of what they hold.
const (
	// HeaderSize is that of every record's header.
	HeaderSize = 5

	// MaxRecord is the size of the largest record that is ever opened: Open refuses a larger one as
	// soon as it has the header.
	MaxRecord = HeaderSize + explicitSize + maxData + tagSize

	// MaxOpened is the room that the content of any record needs while it is opened: the data, and
	// TLS 1.3's type behind it.
	MaxOpened = maxData + 1

	maxData      = 1 << 14
	tagSize      = 16 // of all AEADs here
	explicitSize = 8  // of the nonce in a record of TLS 1.2's AES-GCM (RFC 5288 §3)
)

// Content types of records (RFC 8446 §5.1).
const (
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
)

// wireVersion stands in every record since TLS 1.2.
const wireVersion = tls.VersionTLS12

// maxIdle is how many records in a row may carry no data: the other side must not keep us busy with
// nothing. A server may send a handful of tickets at once.
const maxIdle = 32

// Session is one connection's record layer from its handshake on. It has a fixed size and no
// pointers, so that it may be copied, also to another process; only one copy goes on, or nonces
// repeat. The zero value has no keys: it opens and seals nothing. One goroutine at a time uses it.
//
//	open → ended: the other side's close_notify was opened; Open answers io.EOF, Seal goes on
//	open → left: AppendCloseNotify; Seal appends nothing, Open goes on
//	any  → failed: a violation or a fatal alert from the other side; nothing goes on, and after a
//	    violation its alert is due
type Session struct {
	suite suite
	flags flags
	fault tls.AlertError // what failed it
	idle  uint8          // records without data since the last one with some

	// The post-handshake message of TLS 1.3 under way: its first bytes, and how many of its others are
	// still to be skipped.
	headSize uint8
	head     [4 + 1]byte
	skip     uint32

	in, out half
}

type flags uint8

const (
	client    flags = 1 << iota
	ended           // close_notify received
	left            // close_notify sent, or no more records can be
	failed          // fault says why
	received        // fault came from the other side
	dueUpdate       // a KeyUpdate is owed to the other side
	dueAlert        // fault is to be sent
)

// half is one direction.
type half struct {
	seq    uint64 // of the next record
	key    [maxKey]byte
	iv     [nonceSize]byte // TLS 1.2's AES-GCM has four bytes of it
	secret [maxSecret]byte // TLS 1.3's traffic secret, for the next key
}

// RecordSize is the size of the record that src begins with, 0 while its header is not whole.
func RecordSize(src []byte) int {
	if len(src) < HeaderSize {
		return 0
	}
	return HeaderSize + int(binary.BigEndian.Uint16(src[3:]))
}

// Version and Suite are what the handshake agreed on, as crypto/tls numbers them.
func (s *Session) Version() uint16 { return s.suite.version() }

// Suite is the cipher suite's number. Of the two of TLS 1.2 that differ in the certificate's key
// only, it is the one with RSA.
func (s *Session) Suite() uint16 { return suites[s.suite].ids[0] }

// Overhead is how much longer than its content a record is behind its header, padding aside.
func (s *Session) Overhead() int {
	if s.is13() {
		return 1 + tagSize // the type is inside
	}
	return suites[s.suite].expansion()
}

// ReceivedClose reports whether the other side's close_notify has been opened.
func (s *Session) ReceivedClose() bool { return s.flags&ended != 0 }

// SentClose reports whether Seal appends nothing any more: AppendCloseNotify was called, or TLS 1.2
// has run out of sequence numbers.
func (s *Session) SentClose() bool { return s.flags&left != 0 }

// Err is what ended the receiving direction: nil, io.EOF after close_notify, an *AlertError, or
// ErrNoKeys.
func (s *Session) Err() error {
	switch {
	case s.suite == 0:
		return ErrNoKeys
	case s.flags&failed != 0:
		return &AlertError{Alert: s.fault, Received: s.flags&received != 0}
	case s.flags&ended != 0:
		return io.EOF
	}
	return nil
}

// Wipe forgets the keys, and everything else with them.
func (s *Session) Wipe() { *s = Session{} }

func (s *Session) is13() bool { return s.suite.version() == tls.VersionTLS13 }

// fail ends the session with an alert to be sent.
func (s *Session) fail(alert tls.AlertError, reason string) error {
	s.flags |= failed | dueAlert
	s.flags &^= dueUpdate
	s.fault = alert
	return &AlertError{Alert: alert, Reason: reason}
}
