package inbound

import (
	"sync"
	"time"

	"wsproxy/internal/sock"
)

// attended are the connections of clients that wait for an answer, which are looked after: nobody reads
// from them meanwhile, and so nobody would notice that they leave.
type attended struct {
	mu    sync.Mutex // guards what follows, and the places; held while an attendant is told
	conns list
	look  *time.Timer // runs while there is somebody
	armed bool
}

// lookEvery is how often clients are looked after. One is given up when it has been gone twice in a row:
// a client that has sent all it has to say may end its sending half and wait for the answer, which is
// there soon in most cases. No system tells that from a client that has left, and neither do nginx and Go.
const lookEvery = 250 * time.Millisecond

// Attendant waits for something on a client's behalf.
type Attendant interface {
	// ClientLeft is called on a goroutine of the port's, and must not wait for anything.
	ClientLeft()
}

// Attend has a told once if the client leaves, half a second later at most and where the system can
// tell, until Unattend. What the client still sends must be read by nobody, or by somebody who will
// notice himself.
func (c *Conn) Attend(by Attendant) {
	a := &c.port.attended
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conns.at == nil {
		a.conns.at = func(c *Conn) *place { return &c.attends }
	}
	c.attendant, c.missed = by, false
	a.conns.add(c)
	if !a.armed {
		a.armed = true
		if a.look == nil {
			a.look = time.AfterFunc(lookEvery, a.lookAfter)
		} else {
			a.look.Reset(lookEvery)
		}
	}
}

// Unattend ends what Attend has begun, if it has: the attendant has been told by then or never will be.
func (c *Conn) Unattend() {
	a := &c.port.attended
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conns.n > 0 {
		a.conns.remove(c)
	}
	c.attendant = nil
}

// lookAfter looks at each once.
func (a *attended) lookAfter() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := a.conns.first; c != nil; {
		next := c.attends.next
		switch {
		case !sock.Departed(c.Conn):
			// So that the next look asks no system call.
			_ = sock.Watch(c.Conn)
			c.missed = false
		case !c.missed:
			c.missed = true
		default:
			a.conns.remove(c)
			c.attendant.ClientLeft()
		}
		c = next
	}
	if a.armed = a.conns.n > 0; a.armed {
		a.look.Reset(lookEvery)
	}
}
