package socket

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// TestSilentPeersAreNoticed reads back what the kernel was told: both limits end at goneAfter.
func TestSilentPeersAreNoticed(t *testing.T) {
	l, err := ListenTCP(t.Context(), "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := DialTCP(t.Context(), l.Address()[len("tcp:"):], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	accepted, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	for name, c := range map[string]transport.Conn{"dialed": dialed, "accepted": accepted} {
		raw, err := c.(*conn).Conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []struct {
			name          string
			level, option int
			want          int
		}{
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 5},
			{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 30_000},
		} {
			raw.Control(func(fd uintptr) {
				if got, err := unix.GetsockoptInt(int(fd), o.level, o.option); got != o.want || err != nil {
					t.Errorf("%s: %s is %d (%v), want %d", name, o.name, got, err, o.want)
				}
			})
		}
	}
	if silent := keepAlive.Idle + time.Duration(keepAlive.Count)*keepAlive.Interval; silent != goneAfter {
		t.Errorf("a silent peer is given up after %v, want %v", silent, goneAfter)
	}
}
