package socket

import (
	"syscall"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// credentials asks the kernel who connected, or listens, at the other end (SO_PEERCRED).
func credentials(raw syscall.RawConn) (p transport.Peer) {
	raw.Control(func(fd uintptr) {
		if u, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			p = transport.Peer{Identified: true, PID: int(u.Pid), UID: int(u.Uid), GID: int(u.Gid)}
		}
	})
	return p
}
