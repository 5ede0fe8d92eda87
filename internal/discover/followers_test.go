package discover

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"wsproxy/internal/sock"
	"wsproxy/internal/sock/dnstest"
)

func TestFollowersShareLookups(t *testing.T) {
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	f.server.SetZone(dnstest.Address("app.test.", "192.0.2.1", 30))
	one, two := f.follow(app), f.follow(Name{Host: "APP.test.", Port: 80})
	f.pass(0)
	one.want("192.0.2.1:80")
	two.want("192.0.2.1:80")
	three := f.follow(app)
	f.pass(0)
	three.want("192.0.2.1:80")
	if got := f.server.Questions.Load(); got != 1 {
		t.Errorf("%d questions for three followers, want 1", got)
	}
	other := f.follow(Name{Host: "app.test.", Port: 81})
	f.pass(0)
	other.want("192.0.2.1:81")
	other.stop()

	two.stop()
	two.stop()
	f.server.SetZone(dnstest.Address("app.test.", "192.0.2.2", 30))
	f.pass(30 * time.Second)
	one.want("192.0.2.2:80")
	two.want()
	three.want("192.0.2.2:80")
	if got := f.server.Questions.Load(); got != 3 {
		t.Errorf("%d questions, want 3", got)
	}

	one.stop()
	f.next(30 * time.Second)
	three.stop()
	if got := f.clock.waits(); got != nil || len(f.Snapshot()) > 0 {
		t.Errorf("without followers it goes on: in %v, %+v", got, f.Snapshot())
	}
	again := f.follow(app)
	f.pass(0)
	again.want("192.0.2.2:80")
	if got := f.server.Questions.Load(); got != 4 {
		t.Errorf("%d questions, want 4: what nobody follows is forgotten", got)
	}
}

// held makes the server answer when release is called, and asked receives its questions.
func (f *fixture) held(records ...dnsmessage.Resource) (asked <-chan string, release func()) {
	heard, open := make(chan string, 100), make(chan struct{})
	f.server.Set(func(q dnsmessage.Question, _ string) dnstest.Reply {
		heard <- q.Name.String()
		<-open
		return dnstest.Zone(q, records)
	})
	release = sync.OnceFunc(func() { close(open) })
	f.t.Cleanup(release)
	return heard, release
}

func TestStopDuringALookup(t *testing.T) {
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	asked, release := f.held(dnstest.Address("app.test.", "192.0.2.1", 30))
	to := f.follow(app)
	<-asked
	waited := make(chan error)
	go func() { waited <- f.Wait(t.Context(), app) }()
	to.stop()
	f.pass(0) // the lookup ends while the server holds its answer
	if err := <-waited; err == nil {
		t.Error("Wait for a name that nobody follows any more = nil")
	}
	again := f.follow(app)
	<-asked
	release()
	f.pass(0)
	to.want()
	again.want("192.0.2.1:80")
	f.said()
}

// A call of changed that takes its time holds up the next one, not the lookups.
func TestSlowFollower(t *testing.T) {
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	f.server.SetZone(dnstest.Address("app.test.", "192.0.2.1", 30))
	called, back := make(chan string), make(chan struct{})
	f.Follow(app, func(set []Endpoint) {
		called <- describe(set)
		<-back
	})
	want := func(want string) {
		t.Helper()
		if got := <-called; got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	}
	want("192.0.2.1:80")
	for _, addr := range []string{"192.0.2.2", "192.0.2.3"} {
		asked, release := f.held(dnstest.Address("app.test.", addr, 30))
		release()
		f.clock.ahead(30 * time.Second)
		<-asked
		for f.Snapshot()[0].Endpoints[0].Addr.Addr().String() != addr || len(f.clock.waits()) == 0 {
			runtime.Gosched()
		}
	}
	back <- struct{}{}
	want("192.0.2.3:80")
	back <- struct{}{}
	f.clock.running.Wait()
}

func TestWait(t *testing.T) {
	f := newFixture(t, Config{}, sock.ResolverConfig{})
	f.server.SetZone(dnstest.Address("app.test.", "192.0.2.1", 30))
	to, none := f.follow(app), Name{Host: "none.test.", Port: 80}
	f.follow(none)
	if err := f.Wait(t.Context(), Name{Host: "App.test.", Port: 80}); err != nil {
		t.Errorf("Wait = %v", err)
	}
	to.want("192.0.2.1:80")
	if err := f.Wait(t.Context(), app, none); err == nil || !strings.Contains(err.Error(), "none.test.") || strings.Contains(err.Error(), "app.test.") {
		t.Errorf("Wait for none.test. = %v, want its error alone", err)
	}
	if err := f.Wait(t.Context(), Name{Host: "app.test.", Port: 81}); err == nil {
		t.Error("Wait for a name that is not followed = nil")
	}
	f.clock.running.Wait()

	asked, release := f.held()
	slow := Name{Host: "slow.test.", SRV: true}
	f.follow(slow)
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Wait(ctx, slow, app); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "app.test.") {
		t.Errorf("Wait for slow.test. = %v, want context.Canceled for it alone", err)
	}
	release()
	f.clock.running.Wait()
}
