package splice

import (
	"bytes"
	"slices"
	"testing"

	"wsproxy/internal/frame"
)

// FuzzPipe feeds a pipe any stream in any cut, asks it for a Ping now and then, and to leave once a
// chosen part has come. What comes out must be what the whole stream's frame boundaries say without
// the Pongs that answer Pings of wsproxy's, whatever the cut, and the pipe's own frames only between
// frames.
func FuzzPipe(f *testing.F) {
	for _, client := range []bool{fromClient, fromBackend} {
		hello := wire(fin|text, client, []byte("hello"))
		long := wire(fin|binaryData, client, make([]byte, 300))
		fragments := append(wire(text, client, []byte("a")), wire(fin|ping, client, []byte("b"))...)
		fragments = append(fragments, wire(fin|continuation, client, []byte("c"))...)
		closing := append(wireClose(client, 1000, "bye"), hello...)
		ours := wire(fin|pong, client, pongNonce[:])
		ponged := slices.Concat(hello, ours, hello, ours, ours, wire(text, client, []byte("a")), ours, wire(fin|continuation, client, nil))
		almost := slices.Concat(wire(fin|pong, client, []byte("pongpon!")), ours, wire(fin|pong, client, pongNonce[:7]),
			wire(fin|ping, client, pongNonce[:]), ours[:len(ours)-1])
		bad := append(bytes.Clone(hello), wire(fin|0x3, client, []byte("x"))...)
		for _, stream := range [][]byte{nil, hello, long, fragments, closing, bad, ponged, almost, append(bytes.Clone(hello), closing...)} {
			for _, leaveAt := range []int{-1, 0, 1, len(stream) / 2, len(stream) - 1, len(stream)} {
				f.Add(client, int16(leaveAt), []byte{1}, stream)
				f.Add(client, int16(leaveAt), []byte{200, 3}, stream)
			}
		}
	}
	f.Fuzz(func(t *testing.T, client bool, leaveAt int16, cuts, stream []byte) {
		at := int(leaveAt)
		if at > len(stream) {
			at = len(stream)
		}
		want, wantClose := expected(client, at, stream)
		whole, p := feed(t, client, at, cuts, stream)
		out := withoutPings(client, whole)
		if !bytes.HasPrefix(out, want) {
			t.Fatalf("out came % x, want % x first", out, want)
		}
		own := out[len(want):]
		if wantClose != (len(own) > 0) {
			t.Fatalf("behind the stream came % x; want the pipe's own Close: %v", own, wantClose)
		}
		if wantClose {
			got, err := readFrame(bytes.NewReader(own))
			code, reason, ok := got.closes()
			if err != nil || !ok || code != goingAway.code || reason != goingAway.reason || got.masked != client {
				t.Errorf("behind the stream came %v, %v; want the pipe's own Close", got, err)
			}
			if alone := frame.AppendClose(nil, code, reason, mask(client)); len(own) != len(alone) {
				t.Errorf("%d bytes came behind the stream, want one Close of %d", len(own), len(alone))
			}
		}
		if p.bytes != uint64(len(whole)) {
			t.Errorf("%d bytes counted, want %d", p.bytes, len(whole))
		}
	})
}

func mask(client bool) *[4]byte {
	if client {
		return new([4]byte)
	}
	return nil
}

// The nonces of FuzzPipe.
var pongNonce, pingNonce = [frame.PingPayload]byte([]byte("pongpong")), [frame.PingPayload]byte([]byte("pingping"))

// withoutPings is what came out of a pipe without its own Pings, which stand between frames.
func withoutPings(client bool, out []byte) (rest []byte) {
	tracker := frame.New(client, frame.NoExtensions)
	for len(out) > 0 && !tracker.Closed() {
		if own := frame.AppendPing(nil, &pingNonce, mask(client)); tracker.AtBoundary() && len(out) >= len(own) &&
			out[0] == own[0] && out[1] == own[1] {
			if f, _ := readFrame(bytes.NewReader(out)); string(f.payload) == string(pingNonce[:]) {
				out = out[len(own):]
				continue
			}
		}
		n, err := tracker.Next(out)
		if n == 0 || err != nil {
			break
		}
		rest, out = append(rest, out[:n]...), out[n:]
	}
	return append(rest, out...)
}

// expected is what of stream is to pass when the pipe is told to leave after at bytes, never if that
// is negative, and whether its own Close follows.
func expected(client bool, at int, stream []byte) (pass []byte, closes bool) {
	tracker := frame.New(client, frame.NoExtensions)
	if at < 0 {
		pass, _ = follow(&tracker, client, stream)
		return pass, false
	}
	pass, followed := follow(&tracker, client, stream[:at])
	if !tracker.AtBoundary() {
		n, _ := tracker.Next(stream[followed:]) // no header, so no error
		pass = append(pass, stream[followed:followed+n]...)
	}
	return pass, tracker.AtBoundary() && !tracker.Closed()
}

// follow is what of stream makes sense, up to a Close, a violation or a part of a header, without
// the Pongs that are not to pass, nor a part of one; and how far that goes.
func follow(tracker *frame.Tracker, client bool, stream []byte) (pass []byte, followed int) {
	for followed < len(stream) && !tracker.Closed() {
		if tracker.AtBoundary() {
			size, maybe := frame.MatchPong(stream[followed:], client, &pongNonce)
			if followed += size; size > 0 {
				continue
			}
			if maybe {
				break
			}
		}
		n, err := tracker.Next(stream[followed:])
		if n == 0 || err != nil {
			break
		}
		pass = append(pass, stream[followed:followed+n]...)
		followed += n
	}
	return pass, followed
}

// feed is a driver: it reads stream in pieces of the sizes in cuts, with one cut where the pipe is
// told to leave, and returns all that came out.
func feed(t *testing.T, client bool, at int, cuts, stream []byte) (out []byte, p *pipe) {
	p = &pipe{toBackend: client, tracker: frame.New(client, frame.NoExtensions)}
	p.watch = &watch{policy: &Policy{PingInterval: 1}}
	p.watch.beats[p.index()], p.watch.beats[1-p.index()] = &heartbeat{nonce: pongNonce}, &heartbeat{nonce: pingNonce}
	step := func(piece []byte) {
		part, err := p.pass(newBuffer(piece), len(piece))
		if err != nil && !p.lost {
			t.Errorf("error %v, and the pipe goes on", err)
		}
		out = append(out, part...)
	}
	for fed, i := 0, 0; ; i++ {
		if fed == at {
			p.leave(goingAway)
			step(nil) // woken
		}
		if fed == len(stream) {
			return out, p
		}
		if i%3 == 0 {
			p.pings().wanted = true
		}
		size := 1
		if len(cuts) > 0 {
			size += int(cuts[i%len(cuts)])
		}
		end := min(len(stream), fed+size)
		if fed < at && at < end {
			end = at
		}
		step(stream[fed:end])
		fed = end
	}
}
