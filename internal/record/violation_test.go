package record

import (
	"crypto/tls"
	"errors"
	"testing"
)

// misdeed is a record or a few of them as the other side seals them, and the alert that they call for;
// none when they are fine.
type misdeed struct {
	name   string
	from   string // "server" or "client", both when empty
	sealed func(s *Session, c *Ciphers) []byte
	alert  tls.AlertError
	fine   bool
}

func records(typ byte, contents ...string) func(*Session, *Ciphers) []byte {
	return func(s *Session, c *Ciphers) (wire []byte) {
		for _, content := range contents {
			wire = s.seal(c, wire, typ, []byte(content))
		}
		return wire
	}
}

func many(n int, f func(*Session, *Ciphers) []byte) func(*Session, *Ciphers) []byte {
	return func(s *Session, c *Ciphers) (wire []byte) {
		for range n {
			wire = append(wire, f(s, c)...)
		}
		return wire
	}
}

func then(fs ...func(*Session, *Ciphers) []byte) func(*Session, *Ciphers) []byte {
	return func(s *Session, c *Ciphers) (wire []byte) {
		for _, f := range fs {
			wire = append(wire, f(s, c)...)
		}
		return wire
	}
}

// changed changes the bytes of a record after it was sealed.
func changed(at int, b ...byte) func(*Session, *Ciphers) []byte {
	return func(s *Session, c *Ciphers) []byte {
		wire := s.seal(c, nil, typeData, []byte("data"))
		if at < 0 {
			at += len(wire)
		}
		for i := range b {
			wire[at+i] ^= b[i]
		}
		return wire
	}
}

func header(typ byte, version uint16, length int) func(*Session, *Ciphers) []byte {
	return func(*Session, *Ciphers) []byte {
		return []byte{typ, byte(version >> 8), byte(version), byte(length >> 8), byte(length)}
	}
}

func update(request bool) func(*Session, *Ciphers) []byte {
	return func(s *Session, c *Ciphers) []byte { return s.AppendKeyUpdate(c, nil, request) }
}

var (
	padded  = func(s *Session, c *Ciphers) []byte { return s.seal(c, nil, 0, []byte("data\x17\x00\x00\x00")) }
	ticket  = "\x04\x00\x00\x10" + "sixteen bytes..."
	ticket2 = "\x04\x00\x01\x00" + string(make([]byte, 256))
)

