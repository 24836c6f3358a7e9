package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/frame"
)

// A stream is what a call has on both of its sides: messages that arrive, and credit to send. Credit is counted in
// bytes of DATA frames, headers included, so that empty messages cost something too. A message that comes in several
// frames is announced with its length; the receiver reserves room for the whole in the session's budget and then
// grants the credit for the whole, so that it always can be finished; until then it gets no further than the window.
type stream struct {
	s  *Session
	id frame.StreamID

	// Guarded by the session's mutex.
	recvWait, sendWait waiter
	closed             bool // nothing can be sent any more
	over               bool // nothing arrives any more
	discard            bool // nobody wants what arrives

	// Arriving. What most unary calls never need is made when the first DATA frame comes.
	peerEnd bool // END has come
	window  int  // credit that is granted when nothing is held
	avail   int  // credit that the peer has left
	*arrivals

	// Leaving.
	credit int
	inside bool // the last piece that was sent is not the last one of its message

	// Owed to the peer, sent with the next write.
	owes       int
	owesCancel bool
	cancelCode uint32
	listed     bool // in the session's list of those that owe

	// Owned by the one goroutine that sends.
	scratch scratch
	burst   int

	// Guarded by the session's mutex.
	blobs *queue // those of messages that wait; nil before there are any
}

// arrivals are the messages of a stream that have come.
type arrivals struct {
	items    []item // whole messages, oldest first
	arena    []byte // holds the small ones
	held     int    // bytes that have come and are not taken
	part     []byte // the message that is being put together
	partLeft int    // bytes of it to come; 0: none is
	partCost int    // of it, what counts as held
	partRoom int    // what is reserved for it
	starving bool   // waits for a reservation
	room     int    // what is reserved for the messages of the batch

	// Owned by the one goroutine that receives.
	batch   []item
	next    int // in batch
	taken   int
	share   int   // so much taken is worth settling
	granted int64 // when credit was last given, of nanos; 0: never
}

// An item is a message that has come whole. Nothing else comes to where its data is, so that its strings and bytes stay there
// when it is decoded.
type item struct {
	data  []byte
	cost  int    // of the window
	room  int    // of the session's reservations
	apart *apart // its blobs, which the queue of the stream has; nil: they are in data
}

// size is how many bytes the message has, or more where blobs come with it.
func (it *item) size() int {
	if it.apart != nil {
		return math.MaxInt
	}
	return len(it.data)
}

const (
	singleMost = 16 << 10 // the largest message that is sent in one DATA frame
	pieceAlone = 64 << 10 // the pieces of larger ones: nobody else is sending
	pieceTurns = 16 << 10 // several streams take turns
	pieceLeast = 4 << 10  // less credit than this is not used up by pieces
	raiseMost  = 4 << 20  // the largest window that a stream is raised to
	arenaSize  = 2 << 10  // who keeps a string of a small message keeps so much
	arenaFirst = 512      // most streams are short
	arenaMost  = 1 << 10  // larger messages have memory of their own
	// busy is in what time a stream uses up half of its window that is to have a larger one: a stream of 640 KiB/s and more,
	// so that on a network, too, where the peer learns of credit a round trip later, the window is not what limits it.
	busy = 100 * time.Millisecond
	// wholeMost is the largest message that gets its memory at once.
	wholeMost = 2 << 20
	// scratchMost is the largest buffer that is kept to encode the next message in.
	scratchMost = 2 << 20
)

func (st *stream) init(s *Session, id frame.StreamID) {
	st.s, st.id = s, id
	st.window, st.avail, st.credit = s.agreed.window, s.agreed.window, s.agreed.window
}

// expect makes ready for messages to come. Called with the mutex held.
func (st *stream) expect() {
	if st.arrivals == nil {
		st.arrivals = new(arrivals)
	}
}

