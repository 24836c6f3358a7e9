package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
)

// One goroutine at a time reads: it has the role. The session's own goroutine has it while nothing else is said.
//
//	own       the session's goroutine reads, or handles frames
//	borrowed  a caller that waits alone reads its reply itself: no goroutine hands it over
//	vacant    between two calls of a lone caller nobody reads
//
// The session's goroutine also runs handlers, as long as they are quick (serve.go). Both are bets that something will
// not take long. The tick settles bets that were lost: it comes every tickEvery while there is one, and where it finds
// that nothing has moved since the last one, it brings the role back to a goroutine of the session. So whatever a
// handler or a peer does, the session reads on after at most two ticks.
//
// A session that serves anything must read the peer's calls at once. It lends the role only where the connection says when
// something comes while nobody reads, and only for unary calls: what comes then is the answer, while between the messages of a
// stream the peer would be made to ring again and again.
type role uint8

const (
	own role = iota
	borrowed
	vacant
)

// tickEvery is how long a bet may stand. It bounds how late a lone caller sees its context end. A timer that fires
// wakes a thread, and each time the scheduler may move one of two processes that share a processor to another one, from
// where waking it costs twice as much: with a tick of 1 ms a call between processes took 68 µs in place of 34.
const tickEvery = 10 * time.Millisecond

// A waiter is where one goroutine at a time waits for the session. Guarded by the session's mutex.
type waiter struct {
	// ch has a token from the moment that asleep turns false until it is taken: true where nothing remains to be looked
	// at with the mutex held. It is made when first used.
	ch     chan bool
	asleep bool
}

// notify makes the waiter look again. It never blocks, and costs nothing where nobody waits. Called with the mutex held.
func (w *waiter) notify() { w.rouse(false) }

// release ends the wait for good: what was written before may be read without the mutex. Called with the mutex held.
func (w *waiter) release() { w.rouse(true) }

func (w *waiter) rouse(over bool) {
	if w.asleep {
		w.asleep = false
		w.ch <- over
	}
}

// sleep waits until w is notified or ctx ends, whose error it returns. Called and returns with the mutex held.
func (s *Session) sleep(ctx context.Context, w *waiter) error {
	_, err := s.doze(ctx, w)
	s.mu.Lock()
	return err
}

// doze is sleep that returns without the mutex, and says whether w was released.
func (s *Session) doze(ctx context.Context, w *waiter) (over bool, err error) {
	if w.ch == nil {
		w.ch = make(chan bool, 1)
	}
	w.asleep = true
	s.mu.Unlock()
	done := ctx.Done()
	if done == nil {
		return <-w.ch, nil
	}
	select {
	case over = <-w.ch:
		return over, nil
	case <-done:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.asleep {
		over = <-w.ch // both at a time
	}
	w.asleep = false
	return over, ctx.Err()
}

// aFew is after how many frames what they are answered with leaves, where writing costs next to nothing.
const aFew = 8

// errRelieved says that another goroutine reads now.
var errRelieved = errors.New("relieved")

// moved notes that the role did something and starts the tick. Called with the mutex held.
func (s *Session) moved() {
	s.moves++
	if !s.ticking && s.ended == nil {
		s.ticking = true
		s.seen = s.moves
		s.ticker.Reset(tickEvery)
	}
}

// tick brings the role back where nothing moved since the last one.
func (s *Session) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil || (s.role == own && s.inline == nil) {
		s.ticking = false
		return
	}
	still := s.moves == s.seen
	s.seen = s.moves
	s.ticker.Reset(tickEvery)
	if !still {
		return
	}
	switch {
	case s.inline != nil:
		s.inline.method.pace.slow()
		s.relieveHandler()
	default:
		s.toReader()
	}
}

// toReader brings the role to the session's own goroutine. Called with the mutex held.
func (s *Session) toReader() {
	switch {
	case s.inline != nil:
		s.relieveHandler()
	case s.role == vacant:
		s.giveBack()
	case s.role == borrowed && !s.relieve && s.failed == nil:
		s.relieve = true
		s.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// giveBack wakes the session's own goroutine to read. Called with the mutex held.
func (s *Session) giveBack() {
	s.role = own
	s.lone = 0
	s.wake <- struct{}{} // has room: the goroutine sleeps, and is woken once
}

// relieveHandler lets another goroutine read, because the handler that runs on the reading one takes long or is about
// to wait. Called with the mutex held.
func (s *Session) relieveHandler() {
	s.inline = nil
	s.wg.Add(1)
	go s.readLoop()
}

// readLoop is the session's own goroutine. It ends with the session, or when it was relieved.
func (s *Session) readLoop() {
	defer s.wg.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		err := s.handleBuffered()
		if err == nil {
			s.flush(noWait)
			if s.lend() {
				if !s.awaitWake() {
					return
				}
				continue
			}
			err = s.read()
		}
		if err == errRelieved {
			return
		}
		if err != nil {
			s.endRead(err)
			return
		}
	}
}

// awaitWake waits until the role comes back, or returns false when the session has ended. Called and returns with the
// mutex held.
func (s *Session) awaitWake() bool {
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-s.wake:
		return true
	case <-s.done:
		return false
	}
}

