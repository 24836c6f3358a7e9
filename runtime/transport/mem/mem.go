// Package mem is a transport inside one process, for tests: no descriptor, no goroutine, and time that package
// testing/synctest can stop.
package mem

import (
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// capacity is how many bytes may be on their way in one direction.
const capacity = 64 << 10

// Pair returns the two ends of a new connection. Each holds at most 64 KiB that the other has not read.
func Pair() (a, b transport.Conn) {
	ab, ba := newHalf(), newHalf()
	return &conn{in: ba, out: ab}, &conn{in: ab, out: ba}
}

type conn struct{ in, out *half }

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p, true) }

// TryWrite is transport.TryWriter's.
func (c *conn) TryWrite(p []byte) (int, error) { return c.out.write(p, false) }

func (c *conn) SetReadDeadline(t time.Time) error  { return c.in.reader.set(c.in, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.out.writer.set(c.out, t) }

func (c *conn) Peer() transport.Peer {
	return transport.Peer{Address: "mem:", Identified: true, PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid(), SameUser: true}
}

func (c *conn) Close() error {
	c.in.close(false)
	c.out.close(true)
	return nil
}

// half is one direction. Its mutex guards all of it.
type half struct {
	mu      sync.Mutex
	changed *sync.Cond
	buf     []byte
	// ended: the writer closed, what is in buf can still be read. dropped: the reader closed.
	ended, dropped bool
	reader, writer deadline
}

func newHalf() *half {
	h := &half{}
	h.changed = sync.NewCond(&h.mu)
	return h
}

func (h *half) close(byWriter bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if byWriter {
		h.ended = true
		h.writer.stop()
	} else {
		h.dropped, h.buf = true, nil
		h.reader.stop()
	}
	h.changed.Broadcast()
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.dropped:
			return 0, net.ErrClosed
		case h.reader.passed:
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[:copy(h.buf, h.buf[n:])]
			h.changed.Broadcast()
			return n, nil
		case h.ended:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		h.changed.Wait()
	}
}

func (h *half) write(p []byte, wait bool) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.ended:
			return n, net.ErrClosed
		case h.dropped:
			return n, io.ErrClosedPipe
		case wait && h.writer.passed:
			return n, os.ErrDeadlineExceeded
		}
		if k := min(len(p), capacity-len(h.buf)); k > 0 {
			h.buf = append(h.buf, p[:k]...)
			p, n = p[k:], n+k
			h.changed.Broadcast()
		}
		if len(p) == 0 || !wait {
			return n, nil
		}
		h.changed.Wait()
	}
}

// A deadline is that of one side of a half, guarded by the half's mutex.
type deadline struct {
	timer  *time.Timer
	passed bool
	epoch  int // tells a timer that was replaced while it fired
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.epoch++
}

func (d *deadline) set(h *half, t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.stop()
	d.passed = false
	if t.IsZero() {
		return nil
	}
	left := time.Until(t)
	if left <= 0 {
		d.passed = true
		h.changed.Broadcast()
		return nil
	}
	epoch := d.epoch
	d.timer = time.AfterFunc(left, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if d.epoch == epoch {
			d.passed = true
			h.changed.Broadcast()
		}
	})
	return nil
}