// handleData takes a message, or a piece of one, from the wire.
func (s *Session) handleData(h frame.Header, payload []byte) error {
	st, err := s.lookup(h.Stream)
	if err != nil || st == nil {
		return err
	}
	if st.peerEnd {
		return fmt.Errorf("stream %#x goes on after its END", uint32(h.Stream))
	}
	if h.Flags&frame.End != 0 && h.Stream.Side() == s.cfg.Side {
		return fmt.Errorf("stream %#x: an END on DATA of responses, which only STATUS ends", uint32(h.Stream))
	}
	if cost := frame.HeaderSize + len(payload); cost > st.avail {
		return fmt.Errorf("stream %#x: %d bytes, over the credit of %d", uint32(h.Stream), cost, st.avail)
	}
	st.avail -= frame.HeaderSize + len(payload)
	if st.discard {
		if c := s.local[h.Stream.Slot()].call; h.Stream.Side() == s.cfg.Side && !c.canceled {
			s.giveUp(c, nil) // a oneway call, whose answer would wait for credit
		}
		return nil
	}
	st.expect()
	if h.Flags&frame.Msg != 0 {
		if err := st.arrive(payload, h.Flags&frame.More != 0); err != nil {
			return err
		}
	} else if len(payload) > 0 || st.partLeft > 0 {
		return fmt.Errorf("stream %#x: a frame without MSG inside a message", uint32(h.Stream))
	}
	if h.Flags&frame.End != 0 {
		st.peerEnd = true
		if err := s.requestComplete(h.Stream); err != nil {
			return err
		}
	}
	st.recvWait.notify()
	return nil
}

// arrive takes the payload of a DATA frame that has MSG. Called with the mutex held.
func (st *stream) arrive(payload []byte, more bool) error {
	cost := frame.HeaderSize + len(payload)
	if st.s.apart != nil && st.partLeft > 0 {
		return errors.New("with APART, inside a message")
	}
	if st.partLeft == 0 {
		if !more {
			st.push(payload, cost)
			return nil
		}
		if len(payload) < 4 {
			return fmt.Errorf("a first piece of %d bytes, without the message's length", len(payload))
		}
		total := binary.LittleEndian.Uint32(payload)
		payload = payload[4:]
		if int64(total) > int64(st.s.limits.MaxMessage) {
			return fmt.Errorf("a message of %d bytes, over the limit of %d", total, st.s.limits.MaxMessage)
		}
		if int(total) <= len(payload) {
			return fmt.Errorf("a message of %d bytes whose first piece has %d and says that more follow", total, len(payload))
		}
		st.part, st.partLeft, st.partCost, st.partRoom = nil, int(total), 0, 0
	}
	if len(payload) > st.partLeft || (len(payload) == st.partLeft) == more {
		return fmt.Errorf("a message that is not as long as its first piece says")
	}
	st.partLeft -= len(payload)
	if room := st.part[len(st.part):cap(st.part)]; len(payload) > 0 && len(room) >= len(payload) && &room[0] == &payload[0] {
		st.part = st.part[:len(st.part)+len(payload)] // it was read into its place
	} else {
		st.grow(len(payload), len(st.part)+len(payload), st.partLeft)
		st.part = append(st.part, payload...)
	}
	if st.partRoom > 0 {
		cost = 0 // granted with the reservation
	}
	st.partCost += cost
	st.held += cost
	if st.partLeft > 0 {
		st.reserve()
		return nil
	}
	st.items = append(st.items, item{data: st.part, cost: st.partCost, room: st.partRoom})
	st.part = nil
	return nil
}

// grow makes room for n more bytes of the message that is being put together, of which come have come, and behind which
// rest others are to follow: for four times what has come and 64 KiB, and no more than the message needs, whatever length
// was claimed; where there is room for it in the session's budget, for a message up to wholeMost as a whole.
func (st *stream) grow(n, come, rest int) {
	need := len(st.part) + n
	if need <= cap(st.part) {
		return
	}
	most := 4*come + pieceAlone
	if st.partRoom > 0 || st.fits(need+rest) {
		most = max(most, wholeMost)
	}
	bigger := unzeroed(min(need+rest, max(need, most)))[:len(st.part)]
	copy(bigger, st.part)
	st.part = bigger
}

// fits says whether there is room for a message in the session's budget.
func (st *stream) fits(total int) bool { return total <= st.s.limits.Assembly-st.s.reserved }

// unzeroed returns memory for n bytes that are all to be written before they are read. What make does besides, to zero
// them, takes longer than reading a large message from another process.
func unzeroed(n int) []byte {
	var b strings.Builder
	b.Grow(n)
	b.WriteByte(0) // else it has no memory that can be named
	return unsafe.Slice(unsafe.StringData(b.String()), n)
}

// place returns where n bytes of the next piece belong, so that they can be read there. They count when arrive gets them.
func (st *stream) place(n int) []byte {
	st.grow(n, len(st.part), st.partLeft-n)
	return st.part[len(st.part) : len(st.part)+n]
}

