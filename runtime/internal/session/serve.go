package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/frame"
)

// A handler of a method that takes and gives one message runs on the goroutine that reads, as long as the method's
// handlers have been quick: that costs no wake-up, and the replies of a batch of calls leave in one write. Where it
// goes on for longer than two ticks, or is about to wait for the session, another goroutine reads on (read.go), so a
// handler may do whatever it likes: block, call the peer back, wait for another call of the same session. From then
// on the method's handlers run on goroutines of their own, until they have been quick again for a while.

// pace knows how quick the handlers of a method are. Its zero value takes them for quick.
type pace struct {
	penalty atomic.Int32 // calls to run apart before the next try
	count   atomic.Uint32
	suspect atomic.Bool // the last one that was measured was slow; the next one is measured too
}

const (
	quick      = 20 * time.Microsecond // what a handler may take on the reading goroutine
	sampled    = 16                    // one call in so many is measured
	penaltyRun = 256                   // calls that run apart after a slow one
)

func (p *pace) inline() bool { return p.penalty.Load() <= 0 }

func (p *pace) slow() { p.penalty.Store(penaltyRun) }

// start returns the time when this call is to be measured.
func (p *pace) start() (t time.Time) {
	if p.count.Add(1)%sampled == 1 || p.suspect.Load() {
		t = time.Now()
	}
	return t
}

// stop takes a handler for slow when two in a row were: one alone may have lost its processor meanwhile.
func (p *pace) stop(t time.Time) {
	if t.IsZero() {
		return
	}
	slow := time.Since(t) > quick
	if p.suspect.Swap(slow) && slow {
		p.slow()
	}
}

// A remoteSlot is a place for a call of the peer.
type remoteSlot struct {
	generation uint16
	in         *Incoming
	answered   uint64 // where in the bytes of the session its last STATUS ends
}

// An Incoming is a call of the peer. It is the context of its handler: it ends when the call's deadline passes, the
// caller gives up, or the session ends.
type Incoming struct {
	stream
	method   *Method
	metadata frame.Metadata
	deadline time.Time
	started  bool // guarded by the session's mutex: the handler was started

	mu       sync.Mutex // guards what follows
	err      error
	done     chan struct{} // made when asked for
	after    map[*func()]struct{}
	timer    *time.Timer
	trailers frame.Metadata
}

// Session is the session that the call came by.
func (in *Incoming) Session() *Session { return in.s }

// Method is the method that is called.
func (in *Incoming) Method() *Method { return in.method }

// Metadata is what the caller sent beside the request.
func (in *Incoming) Metadata() frame.Metadata { return in.metadata }

// SetTrailer adds a value to what goes back with the end of the call.
func (in *Incoming) SetTrailer(key, value string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	next := frame.Metadata{key: value}
	for k, v := range in.trailers {
		if k != key {
			next[k] = v
		}
	}
	if err := in.s.limits.Metadata.Check(next); err != nil {
		return err
	}
	in.trailers = next
	return nil
}

// handleCall starts a call of the peer.
func (s *Session) handleCall(h frame.Header, payload []byte) error {
	if h.Stream.Side() == s.cfg.Side {
		return fmt.Errorf("on stream %#x, which is this side's", uint32(h.Stream))
	}
	if h.Stream.Slot() >= s.agreed.slots {
		return fmt.Errorf("on slot %d, over the limit of %d", h.Stream.Slot(), s.agreed.slots)
	}
	p, message, err := frame.ParseCall(payload, s.limits.Metadata)
	if err != nil {
		return err
	}
	if h.Flags&frame.Msg == 0 && len(message) > 0 {
		return errors.New("with message bytes and without MSG")
	}
	in := &Incoming{method: s.cfg.Methods[p.Method], metadata: p.Metadata}
	if p.Timeout > 0 {
		in.deadline = time.Now().Add(time.Duration(min(p.Timeout, math.MaxInt64)))
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	slot := &s.remote[h.Stream.Slot()]
	if slot.in != nil {
		return fmt.Errorf("on slot %d, whose last call has not been answered", h.Stream.Slot())
	}
	if slot.answered > s.handed {
		// Else a peer that reads nothing could have answers pile up, a slot at a time.
		return fmt.Errorf("on slot %d, whose last call's answer has not been sent", h.Stream.Slot())
	}
	if h.Stream.Generation() != frame.NextGeneration(slot.generation) {
		return fmt.Errorf("on slot %d with generation %d after %d", h.Stream.Slot(), h.Stream.Generation(), slot.generation)
	}
	slot.generation = h.Stream.Generation()
	in.init(s, h.Stream)
	switch {
	case s.leaving:
		s.appendStatus(in, notExecuted(CodeUnavailable, "the peer is draining: it takes no new calls"))
		return nil
	case in.method == nil:
		s.appendStatus(in, notExecuted(CodeUnimplemented, "the peer does not serve this method (id %#016x): is it of an older schema?", p.Method))
		return nil
	}
	slot.in = in
	s.running++
	in.peerEnd = h.Flags&frame.End != 0
	return s.startHandler(in, message, h.Flags&frame.Msg != 0)
}

// startHandler starts the handler of a new call, or leaves it until the request is complete. Called with the mutex
// held.
func (s *Session) startHandler(in *Incoming, message []byte, has bool) error {
	if in.method.Unary == nil || !has || !in.peerEnd {
		in.recvWait, in.sendWait = newWaiter(), newWaiter()
		if has {
			in.push(message, 0)
		}
		if in.method.Unary == nil {
			in.started = true
			s.wg.Add(1)
			go in.serveStream()
			return nil
		}
		if in.peerEnd {
			return s.requestComplete(in.id)
		}
		return nil
	}
	in.started = true
	s.mu.Unlock()
	req := in.method.NewRequest()
	err := s.decode.Unmarshal(message, req) // while this goroutine still has the role, and with it the buffer
	s.mu.Lock()
	switch {
	case err != nil:
		s.appendAnswer(in, notExecuted(CodeInvalidArgument, "decoding the request: %w", err), nil)
		return nil
	case !in.method.pace.inline() || s.role != own || s.ended != nil:
		in.method.pace.penalty.Add(-1)
		s.wg.Add(1)
		go in.serveApart(req)
		return nil
	}
	s.inline = in
	s.moved()
	s.mu.Unlock()
	defer s.mu.Lock()
	in.serveUnary(req)
	return s.stillReading(in)
}

// stillReading tells the goroutine that ran a handler whether it still has the role.
func (s *Session) stillReading(in *Incoming) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inline != in {
		s.flushLater() // the goroutine ends; its reply must not wait
		return errRelieved
	}
	s.inline = nil
	s.moves++
	return nil
}

