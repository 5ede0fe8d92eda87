package splice

import (
	"context"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"wsproxy/internal/frame"
	"wsproxy/internal/sock"
)

// parting is a way in which both far ends leave a link that is at rest. leave returns when each has
// read all that was for it and its end, and has added that to what the link has carried.
type parting struct {
	name   string
	leave  func(m *many)
	causes []Cause
	// own is what wsproxy may count beyond that: a Close for an end that had been reset.
	own uint64
}

// many is one link of many, and what its far ends have sent, received and compared.
type many struct {
	*rig
	toBackend, toClient Count
	up, down            []byte // under way
	parted              *parting
}

// vanished is what a client hears when its backend leaves without a Close.
var vanished = uint64(len(wireClose(fromBackend, frame.BadGateway, "backend gone")))

var partings = []parting{
	{"client closes", func(m *many) {
		m.closeBoth(1000, &m.toBackend, &m.toClient)
		m.finish(m.backend, m.client)
	}, []Cause{ClientClosed}, 0},
	{"backend closes", func(m *many) {
		m.closes(fromBackend)
		expect(m.t, m.client, m.down)
		m.closes(fromClient)
		expect(m.t, m.backend, m.up)
		m.finish(m.backend, m.client)
	}, []Cause{BackendClosed}, 0},
	{"both close at once", func(m *many) {
		m.closes(fromClient)
		m.closes(fromBackend)
		expect(m.t, m.client, m.down)
		expect(m.t, m.backend, m.up)
		m.finish(m.client, m.backend)
	}, []Cause{ClientClosed, BackendClosed}, 0},
	{"client half-closes first", func(m *many) {
		_ = m.client.CloseWrite()
		expectEnd(m.t, m.backend)
		_ = m.backend.CloseWrite()
		m.hearVanished()
		expectEnd(m.t, m.client)
	}, []Cause{ClientGone}, 0},
	{"backend half-closes first", func(m *many) {
		_ = m.backend.CloseWrite()
		m.hearVanished()
		expectEnd(m.t, m.client)
		_ = m.client.CloseWrite()
		expectEnd(m.t, m.backend)
	}, []Cause{BackendGone}, 0},
	{"client resets", func(m *many) {
		sock.Cut(m.client)
		expectBroken(m.t, m.backend)
	}, []Cause{ClientReset}, vanished},
	{"backend resets", func(m *many) {
		sock.Cut(m.backend)
		m.hearVanished()
		expectEnd(m.t, m.client)
	}, []Cause{BackendReset}, 0},
}

// closes sends a Close from one end.
func (m *many) closes(client bool) {
	if client {
		m.up = wireClose(client, 1000, "")
		send(m.t, m.client, m.up)
		m.toBackend.Frames++
		m.toBackend.Bytes += uint64(len(m.up))
		return
	}
	m.down = wireClose(client, 1000, "")
	send(m.t, m.backend, m.down)
	m.toClient.Frames++
	m.toClient.Bytes += uint64(len(m.down))
}

// finish lets both ends leave, one behind the other, when the Closes have passed.
func (m *many) finish(first, second End) {
	_ = first.CloseWrite()
	expectEnd(m.t, second)
	_ = second.CloseWrite()
	expectEnd(m.t, first)
}

func (m *many) hearVanished() {
	expectClose(m.t, m.client, frame.BadGateway, false)
	m.toClient.Bytes += vanished
}

// say sends some frames each way, no more than the sockets hold although nobody reads.
func (m *many) say(rng *rand.Rand) {
	var toBackend, toClient Count
	m.up, toBackend = randomStream(rng, fromClient, randomSizes(rng, 1+rng.IntN(3), 4000))
	m.down, toClient = randomStream(rng, fromBackend, randomSizes(rng, 1+rng.IntN(3), 4000))
	send(m.t, m.client, m.up)
	send(m.t, m.backend, m.down)
	m.toBackend.add(toBackend)
	m.toClient.add(toClient)
}

// hear compares what say has sent.
func (m *many) hear() {
	expect(m.t, m.backend, m.up)
	expect(m.t, m.client, m.down)
}

func (c *Count) add(other Count) {
	c.Bytes += other.Bytes
	c.Frames += other.Frames
	c.Messages += other.Messages
}

