// Package pipe is the transport over descriptors that two processes share: a child's stdin and stdout, a pair that was
// inherited, named FIFOs.
package pipe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// conn is a pair of files that the poller watches, or one file for both ways.
type conn struct {
	r, w    *os.File
	address string
	transport.NonBlocking
}

// newConn makes a Conn of r and w, which it owns. Both are in non-blocking mode.
func newConn(address string, r, w *os.File) (transport.Conn, error) {
	raw, err := w.SyscallConn()
	if err == nil {
		err = r.SetReadDeadline(time.Time{}) // says whether the poller knows it
	}
	if err != nil {
		r.Close()
		w.Close()
		return nil, fmt.Errorf("%s: the descriptor cannot be waited for: it must be a pipe or a socket: %w", address, err)
	}
	return &conn{r: r, w: w, address: address, NonBlocking: transport.NonBlocking{Raw: raw}}, nil
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s: %w", c.address, err)
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		err = fmt.Errorf("%s: %w", c.address, err)
	}
	return n, err
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.r.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.w.SetWriteDeadline(t) }

// Peer says that it is the same user's: whoever holds the other end got it from this process or its parent.
func (c *conn) Peer() transport.Peer { return transport.Peer{Address: c.address, SameUser: true} }

func (c *conn) Close() error {
	err := c.w.Close()
	if c.r != c.w {
		err = errors.Join(err, c.r.Close())
	}
	return err
}
