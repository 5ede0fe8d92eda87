//go:build !linux

package splice

import "errors"

// newLoops has no loops to give: there is no epoll.
func newLoops(*Engine) (driver, error) { return nil, errors.ErrUnsupported }