// The role is lent after loneReads in a row that found at most one call, and by a session that serves after loneAnswers
// without a call of the peer's: the next one has to wake the session's goroutine, which takes as long as some tens of calls
// gain.
const (
	loneReads   = 4
	loneAnswers = 64
)

// serves says that the peer may call.
func (s *Session) serves() bool { return len(s.cfg.Methods) > 0 }

// lend leaves the role to the next caller, or to the one that waits in the only call, where for some reads in a row there
// was at most one. Called with the mutex held.
func (s *Session) lend() bool {
	if s.pending > 1 || s.leaving || len(s.pings) > 0 || s.ended != nil || s.serves() && s.memory == nil {
		s.lone = 0
		return false
	}
	enough := loneAnswers
	if !s.serves() {
		enough = loneReads
		s.lone++
	}
	if s.lone < enough {
		return false
	}
	var c *Call
	if s.pending > 0 {
		c = s.onlyCall()
		if c.abandoned || s.serves() && !c.unary {
			return false // nobody waits in it, or not for one answer
		}
	}
	if !s.vacate() {
		return false
	}
	if c != nil {
		c.recvWait.notify()
		c.sendWait.notify()
	}
	return true
}

// vacate leaves the role vacant, unless there is something to read that may be for the session itself. Called with the mutex
// held, by the holder of the role.
func (s *Session) vacate() bool {
	if s.serves() && s.memory.Watch() {
		return false
	}
	s.role = vacant
	s.moved()
	return true
}

// knock is called when something has come while nobody reads, perhaps so late that it has been read since.
func (s *Session) knock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.role == vacant && s.memory.Watch() {
		s.giveBack()
	}
}

// onlyCall returns the call of this side that is pending, where there is just one. Called with the mutex held.
func (s *Session) onlyCall() *Call {
	i := slices.IndexFunc(s.local, func(l localSlot) bool { return l.call != nil })
	return s.local[i].call
}

// A condition is what a goroutine waits for. It is asked with the mutex held.
type condition interface{ ready() bool }

// readFor reads with the borrowed role until c is ready or the role has to go back. Called and returns with the mutex
// held, and without the role.
func (s *Session) readFor(c condition) {
	s.role = borrowed
	s.moved()
	for {
		err := s.handleBuffered()
		s.flush(noWait)
		if err == nil && !c.ready() && !s.relieve && s.ended == nil {
			err = s.read()
		}
		if err != nil {
			s.endRead(err)
		}
		if s.ended != nil || s.relieve || c.ready() {
			break
		}
	}
	if s.relieve {
		s.relieve = false
		if s.failed == nil { // else there is a time by which reading is to end
			s.conn.SetReadDeadline(time.Time{})
		}
		s.giveBack()
		return
	}
	called := s.serves() && s.lone < loneAnswers // the peer has, meanwhile
	if s.pending > 1 || called || s.leaving || s.ended != nil || len(s.pings) > 0 || !s.vacate() {
		s.giveBack()
		return
	}
	if s.pending == 1 {
		c := s.onlyCall() // whose other goroutine may wait, too
		c.recvWait.notify()
		c.sendWait.notify()
	}
}

// read reads what there is into the buffer, and waits until there is something. It returns nil when it should be
// tried again. Called and returns with the mutex held; it is released meanwhile.
func (s *Session) read() error {
	if s.memory != nil {
		s.memory.Others(s.pending+s.running > 1)
	}
	s.mu.Unlock()
	n, err := s.conn.Read(s.target())
	s.mu.Lock()
	s.now = 0
	if s.place.b != nil {
		s.place.have += n
	} else {
		s.w += n
	}
	switch {
	case n > 0:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return s.readTimedOut()
	case errors.Is(err, io.EOF) && (s.w > s.r || s.place.b != nil):
		return io.ErrUnexpectedEOF
	case err == nil:
		return io.ErrNoProgress
	default:
		return err
	}
}

