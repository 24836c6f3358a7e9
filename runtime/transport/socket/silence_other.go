//go:build !linux

package socket

import "net"

// limitSilence does nothing: this system has its own limit, which is not a program's to set.
func limitSilence(*net.TCPConn) {}