// push appends a whole message. Called with the mutex held.
func (st *stream) push(payload []byte, cost int) {
	st.expect()
	st.held += cost
	apart := st.enqueueApart()
	if len(payload) >= arenaMost {
		st.items = append(st.items, item{data: bytes.Clone(payload), cost: cost, apart: apart})
		return
	}
	if cap(st.arena)-len(st.arena) < len(payload) {
		size := arenaSize
		if st.arena == nil {
			size = arenaFirst
		}
		st.arena = make([]byte, 0, max(size, len(payload)))
	}
	from := len(st.arena)
	st.arena = append(st.arena, payload...)
	st.items = append(st.items, item{data: st.arena[from:len(st.arena):len(st.arena)], cost: cost, apart: apart})
}

// reserve reserves room for the message that is being put together and grants the credit for the rest of it, or puts
// the stream in the line for it. Called with the mutex held.
func (st *stream) reserve() {
	if st.partRoom > 0 || st.starving {
		return
	}
	s, total := st.s, len(st.part)+st.partLeft
	if !st.fits(total) {
		st.starving = true
		s.starved = append(s.starved, st)
		return
	}
	s.reserved += total
	st.partRoom = total
	pieces := st.partLeft/pieceLeast + 2
	if need := st.partLeft + pieces*frame.HeaderSize; need > st.avail {
		s.owe(st)
		st.owes += need - st.avail
		st.avail = need
	}
}

// release gives room back and lets the next in line have it. Who is not the reader, which writes when it has handled what
// has come, calls grant behind it. Called with the mutex held.
func (s *Session) release(room int) {
	s.reserved -= room
	for len(s.starved) > 0 {
		st := s.starved[0]
		st.starving = false
		if !st.over && st.partLeft > 0 {
			if !st.fits(len(st.part) + st.partLeft) {
				st.starving = true
				return
			}
			st.reserve()
		}
		s.starved = s.starved[1:]
	}
	s.starved = nil
}

// grant sends what is owed, such as the credit of the message that was next in line: else it would leave with the next
// frame, which may be one that waits for this credit. Called and returns with the mutex held; it is released meanwhile.
func (s *Session) grant() {
	if len(s.due) > 0 {
		s.flush(noWait)
	}
}

// settle returns the credit of what was taken, when it is worth a frame. Called with the mutex held.
func (st *stream) settle() {
	st.held -= st.taken
	st.taken = 0
	if st.over || st.peerEnd {
		return
	}
	s := st.s
	if give := st.window - st.held - st.avail; give >= st.window/2 {
		give += st.raise(nanos())
		s.owe(st)
		st.owes += give
		st.avail += give
	}
}

// raise doubles the window of a stream that has used up half of it in less than busy, and returns by how much. Called with
// the mutex held.
func (st *stream) raise(now int64) int {
	last := st.granted
	if st.granted = now; last == 0 || now-last > int64(busy) {
		return 0
	}
	by := st.window
	if by >= raiseMost || st.s.raised+by > st.s.limits.Raised {
		return 0
	}
	st.s.raised += by
	st.window += by
	return by
}

// drop forgets what has arrived. Called with the mutex held, when the call is over.
func (st *stream) drop() {
	st.over, st.closed = true, true
	st.finish()
	st.forget()
}

// forget gives up what has arrived and is not taken, and the message that is being put together. Called with the mutex held.
func (st *stream) forget() {
	if st.arrivals == nil {
		return
	}
	room := st.partRoom
	if st.partLeft == 0 {
		room = 0 // it went to the item
	}
	for _, it := range st.items {
		room += it.room
	}
	room += st.room
	st.items, st.part, st.arena = nil, nil, nil
	st.partLeft, st.partRoom, st.room = 0, 0, 0
	st.blobs.drop()
	st.s.release(room)
}

// finish gives back what a stream has that goes on no longer: its raised window, and what it owes. What has arrived
// can still be taken. Called with the mutex held.
func (st *stream) finish() {
	st.s.raised -= st.window - st.s.agreed.window
	st.window = st.s.agreed.window
	st.owes, st.owesCancel = 0, false
}

func (st *stream) ready() bool {
	return st.arrivals != nil && len(st.items) > 0 || st.over || st.peerEnd || st.s.ended != nil
}