func misdeeds13() []misdeed {
	const typeTooLong = 24
	return []misdeed{
		{name: "padding", sealed: padded, fine: true},
		{name: "padding only", sealed: records(0, "\x00\x00\x00"), alert: alertUnexpectedMessage},
		{name: "no type at all", sealed: func(s *Session, c *Ciphers) []byte {
			return append([]byte{23, 3, 3, 0, 16}, c.aead(s.suite, &s.out).Seal(nil, c.nonceOf(s.suite, &s.out, nil), nil, []byte{23, 3, 3, 0, 16})...)
		}, alert: alertUnexpectedMessage},
		{name: "unknown type", sealed: records(typeTooLong, "x"), alert: alertUnexpectedMessage},
		{name: "change_cipher_spec inside", sealed: records(20, "\x01"), alert: alertUnexpectedMessage},
		{name: "change_cipher_spec", sealed: header(20, 0x0303, 1), alert: alertUnexpectedMessage},
		{name: "plain alert", sealed: header(21, 0x0303, 2), alert: alertUnexpectedMessage},
		{name: "plain handshake", sealed: header(22, 0x0303, 100), alert: alertUnexpectedMessage},
		{name: "too long by one", sealed: header(23, 0x0303, maxData+1+tagSize+1), alert: alertRecordOverflow},
		{name: "KeyUpdate", sealed: then(update(false), records(typeData, "x")), fine: true},
		{name: "KeyUpdate asked for", sealed: then(update(true), records(typeData, "x"), update(true), records(typeData, "x")), fine: true},
		{name: "KeyUpdate in parts", sealed: func(s *Session, c *Ciphers) []byte {
			wire := records(typeHandshake, "\x18", "\x00\x00", "\x01\x00")(s, c)
			s.out.next(s.suite)
			return s.seal(c, wire, typeData, []byte("x"))
		}, fine: true},
		{name: "KeyUpdate with something behind it", sealed: records(typeHandshake, "\x18\x00\x00\x01\x00\x18"), alert: alertUnexpectedMessage},
		{name: "two KeyUpdates in a record", sealed: records(typeHandshake, "\x18\x00\x00\x01\x00\x18\x00\x00\x01\x00"), alert: alertUnexpectedMessage},
		{name: "KeyUpdate of 2", sealed: records(typeHandshake, "\x18\x00\x00\x01\x02"), alert: alertIllegalParameter},
		{name: "KeyUpdate of nothing", sealed: records(typeHandshake, "\x18\x00\x00\x00"), alert: alertDecodeError},
		{name: "KeyUpdate of two bytes", sealed: records(typeHandshake, "\x18\x00\x00\x02\x00\x00"), alert: alertDecodeError},
		{name: "the old key behind a KeyUpdate", sealed: records(typeHandshake, "\x18\x00\x00\x01\x00", "x"), alert: alertBadRecordMAC},
		{name: "many KeyUpdates", sealed: many(maxIdle, update(true)), fine: true},
		{name: "too many KeyUpdates", sealed: many(maxIdle+1, update(true)), alert: alertUnexpectedMessage},
		{name: "data inside a message", sealed: then(records(typeHandshake, "\x18\x00"), records(typeData, "x")), alert: alertUnexpectedMessage},
		{name: "alert inside a message", sealed: then(records(typeHandshake, "\x18\x00"), records(typeAlert, "\x01\x00")), alert: alertUnexpectedMessage},
		{name: "empty data inside a message", sealed: then(records(typeHandshake, "\x18\x00"), records(typeData, "")), alert: alertUnexpectedMessage},
		{name: "ClientHello", sealed: records(typeHandshake, "\x01\x00\x00\x01x"), alert: alertUnexpectedMessage},
		{name: "CertificateRequest", sealed: records(typeHandshake, "\x0d\x00\x00\x01x"), alert: alertUnexpectedMessage},
		{name: "user_canceled", sealed: then(records(typeAlert, "\x01\x5a"), records(typeData, "x")), fine: true},
		{name: "tickets", from: "server", sealed: then(records(typeHandshake, ticket, ticket+ticket2+ticket, ticket+"\x04\x00", "\x00\x03ab", "c"),
			update(false), records(typeData, "x")), fine: true},
		{name: "ticket with a KeyUpdate behind it", from: "server", sealed: func(s *Session, c *Ciphers) []byte {
			wire := records(typeHandshake, ticket+"\x18\x00\x00\x01\x01")(s, c)
			s.out.next(s.suite)
			return s.seal(c, wire, typeData, []byte("x"))
		}, fine: true},
		{name: "data inside a ticket", from: "server", sealed: then(records(typeHandshake, "\x04\x00\x00\x10abc"), records(typeData, "x")), alert: alertUnexpectedMessage},
		{name: "ticket of nothing", from: "server", sealed: records(typeHandshake, "\x04\x00\x00\x00"), alert: alertDecodeError},
		{name: "ticket too long", from: "server", sealed: records(typeHandshake, "\x04\x01\x00\x01"), alert: alertDecodeError},
		{name: "too many tickets", from: "server", sealed: many(maxIdle+1, records(typeHandshake, ticket)), alert: alertUnexpectedMessage},
		{name: "ticket from a client", from: "client", sealed: records(typeHandshake, ticket), alert: alertUnexpectedMessage},
	}
}

func misdeeds12() []misdeed {
	return []misdeed{
		{name: "unknown type", sealed: header(24, 0x0303, 100), alert: alertUnexpectedMessage},
		{name: "change_cipher_spec", sealed: header(20, 0x0303, 1), alert: alertUnexpectedMessage},
		{name: "too long by one", sealed: header(23, 0x0303, maxData+explicitSize+tagSize+1), alert: alertRecordOverflow},
		{name: "as another type", sealed: changed(0, typeData^typeAlert), alert: alertBadRecordMAC},
		{name: "HelloRequest", from: "server", sealed: records(typeHandshake, "\x00\x00\x00\x00"), alert: alertNoRenegotiation},
		{name: "ClientHello", from: "client", sealed: records(typeHandshake, "\x01\x00\x00\x01x"), alert: alertNoRenegotiation},
		{name: "HelloRequest from a client", from: "client", sealed: records(typeHandshake, "\x00\x00\x00\x00"), alert: alertUnexpectedMessage},
		{name: "ticket", sealed: records(typeHandshake, ticket), alert: alertUnexpectedMessage},
		{name: "warning", sealed: then(records(typeAlert, "\x01\x64"), records(typeData, "x")), fine: true},
		{name: "too many warnings", sealed: many(maxIdle+1, records(typeAlert, "\x01\x64")), alert: alertUnexpectedMessage},
		{name: "alert of no level", sealed: records(typeAlert, "\x03\x64"), alert: alertIllegalParameter},
	}
}

