// Package ring is a byte stream each way through two pieces of memory that two processes share (PROTOCOL.md, section
// 13): how a segment is laid out, how bytes are published and consumed, and when the other side has to be woken. It does
// no I/O and never waits: how a doorbell gets to the other process, and what a parked goroutine sleeps on, is its user's.
//
// The ring carries bytes, not frames. They are copied out of it, once, before anybody looks at them: nothing that the
// other side can still change is ever parsed, and a message need not fit in the ring, be aligned, or be split where the
// ring wraps.
//
// Words are loaded and stored by sync/atomic, whose operations are sequentially consistent: each store is also the full
// fence that the protocol wants between publishing and asking whether the other side is parked. Under the race detector that
// does not hold for stores to memory which is not Go's, but for swaps it does, and on amd64 a store is one anyway: so what is
// to be a fence is a swap.
package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Sizes of rings, in bytes; they are powers of two.
const (
	MinSize = 16 << 10
	MaxSize = 64 << 20
)

// HeaderSize is what a segment has in front of its ring.
const HeaderSize = 4096

const (
	magic   = "IPCGSHM1"
	version = 1
)

// Where things are in a segment. Words that one side writes often have a pair of cache lines of their own: processors
// fetch lines in pairs.
const (
	atMagic   = 0x000
	atVersion = 0x008
	atHeader  = 0x00c
	atSize    = 0x010
	atFlags   = 0x014
	atSession = 0x018
	atSide    = 0x028
	atTail    = 0x080 // bytes ever published in this segment's ring, mod 2^32
	atHead    = 0x100 // bytes ever consumed of the other segment's ring, mod 2^32
	atRxWait  = 0x180 // odd while this side is parked for data
	atTxWait  = 0x200 // odd while this side is parked for room
	atWakeAt  = 0x204 // the other side's head at which to be woken for room
)

// An Identity is what the header of a segment says of whose it is.
type Identity struct {
	Session [16]byte // the dialer's half, then the listener's
	Side    uint32   // 0 the dialer's, 1 the listener's
}

// ValidSize says whether a ring may have n bytes.
func ValidSize(n int) bool { return n >= MinSize && n <= MaxSize && n&(n-1) == 0 }

// Init writes the header of a segment, whose memory is zero and has HeaderSize bytes more than its ring.
func Init(segment []byte, id Identity) {
	copy(segment[atMagic:], magic)
	word(segment, atVersion).Store(version)
	word(segment, atHeader).Store(HeaderSize)
	word(segment, atSize).Store(uint32(len(segment) - HeaderSize))
	copy(segment[atSession:], id.Session[:])
	word(segment, atSide).Store(id.Side)
}

// Check says what is wrong with the header of the other side's segment.
func Check(segment []byte, id Identity) error {
	if !ValidSize(len(segment) - HeaderSize) {
		return fmt.Errorf("a segment of %d bytes: want %d and a power of two from %d to %d", len(segment), HeaderSize, MinSize, MaxSize)
	}
	var header [atTail]byte
	copy(header[:], segment) // what is judged is what was read, whatever the other side does meanwhile
	at := func(offset int) uint32 { return binary.LittleEndian.Uint32(header[offset:]) }
	switch {
	case string(header[:len(magic)]) != magic:
		return fmt.Errorf("a segment that begins with %q, not %q", header[:len(magic)], magic)
	case at(atVersion) != version:
		return fmt.Errorf("a segment of layout version %d, not %d", at(atVersion), version)
	case at(atHeader) != HeaderSize || at(atSize) != uint32(len(segment)-HeaderSize) || at(atFlags) != 0:
		return fmt.Errorf("a segment of %d bytes that says it has a header of %d, a ring of %d, and the flags %#x",
			len(segment), at(atHeader), at(atSize), at(atFlags))
	case [16]byte(header[atSession:]) != id.Session:
		return errors.New("a segment of another session")
	case at(atSide) != id.Side:
		return fmt.Errorf("a segment of side %d, not of side %d", at(atSide), id.Side)
	}
	return nil
}

func word(b []byte, offset int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer((*[4]byte)(b[offset:])))
}

// ErrBroken is the cause of all errors of a Writer and a Reader: the other side has written what cannot be.
var ErrBroken = errors.New("the peer broke the rules of shared memory")

// chunk is how much is copied before it is published, so that one side copies in while the other copies out.
const chunk = 32 << 10

// New returns the two ends that the owner of mine has, of the ring in mine and of the one in theirs. Both segments are
// as long as Check wants them. A Writer is used by one goroutine at a time, and so is a Reader.
func New(mine, theirs []byte) (*Writer, *Reader) {
	w := &Writer{data: mine[HeaderSize:], tail: word(mine, atTail), txWait: word(mine, atTxWait), wakeAt: word(mine, atWakeAt),
		head: word(theirs, atHead), rxWait: word(theirs, atRxWait)}
	r := &Reader{data: theirs[HeaderSize:], head: word(mine, atHead), rxWait: word(mine, atRxWait),
		tail: word(theirs, atTail), txWait: word(theirs, atTxWait), wakeAt: word(theirs, atWakeAt)}
	return w, r
}

// A Writer publishes bytes in this side's ring.
type Writer struct {
	data                 []byte
	tail, txWait, wakeAt *atomic.Uint32 // this side's, only written
	head, rxWait         *atomic.Uint32 // the other side's, only read

	at   uint32 // bytes ever published
	seen uint32 // the other side's head when it was last looked at
	wait uint32 // what txWait is
	rung uint32 // the rxWait for which a doorbell was asked for

	_ [64]byte // a Reader and a Writer that lie side by side are used by two processors
}