// take returns the next message, or nil when none will come. It is valid until the next take, and to be emptied when it has
// been used. Err is ctx's. Expect has been called.
func (st *stream) take(ctx context.Context) (*item, error) {
	if st.next == len(st.batch) {
		if err := st.fetch(ctx); err != nil || len(st.batch) == 0 {
			return nil, err
		}
	}
	it := &st.batch[st.next]
	st.next++
	st.taken += it.cost
	if it.apart != nil && !st.claim(it.apart) {
		*it = item{}
		return nil, nil // the call has ended, and with it what waited
	}
	if st.taken >= st.share || it.room > 0 {
		st.s.mu.Lock()
		st.settle()
		if room := min(it.room, st.room); room > 0 {
			st.room -= room
			st.s.release(room)
		}
		st.s.grant()
		st.s.mu.Unlock()
	}
	return it, nil
}

// fetch waits for messages and takes all there are.
func (st *stream) fetch(ctx context.Context) error {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	st.burst = 0
	st.settle()
	s.flush(noWait)
	for !st.ready() {
		if err := s.wait(ctx, &st.recvWait, st); err != nil {
			return err
		}
	}
	st.batch, st.items, st.next = st.items, st.batch[:0], 0
	for i := range st.batch {
		st.room += st.batch[i].room
	}
	st.share = st.window / 4
	return nil
}

// receive decodes the next message into m, or where that is nil, into what fresh makes for a message of so many bytes. It
// returns the message, and io.EOF when none will come.
func (st *stream) receive(ctx context.Context, m codec.Message, fresh func(size int) codec.Message) (codec.Message, error) {
	it, err := st.take(ctx)
	if err != nil {
		return nil, err
	}
	if it == nil {
		return nil, io.EOF
	}
	empty := m == nil
	if empty {
		m = fresh(it.size())
	}
	err = st.s.decodeItem(it, m, empty)
	*it = item{} // else the batch would keep it in memory
	if err != nil {
		return nil, fmt.Errorf("decoding a message: %w", err)
	}
	return m, nil
}

// decodeItem decodes a message that has been taken into m, which may be empty. The mutex is not held.
func (s *Session) decodeItem(it *item, m codec.Message, empty bool) error {
	switch {
	case it.apart != nil:
		return s.decodeApart(it.data, true, it.apart, m)
	case empty:
		return s.decoding(true).Merge(it.data, m)
	default:
		return s.decoding(true).Unmarshal(it.data, m)
	}
}

// errSendClosed says that the other side takes no more.
var errSendClosed = errors.New("the call is over")

// sendReady is the stream as a sender waits for it: until there is credit for want bytes.
type sendReady struct {
	*stream
	want int
}

func (r *sendReady) ready() bool { return r.credit >= r.want || r.closed || r.s.ended != nil }

// roomReady is the session as a sender waits for it: until the peer has read some of what waits for it.
type roomReady struct{ *stream }

func (r roomReady) ready() bool { return len(r.s.out) < outHigh || r.closed || r.s.ended != nil }

// send encodes m and queues it, waiting for credit and room within ctx.
func (st *stream) send(ctx context.Context, m codec.Message, flags frame.Flags) error {
	s := st.s
	b, err := s.encode(&st.scratch, m, pieceRoom, s.agreed.single)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(b)-pieceRoom > s.agreed.single {
		return st.sendPieces(ctx, &st.scratch, b, pieceRoom, flags)
	}
	const start = pieceRoom - frame.HeaderSize
	if err := st.awaitCredit(ctx, len(b)-start); err != nil {
		st.scratch.forget()
		s.takeBack(st.scratch.lent())
		return err
	}
	if len(st.scratch.lent()) > 0 {
		flags |= frame.Apart
	}
	st.credit -= len(b) - start
	s.appendSpread(ctx, frame.Header{Type: frame.Data, Flags: frame.Msg | flags, Stream: st.id}, &st.scratch, b, start, false)
	// The first message after a wait leaves at once; more of them leave together, where a write costs more than copying.
	if st.burst++; st.burst == 1 || s.memory != nil {
		s.flush(ctx)
	} else {
		s.flushLater()
	}
	return nil
}

// A scratch is a buffer to encode one message after the other in.
type scratch struct {
	b      []byte
	apart  *apartScratch // nil before the first message that may have blobs
	spread []codec.Part  // what is not in b of the message that was encoded last, and there is room for
}

