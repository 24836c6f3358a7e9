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

// forever is the longest timeout, in nanoseconds: of 146 years, so that adding it to the time does not overflow.
const forever = math.MaxInt64 / 2

// A remoteSlot is a place for a call of the peer.
type remoteSlot struct {
	generation uint16
	in         *Incoming
	answered   uint64 // where in the bytes of the session its last STATUS ends
}

// An Incoming is a call of the peer. It is the context of its handler: it ends when the call's deadline passes, the
// caller gives up, or the session ends. What a handler may keep of it for longer than the call is not in its stream.
type Incoming struct {
	*stream
	s        *Session
	method   *Method
	metadata frame.Metadata
	deadline int64 // of nanos; 0 is none
	started  bool  // guarded by the session's mutex: the handler was started

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
func (s *Session) handleCall(h frame.Header, payload []byte, alone bool) error {
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
	in := s.ahead.in
	if s.ahead.in = nil; in == nil {
		in = &Incoming{stream: new(stream)}
	}
	in.s, in.method, in.metadata = s, s.cfg.Methods[p.Method], p.Metadata
	in.init(s, h.Stream)
	if p.Timeout > 0 {
		in.deadline = s.clock() + int64(min(p.Timeout, forever))
	}
	switch {
	case s.leaving:
		s.appendStatus(in, &answer{f: notExecuted(CodeUnavailable, "the peer is draining: it takes no new calls")}, true)
		return nil
	case in.method == nil:
		s.appendStatus(in, &answer{f: notExecuted(CodeUnimplemented, "the peer does not serve this method (id %#016x): is it of an older schema?", p.Method)}, true)
		return nil
	}
	slot.in = in
	s.running++
	s.lone = 0 // it is not only this side that calls
	in.peerEnd = h.Flags&frame.End != 0
	return s.startHandler(in, message, h.Flags&frame.Msg != 0, alone)
}

// startHandler starts the handler of a new call, or leaves it until the request is complete. Called and returns with the
// mutex held.
func (s *Session) startHandler(in *Incoming, message []byte, has, alone bool) error {
	if in.method.Unary == nil || !has || !in.peerEnd {
		in.expect()
		if has {
			in.push(message, 0)
		}
		if in.method.Unary == nil {
			in.started = true
			s.wg.Add(1)
			go in.serve(nil)
			return nil
		}
		if in.peerEnd {
			return s.requestComplete(in.id)
		}
		return nil
	}
	in.started = true
	req := s.newRequest(in.method)
	err := s.decodeMessage(message, alone, req) // while this goroutine still has the role, and with it the buffer
	switch {
	case err != nil:
		s.appendAnswer(in, &answer{f: notExecuted(CodeInvalidArgument, "decoding the request: %w", err)}, true)
		return nil
	case !in.method.pace.inline() || s.role != own || s.ended != nil:
		in.method.pace.penalty.Add(-1)
		s.wg.Add(1)
		go in.serve(req)
		return nil
	}
	return s.serveInline(in, req)
}

// serveInline runs the handler on this goroutine, which reads, and says whether it is to read on. Called and returns with
// the mutex held.
func (s *Session) serveInline(in *Incoming, req codec.Message) error {
	s.inline = in
	s.moved()
	var a answer
	in.runHere(req, &a)
	if s.inline != in {
		in.respond(&a, false)
		return errRelieved
	}
	in.respond(&a, true)
	if s.inline != in { // relieved while it wrote; what others have left to this write, a goroutine takes over
		s.flushLater()
		return errRelieved
	}
	s.inline = nil
	s.moves++
	s.reuse(in)
	return nil
}

// reuse takes the stream of a call that has been answered for the next one, and makes what else that will need while nobody
// waits for it. Called with the mutex held.
func (s *Session) reuse(in *Incoming) {
	st := in.stream
	if s.remote[in.id.Slot()].in == in || st.listed || st.arrivals != nil || st.blobs != nil {
		return // it is still in use
	}
	in.stream = nil
	*st = stream{}
	s.ahead.in = &Incoming{stream: st}
	if s.ahead.method != in.method || s.ahead.req == nil {
		s.ahead.method, s.ahead.req = in.method, in.method.NewRequest()
	}
}

// newRequest returns an empty request of a method. Called with the mutex held.
func (s *Session) newRequest(m *Method) codec.Message {
	req := s.ahead.req
	if s.ahead.method != m || req == nil {
		return m.NewRequest()
	}
	s.ahead.req = nil
	return req
}

// runHere runs the handler without the mutex, which is held before and after, also when the handler ends the goroutine.
func (in *Incoming) runHere(req codec.Message, a *answer) {
	in.s.mu.Unlock()
	defer in.s.mu.Lock()
	in.run(req, a)
}

// serve runs the handler on a goroutine of its own and answers.
func (in *Incoming) serve(req codec.Message) {
	defer in.s.wg.Done()
	var a answer
	in.run(req, &a)
	in.finish(&a)
}

// finish answers the call. The mutex is not held.
func (in *Incoming) finish(a *answer) {
	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	in.respond(a, false)
}

// fail answers the call whose handler was not started.
func (in *Incoming) fail(f *Failure) {
	var a answer
	in.prepare(&a, nil, f)
	in.finish(&a)
}

// finishApart answers the call on a goroutine of its own.
func (in *Incoming) finishApart(a answer) {
	defer in.s.wg.Done()
	in.finish(&a)
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
		switch _, err := in.receive(in, req, nil); {
		case err == nil:
			in.serve(req)
			return
		case err == io.EOF:
			in.fail(notExecuted(CodeInvalidArgument, "the call came without a request"))
		default:
			in.fail(notExecuted(CodeInvalidArgument, "%w", err))
		}
		s.wg.Done()
	}()
	return nil
}

