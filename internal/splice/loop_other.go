//go:build !linux

package splice

import (
	"errors"

	"wsproxy/internal/sock"
)

// newLoops has no loops to give: there is no epoll.
func newLoops(*Engine) (driver, error) { return nil, errors.ErrUnsupported }

func home(driver) func() sock.Home { return nil }