// spreadFrom is from what size of the buffer on the contents of large fields stay where they are until they are sent. The
// messages before were large, too, so it is worth asking.
const spreadFrom = 16 << 10

// An apartScratch is what a scratch has beside the buffer of messages that may have blobs.
type apartScratch struct {
	parts codec.Parts  // of the message that is being encoded
	lent  []frame.Part // blobs of the message that was encoded last, which are in this side's arena
}

// lent are the blobs of the message that was encoded last, if they travel apart.
func (c *scratch) lent() []frame.Part {
	if c.apart == nil {
		return nil
	}
	return c.apart.lent
}

// forgetParts lets go of what is the program's, and keeps the memory of the list.
func (a *apartScratch) forgetParts() {
	clear(a.parts.List)
	a.parts = codec.Parts{List: a.parts.List[:0]}
}

// encode returns m behind room for so many bytes. The result is valid until the next encode. What is large in m may be spread,
// until forget.
func (c *scratch) encode(m codec.Message, room, maxMessage int, spread bool) (b []byte, err error) {
	if spread && cap(c.b) >= spreadFrom {
		b, c.spread, err = codec.MarshalSpread(c.room(room), m, c.spread)
	} else {
		b, err = m.MarshalAppend(c.room(room))
	}
	if err != nil {
		c.forget()
		return nil, fmt.Errorf("encoding the message: %w", err)
	}
	if err := checkSize(len(b)-room, maxMessage); err != nil {
		c.forget()
		return nil, err
	}
	c.keep(b)
	return b, nil
}

// whole puts what is spread into b, which encode has returned.
func (c *scratch) whole(b []byte) {
	if len(c.spread) > 0 {
		codec.Fill(b, c.spread)
		c.forget()
	}
}

// forget lets go of what is spread, which is the program's, and keeps the memory of the list.
func (c *scratch) forget() {
	clear(c.spread)
	c.spread = c.spread[:0]
}

// segments appends to list where the bytes of a piece of b are, which encode has returned: its head b[start:from], and
// b[from:end].
func (c *scratch) segments(list [][]byte, b []byte, start, from, end int) [][]byte {
	for _, p := range c.spread {
		stop := p.At + len(p.Bytes)
		switch {
		case stop <= from:
			continue
		case p.At >= end:
			return append(list, b[start:end])
		}
		from = max(from, p.At)
		if start < from {
			list = append(list, b[start:from])
		}
		start = min(end, stop)
		list = append(list, p.Bytes[from-p.At:start-p.At])
		from = start
	}
	if start < end {
		list = append(list, b[start:end])
	}
	return list
}

// room returns so many bytes, of what is kept where that has them.
func (c *scratch) room(n int) []byte {
	if cap(c.b) < n {
		c.b = make([]byte, 0, 256)
	}
	return c.b[:n]
}

// keep keeps b, which begins with what room returned, for the next message.
func (c *scratch) keep(b []byte) {
	if cap(b) <= scratchMost {
		c.b = b[:0]
	}
}

// checkSize refuses a message of n bytes if it is too large.
func checkSize(n, maxMessage int) error {
	if n > maxMessage {
		return &Failure{Code: CodeResourceExhausted,
			Text: fmt.Sprintf("message of %d bytes, over the limit of %d that both sides take: see Limits.MaxMessage", n, maxMessage)}
	}
	return nil
}

// awaitCredit waits until want bytes may be sent and there is room for them. Called and returns with the mutex held.
func (st *stream) awaitCredit(ctx context.Context, want int) error {
	s := st.s
	for s.ended == nil && !st.closed {
		switch {
		case st.credit < want:
			s.flush(ctx) // the peer cannot return credit for what it has not got
			if st.credit >= want {
				continue
			}
			if err := s.wait(ctx, &st.sendWait, &sendReady{st, want}); err != nil {
				return err
			}
		case len(s.out) >= outHigh:
			s.room = append(s.room, &st.sendWait)
			s.flushLater()
			err := s.wait(ctx, &st.sendWait, roomReady{st})
			s.room = slices.DeleteFunc(s.room, func(w *waiter) bool { return w == &st.sendWait }) // the call may end, and be used again
			if err != nil {
				return err
			}
		default:
			return nil
		}
	}
	if s.ended != nil {
		return s.ended
	}
	return errSendClosed
}

// pieceRoom is what sendPieces needs before a message: for a header and the message's length.
const pieceRoom = frame.HeaderSize + 4

