package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
)

// Frames of all goroutines are appended to one buffer. Whoever finds nobody writing writes it, and goes on while
// others have appended meanwhile: concurrent calls share their writes. CREDIT, CANCEL and the answer to PING are not
// queued at all but kept as a note on what they belong to, and become frames when a write begins, so that a peer that
// reads nothing cannot make them pile up.

// outHigh is how many bytes may wait before streams and large messages wait for room.
const outHigh = 256 << 10

// spareMax is the largest buffer that is kept for the next write.
const spareMax = 512 << 10

// appendFrame appends a frame. Called with the mutex held.
func (s *Session) appendFrame(h frame.Header, payload []byte) {
	h.Length = uint32(len(payload))
	n := len(s.out)
	s.out = h.Append(s.out)
	s.out = append(s.out, payload...)
	s.queued += uint64(len(s.out) - n)
}

// direct is from how many bytes on a frame is not copied where that can be avoided: below that, a system call of its own
// costs more than copying.
const direct = 8 << 10

// appendEncoded appends a frame that was encoded with room for its header. A large one is written from where it lies, if
// nobody else is writing: what can be written at once, and with wait the rest, too, until that ends. So is, into memory, any
// but what more of this goroutine is about to follow, which shares a write with it. Called and returns with the mutex held,
// which is released meanwhile.
func (s *Session) appendEncoded(wait context.Context, h frame.Header, b []byte, more bool) {
	h.Length = uint32(len(b) - frame.HeaderSize)
	h.Put(b)
	s.queued += uint64(len(b))
	if !more && s.memory != nil && len(s.out) == 0 && s.writesNow() {
		s.handed = s.queued
		n, err := s.memory.TryWrite(b)
		if n < len(b) {
			s.out = append(s.out, b[n:]...)
		}
		if err != nil {
			s.writeFailed(err)
		}
		return
	}
	if len(b) < direct || !s.writesNow() {
		s.out = append(s.out, b...)
		return
	}
	s.writeBehind(wait, b)
}

// appendSpread is appendEncoded of b[start:], which c has encoded. What is large in it leaves from where it is.
func (s *Session) appendSpread(wait context.Context, h frame.Header, c *scratch, b []byte, start int, more bool) {
	if len(c.spread) == 0 {
		s.appendEncoded(wait, h, b[start:], more)
		return
	}
	list := c.segments(make([][]byte, 0, 4), b, start, start, len(b))
	s.appendSegments(wait, h, list)
	c.forget()
}

// appendSegments is appendEncoded, with wait, of a large frame whose bytes lie in several places. The first one has room for
// the header.
func (s *Session) appendSegments(wait context.Context, h frame.Header, list [][]byte) {
	n := 0
	for _, b := range list {
		n += len(b)
	}
	h.Length = uint32(n - frame.HeaderSize)
	h.Put(list[0])
	s.queued += uint64(n)
	if s.writesNow() {
		s.writeBehind(wait, list...)
		return
	}
	for _, b := range list {
		s.out = append(s.out, b...)
	}
}

// writesNow says that nobody is writing, so that a frame need not be queued. Called with the mutex held.
func (s *Session) writesNow() bool {
	return s.try != nil && !s.writing && s.failed == nil && s.ended == nil
}

// writeBehind writes a frame that lies in list behind what is queued, and before what is queued meanwhile: that may be of a call
// in the same slot, where the frame's has ended. Called and returns with the mutex held, which is released meanwhile.
func (s *Session) writeBehind(wait context.Context, list ...[]byte) {
	s.writing = true
	s.collect()
	if len(s.out) > 0 {
		queued := s.takeOut()
		s.writeFirst(wait, slices.Insert(list, 0, queued)...)
		s.keepSpare(queued)
	} else {
		s.handed = s.queued
		s.writeFirst(wait, list...)
	}
	s.writing = false
	s.flush(noWait) // what others have left to this write
}

// writeFirst writes what lies in list, which comes before what is queued now: what can be written at once, and with wait the
// rest, too, until that ends. What is left then is queued again. Called and returns with the mutex held; it is released
// meanwhile.
func (s *Session) writeFirst(wait context.Context, list ...[]byte) {
	for i, b := range list {
		n, err := s.write(wait, b)
		s.wrote(err)
		if s.failed != nil {
			return // the first failure says it all
		}
		if n < len(b) {
			list[i] = b[n:]
			s.out = slices.Concat(slices.Concat(list[i:]...), s.out)
			return
		}
	}
}

// collect turns what is owed into frames. Called with the mutex held.
func (s *Session) collect() {
	for _, st := range s.due {
		if st.owes > 0 {
			s.appendFrame(frame.Header{Type: frame.Credit, Stream: st.id, Arg: uint32(st.owes)}, nil)
		}
		if st.owesCancel {
			s.appendFrame(frame.Header{Type: frame.Cancel, Stream: st.id, Arg: st.cancelCode}, nil)
		}
		st.owes, st.owesCancel, st.listed = 0, false, false
	}
	clear(s.due) // else it would keep streams that have ended
	s.due = s.due[:0]
	if s.pong {
		s.pong = false
		s.appendFrame(frame.Header{Type: frame.Ping, Flags: frame.Ack}, nil)
	}
	if s.blobs != nil {
		s.blobs.collect()
	}
}

// settled says that nothing is queued, that collect would find nothing, and that nobody waits for room. Called with the mutex held.
func (s *Session) settled() bool {
	return len(s.out) == 0 && len(s.due) == 0 && !s.pong && len(s.room) == 0 && (s.blobs == nil || len(s.blobs.freed) == 0)
}

