package splice

import (
	"bytes"
	"testing"

	"wsproxy/internal/frame"
)

// FuzzPipe feeds a pipe any stream in any cut, and asks it to leave once a chosen part has come.
// What comes out must be what the whole stream's frame boundaries say, whatever the cut.
func FuzzPipe(f *testing.F) {
	for _, client := range []bool{fromClient, fromBackend} {
		hello := wire(fin|text, client, []byte("hello"))
		long := wire(fin|binaryData, client, make([]byte, 300))
		fragments := append(wire(text, client, []byte("a")), wire(fin|ping, client, []byte("b"))...)
		fragments = append(fragments, wire(fin|continuation, client, []byte("c"))...)
		closing := append(wireClose(client, 1000, "bye"), hello...)
		bad := append(bytes.Clone(hello), wire(fin|0x3, client, []byte("x"))...)
		for _, stream := range [][]byte{nil, hello, long, fragments, closing, bad, append(bytes.Clone(hello), closing...)} {
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
		out, p := feed(t, client, at, cuts, stream)
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
		if p.bytes != uint64(len(out)) {
			t.Errorf("%d bytes counted, want %d", p.bytes, len(out))
		}
	})
}

func mask(client bool) *[4]byte {
	if client {
		return new([4]byte)
	}
	return nil
}

// expected is the part of stream that is to pass when the pipe is told to leave after at bytes,
// never if that is negative, and whether its own Close follows.
func expected(client bool, at int, stream []byte) (pass []byte, closes bool) {
	tracker := frame.New(client, frame.NoExtensions)
	if at < 0 {
		return stream[:follow(&tracker, stream)], false
	}
	passed := follow(&tracker, stream[:at])
	if !tracker.AtBoundary() {
		n, _ := tracker.Next(stream[passed:]) // no header, so no error
		passed += n
	}
	return stream[:passed], tracker.AtBoundary() && !tracker.Closed()
}

// follow is how much of stream makes sense: up to a Close, a violation or a part of a header.
func follow(tracker *frame.Tracker, stream []byte) (followed int) {
	for followed < len(stream) && !tracker.Closed() {
		n, err := tracker.Next(stream[followed:])
		if n == 0 || err != nil {
			break
		}
		followed += n
	}
	return followed
}

// feed is a driver: it reads stream in pieces of the sizes in cuts, with one cut where the pipe is
// told to leave, and returns all that came out.
func feed(t *testing.T, client bool, at int, cuts, stream []byte) (out []byte, p *pipe) {
	p = &pipe{toBackend: client, tracker: frame.New(client, frame.NoExtensions)}
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
