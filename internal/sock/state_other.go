//go:build !linux

package sock

import "net"

func idle(net.Conn) bool { return true }

func gone(net.Conn) bool { return false }
