package socket

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// credentials asks the kernel who is at the other end (LOCAL_PEERCRED, LOCAL_PEERPID).
func credentials(raw syscall.RawConn) (p transport.Peer) {
	raw.Control(func(fd uintptr) {
		x, err := unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
		if err != nil || x.Ngroups < 1 {
			return
		}
		p = transport.Peer{Identified: true, UID: int(x.Uid), GID: int(x.Groups[0])}
		p.PID, _ = unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	})
	return p
}
