//go:build !linux

package sock

import "net"

func idle(net.Conn) bool { return true }

func gone(net.Conn) bool { return false }

func unsent(net.Conn) int { return 0 }

func acked(net.Conn) uint64 { return 0 }
