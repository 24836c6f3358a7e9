//go:build unix

package socket

import (
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// conn is a unix or TCP connection with its identity.
type conn struct {
	net.Conn
	peer transport.Peer
	transport.NonBlocking
}

func newUnix(c *net.UnixConn, address string) transport.Conn {
	raw, err := c.SyscallConn()
	if err != nil {
		return &plain{c, transport.Peer{Address: address}}
	}
	peer := credentials(raw)
	peer.Address = address
	peer.SameUser = peer.Identified && peer.UID == os.Geteuid()
	return &unixConn{conn{Conn: c, peer: peer, NonBlocking: transport.NonBlocking{Raw: raw}}}
}

// unixConn is a unix connection, by which descriptors can travel as well.
type unixConn struct{ conn }

// SyscallConn is syscall.Conn's.
func (c *unixConn) SyscallConn() (syscall.RawConn, error) { return c.Raw, nil }

func newTCP(c *net.TCPConn) transport.Conn {
	limitSilence(c)
	peer := transport.Peer{Address: "tcp:" + c.RemoteAddr().String()}
	raw, err := c.SyscallConn()
	if err != nil {
		return &plain{c, peer}
	}
	return &conn{Conn: c, peer: peer, NonBlocking: transport.NonBlocking{Raw: raw}}
}

func (c *conn) Peer() transport.Peer { return c.peer }

// plain is a connection that cannot write without waiting.
type plain struct {
	net.Conn
	peer transport.Peer
}

func (c *plain) Peer() transport.Peer { return c.peer }

// lockDir keeps other servers of this package from changing dir.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: dir, Err: err}
	}
	return func() { f.Close() }, nil
}