// owe notes that st has a CREDIT or CANCEL to send. Called with the mutex held.
func (s *Session) owe(st *stream) {
	if !st.listed {
		st.listed = true
		s.due = append(s.due, st)
	}
}

// noWait is the context of a write that never waits.
var noWait context.Context

// flush writes what is queued, unless somebody is writing already, who will then write this too. It waits until wait ends, and
// never where that is noWait: what the connection does not take by then is left to a goroutine. Called and returns with the mutex
// held; it is released meanwhile.
func (s *Session) flush(wait context.Context) {
	if s.writing || s.settled() {
		return
	}
	s.writing = true
	for s.collect(); len(s.out) > 0 && s.ended == nil && s.failed == nil; s.collect() {
		b := s.takeOut()
		n, err := s.write(wait, b)
		if err == nil && n < len(b) && s.ended == nil {
			s.wg.Add(1)
			go s.flushRest(b[n:])
			return // still writing
		}
		s.keepSpare(b)
		s.wrote(err)
	}
	s.writing = false
	s.wakeRoom()
}

// flushLater has a goroutine write what is queued, so that a sender that has more to send does not wait for each
// write. Called with the mutex held.
func (s *Session) flushLater() {
	if s.writing || s.ended != nil || s.failed != nil || len(s.out) == 0 {
		return
	}
	s.writing = true
	s.wg.Add(1)
	go s.flushRest(nil)
}

// flushRest writes what a write that must not wait left over, and what has come since.
func (s *Session) flushRest(b []byte) {
	defer s.wg.Done()
	_, err := s.writeAll(context.Background(), b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b != nil {
		s.keepSpare(b)
	}
	s.wrote(err)
	s.writing = false
	s.flush(context.Background())
}

func (s *Session) takeOut() []byte {
	b := s.out
	s.out, s.spare = s.spare[:0], nil
	s.handed = s.queued
	return b
}

// keepSpare keeps a buffer for the next write, if it is not too large. Called with the mutex held.
func (s *Session) keepSpare(b []byte) {
	if cap(b) <= spareMax {
		s.spare = b[:0]
	}
}

// wrote notes what a write did. Called with the mutex held.
func (s *Session) wrote(err error) {
	s.wakeRoom()
	if err != nil {
		s.writeFailed(err)
	}
}

// wakeRoom wakes those that wait for room. Called with the mutex held.
func (s *Session) wakeRoom() {
	for _, w := range s.room {
		w.notify()
	}
	clear(s.room)
	s.room = s.room[:0]
}

// writeFailed gives up sending. What the peer had sent before it went is still to be read, so the session ends when
// that is done, which does not take long: the read deadline sees to it. Called with the mutex held.
func (s *Session) writeFailed(err error) {
	if s.failed != nil || s.ended != nil {
		return
	}
	if !errors.As(err, &s.failed) {
		s.failed = ioError("writing", err)
	}
	e := s.failed
	e.Peer = s.peer.Address
	if e.Reason != PeerGone {
		s.wg.Go(func() { s.end(e) })
		return
	}
	s.toReader() // a borrower reads on by itself
	s.conn.SetReadDeadline(time.Now().Add(time.Second))
}

// write writes what can be written at once, and the rest until wait ends, unless that is noWait. Called and returns with the
// mutex held; it is released meanwhile unless writing only copies.
func (s *Session) write(wait context.Context, b []byte) (n int, err error) {
	n, err = s.tryWrite(b)
	if err != nil || n == len(b) || wait == noWait {
		return n, err
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	more, err := s.writeAll(wait, b[n:])
	return n + more, err
}

// tryWrite writes what can be written at once. Called and returns with the mutex held; it is released meanwhile unless
// writing only copies.
func (s *Session) tryWrite(b []byte) (int, error) {
	if s.try == nil {
		return 0, nil
	}
	if s.memory != nil {
		return s.try.TryWrite(b)
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	return s.try.TryWrite(b)
}

// writeAll writes b and waits as long as the peer takes something within each stall limit. When ctx ends it returns how much
// has been written by then. Called by whoever is writing, without the mutex.
func (s *Session) writeAll(ctx context.Context, b []byte) (total int, err error) {
	if ctx.Done() != nil {
		called := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			s.conn.SetWriteDeadline(time.Unix(1, 0))
			close(called)
		})
		defer func() {
			if !stop() {
				<-called
			}
			s.conn.SetWriteDeadline(time.Time{}) // else it would fail a later write that does not wait
		}()
	}
	for len(b) > 0 {
		s.conn.SetWriteDeadline(time.Now().Add(s.limits.Stall))
		if ctx.Err() != nil {
			return total, nil
		}
		n, err := s.conn.Write(b[total:])
		total += n
		switch {
		case total == len(b):
			s.conn.SetWriteDeadline(time.Time{})
			return total, nil
		case err == nil:
			return total, fmt.Errorf("wrote %d of %d bytes without an error", total, len(b))
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return total, err
		case ctx.Err() != nil:
			return total, nil
		case n == 0:
			return total, endf(Stalled, "the peer has read nothing for %v", s.limits.Stall)
		}
	}
	return 0, nil
}

// flushAll returns when all that is queued has been written, within ctx.
func (s *Session) flushAll(ctx context.Context) error {
	var w waiter
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		s.flush(ctx)
		if !s.writing || s.ended != nil {
			return nil
		}
		s.room = append(s.room, &w)
		err := s.sleep(ctx, &w)
		if err != nil {
			return err
		}
	}
}