// look brings seen up to date and returns how many bytes there is room for.
func (w *Writer) look() (room int, err error) {
	head := w.head.Load()
	if unread, before := w.at-head, w.at-w.seen; unread > before {
		return 0, fmt.Errorf("%w: its head went from %d to %d, with %d bytes published", ErrBroken, w.seen, head, w.at)
	}
	w.seen = head
	return len(w.data) - int(w.at-head), nil
}

// Size is how many bytes the ring holds.
func (w *Writer) Size() int { return len(w.data) }

// Write publishes as much of b as there is room for, but no more than what is copied at a time: it is to be called again
// until it returns 0. After each call the other side may have to be woken: see Bell.
func (w *Writer) Write(b []byte) (n int, err error) {
	b = b[:min(len(b), chunk)]
	room := len(w.data) - int(w.at-w.seen)
	if room < len(b) {
		if room, err = w.look(); err != nil {
			return 0, err
		}
		b = b[:min(len(b), room)]
	}
	if len(b) == 0 {
		return 0, nil
	}
	n = copy(w.data[w.at&uint32(len(w.data)-1):], b)
	n += copy(w.data, b[n:])
	w.at += uint32(n)
	w.tail.Swap(w.at)
	return n, nil
}

// Bell says whether the other side has parked for data and is to be woken. It says so once each time that it parked.
func (w *Writer) Bell() bool {
	s := w.rxWait.Load()
	if s&1 == 0 || s == w.rung {
		return false
	}
	w.rung = s
	return true
}

// Awaits is the word to wait at while the ring is full: until it is another one than this, it is.
func (w *Writer) Awaits() (word *uint32, full uint32) {
	return (*uint32)(unsafe.Pointer(w.head)), w.at - uint32(len(w.data))
}

// Park tells the other side to ring when there is room for need bytes, at most the size of the ring. Where there is
// already, it says so, and there may be no doorbell. Unpark follows in any case, after the wait.
func (w *Writer) Park(need int) (ready bool, err error) {
	need = min(need, len(w.data))
	w.wakeAt.Store(w.at - uint32(len(w.data)-need))
	w.wait++
	w.txWait.Swap(w.wait)
	room, err := w.look()
	return room >= need, err
}

// Unpark takes back what Park said.
func (w *Writer) Unpark() {
	w.wait++
	w.txWait.Store(w.wait)
}

// A Reader consumes the bytes in the other side's ring.
type Reader struct {
	data                 []byte
	head, rxWait         *atomic.Uint32 // this side's, only written
	tail, txWait, wakeAt *atomic.Uint32 // the other side's, only read

	at   uint32 // bytes ever consumed
	seen uint32 // the other side's tail when it was last looked at
	wait uint32 // what rxWait is
	rung uint32 // the txWait for which a doorbell was asked for

	_ [64]byte
}

// look brings seen up to date.
func (r *Reader) look() error {
	tail := r.tail.Load()
	if unread, before := tail-r.at, r.seen-r.at; unread < before || unread > uint32(len(r.data)) {
		return fmt.Errorf("%w: its tail went from %d to %d, with %d bytes consumed of a ring of %d", ErrBroken, r.seen, tail, r.at, len(r.data))
	}
	r.seen = tail
	return nil
}

// Read moves what there is into p, which may be nothing, but no more than what is copied at a time: it is to be called
// again until it returns 0. After each call the other side may have to be woken: see Bell.
func (r *Reader) Read(p []byte) (n int, err error) {
	if r.seen-r.at < uint32(min(len(p), chunk)) {
		if err := r.look(); err != nil {
			return 0, err
		}
	}
	p = p[:min(len(p), chunk, int(r.seen-r.at))]
	if len(p) == 0 {
		return 0, nil
	}
	n = copy(p, r.data[r.at&uint32(len(r.data)-1):])
	n += copy(p[n:], r.data)
	r.at += uint32(n)
	r.head.Swap(r.at)
	return n, nil
}

// Bell says whether the other side has parked for room, has as much now as it wants, and is to be woken. It says so once
// each time that it parked.
func (r *Reader) Bell() bool {
	s := r.txWait.Load()
	if s&1 == 0 || s == r.rung || int32(r.at-r.wakeAt.Load()) < 0 {
		return false
	}
	r.rung = s
	return true
}

// Ready says whether there is something to read.
func (r *Reader) Ready() bool { return r.tail.Load() != r.at }

// Awaits is the word to wait at while the ring is empty: until it is another one than this, it is.
func (r *Reader) Awaits() (word *uint32, empty uint32) {
	return (*uint32)(unsafe.Pointer(r.tail)), r.at
}

// Next is where the next byte to read is, or will be.
func (r *Reader) Next() *byte { return &r.data[r.at&uint32(len(r.data)-1)] }

// Park tells the other side to ring when it publishes something. Where it has already, Park says so, and there may be
// no doorbell. Unpark follows in any case, after the wait.
func (r *Reader) Park() (ready bool, err error) {
	r.wait++
	r.rxWait.Swap(r.wait)
	err = r.look()
	return r.seen != r.at, err
}

// Unpark takes back what Park said.
func (r *Reader) Unpark() {
	r.wait++
	r.rxWait.Store(r.wait)
}
