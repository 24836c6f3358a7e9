// Package pipe is the transport over descriptors that two processes share: a child's stdin and stdout, a pair that was
// inherited, named FIFOs.
package pipe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// conn is a pair of files that the poller watches, or one file for both ways.
type conn struct {
	r, w *os.File
	peer transport.Peer
	once sync.Once
	transport.NonBlocking
}

// newConn makes a Conn of r and w, which it owns. Both are in non-blocking mode.
func newConn(peer transport.Peer, r, w *os.File) (*conn, error) {
	raw, err := w.SyscallConn()
	if err == nil {
		err = r.SetReadDeadline(time.Time{}) // says whether the poller knows it
	}
	if err != nil {
		r.Close()
		w.Close()
		return nil, fmt.Errorf("%s: the descriptor cannot be waited for on this system: %w", peer.Address, err)
	}
	return &conn{r: r, w: w, peer: peer, NonBlocking: transport.NonBlocking{Raw: raw}}, nil
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err == io.EOF {
		return n, err
	}
	return n, c.failed(err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	return n, c.failed(err)
}

// failed names the peer in err, and makes what package os says of a closed file what package net says.
func (c *conn) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrClosed):
		err = net.ErrClosed
	}
	return fmt.Errorf("%s: %w", c.peer.Address, err)
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.r.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.w.SetWriteDeadline(t) }

func (c *conn) Peer() transport.Peer { return c.peer }

func (c *conn) Close() (err error) {
	c.once.Do(func() {
		err = c.w.Close()
		if c.r != c.w {
			err = errors.Join(err, c.r.Close())
		}
	})
	return err
}
