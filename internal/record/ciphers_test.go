package record

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A key that has been in use before must not be found for another.
func TestCiphersKeepKeysApart(t *testing.T) {
	ciphers := NewCiphers(8)
	type pair struct{ server, client *Session }
	var pairs []pair
	for i := range 40 {
		for _, id := range everySuite() {
			var made [2]Session
			for j := range made {
				secrets := secretsFor(id, fmt.Sprint(i))
				secrets.Client = j == 1
				s, err := New(secrets)
				if err != nil {
					t.Fatal(err)
				}
				s.out.seq, s.in.seq = 1, 1
				made[j] = s
			}
			pairs = append(pairs, pair{&made[0], &made[1]})
		}
	}
	rng := rand.New(rand.NewPCG(2, 3))
	room := make([]byte, 0, 100)
	for i := range 3000 {
		p := pairs[rng.IntN(len(pairs))]
		if i%100 == 0 {
			ciphers.Forget(p.server)
		}
		out, _, err := p.client.Open(ciphers, room, p.server.Seal(ciphers, nil, []byte("hello")))
		if string(out) != "hello" || err != nil {
			t.Fatalf("Open = %q, %v", out, err)
		}
	}
	kept := 0
	for _, set := range ciphers.sets {
		for _, r := range set.ready {
			if r.aead != nil {
				kept++
			}
		}
	}
	if kept > 8 {
		t.Errorf("%d ciphers are kept, want 8 at most", kept)
	}
	for _, p := range pairs {
		ciphers.Forget(p.server)
	}
	for _, set := range ciphers.sets {
		for _, r := range set.ready {
			if r.aead != nil || r.key != [maxKey]byte{} {
				t.Fatal("a key is kept after Forget")
			}
		}
	}
}

func TestOpenAndSealDoNotAllocate(t *testing.T) {
	eachSuite(t, func(t *testing.T, id uint16) {
		server, client := sessions(t, id)
		ciphers := NewCiphers(4)
		data := make([]byte, 128)
		wire := make([]byte, 0, SealedSize(len(data)))
		room := make([]byte, 0, MaxOpened)
		allocs := testing.AllocsPerRun(100, func() {
			if out, _, err := client.Open(ciphers, room, server.Seal(ciphers, wire, data)); len(out) != len(data) || err != nil {
				t.Fatalf("Open = %d bytes, %v", len(out), err)
			}
		})
		if allocs > 0 {
			t.Errorf("%v allocations for a record, want none", allocs)
		}
	})
}