// sendPieces sends the message at b[from:], which is too large for one frame, in several. Others send in between. The
// header of each piece is written over the end of what went before, so that header and piece leave as they lie; from is
// at least pieceRoom. C is what b was encoded by: what it has spread leaves from where it is. Called and returns with the
// mutex held.
func (st *stream) sendPieces(ctx context.Context, c *scratch, b []byte, from int, flags frame.Flags) error {
	s := st.s
	defer c.forget()
	var segments [][]byte
	for first := true; ; first = false {
		err := ctx.Err()
		if err == nil {
			err = st.awaitCredit(ctx, pieceRoom+min(len(b)-from, pieceLeast))
		}
		if err != nil {
			st.closed = st.closed || !first // nothing can follow half a message
			return err
		}
		most := pieceAlone
		if s.pending+s.running > 1 {
			most = pieceTurns
		}
		start := from - frame.HeaderSize
		most = min(most, s.agreed.maxFrame, st.credit-pieceRoom)
		if first && len(b)-from > most {
			start = from - pieceRoom
			most -= 4
			binary.LittleEndian.PutUint32(b[from-4:], uint32(len(b)-from))
		}
		end := min(len(b), from+most)
		h := frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: st.id}
		if end == len(b) {
			h.Flags = frame.Msg | flags
		}
		st.credit -= end - start
		st.inside = end < len(b)
		if len(c.spread) == 0 {
			s.appendEncoded(ctx, h, b[start:end], true)
		} else {
			segments = c.segments(segments[:0], b, start, from, end)
			s.appendSegments(ctx, h, segments)
		}
		if from = end; from == len(b) {
			st.closed = st.closed || flags&frame.End != 0
			s.flush(ctx)
			return nil
		}
		s.flush(ctx)
	}
}

// closeSend says that no more messages come from this side.
func (st *stream) closeSend(ctx context.Context) error {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return s.ended
	}
	if st.closed {
		return nil
	}
	// An END costs credit like any frame, so it waits for it like any.
	if err := st.awaitCredit(ctx, frame.HeaderSize); err != nil {
		if errors.Is(err, errSendClosed) {
			return nil
		}
		return err
	}
	st.credit -= frame.HeaderSize
	st.closed = true
	s.appendFrame(frame.Header{Type: frame.Data, Flags: frame.End, Stream: st.id}, nil)
	s.flush(ctx)
	return nil
}

func (s *Session) handleCredit(h frame.Header) error {
	st, err := s.lookup(h.Stream)
	if err != nil || st == nil {
		return err
	}
	if h.Arg == 0 || int64(st.credit)+int64(h.Arg) > 1<<31-1 {
		return fmt.Errorf("stream %#x: credit of %d on top of %d", uint32(h.Stream), h.Arg, st.credit)
	}
	st.credit += int(h.Arg)
	st.sendWait.notify()
	return nil
}

// wait waits until c is ready, once: the caller asks again, for another may have been quicker. It returns ctx's error
// when ctx ends first. The goroutine that waits alone reads meanwhile. Called and returns with the mutex held.
func (s *Session) wait(ctx context.Context, w *waiter, c condition) error {
	if done, err := s.doInstead(ctx, c); done {
		return err
	}
	return s.sleep(ctx, w)
}

// doInstead does what a goroutine that is about to sleep until c is ready has to do first, and says whether that was
// something after which c is to be asked again. Called and returns with the mutex held.
func (s *Session) doInstead(ctx context.Context, c condition) (done bool, err error) {
	if s.inline != nil {
		s.relieveHandler() // this may be the handler that runs on the reading goroutine
	}
	if s.role == vacant {
		if err := ctx.Err(); err != nil {
			return true, err
		}
		if call, ok := c.(*Call); s.serves() && !(ok && call.unary) {
			s.giveBack()
			return false, nil
		}
		s.readFor(c)
		return true, nil
	}
	if len(s.out) > 0 && !s.writing && s.failed == nil && s.ended == nil {
		s.flush(noWait) // a call that was left for the caller to write, which now is not the one to read
		return true, nil
	}
	return false, nil
}

// gather lets others that are about to send append to the same write, where a write costs more than copying. Called and
// returns with the mutex held.
func (s *Session) gather() {
	if s.pending+s.running > 1 && !s.writing && s.memory == nil {
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
	}
}
