package forward

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"wsproxy/internal/sock"
)

// restAfter is how long a goroutine waits for more of an answer before it leaves that to the loop of the
// backend's connection. A body that comes without a break would pay for each pause with a goroutine's
// start.
const restAfter = 50 * time.Millisecond

// stepPieces bounds what a step relays: what comes in bulk is for a goroutine.
const stepPieces = 4

// errRests is what relay ends with when the answer goes on by itself.
var errRests = errors.New("answer rests")

// rester is what a connection to a backend has to be for an answer to rest: a *sock.Conn.
type rester interface {
	TryRead(p []byte) (int, error)
	OnReadable(f func()) error
}

// rest is the part of an exchange that says how its answer goes on without a goroutine: an event stream,
// say, that is silent most of the time.
//
//	carried → resting ⇄ stepping    the loop takes a step when something has come
//	   ↑         │         │        giveUp, a timeout, the Transport's end
//	   └─────────┴─────────┘        a step that would have to wait, or after which there is none
//
// Whoever changes free from true to false has the exchange: a step, or who starts the goroutine that
// carries the answer on.
type rest struct {
	free   atomic.Bool
	arming atomic.Bool  // a wait asks the loop for a step: one that comes meanwhile must not wait within it
	until  atomic.Int64 // when the pause is too long, in Unix nanoseconds; 0 for never

	// Owned like the rest of the exchange.
	rests     bool   // nobody's goroutine carries it
	stepping  func() // step
	fault     error  // what has ended the answer in a step
	unwritten []byte // what there was no room for in a step
	blocked   bool   // there was none, for unwritten or for what the client's connection holds
}

// pause waits for more of the answer, or has it rest.
func (x *exchange) pause() error {
	timeout := x.answer.ReadTimeout
	wait := x.transport.restAfter
	if wait < 0 || timeout > 0 && timeout <= wait || !x.mayRest() {
		x.bound(timeout)
		_, err := x.br.Peek(1)
		return err
	}
	x.bound(wait)
	_, err := x.br.Peek(1)
	// Not what the kernel calls a timeout: that ends the connection, and is said once.
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if x.lieDown() {
			return errRests
		}
		x.bound(timeout)
		_, err = x.br.Peek(1)
		return err
	}
	// The first byte need not be all that the next read waits for, and an end is read once more.
	x.bound(timeout)
	return err
}

// mayRest reports whether the answer can go on without a goroutine.
func (x *exchange) mayRest() bool {
	if x.release != nil {
		return false
	}
	if x.upload != nil {
		select {
		case <-x.upload.done:
		default:
			return false
		}
	}
	_, ok := x.conn.Conn.(rester)
	return ok && x.client.CanWait()
}

// lieDown has the answer rest as soon as the client's connection is closed, unless it is to end. Its
// goroutine has nothing more to do with it.
func (x *exchange) lieDown() bool {
	x.mu.Lock()
	ends := x.cause != nil
	x.mu.Unlock()
	if ends || !x.transport.resting.add(x) {
		return false
	}
	x.bound(0)
	// Nothing is to hold what belongs to the request.
	x.answer = &Answer{ReadTimeout: x.answer.ReadTimeout, HTTP10: x.answer.HTTP10}
	x.method = nil
	x.rests = true
	if x.stepping == nil {
		x.stepping = x.step
	}
	x.extend()
	x.dropReader()
	x.client.Rest(x.wait)
	return true
}

// extend has the longest pause begin.
func (x *exchange) extend() {
	if timeout := x.answer.ReadTimeout; timeout > 0 {
		x.until.Store(time.Now().Add(timeout).UnixNano())
	}
}

// wait has the loop take a step when something comes.
func (x *exchange) wait() {
	conn := x.conn.Conn.(rester)
	x.free.Store(true)
	x.mu.Lock()
	ends := x.cause != nil
	x.mu.Unlock()
	if ends {
		x.wake(nil)
		return
	}
	x.arming.Store(true)
	err := conn.OnReadable(x.stepping)
	x.arming.Store(false)
	if err != nil {
		x.wake(err)
	}
}

