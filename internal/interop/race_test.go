//go:build race

package interop

// race builds the command with the race detector when the tests have it.
const race = true