func misdeeds() []misdeed {
	return []misdeed{
		{name: "first byte changed", sealed: changed(HeaderSize, 1), alert: alertBadRecordMAC},
		{name: "last byte changed", sealed: changed(-1, 0x80), alert: alertBadRecordMAC},
		{name: "twice the same", sealed: func(s *Session, c *Ciphers) []byte {
			wire := s.seal(c, nil, typeData, []byte("x"))
			return append(wire, wire...)
		}, alert: alertBadRecordMAC},
		{name: "one left out", sealed: func(s *Session, c *Ciphers) []byte {
			s.seal(c, nil, typeData, []byte("x"))
			return s.seal(c, nil, typeData, []byte("x"))
		}, alert: alertBadRecordMAC},
		{name: "another version", sealed: changed(1, 0, 3^1), alert: alertProtocolVersion},
		{name: "no TLS at all", sealed: func(*Session, *Ciphers) []byte { return []byte("GET / HTTP/1.1\r\n") }, alert: alertUnexpectedMessage},
		{name: "much too long", sealed: header(23, 0x0303, 0xffff), alert: alertRecordOverflow},
		{name: "too short", sealed: header(23, 0x0303, tagSize-1), alert: alertBadRecordMAC},
		{name: "nothing in it", sealed: header(23, 0x0303, 0), alert: alertBadRecordMAC},
		{name: "empty data", sealed: many(maxIdle, records(typeData, "")), fine: true},
		{name: "empty data, and data between", sealed: many(5, then(many(maxIdle, records(typeData, "")), records(typeData, "x"))), fine: true},
		{name: "too much empty data", sealed: many(maxIdle+1, records(typeData, "")), alert: alertUnexpectedMessage},
		{name: "empty handshake", sealed: records(typeHandshake, ""), alert: alertUnexpectedMessage},
		{name: "empty alert", sealed: records(typeAlert, ""), alert: alertDecodeError},
		{name: "half an alert", sealed: records(typeAlert, "\x01"), alert: alertDecodeError},
		{name: "two alerts in a record", sealed: records(typeAlert, "\x01\x00\x01\x00"), alert: alertDecodeError},
		{name: "more data than allowed", sealed: records(typeData, string(make([]byte, maxData+1))), alert: alertRecordOverflow},
		{name: "as much as allowed", sealed: records(typeData, string(make([]byte, maxData))), fine: true},
	}
}

func TestViolations(t *testing.T) {
	eachSuite(t, func(t *testing.T, id uint16) {
		tests := append(misdeeds(), misdeeds12()...)
		if s, _ := sessions(t, id); s.is13() {
			tests = append(misdeeds(), misdeeds13()...)
		}
		for _, tt := range tests {
			for _, sender := range []string{"server", "client"} {
				if tt.from != "" && tt.from != sender {
					continue
				}
				from, to := sessions(t, id)
				if sender == "client" {
					from, to = to, from
				}
				ciphers := NewCiphers(4)
				wire := tt.sealed(from, ciphers)
				room := make([]byte, 0, MaxOpened)
				n, err := 0, error(nil)
				for step := 1; err == nil && step > 0; n += step {
					_, step, err = to.Open(ciphers, room, wire[n:])
				}
				if tt.fine {
					if err != nil || n != len(wire) {
						t.Errorf("%s, from a %s: Open = %d of %d, %v; want no error", tt.name, sender, n, len(wire), err)
					}
					continue
				}
				checkFailed(t, tt, from, to, err)
			}
		}
	})
}

// checkFailed checks that a session has failed as it must, and that its other side hears why.
func checkFailed(t *testing.T, tt misdeed, from, to *Session, err error) {
	t.Helper()
	var alert *AlertError
	if !errors.As(err, &alert) || alert.Received || alert.Alert != tt.alert {
		t.Errorf("%s: Open = %v, want %v to be sent", tt.name, err, tt.alert)
		return
	}
	ciphers := NewCiphers(4)
	if _, _, again := to.Open(ciphers, make([]byte, 0, 100), nil); !errors.Is(again, tt.alert) {
		t.Errorf("%s: Open again = %v, want %v", tt.name, again, tt.alert)
	}
	if wire := to.AppendCloseNotify(ciphers, to.Seal(ciphers, nil, []byte("x"))); len(wire) > 0 {
		t.Errorf("%s: Seal appends %d bytes to a session that has failed", tt.name, len(wire))
	}
	if !to.Due() {
		t.Errorf("%s: no alert is due", tt.name)
	}
	wire := to.AppendDue(ciphers, nil)
	if to.Due() || len(to.AppendDue(ciphers, nil)) > 0 {
		t.Errorf("%s: the alert is due twice", tt.name)
	}
	_, _, err = from.Open(ciphers, make([]byte, 0, 100), wire)
	if tt.alert == alertNoRenegotiation {
		if err != nil {
			t.Errorf("%s: the warning arrives as %v", tt.name, err)
		}
		return
	}
	if !errors.As(err, &alert) || !alert.Received || alert.Alert != tt.alert {
		t.Errorf("%s: the alert arrives as %v, want %v", tt.name, err, tt.alert)
	}
	if from.Due() || len(from.Seal(ciphers, nil, []byte("x"))) > 0 {
		t.Errorf("%s: the other side goes on after a fatal alert", tt.name)
	}
}

func TestAlertErrorText(t *testing.T) {
	for want, err := range map[string]*AlertError{
		"tls alert received: bad certificate":             {Alert: 42, Received: true},
		"tls violation: bad record MAC":                   {Alert: alertBadRecordMAC},
		"tls violation: unexpected message: out of order": {Alert: alertUnexpectedMessage, Reason: "out of order"},
	} {
		if got := err.Error(); got != want {
			t.Errorf("Error = %q, want %q", got, want)
		}
	}
}