// target returns where the next bytes go.
func (s *Session) target() []byte {
	if s.place.b != nil {
		return s.place.b[s.place.have:]
	}
	s.makeRoom()
	if s.short {
		return s.buf[s.w:min(len(s.buf), s.w+pieceLeast)]
	}
	return s.buf[s.w:]
}

// makeRoom sees to it that the buffer has room for the rest of the frame at its front.
func (s *Session) makeRoom() {
	if s.r == s.w {
		s.r, s.w = 0, 0
	}
	need := s.needed()
	if s.r+need <= len(s.buf) && s.w < len(s.buf) {
		return
	}
	if need > len(s.buf) {
		grown := make([]byte, max(need, min(2*len(s.buf), 128<<10)))
		s.w = copy(grown, s.buf[s.r:s.w])
		s.buf = grown
	} else {
		s.w = copy(s.buf, s.buf[s.r:s.w])
	}
	s.r = 0
}

// clock returns the time, in nanoseconds since the epoch of this process, that the frames being handled came at.
// Called with the mutex held, by the holder of the role.
func (s *Session) clock() int64 {
	if s.now == 0 {
		s.now = nanos()
	}
	return s.now
}

// readTimedOut tells the call for the role from a deadline that was left behind by one, and from the end of the wait
// for what a peer had sent before writing to it failed. Called with the mutex held.
func (s *Session) readTimedOut() error {
	if s.failed != nil {
		return io.EOF
	}
	if !s.relieve {
		s.conn.SetReadDeadline(time.Time{})
	}
	return nil
}

// needed returns how many bytes the frame at the front takes, as far as is known.
func (s *Session) needed() int {
	if s.w-s.r < frame.HeaderSize {
		return frame.HeaderSize
	}
	h, err := s.parse()
	if err != nil {
		return frame.HeaderSize
	}
	return frame.HeaderSize + int(h.Length)
}

// parse reads the header at the front of the buffer, where it is whole.
func (s *Session) parse() (frame.Header, error) {
	b := s.buf[s.r:]
	if s.blobs != nil && frame.IsApart(b) {
		return frame.ParseApart(b, uint32(s.limits.MaxFrame))
	}
	return frame.Parse(b, uint32(s.limits.MaxFrame))
}

