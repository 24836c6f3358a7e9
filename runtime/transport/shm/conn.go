//go:build linux && (amd64 || arm64)

package shm

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/ipcgen/ipcgen/runtime/internal/ring"
	"github.com/ipcgen/ipcgen/runtime/transport"
)

// conn is a transport.Conn over two rings. What belongs to one direction is in its half.
type conn struct {
	sock transport.Conn
	once sync.Once
	in   inward
	out  outward
	// unmap releases both segments. Close calls it when nobody is inside Read or Write any more.
	unmap func()
	raw   syscall.RawConn
	mail  *mailbox // nil: no arenas are sent
	knock func()   // says that something has come while nobody reads
}

type inward struct {
	half
	*ring.Reader
	watched atomic.Bool // nobody reads: a doorbell is for who is to be told of that
}

type outward struct {
	half
	*ring.Writer
}

// newConn makes a Conn of a socket, which it owns, and the two rings.
func newConn(sock transport.Conn, raw syscall.RawConn, w *ring.Writer, r *ring.Reader, unmap func(), spin time.Duration, mail *mailbox, knock func()) *conn {
	c := &conn{sock: sock, unmap: unmap, raw: raw, mail: mail, knock: knock, in: inward{Reader: r}, out: outward{Writer: w}}
	c.in.half.init(raw, "read", sock, spin, func(looks uint32) bool {
		word, empty := r.Awaits()
		return poll(word, empty, looks, pauses(), r.Next())
	})
	c.out.half.init(raw, "write", sock, spin, func(looks uint32) bool {
		word, full := w.Awaits()
		return poll(word, full, looks, pauses(), (*byte)(unsafe.Pointer(word)))
	})
	c.out.spin.first = true // where there is no room the peer is reading, while who reads may have long to wait
	go c.listen()
	return c
}

func (c *conn) Peer() transport.Peer { return c.sock.Peer() }

func (c *conn) SetReadDeadline(t time.Time) error  { return c.in.setDeadline(t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.out.setDeadline(t) }

// Close does not wait for the peer, but for those that are inside Read and Write, which it calls back.
func (c *conn) Close() (err error) {
	c.once.Do(func() {
		c.in.close()
		c.out.close()
		err = c.sock.Close()
		if c.mail != nil {
			c.mail.close()
		}
		c.in.mu.Lock()
		defer c.in.mu.Unlock()
		c.out.mu.Lock()
		defer c.out.mu.Unlock()
		c.unmap()
	})
	return err
}

// listen waits for doorbells, and for the end of the peer. It ends with the connection.
func (c *conn) listen() {
	bells := make([]byte, 64)
	for {
		n, err := c.readSocket(bells)
		for _, b := range bells[:n] {
			if b != 0 {
				c.gone(fmt.Errorf("%w: it sent the byte 0x%02x where only doorbells come, which are 0", ErrBroken, b))
				return
			}
		}
		if n > 0 {
			if c.in.watched.Load() {
				c.knock()
			}
			c.in.bell()
			c.out.bell()
		}
		if err != nil {
			c.gone(err)
			return
		}
	}
}

// gone ends both directions: nothing more comes than what the peer has published, and nobody reads what is written.
func (c *conn) gone(err error) {
	read, write := io.EOF, error(syscall.EPIPE)
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		read, write = err, err
	}
	c.in.cause, c.out.cause = read, write
	c.in.set(ended)
	c.out.set(ended)
	if c.in.watched.Load() {
		c.knock()
	}
}

// Watch is transport.MemoryWriter's.
func (c *conn) Watch() (ready bool) {
	h := &c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	again := h.watched.Swap(true) // the doorbell may come as soon as the peer can see that this side has parked
	if h.state.Load()&(closed|ended) == 0 {
		var err error
		if again {
			ready = h.Ready()
		} else {
			ready, err = h.Park()
		}
		if !ready && err == nil {
			return false
		}
		h.Unpark()
	}
	h.watched.Store(false)
	return true
}

