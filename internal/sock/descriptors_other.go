//go:build !linux

package sock

import "net"

func descriptorLimit() int { return 0 }

func descriptorOf(net.Conn) int { return -1 }
