package main

import (
	"fmt"
	"os"
	"time"
)

// progress is the line that shows a person that something happens. A nil progress shows nothing.
type progress struct {
	out   *os.File
	label string
	last  time.Time
	shown bool
}

// newProgress returns nil if out is no terminal.
func newProgress(out *os.File) *progress {
	if !isTerminal(int(out.Fd())) {
		return nil
	}
	return &progress{out: out}
}

// line replaces the line shown, a few times per second at most.
func (p *progress) line(text func() string) {
	if p == nil || time.Since(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.shown = time.Now(), true
	fmt.Fprintf(p.out, "\r\033[K%s%s", p.label, text())
}

// clear removes the line.
func (p *progress) clear() {
	if p != nil && p.shown {
		fmt.Fprint(p.out, "\r\033[K")
		p.shown = false
	}
}
