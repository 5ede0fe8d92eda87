package main

import "golang.org/x/sys/unix"

// monotonic is the machine's clock in nanoseconds since some moment: the same for all processes of a machine, so that one
// can tell how old another's time is.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // fails only for a clock that there is not
	return ts.Nano()
}
