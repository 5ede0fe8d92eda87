package splice

import (
	"errors"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/frame"
)

// goneCode is what the other end hears when an end has gone.
func goneCode(client bool) uint16 {
	if client == fromClient {
		return frame.GoingAway
	}
	return frame.BadGateway
}

func TestMessagesBeyondTheBurstDoNotPass(t *testing.T) {
	policy := &Policy{MessageRate: 1e-3, MessageBurst: 3, RateBackend: true}
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			for _, cut := range []int{1, 3, 1 << 20} {
				r := s.join(t, s.engine(t, forGood), Spec{Policy: policy})
				sender, other := r.sides(client)
				// What is no new message needs no token, also where there is none left.
				pass := frames(client, fin|text, 5, fin|binaryData, 300, text, 0, fin|ping, 3, continuation, 9,
					fin|continuation, 1, fin|pong, 0, fin|ping, 125)
				sendCut(t, sender, append(pass, frames(client, fin|text, 2, fin|text, 0)...), func() int { return cut })
				expect(t, other, pass)
				expectClose(t, other, goneCode(client), client == fromClient)
				expectClose(t, sender, frame.Policy, client == fromBackend)
				res := r.over()
				if want := by(client, ClientTooOften, BackendTooOften); res.Cause != want || !errors.Is(res.Err, ErrMessageRate) {
					t.Errorf("ended with %q, %v; want %q, %v", res.Cause, res.Err, want, ErrMessageRate)
				}
			}
		}
	})
}

func TestBackendMaySendAsOftenAsItLikes(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		r := s.join(t, s.engine(t, forGood), Spec{Policy: &Policy{MessageRate: 1e-3, MessageBurst: 1}})
		many := frames(fromBackend, fin|text, 1, fin|text, 1, fin|text, 1)
		send(t, r.backend, many)
		expect(t, r.client, many)
		r.over()
	})
}

// at makes a link under a policy and a function that gives it n messages from the client at a time.
func at(policy *Policy) (l *link, messages func(after time.Duration, n int) (passed uint64)) {
	opened := time.Now()
	made := newLink(frame.NoExtensions, opened)
	made.govern(policy, 30*time.Second, new(roundTrips))
	if made.unattended() {
		made.attend(30 * time.Second)
	}
	message := wire(fin|text, fromClient, []byte("hello"))
	return &made, func(after time.Duration, n int) uint64 {
		made.tick(opened.Add(after))
		before := made.toBackend.tracker.Messages()
		for range n {
			made.received(&made.toBackend, newBuffer(message), len(message))
		}
		return made.toBackend.tracker.Messages() - before
	}
}

func TestTokensComeWithTime(t *testing.T) {
	type step struct {
		after        time.Duration
		send, passed int
	}
	tests := []struct {
		name   string
		policy Policy
		steps  []step
	}{
		{"at the rate for long", Policy{MessageRate: 10, MessageBurst: 1},
			[]step{{0, 1, 1}, {100 * time.Millisecond, 1, 1}, {200 * time.Millisecond, 1, 1}, {299 * time.Millisecond, 1, 0}}},
		{"the burst comes back, and no more", Policy{MessageRate: 10, MessageBurst: 3},
			[]step{{0, 3, 3}, {100 * time.Millisecond, 1, 1}, {time.Hour, 4, 3}}},
		{"a second's worth unless told", Policy{MessageRate: 2.5},
			[]step{{0, 3, 3}, {time.Hour, 4, 3}}},
		{"less than one a second", Policy{MessageRate: 0.5},
			[]step{{0, 1, 1}, {2 * time.Second, 1, 1}, {3999 * time.Millisecond, 1, 0}}},
		{"none", Policy{IdleTimeout: time.Hour}, []step{{0, 1000, 1000}}},
	}
	for _, tt := range tests {
		l, messages := at(&tt.policy)
		for _, s := range tt.steps {
			if got := messages(s.after, s.send); got != uint64(s.passed) {
				t.Errorf("%s: after %v %d of %d messages passed, want %d", tt.name, s.after, got, s.send, s.passed)
			}
		}
		if last := tt.steps[len(tt.steps)-1]; (l.violation != nil) != (last.passed < last.send) {
			t.Errorf("%s: error %v at the end", tt.name, l.violation)
		}
	}
}

func TestPolicyTimesCloseTheLink(t *testing.T) {
	tests := []struct {
		policy Policy
		want   Cause
	}{
		{Policy{IdleTimeout: time.Millisecond}, IdleTimeout},
		{Policy{MaxAge: time.Millisecond}, MaxAge},
	}
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, tt := range tests {
			r := s.join(t, s.engine(t, forGood), Spec{Policy: &tt.policy})
			r.expectGoingAway()
			send(t, r.client, wireClose(fromClient, 1000, ""))
			send(t, r.backend, wireClose(fromBackend, 1000, ""))
			checkEnd(t, r.over(), Result{Cause: tt.want, ClientCode: 1000, BackendCode: 1000})

			// In mid-frame nothing can be said.
			r, spec := s.pairs(t, s.engine(t, Config{CloseTimeout: time.Millisecond, FinTimeout: -1}), Spec{Policy: &tt.policy})
			up, down := wire(fin|text, fromClient, []byte("hello"))[:8], wire(fin|text, fromBackend, []byte("hello"))[:5]
			spec.FromClient, spec.FromBackend = up, down
			r.splice(spec)
			expect(t, r.backend, up)
			expect(t, r.client, down)
			checkCause(t, r.result(), tt.want)
		}
	})
}

