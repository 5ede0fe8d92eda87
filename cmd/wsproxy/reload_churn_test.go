package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Reloads, drains, looks at the backends and links come from all sides, and a stop in the middle of them
// ends in good order.
func TestEverythingAtOnceAndAStop(t *testing.T) {
	a, b := server(t, echoing), server(t, echoing)
	text := func(i int) string {
		return routed(
			fmt.Sprintf("{path: /a, rebalance: {share: 10, window: 1s}, health: {interval: 10ms}, backends: [%q, %q]}", a, []string{b, "builtin:echo"}[i%2]),
			fmt.Sprintf("{path: /b%d, passive: {failures: 1, pause: 10ms}, backends: [%q, \"http://127.0.0.1:1\"]}", i%3, b))
	}
	p := starting(t, text(0), "")
	done := make(chan struct{})
	var work sync.WaitGroup
	var swap sync.Mutex // one writes the file at a time
	loop := func(step func(i int)) {
		work.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					step(i)
				}
			}
		})
	}
	reloads := make(chan struct{}, 1000)
	for range 2 {
		loop(func(i int) {
			swap.Lock()
			defer swap.Unlock()
			next := filepath.Join(filepath.Dir(p.file), "next")
			if err := os.WriteFile(next, []byte(text(i)), 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Rename(next, p.file); err != nil {
				t.Error(err)
			}
			if _, err := p.reload(); err != nil && p.staying.Err() == nil {
				t.Errorf("reload: %v", err)
			}
			select {
			case reloads <- struct{}{}:
			default:
			}
		})
	}
	loop(func(i int) { _, _ = p.drain(a, i%2 == 0) })
	loop(func(int) { p.backendStates() })
	for range 2 {
		loop(func(i int) {
			conn, _, err := p.dial([]string{"/a", fmt.Sprintf("/b%d", i%3)}[i%2])
			if err != nil {
				return // refused, or stopping
			}
			defer conn.Close()
			_ = echoed(conn, "hello") // it may be closed at any moment
		})
	}
	for range 60 {
		<-reloads
	}
	p.end()
	close(done)
	work.Wait()
	if open := p.engine.Stats().Open; open != 0 {
		t.Errorf("%d links are open after the stop", open)
	}
}
