package record

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"math"
)

// Handshake messages (RFC 8446 §4).
const (
	msgHelloRequest = 0 // TLS 1.2
	msgClientHello  = 1
	msgTicket       = 4
	msgKeyUpdate    = 24
)

// maxMessage bounds a session ticket's message, which is skipped.
const maxMessage = 1 << 16

// Open opens the whole records at the start of src in their order, appends the data in them to dst
// and returns it, and how many bytes of src it has used up. A record that is not whole is left for
// the caller to give again with what follows. So is one whose content might not fit between dst's
// length and its capacity; there is always room with MaxOpened. That room is written to for records
// without data as well, and dst must not overlap src.
//
// Beside an error there may be data that came before. It is io.EOF after close_notify, an
// *AlertError, or ErrNoKeys; from then on nothing is opened, and every call gives it again.
func (s *Session) Open(c *Ciphers, dst, src []byte) (out []byte, n int, err error) {
	if s.suite == 0 || s.flags&(ended|failed) != 0 {
		return dst, 0, s.Err()
	}
	for {
		record := src[n:]
		if len(record) < HeaderSize {
			return dst, n, nil
		}
		size, err := s.checkHeader(record)
		if err != nil {
			return dst, n, err
		}
		if len(record) < size || cap(dst)-len(dst) < size-HeaderSize-suites[s.suite].expansion() {
			return dst, n, nil
		}
		typ, content, err := s.decrypt(c, dst[len(dst):], record[:size])
		if err != nil {
			return dst, n, err
		}
		n += size
		if typ == typeData && len(content) > 0 && s.headSize == 0 && s.skip == 0 {
			s.idle = 0
			dst = dst[:len(dst)+len(content)]
			continue
		}
		if err := s.control(typ, content); err != nil {
			return dst, n, err
		}
	}
}

// checkHeader checks what a record's header says, and gives the record's size.
func (s *Session) checkHeader(record []byte) (size int, err error) {
	typ, length := record[0], int(binary.BigEndian.Uint16(record[3:]))
	least := suites[s.suite].expansion()
	most := least + maxData
	switch {
	case s.is13():
		// All records are protected; the type is inside, behind the data.
		most++
		if typ != typeData {
			return 0, s.fail(alertUnexpectedMessage, "record that is not protected")
		}
	case typ != typeData && typ != typeHandshake && typ != typeAlert:
		return 0, s.fail(alertUnexpectedMessage, "record of an unknown type or change_cipher_spec")
	}
	switch {
	case binary.BigEndian.Uint16(record[1:]) != wireVersion:
		return 0, s.fail(alertProtocolVersion, "record of another version")
	case length > most:
		return 0, s.fail(alertRecordOverflow, "record too long")
	case length < least:
		return 0, s.fail(alertBadRecordMAC, "record too short")
	}
	return HeaderSize + length, nil
}

// decrypt opens one record into room and gives its type and content, a part of room.
func (s *Session) decrypt(c *Ciphers, room, record []byte) (typ byte, content []byte, err error) {
	if s.in.seq == math.MaxUint64 {
		return 0, nil, s.fail(alertInternalError, "sequence numbers have run out")
	}
	typ, content, ok := unseal(c, s.suite, &s.in, room, record)
	if !ok {
		return 0, nil, s.fail(alertBadRecordMAC, "record does not authenticate")
	}
	s.in.seq++
	if !s.is13() {
		return typ, content, nil
	}
	// The type is the last byte that is not padding (RFC 8446 §5.4).
	last := len(content) - 1
	for last >= 0 && content[last] == 0 {
		last--
	}
	if last < 0 {
		return 0, nil, s.fail(alertUnexpectedMessage, "record without a type")
	}
	return content[last], content[:last], nil
}

// unseal authenticates and decrypts a record whose header has been checked. The content of TLS 1.3
// has its type and padding still behind it.
func unseal(c *Ciphers, s suite, h *half, room, record []byte) (typ byte, content []byte, ok bool) {
	header, body := record[:HeaderSize], record[HeaderSize:]
	extra, explicit := header, body
	if s.version() != tls.VersionTLS13 {
		if suites[s].explicit {
			explicit, body = body[:explicitSize], body[explicitSize:]
		}
		extra = c.extraOf(h, header[0], len(body)-tagSize)
	}
	content, err := c.aead(s, h).Open(room[:0], c.nonceOf(s, h, explicit), body, extra)
	return header[0], content, err == nil
}