func TestManyLinksOpenedAndClosedAtRandom(t *testing.T) {
	links, atOnce := 8000, 2000 // each takes four descriptors of this process
	if race || testing.Short() {
		links, atOnce = 800, 200
	}
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			s := setup{driver: d.driver}
			rng := newRand(t)
			s.open(t, forGood).over() // what the first link makes for good is made
			opener := newOpener(t)
			defer opener.Close()
			goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)

			e := s.newEngine(t, forGood)
			var live []*many
			opened, full := 0, false
			var sent, told [2]Count // to the backends, to the clients
			var parted []*many      // whose results are still to be read, oldest first
			reap := func(left int) {
				for ; len(parted) > left; parted = parted[1:] {
					parted[0].check(&sent, &told)
				}
			}
			for opened < links || len(live) > 0 {
				switch act := rng.IntN(5); {
				case act <= 1 && opened < links && len(live) < atOnce:
					var batch []*many
					for range min(8, links-opened, atOnce-len(live)) {
						batch = append(batch, &many{rig: opener.join(t, e)})
					}
					opened += len(batch)
					live = append(live, batch...)
					exchangeAll(rng, batch)
				case act <= 3 && len(live) >= 4:
					i := rng.IntN(len(live) - 3)
					exchangeAll(rng, live[i:i+4])
				case act == 4 && len(live) > 0:
					for range min(6, len(live)) {
						i := rng.IntN(len(live))
						m := live[i]
						live[i] = live[len(live)-1]
						live = live[:len(live)-1]
						m.parted = &partings[rng.IntN(len(partings))]
						m.parted.leave(m)
						m.client.Close()
						m.backend.Close()
						parted = append(parted, m)
					}
					reap(40)
				}
				if len(live) == atOnce && !full {
					full = true
					reap(0)
					eventually(t, "the gauge shows the links that are open", func() bool { return e.Stats().Open == atOnce })
				}
				if t.Failed() {
					break // thousands of lines more would say the same
				}
			}
			reap(0)
			for _, m := range live { // none, unless the test has failed
				m.client.Close()
				m.backend.Close()
			}

			if !full {
				t.Errorf("never %d links at once", atOnce)
			}
			if sent != told {
				t.Errorf("all results together: %+v to the backends and %+v to the clients, want %+v and %+v", told[0], told[1], sent[0], sent[1])
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if cut := e.Stop(ctx); cut != 0 {
				t.Errorf("Stop cut off %d links, want 0", cut)
			}
			if got, want := e.Stats(), (Stats{Opened: uint64(opened)}); got != want {
				t.Errorf("Stats = %+v, want %+v", got, want)
			}
			eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
			eventually(t, "as many descriptors as before", func() bool { return openDescriptors(t) <= descriptors })
		})
	}
}

// opener makes links from one listener: a port for each link would be searched for thousands of times.
type opener struct{ net.Listener }

func newOpener(t *testing.T) opener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return opener{ln}
}

// join makes a link on e whose far ends the test closes.
func (o opener) join(t *testing.T, e *Engine) *rig {
	t.Helper()
	r := &rig{t: t, engine: e, ended: make(chan Result, 1)}
	spec := Spec{Owner: ownerFunc(func(res Result) {
		r.calls.Add(1)
		r.ended <- res
	})}
	r.client, spec.Client = o.pair(t)
	r.backend, spec.Backend = o.pair(t)
	r.splice(spec)
	return r
}

func (o opener) pair(t *testing.T) (far, near End) {
	t.Helper()
	dialled, err := net.Dial("tcp", o.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := o.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = dialled.SetDeadline(time.Now().Add(patience))
	return dialled.(End), accepted.(End)
}

// exchangeAll has all of some links carry something at once.
func exchangeAll(rng *rand.Rand, links []*many) {
	for _, m := range links {
		m.say(rng)
	}
	for _, m := range links {
		m.hear()
	}
}

// check compares a link's result with what its far ends know, and adds both up.
func (m *many) check(sent, told *[2]Count) {
	res := m.result()
	if got := m.calls.Load(); got != 1 {
		m.t.Errorf("%s: Ended called %d times, want 1", m.parted.name, got)
	}
	if !slices.Contains(m.parted.causes, res.Cause) {
		m.t.Errorf("%s: Cause = %q, want one of %v", m.parted.name, res.Cause, m.parted.causes)
	}
	if extra := res.ToClient.Bytes - m.toClient.Bytes; extra == m.parted.own {
		m.toClient.Bytes += extra
	}
	if res.ToBackend != m.toBackend || res.ToClient != m.toClient {
		m.t.Errorf("%s: %+v to the backend and %+v to the client, want %+v and %+v",
			m.parted.name, res.ToBackend, res.ToClient, m.toBackend, m.toClient)
	}
	sent[0].add(m.toBackend)
	sent[1].add(m.toClient)
	told[0].add(res.ToBackend)
	told[1].add(res.ToClient)
}
