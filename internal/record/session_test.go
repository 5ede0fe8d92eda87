package record

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"unsafe"
)

// everySuite is all that the record layer knows.
func everySuite() (ids []uint16) {
	for _, s := range suites[1:] {
		for _, id := range s.ids {
			if id != 0 {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// secretsFor makes secrets of a seed.
func secretsFor(id uint16, seed string) Secrets {
	fill := func(name string, size int) []byte {
		sum := sha256.Sum256([]byte(seed + name))
		return append(sum[:], sum[:]...)[:size]
	}
	size := suites[suiteOf(id)].hash().Size()
	return Secrets{
		Suite: id, ClientTraffic: fill("client", size), ServerTraffic: fill("server", size),
		Master: fill("master", masterSize), ClientRandom: fill("cr", randomSize), ServerRandom: fill("sr", randomSize),
	}
}

// sessions are the two sides of one connection.
func sessions(t testing.TB, id uint16) (server, client *Session) {
	t.Helper()
	made := make([]Session, 2)
	for i := range made {
		secrets := secretsFor(id, "seed")
		secrets.Client = i == 1
		s, err := New(secrets)
		if err != nil {
			t.Fatalf("New for %s: %v", tls.CipherSuiteName(id), err)
		}
		if s.Version() == tls.VersionTLS12 {
			s.out.seq = 1 // its own Finished
		}
		made[i] = s
	}
	return &made[0], &made[1]
}

// eachSuite runs a test once for every suite.
func eachSuite(t *testing.T, test func(t *testing.T, id uint16)) {
	for _, id := range everySuite() {
		t.Run(tls.CipherSuiteName(id), func(t *testing.T) { test(t, id) })
	}
}

// Bytes arrive in any cut, in records of any size, through any number of keys.
func TestOpenGivesWhatWasSealed(t *testing.T) {
	eachSuite(t, func(t *testing.T, id uint16) {
		rng := rand.New(rand.NewPCG(1, uint64(id)))
		server, client := sessions(t, id)
		ciphers := NewCiphers(4)
		for _, ends := range [][2]*Session{{server, client}, {client, server}} {
			from, to := ends[0], ends[1]
			var sent, wire, got []byte
			for range 60 {
				data := make([]byte, []int{0, 1, rng.IntN(200), rng.IntN(maxData + 1), maxData, rng.IntN(3 * maxData)}[rng.IntN(6)])
				for i := range data {
					data[i] = byte(rng.Uint32())
				}
				sent = append(sent, data...)
				switch rng.IntN(5) {
				case 0:
					wire = from.AppendKeyUpdate(ciphers, wire, rng.IntN(2) == 0)
				case 1:
					wire = from.seal(ciphers, wire, typeData, nil)
				}
				before := len(wire)
				wire = from.Seal(ciphers, wire, data)
				if most := SealedSize(len(data)); len(wire)-before > most {
					t.Fatalf("Seal of %d bytes appends %d, SealedSize says %d", len(data), len(wire)-before, most)
				}
			}
			wire = from.AppendCloseNotify(ciphers, wire)
			room := make([]byte, 0, MaxOpened)
			var pending []byte
			var err error
			for len(wire) > 0 {
				cut := min(len(wire), []int{1, 4, 5, 6, rng.IntN(100), rng.IntN(50000)}[rng.IntN(6)])
				pending = append(pending, wire[:cut]...)
				wire = wire[cut:]
				for {
					var out []byte
					var n int
					out, n, err = to.Open(ciphers, room, pending)
					got = append(got, out...)
					pending = pending[n:]
					if err != nil || n == 0 {
						break
					}
				}
				if err != nil {
					break
				}
			}
			if err != io.EOF || len(wire)+len(pending) > 0 {
				t.Fatalf("Open ends with %v and %d bytes left, want io.EOF and none", err, len(wire)+len(pending))
			}
			if !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes arrive of %d, or others", len(got), len(sent))
			}
			if !to.ReceivedClose() || !from.SentClose() {
				t.Error("nobody knows of the close_notify")
			}
			if to.Err() != io.EOF {
				t.Errorf("Err = %v, want io.EOF", to.Err())
			}
			// The other direction lives on: that is what the next turn shows.
		}
	})
}

func TestOpenStopsBeforeARecordThatDoesNotFit(t *testing.T) {
	eachSuite(t, func(t *testing.T, id uint16) {
		server, client := sessions(t, id)
		ciphers := NewCiphers(4)
		wire := server.Seal(ciphers, nil, make([]byte, 100))
		first := len(wire)
		wire = server.Seal(ciphers, wire, make([]byte, maxData))
		out, n, err := client.Open(ciphers, make([]byte, 0, MaxOpened), wire)
		if len(out) != 100 || n != first || err != nil {
			t.Errorf("Open = %d bytes, %d, %v; want the first record only, 100, %d", len(out), n, err, first)
		}
		out, n, err = client.Open(ciphers, make([]byte, 0, MaxOpened), wire[n:])
		if len(out) != maxData || n != len(wire)-first || err != nil {
			t.Errorf("Open = %d bytes, %d, %v; want the second record", len(out), n, err)
		}
	})
}

func TestRecordSize(t *testing.T) {
	server, _ := sessions(t, tls.TLS_AES_128_GCM_SHA256)
	wire := server.Seal(NewCiphers(1), nil, make([]byte, maxData))
	for size, want := range map[int]int{0: 0, 4: 0, 5: len(wire), len(wire): len(wire)} {
		if got := RecordSize(wire[:size]); got != want {
			t.Errorf("RecordSize of %d bytes = %d, want %d", size, got, want)
		}
	}
	if len(wire) > MaxRecord {
		t.Errorf("record of %d bytes, MaxRecord is %d", len(wire), MaxRecord)
	}
}

// However often the other side asks for a new key, it gets one before the next data.
func TestKeyUpdatesAreAnsweredOnce(t *testing.T) {
	server, client := sessions(t, tls.TLS_AES_256_GCM_SHA384)
	ciphers := NewCiphers(4)
	room := make([]byte, 0, MaxOpened)
	for name, answer := range map[string]func() []byte{
		"AppendDue": func() []byte { return client.Seal(ciphers, client.AppendDue(ciphers, nil), []byte("x")) },
		"Seal":      func() []byte { return client.Seal(ciphers, nil, []byte("x")) },
	} {
		var wire []byte
		for range 5 {
			wire = server.AppendKeyUpdate(ciphers, wire, true)
		}
		if _, n, err := client.Open(ciphers, room, wire); n != len(wire) || err != nil {
			t.Fatalf("Open = %d, %v", n, err)
		}
		if !client.Due() {
			t.Error("no answer is due")
		}
		keys := client.out.secret
		wire = answer()
		if want := updateSize + len(client.seal(ciphers, nil, typeData, []byte("x"))); len(wire) != want {
			t.Errorf("%s: the answer and data are %d bytes, want %d", name, len(wire), want)
		}
		client.out.seq--
		if client.Due() || client.out.secret == keys {
			t.Errorf("%s: Due = %v behind the answer, or the key has not changed", name, client.Due())
		}
		if out, _, err := server.Open(ciphers, room, wire); string(out) != "x" || err != nil || server.Due() {
			t.Errorf("%s: Open = %q, %v, due %v", name, out, err, server.Due())
		}
	}
}

func TestKeyUpdateBeforeALimit(t *testing.T) {
	for _, id := range []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256} {
		server, client := sessions(t, id)
		ciphers := NewCiphers(4)
		limit := suites[server.suite].limit
		server.out.seq, client.in.seq = limit-1, limit-1
		data := bytes.Repeat([]byte("x"), 3*maxData)
		wire := server.Seal(ciphers, nil, data)
		if len(wire) > SealedSize(len(data)) {
			t.Errorf("Seal appends %d, more than SealedSize = %d", len(wire), SealedSize(len(data)))
		}
		if server.out.seq != 2 {
			t.Errorf("sequence number %d behind the limit, want 2", server.out.seq)
		}
		out, n, err := client.Open(ciphers, make([]byte, 0, len(data)+1), wire)
		if !bytes.Equal(out, data) || n != len(wire) || err != nil {
			t.Errorf("Open = %d bytes, %d, %v", len(out), n, err)
		}
	}
}

func TestSequenceNumbersNeverWrap(t *testing.T) {
	server, client := sessions(t, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	ciphers := NewCiphers(4)
	server.out.seq = limit12 - 1
	if wire := server.Seal(ciphers, nil, make([]byte, 2*maxData)); len(wire) > MaxRecord || !server.SentClose() {
		t.Errorf("Seal appends %d bytes, SentClose = %v; want one record and the end", len(wire), server.SentClose())
	}
	if wire := server.AppendCloseNotify(ciphers, server.Seal(ciphers, nil, []byte("x"))); len(wire) > 0 {
		t.Errorf("%d bytes behind the last sequence number", len(wire))
	}
	wire := client.Seal(ciphers, nil, []byte("x"))
	server.in.seq = limit12
	if _, _, err := server.Open(ciphers, make([]byte, 0, 100), wire); !errors.Is(err, alertInternalError) {
		t.Errorf("Open = %v, want an internal_error", err)
	}
}

func TestNothingGoesOnAfterClose(t *testing.T) {
	eachSuite(t, func(t *testing.T, id uint16) {
		server, client := sessions(t, id)
		ciphers := NewCiphers(4)
		room := make([]byte, 0, 100)
		wire := server.Seal(ciphers, nil, []byte("last"))
		wire = server.AppendCloseNotify(ciphers, wire)
		size := len(wire)
		if wire = server.Seal(ciphers, server.AppendCloseNotify(ciphers, wire), []byte("more")); len(wire) != size {
			t.Error("records behind close_notify")
		}
		wire = append(wire, wire...)
		out, n, err := client.Open(ciphers, room, wire)
		if string(out) != "last" || n != size || err != io.EOF {
			t.Errorf("Open = %q, %d, %v; want the data, %d and io.EOF", out, n, err, size)
		}
		if out, n, err := client.Open(ciphers, room, wire[n:]); len(out) > 0 || n != 0 || err != io.EOF {
			t.Errorf("Open = %q, %d, %v behind the end", out, n, err)
		}
		out, _, err = server.Open(ciphers, room, client.Seal(ciphers, nil, []byte("answer")))
		if string(out) != "answer" || err != nil {
			t.Errorf("half-closed: Open = %q, %v", out, err)
		}
	})
}

func TestNewRefusesWhatDoesNotFit(t *testing.T) {
	for name, secrets := range map[string]Secrets{
		"nothing":              {},
		"CBC":                  otherSuite(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA),
		"no forward secrecy":   otherSuite(tls.TLS_RSA_WITH_AES_128_GCM_SHA256),
		"secrets of another":   otherSuite(tls.TLS_AES_256_GCM_SHA384),
		"no secrets":           {Suite: tls.TLS_AES_128_GCM_SHA256},
		"no secrets, TLS 1.2":  {Suite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		"no randoms, TLS 1.2":  {Suite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, Master: make([]byte, 48)},
		"no suite of this set": {Suite: 0x1304, ClientTraffic: make([]byte, 32), ServerTraffic: make([]byte, 32)},
	} {
		if s, err := New(secrets); err == nil || s != (Session{}) {
			t.Errorf("New with %s: %v, want an error and no session", name, err)
		}
	}
	var s Session
	if _, _, err := s.Open(NewCiphers(1), nil, []byte{23, 3, 3, 0, 0}); err != ErrNoKeys {
		t.Errorf("Open of the zero Session: %v, want %v", err, ErrNoKeys)
	}
	if wire := s.AppendCloseNotify(nil, s.Seal(nil, nil, []byte("x"))); len(wire) > 0 {
		t.Errorf("the zero Session appends %d bytes", len(wire))
	}
}

// otherSuite has secrets for AES-128 with SHA-256, and another suite.
func otherSuite(id uint16) Secrets {
	secrets := secretsFor(tls.TLS_AES_128_GCM_SHA256, "")
	secrets.Suite = id
	return secrets
}

func TestSent(t *testing.T) {
	eachSuite(t, func(t *testing.T, id uint16) {
		server, _ := sessions(t, id)
		again, _ := sessions(t, id)
		ciphers := NewCiphers(4)
		room := make([]byte, 0, MaxOpened)
		first := server.seal(ciphers, nil, typeHandshake, make([]byte, 300))
		second := server.seal(ciphers, nil, typeHandshake, []byte("second"))
		for i, tt := range []struct {
			record []byte
			want   bool
		}{
			{second, false}, {first[:len(first)-1], false}, {nil, false}, {first, true}, {first, false}, {second, true},
		} {
			if got := again.Sent(ciphers, room, tt.record); got != tt.want {
				t.Errorf("%d: Sent = %v, want %v", i, got, tt.want)
			}
		}
		if again.out != server.out {
			t.Error("what was sent is not counted as it was sealed")
		}
	})
}

func TestSessionIsPlainBytes(t *testing.T) {
	const most = 250
	size := unsafe.Sizeof(Session{})
	t.Logf("Session is %d bytes", size)
	if size > most {
		t.Errorf("Session is %d bytes, want %d at most", size, most)
	}
	var check func(v reflect.Type)
	check = func(v reflect.Type) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				check(v.Field(i).Type)
			}
		case reflect.Array:
			check(v.Elem())
		case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Bool:
		default:
			t.Errorf("Session has a %v in it", v)
		}
	}
	check(reflect.TypeFor[Session]())
}

func TestWipe(t *testing.T) {
	server, _ := sessions(t, tls.TLS_AES_128_GCM_SHA256)
	server.Wipe()
	if *server != (Session{}) {
		t.Error("something is left of a session")
	}
}