// control takes a record that is not plain data.
func (s *Session) control(typ byte, content []byte) error {
	if s.idle++; s.idle > maxIdle {
		return s.fail(alertUnexpectedMessage, "too many records without data")
	}
	// Between the parts of a handshake message nothing else may stand (RFC 8446 §5.1).
	if typ != typeHandshake && (s.headSize > 0 || s.skip > 0) {
		return s.fail(alertUnexpectedMessage, "record inside a handshake message")
	}
	switch typ {
	case typeData:
		return nil
	case typeAlert:
		return s.alert(content)
	case typeHandshake:
		if len(content) == 0 {
			return s.fail(alertUnexpectedMessage, "empty handshake record")
		}
		if s.is13() {
			return s.messages(content)
		}
		return s.renegotiation(content[0])
	}
	return s.fail(alertUnexpectedMessage, "record of an unknown type")
}

func (s *Session) alert(content []byte) error {
	if len(content) != 2 {
		return s.fail(alertDecodeError, "alert that is not two bytes")
	}
	level, alert := content[0], tls.AlertError(content[1])
	switch {
	case alert == alertCloseNotify:
		s.flags |= ended
		return io.EOF
	case s.is13() && alert == alertUserCanceled:
		return nil // a close_notify follows; some send it for no reason
	case !s.is13() && level == levelWarning:
		return nil
	case !s.is13() && level != levelFatal:
		return s.fail(alertIllegalParameter, "alert of an unknown level")
	}
	s.flags |= failed | received
	s.flags &^= dueUpdate
	s.fault = alert
	return s.Err()
}

// renegotiation refuses what TLS 1.2 allows after a handshake.
func (s *Session) renegotiation(msg byte) error {
	if s.flags&client != 0 && msg == msgHelloRequest || s.flags&client == 0 && msg == msgClientHello {
		return s.fail(alertNoRenegotiation, "the other side wants to renegotiate")
	}
	return s.fail(alertUnexpectedMessage, "handshake message after the handshake")
}

// messages follows TLS 1.3's post-handshake messages through the records that carry them.
func (s *Session) messages(content []byte) error {
	for len(content) > 0 {
		if s.skip > 0 {
			part := min(s.skip, uint32(len(content)))
			s.skip -= part
			content = content[part:]
			continue
		}
		s.head[s.headSize] = content[0]
		s.headSize++
		content = content[1:]
		switch {
		case s.headSize == 4:
			if err := s.messageBegins(); err != nil {
				return err
			}
		case s.headSize > 4:
			return s.keyUpdate(content)
		}
	}
	return nil
}

// messageBegins takes a message's header.
func (s *Session) messageBegins() error {
	length := binary.BigEndian.Uint32(s.head[:]) & 0xffffff
	switch msg := s.head[0]; {
	case msg == msgKeyUpdate && length == 1:
		return nil // its one byte follows
	case msg == msgKeyUpdate:
		return s.fail(alertDecodeError, "KeyUpdate that is not one byte")
	case msg != msgTicket || s.flags&client == 0:
		return s.fail(alertUnexpectedMessage, "handshake message after the handshake")
	case length == 0:
		return s.fail(alertDecodeError, "empty session ticket")
	case length > maxMessage:
		return s.fail(alertDecodeError, "session ticket too long")
	}
	s.headSize, s.skip = 0, length
	return nil
}

// keyUpdate takes a KeyUpdate (RFC 8446 §4.6.3), behind which the record must end, since what
// follows has another key (§5.1).
func (s *Session) keyUpdate(behind []byte) error {
	request := s.head[4]
	s.headSize, s.head = 0, [len(s.head)]byte{}
	switch {
	case len(behind) > 0:
		return s.fail(alertUnexpectedMessage, "handshake message behind a KeyUpdate")
	case request > 1:
		return s.fail(alertIllegalParameter, "KeyUpdate that is neither request nor answer")
	}
	s.in.next(s.suite)
	if request == 1 && s.flags&left == 0 {
		s.flags |= dueUpdate
	}
	return nil
}
