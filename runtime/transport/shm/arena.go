//go:build linux && (amd64 || arm64)

package shm

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ipcgen/ipcgen/runtime/internal/ring"
)

// CanPopulate says whether the kernel can be asked, as from Linux 5.14 on, to see to it that memory is there: without
// that a shortage of memory would be a fault, and neither side uses arenas.
var CanPopulate = sync.OnceValue(func() bool {
	page, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return false
	}
	defer unix.Munmap(page)
	return populate(page, 0, len(page), unix.MADV_POPULATE_READ) == nil
})

// populate sees to it that n bytes of a mapping from offset on are there, and can be read or written without a fault.
func populate(mem []byte, offset, n, how int) error {
	page := unix.Getpagesize()
	from, to := offset&^(page-1), min((offset+n+page-1)&^(page-1), len(mem))
	return retry(func() error { return unix.Madvise(mem[from:to], how) })
}

// An Arena is the memory from which one side lends ranges to its peer: a memfd, mapped. Nothing of it takes memory before
// it is used for the first time; then it is kept for the next ones. Methods are called by one goroutine at a time, but
// Reserve by any.
type Arena struct {
	mem   []byte
	fd    int // -1 once the peer has it
	spans spans
	there units
}

// MakeArena makes an arena of size bytes, which is a validArena.
func MakeArena(size int) (*Arena, error) {
	if !validArena(size) {
		return nil, fmt.Errorf("an arena of %d bytes: want a power of two from %d to %d", size, MinArena, MaxArena)
	}
	fd, err := create()
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	a := &Arena{fd: fd, spans: newSpans(size / unit), there: newUnits(size / unit)}
	if err := a.fill(size); err != nil {
		a.Release()
		return nil, fmt.Errorf("a memfd of %d bytes: %w", size, err)
	}
	return a, nil
}

// arenaSeals are what both sides rely on: that the memory does not go away, and that the peer only reads it. With the last
// no page can be taken out of the file either.
const arenaSeals = seals | sealFuture

func (a *Arena) fill(size int) (err error) {
	if err := enlarge(a.fd, size); err != nil {
		return err
	}
	if a.mem, err = unix.Mmap(a.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE); err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(a.fd), unix.F_ADD_SEALS, arenaSeals); err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	return nil
}

// Take takes a range of n bytes, which is Reserved before it is written to. There may be none.
func (a *Arena) Take(n int) (offset int, b []byte, ok bool) {
	s := spanOf(0, n)
	from, ok := a.spans.take(s.n)
	if !ok {
		return 0, nil, false
	}
	offset = from * unit
	return offset, a.mem[offset : offset+n : offset+n], true
}

// Memory is all of the arena, to tell by addresses what lies in it.
func (a *Arena) Memory() []byte { return a.mem }

// Offset returns where in the arena b begins, or false where it does not.
func (a *Arena) Offset(b []byte) (offset int, ok bool) { return offsetIn(a.mem, b) }

// offsetIn returns where in mem b begins, or false where it does not.
func offsetIn(mem, b []byte) (offset int, ok bool) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	return int(at), at < uintptr(len(mem)) // what begins before it is far behind it, modulo 2^64
}

// Give takes a range back that is not used any more. It says whether the range was out.
func (a *Arena) Give(offset int) bool { return offset%unit == 0 && a.spans.give(offset/unit) }

// There says whether the memory of a range has been Reserved before.
func (a *Arena) There(offset, n int) bool { return a.there.has(spanOf(offset, n)) }

// Reserve sees to it that the memory of a range is there. Where it is short, that is an error.
func (a *Arena) Reserve(offset, n int) error {
	return populate(a.mem, offset, n, unix.MADV_POPULATE_WRITE)
}

// Reserved notes that Reserve has succeeded.
func (a *Arena) Reserved(offset, n int) { a.there.add(spanOf(offset, n)) }

// sent closes the descriptor, which the peer has by now.
func (a *Arena) sent() {
	if a.fd >= 0 {
		unix.Close(a.fd)
		a.fd = -1
	}
}

// Release gives the arena up. It may be called again.
func (a *Arena) Release() {
	a.sent()
	if a.mem != nil {
		unix.Munmap(a.mem)
		a.mem = nil
	}
}

// A PeerArena is the peer's, mapped to be read. Methods are called by one goroutine at a time, but Reserve by any.
type PeerArena struct {
	mem   []byte
	there units
}

// attachArena maps a peer's arena, of at most so many bytes, after checking that it is one.
func attachArena(fd, most int) (*PeerArena, error) {
	size, err := inspect(fd, arenaSeals)
	if err != nil {
		return nil, err
	}
	if size > int64(most) || !validArena(int(size)) {
		return nil, fmt.Errorf("an arena of %d bytes: want a power of two from %d to %d", size, MinArena, most)
	}
	mem, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return &PeerArena{mem: mem, there: newUnits(int(size) / unit)}, nil
}

// Size is how many bytes the arena has.
func (p *PeerArena) Size() int { return len(p.mem) }

// Range returns n bytes from offset on, which are Reserved before they are read, or false where that is no range of the
// arena.
func (p *PeerArena) Range(offset, n uint32) ([]byte, bool) {
	end := uint64(offset) + uint64(n)
	if offset%unit != 0 || end > uint64(len(p.mem)) {
		return nil, false
	}
	return p.mem[offset:end:end], true
}