// An answer is what a handler has come to.
type answer struct {
	f        *Failure
	message  []byte   // behind room for a header and the head of a STATUS; nil: there is none
	scratch  *scratch // what message is in
	trailers frame.Metadata
}

// apart says that blobs of the message are in this side's arena.
func (a *answer) apart() bool { return a.message != nil && len(a.scratch.lent()) > 0 }

// run runs the handler and makes a its answer, whatever the handler does.
func (in *Incoming) run(req codec.Message, a *answer) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		in.prepare(a, nil, in.broke(p))
		if p == nil {
			in.finish(a) // the goroutine is about to end
		}
	}()
	var res codec.Message
	var f *Failure
	if in.method.Unary == nil {
		res, f = in.method.Stream(in)
	} else {
		t := in.method.pace.start()
		res, f = in.method.Unary(in, req)
		in.method.pace.stop(t)
	}
	in.prepare(a, res, f)
	returned = true
}

// broke is how a call fails whose handler did not return: it panicked with p, or ended its goroutine, where p is nil.
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
var scratches = sync.Pool{New: func() any { return new(scratch) }}

// emptyHead is the head of a STATUS without text, details and trailers.
var emptyHead = (&frame.StatusPayload{}).Append(nil)

// answerRoom is what stands before the message of a STATUS that says nothing else.
var answerRoom = frame.HeaderSize + len(emptyHead)

// prepare makes a the answer, encoded, and ends the handler's context.
func (in *Incoming) prepare(a *answer, res codec.Message, f *Failure) {
	*a = answer{f: f, trailers: in.cancel(context.Canceled)}
	if n := len(emptyHead) + trailerBytes(a.trailers); f == nil && n > in.s.agreed.maxFrame {
		a.f = failf(CodeResourceExhausted, "the trailers take %d bytes, over the limit of %d of a frame", n, in.s.agreed.maxFrame)
		in.s.Drop(res) // it does not leave
	}
	if a.f == nil && res != nil {
		a.scratch = scratches.Get().(*scratch)
		var err error
		most := min(in.s.agreed.single, in.s.agreed.maxFrame-len(emptyHead)-trailerBytes(a.trailers))
		if a.message, err = in.s.encode(a.scratch, res, answerRoom, most); err != nil {
			a.message, a.f = nil, unencoded(CodeInternal, err)
		}
	}
}

// unencoded is how a call fails, unless err knows better, whose message cannot be encoded.
func unencoded(code uint32, err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return failf(code, "%w", err)
}

// respond sends the answer. A message that is too large for the STATUS goes before it. Reading says that this goroutine
// is the one that reads, so that it must not wait. Called and returns with the mutex held.
func (in *Incoming) respond(a *answer, reading bool) {
	s := in.s
	switch fits := s.fits(a); {
	case !fits && reading:
		s.wg.Add(1)
		go in.finishApart(*a)
		return
	case !fits:
		// The answer outlives the handler's context: what ends the wait is the caller giving up, or the session's end.
		err := in.sendPieces(context.Background(), a.scratch, a.message, answerRoom, 0)
		if a.message = nil; err != nil {
			a.f = failf(CodeCanceled, "the answer was not sent: %w", err)
		}
	}
	s.appendAnswer(in, a, reading)
	if !reading {
		s.gather()
		s.flush(context.Background())
	}
}

// fits says that an answer can be sent in one frame, now. Called with the mutex held.
func (s *Session) fits(a *answer) bool {
	if a.f != nil || a.message == nil || a.apart() {
		return true
	}
	n := len(a.message) - frame.HeaderSize + trailerBytes(a.trailers)
	return n <= s.agreed.maxFrame && (n <= pieceLeast || len(s.out) < outHigh)
}

