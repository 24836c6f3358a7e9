package socket

import (
	"net"

	"golang.org/x/sys/unix"
)

// limitSilence bounds how long c waits for the peer to acknowledge what was sent.
func limitSilence(c *net.TCPConn) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(goneAfter.Milliseconds()))
		})
	}
}