// Offset returns where in the arena b begins, or false where it does not.
func (p *PeerArena) Offset(b []byte) (offset int, ok bool) { return offsetIn(p.mem, b) }

// There says whether the memory of a range has been Reserved before.
func (p *PeerArena) There(offset, n int) bool { return p.there.has(spanOf(offset, n)) }

// Reserve sees to it that the memory of a range is there: a peer may name what it has never written to.
func (p *PeerArena) Reserve(offset, n int) error {
	return populate(p.mem, offset, n, unix.MADV_POPULATE_READ)
}

// Reserved notes that Reserve has succeeded.
func (p *PeerArena) Reserved(offset, n int) { p.there.add(spanOf(offset, n)) }

// Release gives the mapping up.
func (p *PeerArena) Release() {
	unix.Munmap(p.mem)
	p.mem = nil
}

// GiveBack gives a range of the peer's arena back, by where it starts. It says whether there was room for that.
func (c *conn) GiveBack(offset uint32) bool {
	c.mail.mu.Lock()
	defer c.mail.mu.Unlock()
	return !c.mail.closed && c.mail.returns.Give(offset)
}

// TakeBack returns where the next range of this side's arena starts that the peer has given back; ok is false where there
// is none.
func (c *conn) TakeBack() (offset uint32, ok bool, err error) {
	c.mail.mu.Lock()
	defer c.mail.mu.Unlock()
	if c.mail.closed {
		return 0, false, nil
	}
	return c.mail.returns.Take()
}

// arenaByte is what comes on the socket with the descriptor of an arena.
const arenaByte = 1

// A mailbox is what comes and goes for arenas beside the bytes of a connection: on its socket, among the doorbells, the
// descriptor of the peer's arena, and in the headers of its segments the ranges that are given back.
type mailbox struct {
	mu      sync.Mutex
	fd      int // -1: there is none
	came    bool
	closed  bool
	returns *ring.Returns

	// What readSocket works on; kept here so that a doorbell allocates nothing. Its single caller owns them.
	p    []byte
	n    int
	err  error
	read func(fd uintptr) bool
}

// receive reads from the socket what there is, and keeps the descriptor of an arena. The mutex is held.
func (m *mailbox) receive(fd int, p []byte) (n int, err error) {
	n, fds, err := receiveFiles(fd, p)
	arenas := 0
	for i, b := range p[:n] {
		if b == arenaByte {
			arenas++
			p[i] = 0 // and a doorbell
		}
	}
	switch {
	case arenas != len(fds) || arenas > 1 || arenas == 1 && m.came:
		closeAll(fds)
		return n, fmt.Errorf("%w: %d descriptors came on the socket with %d bytes 0x%02x, of which each side may send one once",
			ErrBroken, len(fds), arenas, arenaByte)
	case arenas == 1 && m.closed:
		closeAll(fds)
	case arenas == 1:
		m.fd, m.came = fds[0], true
	}
	return n, err
}

// take returns the descriptor that has come; -1 is none. The mutex is held.
func (m *mailbox) take() int {
	fd := m.fd
	m.fd = -1
	return fd
}

func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	closeAll([]int{m.take()})
}

// readSocket waits for what comes on the socket.
func (c *conn) readSocket(p []byte) (n int, err error) {
	if c.mail == nil {
		return c.sock.Read(p)
	}
	m := c.mail
	if m.read == nil {
		m.read = m.readOnce
	}
	m.p = p
	if err := c.raw.Read(m.read); err != nil {
		return 0, err
	}
	return m.n, m.err
}

func (m *mailbox) readOnce(fd uintptr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n, m.err = m.receive(int(fd), m.p)
	return !errors.Is(m.err, unix.EAGAIN)
}

// mostReads is how often the socket is read to find the peer's arena on it, which stands behind no more than what a
// socket holds of bytes that were sent one by one.
const mostReads = 1 << 12

// PeerArena attaches the peer's arena, of at most so many bytes, which has been sent before the peer speaks of it.
func (c *conn) PeerArena(most int) (*PeerArena, error) {
	arena := -1
	var broken error
	var bells [64]byte
	cerr := c.raw.Control(func(fd uintptr) {
		c.mail.mu.Lock()
		defer c.mail.mu.Unlock()
		for range mostReads {
			if arena = c.mail.take(); arena >= 0 {
				return
			}
			n, err := c.mail.receive(int(fd), bells[:])
			if errors.Is(err, ErrBroken) {
				broken = err
			}
			if n <= 0 || err != nil {
				return // who waits on the socket sees that, too
			}
		}
	})
	c.in.bell()
	c.out.bell()
	switch {
	case broken != nil:
		return nil, broken
	case cerr != nil:
		return nil, cerr
	case arena < 0:
		return nil, fmt.Errorf("%w: it spoke of an arena that it has not sent", ErrBroken)
	}
	defer unix.Close(arena)
	p, err := attachArena(arena, most)
	if err != nil {
		return nil, fmt.Errorf("%w: its arena: %w", ErrBroken, err)
	}
	return p, nil
}

// SendArena sends the descriptor of an arena to the peer, which the socket may take at once or not.
func (c *conn) SendArena(a *Arena) (sent bool) {
	c.raw.Control(func(fd uintptr) {
		err := retry(func() error {
			return unix.Sendmsg(int(fd), []byte{arenaByte}, unix.UnixRights(a.fd), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		})
		sent = err == nil
	})
	if sent {
		a.sent()
	}
	return sent
}
