package forward

import (
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// stage is a backend that plays its part of scripts, and proxies before it.
type stage struct {
	proxies []*proxy
	scripts sync.Map // by the first element of the target's path

	mu     sync.Mutex // guards faults
	faults []string
}

// fault keeps what is wrong for whoever runs a script: the backend has no test of its own.
func (s *stage) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// report tells what has been kept.
func (s *stage) report(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fault := range s.faults {
		t.Error(fault)
	}
	s.faults = nil
}

func newStage(t testing.TB) *stage {
	s := new(stage)
	backend := at(rawBackend(t, s.play))
	for _, w := range ways {
		s.proxies = append(s.proxies, startProxy(t, proxyOptions{way: w, to: To{Backend: backend}}))
	}
	return s
}

// play is the backend's side of a connection.
func (s *stage) play(c *rawConn) {
	for {
		m, err := readMessage(c.Reader, false)
		if m.start == "" && err == io.EOF {
			return
		}
		if m.start == "" {
			s.fault("the backend gets %v", err)
			return
		}
		id := "/" + strings.FieldsFunc(m.start, func(c rune) bool { return strings.ContainsRune(" /?", c) })[1]
		found, ok := s.scripts.Load(id)
		if err != nil || !ok {
			s.fault("the backend gets %q, %v", m.start, err)
			return
		}
		sc := found.(*script)
		s.differ("the backend gets of "+id, m, sc.request)
		// The cuts are those of the script.
		r := rand.New(rand.NewPCG(uint64(len(sc.sends)), uint64(len(sc.answers))))
		if sendCut(r, c.Conn, sc.answers) != nil || sc.closes {
			return
		}
	}
}

// run plays some exchanges on a connection, whose requests may stand one behind the other.
func (s *stage) run(t *testing.T, seed uint64) {
	defer s.report(t)
	r := rand.New(rand.NewPCG(seed, 0))
	p := s.proxies[r.IntN(len(s.proxies))]
	scripts := make([]*script, 1+r.IntN(5))
	for i := range scripts {
		id := fmt.Sprintf("/%d-%d", seed, i)
		scripts[i] = newScript(r, id, i == len(scripts)-1)
		s.scripts.Store(id, scripts[i])
		defer s.scripts.Delete(id)
	}
	c := p.dial(t)
	defer c.Close()
	sent := make(chan struct{})
	defer func() { <-sent }()
	next := make(chan struct{}, len(scripts))
	pipelined := r.IntN(2) == 0
	cuts := rand.New(rand.NewPCG(seed, 1))
	go func() {
		defer close(sent)
		for _, sc := range scripts {
			if err := sendCut(cuts, c.Conn, sc.sends); err != nil {
				s.fault("send: %v", err)
				return
			}
			if !pipelined {
				<-next
			}
		}
	}()
	for i, sc := range scripts {
		var got message
		for range sc.answer.interim {
			m, err := readMessage(c.Reader, true)
			if err != nil {
				s.fault("interim answer %d of seed %d: %v", i, seed, err)
			}
			got.interim = append(got.interim, m)
		}
		status := strings.Fields(sc.answer.start)[1]
		m, err := readMessage(c.Reader, sc.method == "HEAD" || status == "204" || status == "304")
		if err != nil {
			s.fault("answer %d of seed %d: %v behind %q", i, seed, err, m.start)
			c.Close()
			close(next)
			return
		}
		m.interim = got.interim
		s.differ(fmt.Sprintf("the client gets, of answer %d of seed %d on %s,", i, seed, p.way.name), m, sc.answer)
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
		s.fault("behind the answers of seed %d: %q, %v, want the end", seed, rest, err)
	}
}

// differ compares what came with what was to come.
func (s *stage) differ(what string, got, want message) {
	if len(got.body) != len(want.body) || got.body != want.body {
		s.fault("%s a body of %d bytes, want one of %d, and the same", what, len(got.body), len(want.body))
	}
	got.body, want.body = "", ""
	if !reflect.DeepEqual(got, want) {
		s.fault("%s\n%q, want\n%q", what, got, want)
	}
}

// Whatever passes is on the other side what it was on this one.
func TestRandomExchanges(t *testing.T) {
	start := rand.Uint64() >> 1
	t.Logf("from seed %d on", start)
	s := newStage(t)
	var runs sync.WaitGroup
	for worker := range uint64(4) {
		runs.Go(func() {
			for seed := start + worker; seed < start+300 && !t.Failed(); seed += 4 {
				s.run(t, seed)
			}
		})
	}
	runs.Wait()
}

func FuzzExchanges(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	s := newStage(f)
	f.Fuzz(func(t *testing.T, seed uint64) { s.run(t, seed) })
}
