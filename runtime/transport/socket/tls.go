package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// modern returns a copy of config with TLS 1.3 as the least version unless it says something else.
func modern(config *tls.Config) *tls.Config {
	config = config.Clone()
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS13
	}
	return config
}

// tlsConn cannot tell who the peer is: what its certificate says is for the user to judge, in the tls.Config.
type tlsConn struct {
	*tls.Conn
	address string // of the peer
	below   *resumable
	// sealed is how many bytes of the next Write are on their way already: the Write before it ran into its deadline
	// after package tls had encrypted them.
	sealed int
}

func newTLS(c *net.TCPConn, address string, role func(net.Conn, *tls.Config) *tls.Conn, config *tls.Config) *tlsConn {
	limitSilence(c)
	below := &resumable{Conn: c}
	return &tlsConn{Conn: role(below, config), address: address, below: below}
}

// shake does the handshake within ctx and limit.
func (c *tlsConn) shake(ctx context.Context, limit time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := c.HandshakeContext(limited)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("no answer within %v: is it a TLS server? %w", limit, err)
	}
	return err
}

func (c *tlsConn) Peer() transport.Peer {
	return transport.Peer{Address: c.address}
}

// record is the most that TLS encrypts at a time.
const record = 16 << 10

func (c *tlsConn) Write(b []byte) (n int, err error) {
	for {
		if err := c.below.flush(); err != nil {
			return n, err
		}
		n += min(c.sealed, len(b)-n)
		if c.sealed = 0; n == len(b) {
			return n, nil
		}
		if c.sealed, err = c.Conn.Write(b[n:min(n+record, len(b))]); err != nil {
			return n, err
		}
	}
}

// Close ends the connection at once: the closing alert of TLS goes out where nothing else waits to be written.
func (c *tlsConn) Close() error {
	if !c.below.leave() {
		return c.below.Close()
	}
	return c.Conn.Close()
}

// resumable is what a tls.Conn writes to. Package tls gives a connection up whose write ran into its deadline; here what
// a deadline cut off is kept, and goes before what is written next.
type resumable struct {
	net.Conn
	leaving atomic.Bool

	mu   sync.Mutex // held over the write: who else writes must wait for it anyway
	rest []byte
}

func (r *resumable) Write(b []byte) (int, error) {
	if err := r.push(b); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	return len(b), nil
}

// flush writes what a deadline has cut off.
func (r *resumable) flush() error { return r.push(nil) }

// push writes what is kept and then b, of which it keeps what a deadline cuts off.
func (r *resumable) push(b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rest) > 0 {
		r.rest = append(r.rest, b...)
		b = r.rest
	}
	if len(b) == 0 {
		return nil
	}
	n, err := r.Conn.Write(b)
	r.rest = append(r.rest[:0], b[n:]...)
	return err
}

// leave says whether an alert may be written, and bounds how long that can take.
func (r *resumable) leave() bool {
	if !r.mu.TryLock() {
		return false
	}
	defer r.mu.Unlock()
	r.leaving.Store(true)
	return len(r.rest) == 0 && r.hurry() == nil
}

// hurry bounds how long the alert may take.
func (r *resumable) hurry() error {
	return r.Conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
}

// SetWriteDeadline does nothing on the way out, where package tls would allow the alert 5 s.
func (r *resumable) SetWriteDeadline(t time.Time) error {
	if r.leaving.Load() {
		return nil
	}
	err := r.Conn.SetWriteDeadline(t)
	if err == nil && r.leaving.Load() {
		return r.hurry() // what was set may have come behind it
	}
	return err
}
