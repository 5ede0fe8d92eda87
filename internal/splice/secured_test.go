package splice

import (
	"errors"
	"testing"
)

// What TLS was taken off of must not be carried without.
func TestTLSIsNotLeftToADriverThatDoesNotCarryIt(t *testing.T) {
	for name, spec := range map[string]Spec{
		"client": {ClientTLS: new(Secured)}, "backend": {BackendTLS: new(Secured)},
	} {
		for _, s := range []setup{{driver: Goroutines}, {driver: Auto, tls: true}} {
			r, spec := s.pairs(t, s.engine(t, forGood), spec)
			if err := r.engine.Splice(spec); !errors.Is(err, ErrSecured) {
				t.Errorf("Splice with TLS for a loop at the %s's end: %v, want ErrSecured", name, err)
			}
			expectEnd(t, r.backend)
			r.client.Close()
			if n := r.engine.Stats().Open; n != 0 || r.calls.Load() != 0 {
				t.Errorf("%d links open, and Ended called %d times", n, r.calls.Load())
			}
		}
	}
}
