//go:build race

package splice

// race makes the largest tests smaller when the race detector slows them down.
const race = true
