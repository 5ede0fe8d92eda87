package health

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// StateConfig is a State's.
type StateConfig struct {
	// Name is the backend's, for the log.
	Name string

	// Log gets a line for each change. Nil means slog.Default.
	Log *slog.Logger

	// Passive is for the State's Watchdog.
	Passive Passive

	// Changed, unless nil, is called when the backend goes down or comes up, with the reason in one
	// line: each change once, in their order. It must neither block nor call the State.
	Changed func(up bool, reason string)
}

// State is what is held of a backend, from its probes and from what becomes of requests: it is up while
// neither says otherwise, and at the beginning. All methods may be called from anywhere; those of the
// request path are the Watchdog's.
//
//	up → down   the probes' verdict (see verdict), or the Watchdog
//	down → up   when both are content again
type State struct {
	*Watchdog

	// Fixed at creation.
	cfg StateConfig

	// Changed with mu held, read without.
	up        atomic.Bool
	probeDown atomic.Bool

	mu      sync.Mutex // guards what follows; taken after the Watchdog's, and held while Changed is called
	traffic string     // why the Watchdog has taken the backend out, empty if it has not
	probe   Result     // the last, zero for none
	reason  string     // of the last change
	since   time.Time  // of the last change, zero if there was none
}

// NewState makes the State of a backend that passes for up.
func NewState(cfg StateConfig) *State {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &State{cfg: cfg}
	s.Watchdog = NewWatchdog(cfg.Passive, s.trafficChanged)
	s.up.Store(true)
	return s
}

// Usable reports whether a request that begins now could go to the backend. See Watchdog.Usable. While
// the backend is up it is one atomic load.
func (s *State) Usable(now time.Time) bool {
	return s.up.Load() || !s.probeDown.Load() && s.Watchdog.Usable(now)
}

// Admit lets a request through that begins now, or reports false. See Watchdog.Admit.
func (s *State) Admit(now time.Time) bool {
	return s.up.Load() || !s.probeDown.Load() && s.Watchdog.Admit(now)
}

// Probed is Target.Probed for the State's backend.
func (s *State) Probed(r Result) {
	end, reason := r.At.Add(r.Took), r.Reason
	if r.OK() {
		reason = "probe succeeded"
	}
	s.mu.Lock()
	s.probe = r
	s.probeDown.Store(!r.Up)
	s.settle(reason, "probe", end)
	s.mu.Unlock()
	if r.OK() {
		s.ProbeSucceeded(end) // it takes its own lock before s.mu
	}
}

// trafficChanged is what the Watchdog calls.
func (s *State) trafficChanged(up bool, reason, by string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.traffic = reason; up {
		s.traffic = ""
	}
	s.settle(reason, by, now)
}

// settle tells of a change, if there is one. s.mu is held.
func (s *State) settle(reason, by string, now time.Time) {
	up := s.traffic == "" && !s.probeDown.Load()
	if up == s.up.Load() {
		return
	}
	s.up.Store(up)
	down := now.Sub(s.since)
	s.reason, s.since = reason, now
	if up {
		s.cfg.Log.Info("backend up", "backend", s.cfg.Name, "reason", reason, "by", by, "dur", down)
	} else {
		s.cfg.Log.Warn("backend down", "backend", s.cfg.Name, "reason", reason, "by", by)
	}
	if s.cfg.Changed != nil {
		s.cfg.Changed(up, reason)
	}
}

// Snapshot is a State at one moment.
type Snapshot struct {
	Up bool

	// Reason is that of the last change, and Since its time: empty and zero if there was none.
	Reason string
	Since  time.Time

	// Probe is the last one, zero if there was none.
	Probe Result

	// Failures is how many requests have failed in a row.
	Failures int

	// Until is when the pause of a backend that traffic took out is over, zero for one that is not out.
	// It is half open then.
	Until time.Time
}

// Snapshot is for operators.
func (s *State) Snapshot() Snapshot {
	var snap Snapshot
	snap.Failures, snap.Until = s.standing()
	s.mu.Lock()
	defer s.mu.Unlock()
	snap.Up, snap.Reason, snap.Since, snap.Probe = s.up.Load(), s.reason, s.since, s.probe
	return snap
}