// requestComplete starts the handler of one message whose request came in several frames. Called with the mutex held.
func (s *Session) requestComplete(id frame.StreamID) error {
	if id.Side() == s.cfg.Side {
		return nil
	}
	in := s.remote[id.Slot()].in
	if in.method.Unary == nil || in.started {
		return nil
	}
	in.started = true
	s.wg.Add(1)
	go func() {
		req := in.method.NewRequest()
		switch err := in.receive(in, req); {
		case err == io.EOF:
			in.finish(nil, notExecuted(CodeInvalidArgument, "the call came without a request"))
		case err != nil:
			in.finish(nil, notExecuted(CodeInvalidArgument, "%w", err))
		default:
			in.serveApart(req)
			return
		}
		s.wg.Done()
	}()
	return nil
}

func (in *Incoming) serveApart(req codec.Message) {
	defer in.s.wg.Done()
	in.serveUnary(req)
}

// serveUnary runs the handler of one message and sends its answer, whatever the handler does.
func (in *Incoming) serveUnary(req codec.Message) {
	var res codec.Message
	var f *Failure
	returned := false
	defer func() {
		if !returned {
			res, f = nil, in.broke(recover())
		}
		in.finish(res, f)
	}()
	t := in.method.pace.start()
	res, f = in.method.Unary(in, req)
	in.method.pace.stop(t)
	returned = true
}

func (in *Incoming) serveStream() {
	defer in.s.wg.Done()
	var res codec.Message
	var f *Failure
	returned := false
	defer func() {
		if !returned {
			res, f = nil, in.broke(recover())
		}
		in.finish(res, f)
	}()
	res, f = in.method.Stream(in)
	returned = true
}

// broke is how a call fails whose handler did not return: it panicked, or ended its goroutine.
func (in *Incoming) broke(p any) *Failure {
	if p == nil {
		in.s.mu.Lock()
		if in.s.inline == in {
			in.s.relieveHandler() // the goroutine that reads is about to end
		}
		in.s.mu.Unlock()
		in.s.cfg.Logger.Error("ipc handler ended its goroutine", "method", in.method.Path)
		return failf(CodeInternal, "the handler ended without an answer")
	}
	in.s.cfg.Logger.Error("ipc handler panicked", "method", in.method.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return failf(CodeInternal, "the handler panicked")
}

// scratches are for encoding answers.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// finish answers the call. A message that is too large for the STATUS goes before it.
func (in *Incoming) finish(res codec.Message, f *Failure) {
	s := in.s
	var message []byte
	if f == nil && res != nil {
		scratch := scratches.Get().(*[]byte)
		in.scratch = *scratch
		defer func() {
			if *scratch = in.scratch; in.scratch != nil {
				scratches.Put(scratch)
			}
		}()
		var err error
		if message, err = in.encode(res); err != nil {
			if !errors.As(err, &f) {
				f = failf(CodeInternal, "%w", err)
			}
			message = nil
		}
	}
	in.cancel(context.Canceled)
	s.mu.Lock()
	// A reply that does not fit a frame, or for which there is no room, must wait: not on the goroutine that reads.
	if f == nil && (len(message) > s.agreed.maxFrame-64-in.trailerBytes() || (len(message) > pieceLeast && len(s.out) >= outHigh)) {
		if s.inline == in {
			s.mu.Unlock()
			in.scratch = nil // the message stays in it
			s.wg.Add(1)
			go func() {
				defer s.wg.Done()
				in.finishApart(message)
			}()
			return
		}
		s.mu.Unlock()
		in.finishApart(message)
		return
	}
	s.appendAnswer(in, f, message)
	if s.inline != in {
		s.gather()
		s.flush(true)
	}
	s.mu.Unlock()
}

// trailerBytes bounds what the trailers take in a STATUS.
func (in *Incoming) trailerBytes() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := 0
	for k, v := range in.trailers {
		n += len(k) + len(v) + 3
	}
	return n
}

