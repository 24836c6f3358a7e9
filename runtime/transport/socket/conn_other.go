//go:build !unix

package socket

import (
	"context"
	"net"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

type conn struct {
	net.Conn
	peer transport.Peer
}

func newUnix(c *net.UnixConn, address string) transport.Conn {
	return &conn{c, transport.Peer{Address: address}}
}

func newTCP(c *net.TCPConn, address string) transport.Conn {
	limitSilence(c)
	return &conn{c, transport.Peer{Address: address}}
}

func (c *conn) Peer() transport.Peer { return c.peer }

// lockDir does nothing: this system has no lock on directories, and two servers that start at the same moment may
// both take the place.
func lockDir(context.Context, string) (func(), error) { return func() {}, nil }