// wake has a goroutine carry the answer on if it rests; an error ends it.
func (x *exchange) wake(fault error) {
	if x.free.CompareAndSwap(true, false) {
		x.fault = fault
		go x.carryOn()
	}
}

// step relays what has come. It is called by the loop of the backend's connection.
func (x *exchange) step() {
	if !x.free.CompareAndSwap(true, false) {
		return
	}
	// Within a wait there is no other: a backend that keeps sending would have them nest without an end.
	nested := x.arming.Load()
	if x.advance() && !nested {
		x.wait()
		return
	}
	go x.carryOn()
}

// advance relays what has come without waiting, and reports whether to wait for more without a goroutine.
func (x *exchange) advance() (again bool) {
	defer func() {
		x.conn.tries = false
		// No handler's recover stands above a loop.
		if fault := recover(); fault != nil {
			x.panicked(fault)
			x.fault, again = errPanic, false
		}
	}()
	x.takeReader()
	x.conn.tries = true
	for range stepPieces {
		n, readErr, writeErr := x.relayPiece(nil)
		switch {
		case readErr == io.EOF:
			x.complete = true
		case readErr != nil && readErr != sock.ErrAgain:
			x.fault = readErr
		}
		if writeErr != nil && writeErr != sock.ErrAgain {
			x.fault = writeErr
		}
		if x.complete || x.fault != nil || x.blocked {
			return false
		}
		if n > 0 {
			x.extend()
		}
		if readErr == nil && (x.conn.more || x.br.Buffered() > 0) {
			continue
		}
		if x.br.Buffered() == 0 {
			x.dropReader()
		}
		return true
	}
	return false
}

// takeReader makes sure that there is a reader.
func (x *exchange) takeReader() {
	if x.br != nil {
		return
	}
	x.br = x.transport.reader(x.conn)
	x.chunks.Continue(x.br)
	x.sized.Continue(x.br)
}

// write writes a piece of the answer. Where nobody waits, what there is no room for is left for carryOn.
func (x *exchange) write(piece []byte) error {
	if !x.conn.tries {
		_, err := x.client.Write(piece)
		return err
	}
	n, err := x.client.TryWrite(piece)
	if err == sock.ErrAgain {
		x.unwritten, x.blocked = bytes.Clone(piece[n:]), true
	}
	return err
}

// carryOn is a goroutine that carries the answer to its end, and serves the client's next requests then, or
// to its next rest.
func (x *exchange) carryOn() {
	if client := x.client; x.finish() {
		client.Resume(true)
	}
}

// finish carries the answer to its end or its next rest, and reports whether the client's connection goes on
// behind it.
func (x *exchange) finish() (goesOn bool) {
	defer func() {
		// No handler's recover stands above this goroutine.
		if fault := recover(); fault != nil {
			x.panicked(fault)
			x.client.Unattend()
			sock.Cut(x.client.NetConn())
			x.conn.Close()
			x.transport.resting.remove(x)
		}
	}()
	err := x.relayRest()
	if err == errRests {
		x.client.Close() // which has it wait
		return false
	}
	x.rests = false
	x.end()
	if err == nil && !x.closes && !x.client.Closing() {
		x.transport.resting.remove(x)
		return true
	}
	x.client.Resume(false)
	x.transport.resting.remove(x)
	return false
}

// relayRest relays what is left of the answer.
func (x *exchange) relayRest() error {
	if x.blocked {
		unwritten := x.unwritten
		x.unwritten, x.blocked = nil, false
		// One after the other: what the connection holds has the time that it has by itself.
		if _, err := x.client.Write(nil); err != nil {
			return err
		}
		if _, err := x.client.Write(unwritten); err != nil {
			return err
		}
	}
	if x.fault != nil {
		return x.broken(x.fault)
	}
	x.takeReader()
	return x.relay(nil)
}

func (x *exchange) panicked(fault any) {
	x.transport.config.Log.Error("answer", "backend", x.addr, "err", fault, "stack", string(debug.Stack()))
}