func (c *conn) Read(p []byte) (int, error) {
	h := &c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline.check(&h.half)
	for {
		state := h.state.Load()
		if state&(closed|late) != 0 {
			return 0, h.failed(state)
		}
		if h.watched.Load() {
			h.watched.Store(false)
			h.Unpark()
		}
		n, err := h.take(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, h.broken(err)
		}
		if state&ended != 0 {
			return 0, h.failed(state) // it had ended before the ring was found empty
		}
		if h.spin.until(&h.half) {
			continue
		}
		if err := h.sleep(h.Park); err != nil {
			return 0, h.broken(err)
		}
		h.Unpark()
	}
}

// take reads what there is, and rings where the peer has been waiting for the room.
func (h *inward) take(p []byte) (n int, err error) {
	for n < len(p) {
		k, err := h.Reader.Read(p[n:])
		if k == 0 {
			return n, err
		}
		n += k
		if h.Bell() {
			h.ring()
		}
		h.share(len(p), k)
	}
	return n, nil
}

func (c *conn) Write(b []byte) (int, error) { return c.write(b, true) }

// TryWrite is transport.TryWriter's.
func (c *conn) TryWrite(b []byte) (int, error) { return c.write(b, false) }

// Others is transport.MemoryWriter's.
func (c *conn) Others(some bool) { c.in.spin.others = some }

func (c *conn) write(b []byte, wait bool) (n int, err error) {
	h := &c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	ends := uint32(closed | ended)
	if wait {
		ends |= late
		h.deadline.check(&h.half)
	}
	if state := h.state.Load(); state&ends != 0 {
		return 0, h.failed(state)
	}
	for {
		k, err := h.put(b[n:])
		if wait {
			h.share(len(b), k)
		}
		if n += k; err != nil || n == len(b) || !wait {
			return n, h.broken(err)
		}
		if state := h.state.Load(); state&ends != 0 {
			return n, h.failed(state)
		}
		if h.spin.until(&h.half) {
			continue
		}
		// To be woken when half of the ring is free is enough: the peer has the other half to read meanwhile.
		need := min(len(b)-n, h.Size()/2)
		if err := h.sleep(func() (bool, error) { return h.Park(need) }); err != nil {
			return n, h.broken(err)
		}
		h.Unpark()
	}
}

// put publishes what there is room for, and rings where the peer has been waiting for it.
func (h *outward) put(b []byte) (n int, err error) {
	for n < len(b) {
		k, err := h.Writer.Write(b[n:])
		if k == 0 {
			return n, err
		}
		n += k
		if h.Bell() {
			h.ring()
		}
	}
	return n, nil
}

// Why a half does not go on. Bits of its state.
const (
	closed = 1 << iota // on this side
	ended              // the peer closed, died or broke the rules: cause says how
	late               // the deadline has passed
)

// half is what both directions have in common.
type half struct {
	mu    sync.Mutex // held inside Read or Write
	state atomic.Uint32
	cause error // set before the bit ended

	what     string // "read", "write"
	address  string
	doorbell transport.NonBlocking // for the peer
	spin     spinner
	moved    int         // bytes since share has let others run
	asleep   atomic.Bool // a doorbell is for this half
	wake     chan struct{}
	deadline deadline
}

func (h *half) init(raw syscall.RawConn, what string, sock transport.Conn, spin time.Duration, look func(looks uint32) bool) {
	h.doorbell.Raw = raw
	h.what, h.address = what, sock.Peer().Address
	h.wake = make(chan struct{}, 1)
	h.spin = spinner{limit: spin, look: look, yield: yieldThread}
}

var zero = []byte{0}

// ring wakes the peer. If the socket takes nothing, it is full of doorbells; if it is broken, listen finds that out.
func (h *half) ring() { h.doorbell.TryWrite(zero) }

