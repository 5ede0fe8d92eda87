package record

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// However a stream of records is changed and cut, what is opened is a part of what was sent, from its
// beginning, and the first record that was changed ends it.
func FuzzOpen(f *testing.F) {
	for i := range everySuite() {
		f.Add(uint8(i), []byte("hello, this is a little more than nothing"), uint16(0), uint8(0), uint8(1))
		f.Add(uint8(i), bytes.Repeat([]byte("x"), 3000), uint16(700), uint8(1), uint8(7))
		f.Add(uint8(i), []byte{}, uint16(3), uint8(0xff), uint8(200))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte, at uint16, flip, cut uint8) {
		data = data[:min(len(data), 4<<10)]
		ids := everySuite()
		server, client := sessions(t, ids[int(which)%len(ids)])
		ciphers := NewCiphers(4)
		var wire []byte
		var starts []int // of records
		for rest := data; ; {
			part := rest[:min(len(rest), 400)]
			rest = rest[len(part):]
			starts = append(starts, len(wire))
			wire = server.seal(ciphers, wire, typeData, part)
			if len(rest) == 0 {
				break
			}
		}
		starts = append(starts, len(wire))
		wire = server.AppendCloseNotify(ciphers, wire)
		changed := int(at) % len(wire)
		wire[changed] ^= flip

		var got, pending []byte
		used, room := 0, make([]byte, 0, MaxOpened)
		err := error(nil)
		for rest := wire; len(rest) > 0 && err == nil; {
			part := rest[:min(len(rest), int(cut)+1)]
			rest = rest[len(part):]
			pending = append(pending, part...)
			for n := 1; n > 0 && err == nil; {
				var out []byte
				out, n, err = client.Open(ciphers, room, pending)
				got = append(got, out...)
				pending = pending[n:]
				used += n
			}
		}
		if !bytes.HasPrefix(data, got) {
			t.Fatalf("%x opened, which is not how %x begins", got, data)
		}
		if flip == 0 {
			if err != io.EOF || len(got) != len(data) {
				t.Fatalf("unchanged: %d of %d bytes, %v", len(got), len(data), err)
			}
			return
		}
		last := 0
		for _, start := range starts {
			if start <= changed {
				last = start
			}
		}
		if used > last {
			t.Fatalf("%d bytes used, the record at %d was changed", used, last)
		}
		var alert *AlertError
		switch {
		case err == nil: // a length that is longer now and has not come
			if changed-last < 3 || changed-last > 4 {
				t.Fatalf("byte %d of a record changed, and nothing fails", changed-last)
			}
		case !errors.As(err, &alert) || alert.Received:
			t.Fatalf("Open = %v, want a violation", err)
		default:
			want := alertBadRecordMAC
			switch changed - last {
			case 0:
				if want = alertUnexpectedMessage; !client.is13() && (alert.Alert == alertBadRecordMAC) {
					want = alertBadRecordMAC // a type there is
				}
			case 1, 2:
				want = alertProtocolVersion
			case 3, 4:
				if alert.Alert == alertRecordOverflow {
					want = alertRecordOverflow
				}
			}
			if alert.Alert != want {
				t.Fatalf("byte %d of a record changed: %v, want %v", changed-last, err, want)
			}
		}
	})
}

// What the other side seals may be anything at all.
func FuzzContent(f *testing.F) {
	for _, tt := range append(misdeeds13(), misdeeds()...) {
		f.Add(uint8(0), uint8(typeHandshake), []byte(tt.name))
	}
	f.Add(uint8(1), uint8(typeHandshake), []byte(ticket+"\x18\x00\x00\x01\x01"))
	f.Add(uint8(0), uint8(typeAlert), []byte("\x02\x28"))
	f.Add(uint8(5), uint8(0), []byte("data\x17\x00\x00"))
	f.Fuzz(func(t *testing.T, which, typ uint8, content []byte) {
		ids := everySuite()
		from, to := sessions(t, ids[int(which>>1)%len(ids)])
		if which&1 != 0 {
			from, to = to, from
		}
		ciphers := NewCiphers(4)
		wire := from.seal(ciphers, nil, typ, content[:min(len(content), maxData)])
		wire = from.seal(ciphers, wire, typeData, []byte("x"))
		out, n, err := to.Open(ciphers, make([]byte, 0, 2*MaxOpened), wire)
		if err == nil && n != len(wire) {
			t.Fatalf("%d of %d bytes, and no error", n, len(wire))
		}
		if len(out) > len(content)+1 {
			t.Fatalf("%d bytes out of %d", len(out), len(content))
		}
		if again := to.Err(); (again == nil) != (err == nil) {
			t.Fatalf("Open = %v, and then Err = %v", err, again)
		}
		if to.skip > maxMessage || int(to.headSize) >= len(to.head) {
			t.Fatalf("message under way: %d bytes, header %d", to.skip, to.headSize)
		}
		from.Open(ciphers, make([]byte, 0, MaxOpened), to.AppendDue(ciphers, nil))
	})
}