// endRead ends the session because reading failed. Called and returns with the mutex held.
func (s *Session) endRead(err error) {
	var e *EndError
	if !errors.As(err, &e) {
		e = ioError("reading", err)
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	s.end(e)
}

// handleBuffered handles the frames that have come whole. Called and returns with the mutex held, as everything that
// handles a frame; it is released while a handler runs or a large message is decoded.
func (s *Session) handleBuffered() error {
	if s.place.b != nil {
		if err := s.handlePlaced(); err != nil {
			return err
		}
	}
	for n := 1; s.w-s.r >= frame.HeaderSize && s.ended == nil; n++ {
		if s.memory != nil && n%aFew == 0 {
			s.flush(noWait) // the peer has work while this side goes on
		}
		h, err := s.parse()
		if err != nil {
			return endf(Protocol, "%w", err)
		}
		size := frame.HeaderSize + int(h.Length)
		if s.w-s.r < size {
			s.putInPlace(h)
			return nil
		}
		payload := s.buf[s.r+frame.HeaderSize : s.r+size]
		s.r += size
		s.short = h.Flags&frame.More != 0
		if err := s.handle(h, payload, false); err != nil {
			return handleError(h, err)
		}
		if h.Type == frame.Data && h.Flags == frame.Msg {
			s.handleRun(h)
		}
	}
	return nil
}

// runMost is how many messages of a stream are handled in a row.
const runMost = aFew - 1

// handleRun handles messages that stand behind one of the same stream and come whole, too, as most of a stream's do. What
// is out of the ordinary in one of them is left to handle.
func (s *Session) handleRun(h frame.Header) {
	st, err := s.lookup(h.Stream)
	if err != nil || st == nil || st.discard || st.partLeft > 0 {
		return
	}
	for range runMost {
		length, again := h.Again(s.buf[s.r:s.w])
		if !again || length > uint32(s.limits.MaxFrame) {
			return
		}
		size := frame.HeaderSize + int(length)
		if size > min(s.w-s.r, st.avail) {
			return
		}
		st.avail -= size
		st.push(s.buf[s.r+frame.HeaderSize:s.r+size], size)
		s.r += size
	}
}

// handleError makes of the error of a frame's handling that which ends the session.
func handleError(h frame.Header, err error) error {
	var e *EndError
	if err == errRelieved || errors.As(err, &e) {
		return err
	}
	return endf(Protocol, "%s: %w", h.Type, err)
}

// A place is where the payload of a large frame is read to, so that it need not be copied there from the buffer. The
// holder of the role owns it.
type place struct {
	h     frame.Header
	b     []byte // nil: the next bytes go to the buffer
	have  int    // bytes that have come
	alone bool   // nothing else is in b
}

// placed is from how many bytes on a payload has a place.
const placed = 8 << 10

// putInPlace has the rest of the frame at the front of the buffer read to where it belongs, when that is known. Called
// with the mutex held.
func (s *Session) putInPlace(h frame.Header) {
	if h.Length < placed {
		return
	}
	p := place{h: h}
	switch {
	case h.Type == frame.Data:
		st, err := s.lookup(h.Stream)
		if err != nil || st == nil || st.arrivals == nil || st.discard || int(h.Length) > st.partLeft {
			return
		}
		p.b = st.place(int(h.Length))
	case h.Flags&frame.Msg != 0:
		p.b, p.alone = unzeroed(int(h.Length)), true
	default:
		return
	}
	p.have = copy(p.b, s.buf[s.r+frame.HeaderSize:s.w])
	s.r, s.w, s.place = 0, 0, p
}

// handlePlaced handles the frame whose payload has been read to its place, when it has come whole.
func (s *Session) handlePlaced() error {
	p := s.place
	if p.have < len(p.b) {
		return nil
	}
	s.place = place{}
	s.short = p.h.Flags&frame.More != 0
	if err := s.handle(p.h, p.b, p.alone); err != nil {
		return handleError(p.h, err)
	}
	return nil
}

// handle handles a frame. Alone says that nothing else is or comes where the payload is.
func (s *Session) handle(h frame.Header, payload []byte, alone bool) error {
	if h.Flags&frame.Apart != 0 {
		return s.handleApart(h, payload, alone)
	}
	return s.dispatch(h, payload, alone)
}

func (s *Session) dispatch(h frame.Header, payload []byte, alone bool) error {
	switch h.Type {
	case frame.Status:
		return s.handleStatus(h, payload, alone)
	case frame.Call:
		return s.handleCall(h, payload, alone)
	case frame.Data:
		return s.handleData(h, payload)
	case frame.Credit:
		return s.handleCredit(h)
	case frame.Cancel:
		return s.handleCancel(h)
	case frame.Ping:
		return s.handlePing(h)
	case frame.GoAway:
		return s.handleGoAway(h, payload)
	case frame.ShmFree:
		return s.handleFree(h)
	default:
		return fmt.Errorf("not expected after the handshake")
	}
}

func (s *Session) handlePing(h frame.Header) error {
	if h.Flags&frame.Ack == 0 {
		s.pong = true
		return nil
	}
	if len(s.pings) == 0 {
		return errors.New("an answer to no PING")
	}
	for _, answer := range s.pings {
		close(answer)
	}
	if s.pings, s.laterPings = s.laterPings, nil; len(s.pings) > 0 {
		s.appendFrame(frame.Header{Type: frame.Ping}, nil)
	}
	s.settleDrain()
	return nil
}

func (s *Session) handleGoAway(h frame.Header, payload []byte) error {
	switch r := Reason(h.Arg); r {
	case Drained:
		s.peerLeaving = true
		s.refuseQueued()
		return nil
	case Closed:
		if len(payload) > 0 {
			return endf(PeerGone, "the peer closed the session: %s", safeText(payload))
		}
		return endf(PeerGone, "the peer closed the session")
	default:
		return endf(Refused, "the peer ended the session (%s): %s", r, safeText(payload))
	}
}

// safeText returns what a peer's runtime wrote for people, cut to the limit and without what would disturb a terminal.
func safeText(b []byte) string {
	b = b[:min(len(b), frame.MaxGoAwayText)]
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(b))
}

// lookup finds the stream that a frame belongs to; nil is one that has ended and may still be spoken of. Called with
// the mutex held.
func (s *Session) lookup(id frame.StreamID) (*stream, error) {
	slot := id.Slot()
	if slot >= s.agreed.slots {
		return nil, fmt.Errorf("slot %d, over the limit of %d", slot, s.agreed.slots)
	}
	if id.Side() == s.cfg.Side {
		l := &s.local[slot]
		if l.call == nil || l.generation != id.Generation() {
			return nil, fmt.Errorf("stream %#x, which this side has not open", uint32(id))
		}
		return &l.call.stream, nil
	}
	r := &s.remote[slot]
	switch {
	case r.generation != id.Generation():
		return nil, fmt.Errorf("stream %#x, which the peer has not opened", uint32(id))
	case r.in == nil:
		return nil, nil // the peer sent it before it saw the STATUS
	default:
		return r.in.stream, nil
	}
}