func TestPatrol(t *testing.T) {
	const s = time.Second
	type call struct {
		message bool // one comes just before
		after   time.Duration
		flows   [2]flow
		order   order
		cause   Cause
		next    time.Duration // negative for never
	}
	taking := func(n uint64) [2]flow { return [2]flow{{}, {waits: true, progress: n}} }
	tests := []struct {
		name   string
		policy Policy
		calls  []call
	}{
		{"nothing to wait for", Policy{MessageRate: 1}, []call{{next: -1}}},
		{"idle from the start", Policy{IdleTimeout: 60 * s}, []call{
			{next: 60 * s}, {after: 59 * s, next: 60 * s}, {after: 60 * s, cause: IdleTimeout, next: 90 * s},
			{after: 89 * s, cause: IdleTimeout, next: 90 * s}, {after: 90 * s, cause: IdleTimeout, order: cutOff, next: -1}}},
		{"a message puts idle off", Policy{IdleTimeout: 60 * s}, []call{
			{message: true, after: 30 * s, next: 90 * s}, {after: 60 * s, next: 90 * s}, {after: 90 * s, cause: IdleTimeout, next: 120 * s}}},
		{"a receiver that takes nothing", Policy{StallTimeout: 10 * s}, []call{
			{next: -1}, {after: 5 * s, flows: taking(7), next: 15 * s}, {after: 14 * s, flows: taking(7), next: 15 * s},
			{after: 15 * s, flows: taking(7), order: buryClient, cause: ClientStalled, next: -1}}},
		{"a receiver that takes a byte", Policy{StallTimeout: 10 * s}, []call{
			{flows: taking(7), next: 10 * s}, {after: 10 * s, flows: taking(8), next: 20 * s},
			{after: 20 * s, flows: taking(8), order: buryClient, cause: ClientStalled, next: -1}}},
		{"a receiver that catches up", Policy{StallTimeout: 10 * s}, []call{
			{flows: taking(7), next: 10 * s}, {after: 10 * s, next: -1}, {after: 11 * s, flows: taking(7), next: 21 * s}}},
		{"a backend that takes nothing", Policy{StallTimeout: 10 * s}, []call{
			{flows: [2]flow{{waits: true}, {}}, next: 10 * s},
			{after: 10 * s, flows: [2]flow{{waits: true}, {}}, order: buryBackend, cause: BackendStalled, next: -1}}},
	}
	for _, tt := range tests {
		l, messages := at(&tt.policy)
		for _, c := range tt.calls {
			n := 0
			if c.message {
				n = 1
			}
			messages(c.after, n)
			order, next := l.patrol(c.flows[0], c.flows[1])
			want := moment(c.next)
			if c.next < 0 {
				want = never
			}
			if order != c.order || l.cause != c.cause || next != want {
				t.Errorf("%s: after %v patrol = %d, %v with cause %q; want %d, %v, %q",
					tt.name, c.after, order, time.Duration(next), l.cause, c.order, time.Duration(want), c.cause)
			}
		}
	}
}

func TestMaxAgeIsWithinATenth(t *testing.T) {
	p := &Policy{MaxAge: 1000 * time.Second}
	least, most := never, moment(0)
	for range 1000 {
		end := newWatch(p, forever).end
		least, most = min(least, end), max(most, end)
	}
	if least < moment(900*time.Second) || most > moment(1100*time.Second) || most-least < moment(100*time.Second) {
		t.Errorf("ages from %v to %v, want them spread over 900s to 1100s", time.Duration(least), time.Duration(most))
	}
}

func TestEndThatTakesNothingIsGivenUp(t *testing.T) {
	onEverySetup(t, func(t *testing.T, s setup) {
		for _, client := range []bool{fromClient, fromBackend} {
			r, spec := s.pairs(t, s.engine(t, forGood), Spec{Policy: &Policy{StallTimeout: 50 * time.Millisecond}})
			for _, end := range []End{r.client, r.backend, spec.Client, spec.Backend} {
				_ = tcp(end).SetReadBuffer(socketBuffer)
				_ = tcp(end).SetWriteBuffer(socketBuffer)
			}
			r.splice(spec)
			stalled, sender := r.sides(client)
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = sender.Write(frames(!client, fin|binaryData, 64<<20)) }) // until the link ends
			expectClose(t, sender, goneCode(client), client == fromClient)
			expectEnd(t, sender)
			checkCause(t, r.over(), by(client, ClientStalled, BackendStalled))
			stalled.Close()
			wg.Wait()
		}
	})
}

func TestLinkWithoutPolicyTimesHasNoTimer(t *testing.T) {
	hello := wire(fin|text, fromClient, []byte("hello"))
	for name, policy := range map[string]*Policy{
		"none":  nil,
		"sizes": {Limits: frame.Limits{MaxFrame: 1000}},
		"rate":  {MessageRate: 1000},
	} {
		r := setup{driver: Goroutines}.join(t, setup{driver: Goroutines}.engine(t, forGood), Spec{Policy: policy})
		send(t, r.client, hello)
		expect(t, r.backend, hello)
		c := only(t, r.engine)
		c.mu.Lock()
		if c.timer != nil {
			t.Errorf("policy %s: the link has a timer", name)
		}
		c.mu.Unlock()
		r.over()
	}
}