// share lets other threads run now and then while large messages are moved, k bytes of something of n. Two sides that copy
// them use two processors without a pause; where there are no more, the collectors of both, which have to keep pace with the
// messages, would each wait until the scheduler's time slice is over.
func (h *half) share(n, k int) {
	const large, turn = 32 << 10, 128 << 10
	if n < large {
		return
	}
	if h.moved += k; h.moved >= turn {
		h.moved = 0
		h.spin.yield()
	}
}

// sleep parks, and returns after a doorbell, or when the state has changed, and sometimes for nothing.
func (h *half) sleep(park func() (ready bool, err error)) error {
	h.asleep.Store(true) // the doorbell may come as soon as the peer can see that this side has parked
	ready, err := park()
	if !ready && err == nil {
		h.deadline.begin(h)
		<-h.wake
		h.deadline.end()
	}
	h.asleep.Store(false)
	return err
}

// bell passes a doorbell on.
func (h *half) bell() {
	if h.asleep.Load() {
		h.rouse()
	}
}

func (h *half) rouse() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// set adds to the state and wakes who is to see it.
func (h *half) set(bit uint32) {
	h.state.Or(bit)
	h.rouse()
}

func (h *half) close() { h.set(closed) }

func (h *half) failed(state uint32) error {
	switch {
	case state&closed != 0:
		return fmt.Errorf("%s %s: %w", h.what, h.address, net.ErrClosed)
	case state&late != 0:
		return fmt.Errorf("%s %s: %w", h.what, h.address, os.ErrDeadlineExceeded)
	case h.cause == io.EOF:
		return io.EOF
	default:
		return fmt.Errorf("%s %s: %w", h.what, h.address, h.cause)
	}
}

func (h *half) broken(err error) error {
	if err != nil {
		err = fmt.Errorf("%s %s: %w", h.what, h.address, err)
	}
	return err
}

// A deadline sets and takes back the bit late. There is a timer only while somebody sleeps: most deadlines are those of
// writes that hardly wait, and setting and stopping a timer for each costs more than such a write.
type deadline struct {
	mu       sync.Mutex
	at       atomic.Int64 // in nanoseconds since epoch; 0: none
	sleeping bool
	timer    *time.Timer
	armed    int // tells a timer that was replaced while it fired
}

// epoch is what deadlines count from.
var epoch = time.Now()

func (h *half) setDeadline(t time.Time) error {
	d := &h.deadline
	d.mu.Lock()
	defer d.mu.Unlock()
	if h.state.Load()&closed != 0 {
		return fmt.Errorf("%s deadline of %s: %w", h.what, h.address, net.ErrClosed)
	}
	d.disarm()
	h.state.And(^uint32(late))
	if t.IsZero() {
		d.at.Store(0)
		return nil
	}
	d.at.Store(max(1, int64(t.Sub(epoch)))) // what is before the epoch has passed
	if d.sleeping || time.Until(t) <= 0 {
		d.arm(h)
	}
	return nil
}

// check sets the bit where the deadline has passed while nobody slept.
func (d *deadline) check(h *half) {
	if at := d.at.Load(); at != 0 && int64(time.Since(epoch)) >= at {
		h.set(late)
	}
}

// begin sees to it that who is about to sleep is woken at the deadline.
func (d *deadline) begin(h *half) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sleeping = true
	d.arm(h)
}

func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sleeping = false
	d.disarm()
}

// arm sets the bit at the deadline, if there is one. Called with the mutex held.
func (d *deadline) arm(h *half) {
	at := d.at.Load()
	if at == 0 {
		return
	}
	left := time.Duration(at) - time.Since(epoch)
	if left <= 0 {
		h.set(late)
		return
	}
	armed := d.armed
	d.timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.armed == armed {
			h.set(late)
		}
	})
}

// disarm takes back what arm did. Called with the mutex held.
func (d *deadline) disarm() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.armed++
}
