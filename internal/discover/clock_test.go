package discover

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/sock"
	"wsproxy/internal/sock/dnstest"
)

// clock stands still until it is moved ahead.
type clock struct {
	mu      sync.Mutex // guards what follows
	now     time.Time
	alarms  []*alarm
	running sync.WaitGroup // what the alarms have started
}

type alarm struct {
	at time.Time
	f  func()
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) after(wait time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait == 0 {
		c.running.Go(f)
		return func() bool { return false }
	}
	a := &alarm{c.now.Add(wait), f}
	c.alarms = append(c.alarms, a)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.Index(c.alarms, a)
		if i >= 0 {
			c.alarms = slices.Delete(c.alarms, i, i+1)
		}
		return i >= 0
	}
}

// ahead moves the clock, without waiting for what that starts.
func (c *clock) ahead(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.alarms = slices.DeleteFunc(c.alarms, func(a *alarm) bool {
		due := !a.at.After(c.now)
		if due {
			c.running.Go(a.f)
		}
		return due
	})
}

// waits are the times until each alarm.
func (c *clock) waits() (waits []time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.alarms {
		waits = append(waits, a.at.Sub(c.now))
	}
	return waits
}

// fixture is a Discoverer with a server to ask and a clock.
type fixture struct {
	*Discoverer
	t        *testing.T
	server   *dnstest.Server
	resolver *sock.Resolver
	clock    *clock
	log      *bytes.Buffer // to be read while nothing is under way
}

func newFixture(t *testing.T, cfg Config, resolver sock.ResolverConfig) *fixture {
	f := &fixture{t: t, server: dnstest.NewServer(t), clock: &clock{now: time.Now()}, log: new(bytes.Buffer)}
	resolver.Server = f.server.Addr
	f.resolver = sock.NewResolver(resolver)
	cfg.Resolver = f.resolver
	cfg.Log = slog.New(slog.NewTextHandler(f.log, nil))
	f.Discoverer = New(cfg)
	f.now, f.after = f.clock.time, f.clock.after
	f.jitter = func(time.Duration) time.Duration { return 0 }
	t.Cleanup(func() { f.Close(); f.resolver.Close() })
	return f
}

// pass moves the clock and waits for what that starts.
func (f *fixture) pass(d time.Duration) {
	f.clock.ahead(d)
	f.clock.running.Wait()
}

// next checks how long until the next lookup of the only name.
func (f *fixture) next(want time.Duration) {
	f.t.Helper()
	if got := f.clock.waits(); len(got) != 1 || got[0] != want {
		f.t.Errorf("looked up again after %v, want %v", got, want)
	}
}

// said checks that there is one line with all the words, or none without any, and forgets it.
func (f *fixture) said(words ...string) {
	f.t.Helper()
	text := f.log.String()
	f.log.Reset()
	if len(words) == 0 && text != "" || len(words) > 0 && strings.Count(text, "\n") != 1 {
		f.t.Errorf("said %q, want one line with each of %q", text, words)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			f.t.Errorf("said %q, want %q in it", text, word)
		}
	}
}

// told follows a name and notes what it is told.
type told struct {
	t    *testing.T
	stop func()
	busy atomic.Bool
	sets chan []Endpoint
}

func (f *fixture) follow(n Name) *told {
	to := &told{t: f.t, sets: make(chan []Endpoint, 100)}
	to.stop = f.Follow(n, to.changed)
	return to
}

func (to *told) changed(set []Endpoint) {
	if to.busy.Swap(true) {
		to.t.Error("changed is called while it is")
	}
	defer to.busy.Store(false)
	if len(set) == 0 {
		to.t.Error("changed is called with no endpoints")
	}
	to.sets <- set
}

// want checks what has been told since the last time, while nothing is under way.
func (to *told) want(want ...string) {
	to.t.Helper()
	var got []string
	for len(to.sets) > 0 {
		got = append(got, describe(<-to.sets))
	}
	if !slices.Equal(got, want) {
		to.t.Errorf("told %q, want %q", got, want)
	}
}

// describe shows endpoints in their order: their address, weight if it is not 1, and a ~ for backups.
func describe(set []Endpoint) string {
	var texts []string
	for _, e := range set {
		text := e.Addr.String()
		if e.Weight != 1 {
			text += fmt.Sprintf("*%d", e.Weight)
		}
		if e.Backup {
			text += "~"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}
