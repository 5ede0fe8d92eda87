package sock

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"wsproxy/internal/sock/dnstest"
)

// FuzzAnswerStream holds that the pieces in which a stream comes do not matter.
func FuzzAnswerStream(f *testing.F) {
	message := dnsmessage.Message{
		Header:  dnsmessage.Header{Response: true},
		Answers: []dnsmessage.Resource{dnstest.Alias("db.test.", "a.test.", 9), dnstest.Address("a.test.", "192.0.2.1", 7)},
	}
	packed, err := message.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(dnstest.Framed(packed), uint8(1))
	f.Add(append(dnstest.Framed(packed), dnstest.Framed(packed)...), uint8(3))
	f.Add(append(dnstest.Framed(nil), dnstest.Framed(packed)...), uint8(2))
	f.Add(dnstest.Framed(packed[:len(packed)-3]), uint8(5))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		whole, pieces := &stream{seen: new(answers)}, &stream{seen: new(answers)}
		whole.collect(b)
		for piece := range slices.Chunk(b, max(int(size), 1)) {
			pieces.collect(piece)
		}
		wantTTL, want := whole.seen.ttl()
		if ttl, ok := pieces.seen.ttl(); ttl != wantTTL || ok != want {
			t.Errorf("in pieces of %d: %v, %v, want %v, %v", size, ttl, ok, wantTTL, want)
		}
		if !bytes.Equal(whole.unread, pieces.unread) {
			t.Errorf("%d bytes left over, want %d", len(pieces.unread), len(whole.unread))
		}
	})
}