// finishApart sends a large answer in DATA frames and then the STATUS.
func (in *Incoming) finishApart(message []byte) {
	s := in.s
	if in.sendWait.ch == nil {
		s.mu.Lock()
		in.sendWait = newWaiter()
		s.mu.Unlock()
	}
	// The answer outlives the handler's context: what ends the wait is the caller giving up, or the session's end.
	err := in.sendPieces(context.Background(), message[frame.HeaderSize:], 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	var f *Failure
	if err != nil {
		f = failf(CodeCanceled, "the answer was not sent: %w", err)
	}
	s.appendAnswer(in, f, nil)
	s.gather()
	s.flush(true)
}

// appendAnswer queues the STATUS and frees the slot. Called with the mutex held.
func (s *Session) appendAnswer(in *Incoming, f *Failure, message []byte) {
	slot := &s.remote[in.id.Slot()]
	if slot.in != in {
		return // the session ended before the handler was started
	}
	slot.in = nil
	s.running--
	in.drop()
	if s.ended == nil {
		switch {
		case f != nil:
			s.appendStatus(in, f)
		default:
			s.appendSuccess(in, message)
		}
	}
	s.settleDrain()
}

// appendSuccess queues the STATUS of a call that went well. Called with the mutex held.
func (s *Session) appendSuccess(in *Incoming, message []byte) {
	n := len(s.out)
	h := frame.Header{Type: frame.Status, Flags: frame.End, Stream: in.id}
	s.out = h.Append(s.out)
	in.mu.Lock()
	p := frame.StatusPayload{Trailers: in.trailers}
	in.mu.Unlock()
	s.out = p.Append(s.out)
	if message != nil {
		h.Flags |= frame.Msg
		s.out = append(s.out, message[frame.HeaderSize:]...)
	}
	h.Length = uint32(len(s.out) - n - frame.HeaderSize)
	h.Put(s.out[n:])
	s.queued += uint64(len(s.out) - n)
	s.remote[in.id.Slot()].answered = s.queued
}

// appendStatus queues the STATUS of a call that failed, cut to its limits. Called with the mutex held.
func (s *Session) appendStatus(in *Incoming, f *Failure) {
	p := frame.StatusPayload{Text: cutText(f.Text, frame.MaxStatusText), Details: cutDetails(f.Details)}
	in.mu.Lock()
	p.Trailers = in.trailers
	in.mu.Unlock()
	h := frame.Header{Type: frame.Status, Flags: frame.End, Stream: in.id, Arg: f.Code}
	if f.NotExecuted {
		h.Flags |= frame.NotExecuted
	}
	body := p.Append(nil)
	if len(body) > s.agreed.maxFrame {
		p.Details = nil
		body = p.Append(nil)
	}
	s.appendFrame(h, body)
	s.remote[in.id.Slot()].answered = s.queued
}

// handleCancel ends the context of a call that its caller gave up.
func (s *Session) handleCancel(h frame.Header) error {
	if h.Stream.Side() == s.cfg.Side {
		return errors.New("of a call of the other side")
	}
	s.mu.Lock()
	st, err := s.lookup(h.Stream)
	if err != nil || st == nil {
		s.mu.Unlock()
		return err
	}
	in := s.remote[h.Stream.Slot()].in
	st.closed = true
	st.recvWait.notify()
	st.sendWait.notify()
	started := in.started
	if !started {
		s.appendAnswer(in, notExecuted(CodeCanceled, "canceled before the request was complete"), nil)
	}
	s.mu.Unlock()
	cause := context.Canceled
	if h.Arg == CodeDeadlineExceeded {
		cause = context.DeadlineExceeded
	}
	in.cancel(cause)
	return nil
}

// Receive decodes the caller's next message into m. It returns io.EOF when the caller sends no more.
func (in *Incoming) Receive(m codec.Message) error {
	err := in.receive(in, m)
	if err != io.EOF {
		return err
	}
	in.s.mu.Lock()
	complete := in.peerEnd
	in.s.mu.Unlock()
	switch cerr := in.Err(); {
	case cerr != nil:
		return cerr
	case !complete:
		return context.Canceled // the session ended
	}
	return io.EOF
}

// Send sends a message to the caller, waiting for credit.
func (in *Incoming) Send(m codec.Message) error {
	err := in.send(in, m, 0)
	if errors.Is(err, errSendClosed) {
		if cerr := in.Err(); cerr != nil {
			return cerr
		}
		return context.Canceled
	}
	var ended *EndError
	if errors.As(err, &ended) {
		return fmt.Errorf("%w: %w", context.Canceled, err)
	}
	return err
}
