//go:build unix

package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

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

func newTCP(c *net.TCPConn, address string) transport.Conn {
	limitSilence(c)
	peer := transport.Peer{Address: address}
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

// lockDir keeps other servers of this package from changing dir. It waits within ctx: whoever may read a directory that is
// everybody's can hold its lock.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: dir, Err: err}
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for the lock of the directory %s, which another process holds: %w", dir, ctx.Err())
		case <-time.After(wait):
		}
	}
}