// trailerBytes is what trailers take in a STATUS beside their count.
func trailerBytes(md frame.Metadata) int {
	if len(md) == 0 {
		return 0 // as ranging over it would find out, and take ten times as long
	}
	n := 0
	for k, v := range md {
		n += 1 + len(k) + 2 + len(v)
	}
	return n
}

// appendAnswer queues the STATUS and frees the slot. Called with the mutex held.
func (s *Session) appendAnswer(in *Incoming, a *answer, reading bool) {
	slot := &s.remote[in.id.Slot()]
	if slot.in != in {
		return // the session ended before the handler was started
	}
	slot.in = nil
	s.running--
	in.drop()
	if s.ended == nil {
		s.appendStatus(in, a, reading)
	}
	if a.scratch != nil {
		a.scratch.forget() // of what has not been sent
		scratches.Put(a.scratch)
	}
	s.settleDrain()
}

// appendStatus queues the STATUS, of a failure what fits into its limits. Called with the mutex held.
func (s *Session) appendStatus(in *Incoming, a *answer, reading bool) {
	if in.inside && a.f == nil {
		a.f = failf(CodeCanceled, "the handler returned in the middle of a message") // success would be a lie, and is not allowed
	}
	h := frame.Header{Type: frame.Status, Flags: frame.End, Stream: in.id}
	if a.message != nil {
		h.Flags |= frame.Msg
	}
	if a.apart() {
		h.Flags |= frame.Apart
	}
	switch {
	case a.f != nil:
		h.Arg = a.f.Code
		if a.f.NotExecuted {
			h.Flags |= frame.NotExecuted
		}
		s.appendFrame(h, s.failureHead(a))
	case len(a.trailers) == 0 && a.message != nil:
		copy(a.message[frame.HeaderSize:], emptyHead)
		s.remote[in.id.Slot()].answered = s.queued + uint64(len(a.message))
		wait := context.Background()
		if reading {
			wait = noWait
		}
		s.appendSpread(wait, h, a.scratch, a.message, 0, reading && s.r < s.w) // behind it are calls to be answered
		return
	default:
		p := (&frame.StatusPayload{Trailers: a.trailers}).Append(nil)
		if a.message != nil {
			a.scratch.whole(a.message)
			p = append(p, a.message[answerRoom:]...)
		}
		s.appendFrame(h, p)
	}
	s.remote[in.id.Slot()].answered = s.queued
}

// failureHead is the payload of a STATUS that says how a call failed.
func (s *Session) failureHead(a *answer) []byte {
	p := frame.StatusPayload{Text: cutText(a.f.Text, frame.MaxStatusText), Details: cutDetails(a.f.Details), Trailers: a.trailers}
	b := p.Append(nil)
	if len(b) > s.agreed.maxFrame {
		p.Details = nil
		b = p.Append(nil)
	}
	if len(b) > s.agreed.maxFrame {
		p.Trailers = nil
		b = p.Append(nil)
	}
	return b
}

// handleCancel ends the context of a call that its caller gave up.
func (s *Session) handleCancel(h frame.Header) error {
	if h.Stream.Side() == s.cfg.Side {
		return errors.New("of a call of the other side")
	}
	st, err := s.lookup(h.Stream)
	if err != nil || st == nil {
		return err
	}
	in := s.remote[h.Stream.Slot()].in
	st.closed = true
	st.recvWait.notify()
	st.sendWait.notify()
	if !in.started {
		s.appendAnswer(in, &answer{f: notExecuted(CodeCanceled, "canceled before the request was complete")}, true)
	}
	cause := context.Canceled
	if h.Arg == CodeDeadlineExceeded {
		cause = context.DeadlineExceeded
	}
	in.cancel(cause)
	return nil
}

// Receive decodes the caller's next message into m. It returns io.EOF when the caller sends no more.
func (in *Incoming) Receive(m codec.Message) error {
	if _, err := in.receive(in, m, nil); err != nil {
		return in.ended(err)
	}
	return nil
}

// ReceiveNew is Receive that decodes into what fresh makes, which is told how many bytes the message has, at least.
func (in *Incoming) ReceiveNew(fresh func(size int) codec.Message) (codec.Message, error) {
	m, err := in.receive(in, nil, fresh)
	if err != nil {
		return nil, in.ended(err)
	}
	return m, nil
}

// ended is why there are no more messages, when receive has failed with err.
func (in *Incoming) ended(err error) error {
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
	if err == nil {
		return nil
	}
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
