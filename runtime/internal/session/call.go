package session

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/frame"
)

// Outgoing is what a call of this side starts with.
type Outgoing struct {
	Method   uint64
	Metadata frame.Metadata
	// Timeout is how long the call may take, beside the context's deadline; zero is without limit.
	Timeout time.Duration
	// Trailers, when not nil, gets the trailers of the answer.
	Trailers *frame.Metadata
}

// A localSlot is a place for a call of this side.
type localSlot struct {
	generation uint16
	call       *Call
}

// A slotWaiter is a call that waits for a slot; slot is set when it got one.
type slotWaiter struct {
	waiter
	slot    int
	refused bool
}

// A Call is a call of this side. Send and CloseSend are for one goroutine at a time, Receive for one at a time.
type Call struct {
	stream
	unary    bool
	fresh    func() codec.Message // makes the message of the answer of a unary call; nil: none comes
	res      codec.Message        // that message, decoded by whoever reads
	mark     uint64               // where in the bytes of the session it begins
	deadline int64                // when the alarm ends the wait, of nanos; 0 is never
	sentEnd  bool                 // CloseSend was called; owned by the goroutine that sends

	// Guarded by the session's mutex.
	finished  bool     // STATUS has come, or the session ended
	abandoned bool     // nobody waits for it
	why       *Failure // what it was abandoned for; nil: the program canceled it
	canceled  bool     // the peer is told so
	late      bool     // its deadline has passed
	failure   *Failure
	answered  bool // res is filled
	trailers  frame.Metadata
}

func (c *Call) ready() bool {
	return c.finished || c.late || (!c.unary && c.stream.ready())
}

// Unary does a whole call: it sends req, and returns the answer in a message that fresh makes. Fresh is nil where the answer
// has none.
func (s *Session) Unary(ctx context.Context, o Outgoing, req codec.Message, fresh func() codec.Message) (res codec.Message, f *Failure) {
	c, _ := s.calls.Get().(*Call)
	if c == nil {
		c = new(Call)
	}
	c.unary, c.fresh = true, fresh
	first, f := c.prepare(ctx, s, o, req)
	held := true
	s.mu.Lock()
	if f == nil {
		f = s.open(ctx, c, first, true)
	}
	if f == nil {
		f, held = s.await(ctx, c)
	}
	again := c.finished && !c.abandoned && !c.listed && (c.arrivals == nil || !c.starving)
	if f == nil {
		res = c.res
	}
	if held {
		s.mu.Unlock()
	}
	if o.Trailers != nil && !c.abandoned {
		*o.Trailers = c.trailers
	}
	if again { // nobody else knows c any more
		*c = Call{stream: stream{recvWait: c.recvWait, sendWait: c.sendWait, scratch: c.scratch}}
		s.calls.Put(c)
	}
	return res, f
}

// await waits for the answer of a unary call. Called with the mutex held; it says whether it returns so. A caller that was
// woken because its call is over, as each of many callers is, does not take it once more.
func (s *Session) await(ctx context.Context, c *Call) (f *Failure, held bool) {
	s.setAlarm(c.deadline)
	if s.role == vacant && !c.finished {
		c.message() // in shared memory the peer is at work meanwhile; where other calls run, too, it is for who decodes it
	}
	for !c.finished {
		done, err := s.doInstead(ctx, c)
		if !done && !c.late { // the alarm may have rung before, and does not ring again
			var over bool
			over, err = s.doze(ctx, &c.recvWait)
			if over && err == nil && c.arrivals == nil && (c.failure != nil || c.answered) {
				return c.failure, false
			}
			s.mu.Lock()
		}
		if err == nil && c.late {
			err = context.DeadlineExceeded
		}
		if err != nil && !c.finished {
			f = contextFailure(err)
			s.abandon(c, f)
			return f, true
		}
	}
	if c.failure != nil {
		c.drop() // what came before it, for which room may be reserved
		s.grant()
		return c.failure, true
	}
	return c.answer(), true
}

// message is what the answer is decoded into.
func (c *Call) message() codec.Message {
	if c.res == nil && c.fresh != nil {
		c.res = c.fresh()
	}
	return c.res
}

// setAlarm sees to it that a call is told when its deadline, at, has passed. One timer serves all calls, and it is not
// set back when a call ends in time: a call that has a deadline costs no more than one that has none. Called with the
// mutex held.
func (s *Session) setAlarm(at int64) {
	if at == 0 || (s.alarmAt != 0 && at >= s.alarmAt) || s.ended != nil {
		return
	}
	s.alarmAt = at
	s.alarm.Reset(time.Duration(at - nanos()))
}

// ring tells the calls whose deadlines have passed, and sets the alarm for the next one.
func (s *Session) ring() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, next := nanos(), int64(0)
	for i := range s.local {
		c := s.local[i].call
		switch {
		case c == nil || c.deadline == 0 || c.late:
		case now >= c.deadline:
			c.late = true
			c.recvWait.notify()
			s.toReader() // c's caller may be the one that reads
		case next == 0 || c.deadline < next:
			next = c.deadline
		}
	}
	s.alarmAt = 0
	s.setAlarm(next)
}

// answer decodes the message from DATA frames when it was too large for the STATUS. Called with the mutex held.
func (c *Call) answer() *Failure {
	if c.fresh == nil {
		return nil
	}
	n := 0
	if c.arrivals != nil {
		n = len(c.items)
	}
	if c.answered {
		n++
	}
	switch {
	case n != 1:
		c.drop()
		c.s.grant()
		return failf(CodeInternal, "the peer answered a call of one response with %d", n)
	case c.answered:
		return nil
	}
	s := c.s
	it := c.items[0]
	c.items = nil
	if it.apart != nil {
		c.blobs.claim(it.apart)
	}
	s.release(it.room)
	s.grant()
	s.mu.Unlock()
	defer s.mu.Lock()
	if err := s.decodeItem(&it, c.message(), true); err != nil {
		return failf(CodeInternal, "decoding the response: %w", err)
	}
	return nil
}

func contextFailure(err error) *Failure {
	if errors.Is(err, context.DeadlineExceeded) {
		return failf(CodeDeadlineExceeded, "no answer within the deadline: %w", err)
	}
	return failf(CodeCanceled, "canceled by the caller: %w", err)
}

// Oneway sends a call that nobody waits for. It returns when the call is queued.
func (s *Session) Oneway(ctx context.Context, o Outgoing, req codec.Message) *Failure {
	c := &Call{unary: true, abandoned: true, stream: stream{discard: true}}
	first, f := c.prepare(ctx, s, o, req)
	if f != nil {
		return f
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open(ctx, c, first, true)
}

// Open starts a call of any other shape. Req is its first message, or nil; last says that no other follows. It ends
// with Receive's error, Cancel or GiveUp.
func (s *Session) Open(ctx context.Context, o Outgoing, req codec.Message, last bool) (*Call, *Failure) {
	c := new(Call)
	c.expect()
	first, f := c.prepare(ctx, s, o, req)
	if f != nil {
		return nil, f
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.open(ctx, c, first, last); f != nil {
		return nil, f
	}
	return c, nil
}

// A prepared is a CALL with room for a header before it.
type prepared struct {
	b       []byte
	message int // where the request begins; 0: there is none
}

// prepare encodes the CALL of c.
func (c *Call) prepare(ctx context.Context, s *Session, o Outgoing, req codec.Message) (prepared, *Failure) {
	head, f := s.callHead(ctx, o)
	if f != nil {
		s.Drop(req)
		return prepared{}, f
	}
	if o.Timeout > 0 {
		c.deadline = nanos() + int64(o.Timeout)
	}
	if c.scratch.b == nil {
		c.scratch.b = make([]byte, 0, 256)
	}
	b := head.Append(c.scratch.b[:frame.HeaderSize])
	if req == nil {
		return prepared{b: b}, nil
	}
	c.scratch.b = b[:0] // what stands in it stays before the message
	message := len(b)
	b, err := s.encode(&c.scratch, req, message, min(s.agreed.single, s.agreed.maxFrame+frame.HeaderSize-message))
	if err != nil {
		f := unencoded(CodeInvalidArgument, err)
		f.NotExecuted = true
		return prepared{}, f
	}
	return prepared{b, message}, nil
}

// open gets a slot and sends the CALL, with the request in it when it fits. Last says that no other request follows.
// Called and returns with the mutex held.
func (s *Session) open(ctx context.Context, c *Call, first prepared, last bool) *Failure {
	var end, msg frame.Flags
	if last {
		end = frame.End
	}
	head := len(first.b) // what stands before the message
	if first.message > 0 {
		msg, head = frame.Msg, first.message
	}
	if head -= frame.HeaderSize; head > s.agreed.maxFrame {
		c.scratch.forget()
		s.takeBack(c.scratch.lent())
		return notExecuted(CodeInvalidArgument, "the call's metadata takes %d bytes with what goes before it, over the limit of %d of a frame", head, s.agreed.maxFrame)
	}
	if len(c.scratch.lent()) > 0 {
		f := s.enqueue(ctx, c, first.b, frame.Apart|msg|end, true)
		if f != nil {
			s.takeBack(c.scratch.lent())
		}
		return f
	}
	if msg == 0 || len(first.b)-frame.HeaderSize <= s.agreed.maxFrame {
		return s.enqueue(ctx, c, first.b, msg|end, true)
	}
	if f := s.enqueue(ctx, c, first.b[:first.message], 0, false); f != nil {
		return f
	}
	if c.deadline != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, epoch.Add(time.Duration(c.deadline)))
		defer cancel()
	}
	err := c.sendPieces(ctx, &c.scratch, first.b, first.message, end)
	if err != nil && !(err == errSendClosed && c.finished) { // how a call that is over ended, the answer tells
		return s.sendFailed(c, err)
	}
	return nil
}

func (s *Session) callHead(ctx context.Context, o Outgoing) (frame.CallPayload, *Failure) {
	head := frame.CallPayload{Method: o.Method, Metadata: o.Metadata, Timeout: uint64(o.Timeout)}
	if d, ok := ctx.Deadline(); ok {
		left := time.Until(d)
		if left <= 0 {
			return head, notExecuted(CodeDeadlineExceeded, "the deadline was over before the call: %w", context.DeadlineExceeded)
		}
		if o.Timeout <= 0 || left < o.Timeout {
			head.Timeout = uint64(left)
		}
	}
	if err := ctx.Err(); err != nil {
		f := contextFailure(err)
		f.NotExecuted = true
		return head, f
	}
	if len(o.Metadata) > 0 {
		if err := s.limits.Metadata.Check(o.Metadata); err != nil {
			return head, notExecuted(CodeInvalidArgument, "%w", err)
		}
	}
	return head, nil
}

// enqueue gives c a slot and queues its CALL. Whole says that it has all of the request that comes before the answer, if any.
// Called and returns with the mutex held.
func (s *Session) enqueue(ctx context.Context, c *Call, b []byte, flags frame.Flags, whole bool) *Failure {
	slot, f := s.acquire(ctx, c.deadline)
	if f != nil {
		c.scratch.forget()
		return f
	}
	l := &s.local[slot]
	l.generation = frame.NextGeneration(l.generation)
	l.call = c
	c.init(s, frame.NewStreamID(slot, s.cfg.Side, l.generation))
	c.closed = flags&frame.End != 0
	c.mark = s.queued
	s.pending++
	h := frame.Header{Type: frame.Call, Flags: flags, Stream: c.id}
	if whole {
		s.appendSpread(noWait, h, &c.scratch, b, 0, false)
	} else {
		s.appendEncoded(noWait, h, b, true)
	}
	// To a socket a lone caller writes when it is about to read (wait): from then on until it sleeps the peer's thread waits
	// for this one's processor, or is moved to another one, from where all that follows takes longer.
	if whole && (s.role != vacant || !c.unary || c.abandoned) {
		s.gather()
		s.flush(noWait)
	}
	return nil
}

// acquire waits for a slot, until the deadline if there is one. Called and returns with the mutex held.
func (s *Session) acquire(ctx context.Context, deadline int64) (int, *Failure) {
	if f := s.refusal(); f != nil {
		return 0, f
	}
	if n := len(s.free); n > 0 {
		slot := s.free[n-1]
		s.free = s.free[:n-1]
		return slot, nil
	}
	if deadline != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, epoch.Add(time.Duration(deadline)))
		defer cancel()
	}
	w := &slotWaiter{slot: -1}
	s.queue = append(s.queue, w)
	s.toReader() // nobody else may be there to read the STATUS that frees one
	err := s.sleep(ctx, &w.waiter)
	switch {
	case w.slot >= 0 && err == nil && s.ended == nil:
		return w.slot, nil
	case w.slot >= 0:
		s.freeSlot(w.slot)
	case !w.refused:
		s.queue = slices.DeleteFunc(s.queue, func(q *slotWaiter) bool { return q == w })
	}
	if f := s.refusal(); f != nil {
		return 0, f
	}
	f := contextFailure(err)
	f.NotExecuted = true
	f.Text = "waiting for one of the session's slots, all of which are in use: " + f.Text
	return 0, f
}

// refusal says why no call can be started. Called with the mutex held.
func (s *Session) refusal() *Failure {
	switch {
	case s.ended != nil:
		return notExecuted(CodeUnavailable, "%w", s.ended)
	case s.failed != nil:
		return notExecuted(CodeUnavailable, "%w", s.failed)
	case s.leaving:
		return notExecuted(CodeUnavailable, "the session is draining: this side is closing it")
	case s.peerLeaving:
		return notExecuted(CodeUnavailable, "the session is draining: the peer is closing it")
	}
	return nil
}

// refuseQueued wakes the calls that wait for a slot they will not get. Called with the mutex held.
func (s *Session) refuseQueued() {
	for _, w := range s.queue {
		w.refused = true
		w.notify()
	}
	s.queue = nil
}

// freeSlot hands a slot to the call that has waited longest, or keeps it. Called with the mutex held.
func (s *Session) freeSlot(slot int) {
	if len(s.queue) == 0 {
		s.free = append(s.free, slot)
		return
	}
	w := s.queue[0]
	s.queue = s.queue[1:]
	w.slot = slot
	w.notify()
}

// decodeHeld is how many bytes of a message are decoded with the mutex held: letting go of it costs more.
const decodeHeld = 4 << 10

// decoding returns how to decode a message. Alone says that nothing else is or comes where it lies, so that its strings and
// bytes may stay there.
func (s *Session) decoding(alone bool) codec.Options {
	options := s.decode
	options.Alias = alone
	return options
}

// decodeMessage decodes a message into m, which is empty. Called and returns with the mutex held, which is released while a
// large one is decoded.
func (s *Session) decodeMessage(b []byte, alone bool, m codec.Message) error {
	if a := s.apart; a != nil {
		s.apart = nil
		s.mu.Unlock()
		defer s.mu.Lock()
		return s.decodeApart(b, alone, a, m)
	}
	if len(b) > decodeHeld {
		s.mu.Unlock()
		defer s.mu.Lock()
	}
	return s.decoding(alone).Merge(b, m)
}

// handleStatus ends a call.
func (s *Session) handleStatus(h frame.Header, payload []byte, alone bool) error {
	p, message, err := frame.ParseStatus(payload, s.limits.Metadata)
	if err != nil {
		return err
	}
	if h.Stream.Side() != s.cfg.Side {
		return errors.New("for a call of the peer itself")
	}
	st, err := s.lookup(h.Stream)
	if err != nil {
		return err
	}
	c := s.local[h.Stream.Slot()].call
	if h.Flags&frame.Msg == 0 && len(message) > 0 {
		return errors.New("with message bytes and without MSG")
	}
	if st.arrivals != nil && st.partLeft > 0 && h.Arg == CodeOK {
		return errors.New("of success, in the middle of a message")
	}
	var failure *Failure
	switch {
	case h.Arg != CodeOK:
		failure = &Failure{Code: h.Arg, Text: p.Text, Details: p.Details, Remote: true,
			NotExecuted: h.Flags&frame.NotExecuted != 0}
	case h.Flags&frame.Msg == 0:
	case c.unary && c.fresh != nil && !c.abandoned:
		// Decoded here, from the buffer: nobody copies it. A caller that gives up meanwhile never looks at res.
		blobs := s.apart
		err := s.decodeMessage(message, alone, c.message())
		if s.ended != nil {
			s.reclaim(blobs)
			return nil // the caller has gone, perhaps with c
		}
		if c.abandoned || c.arrivals != nil && len(c.items) > 0 { // nobody gets it, or there is one too many
			s.reclaim(blobs)
		}
		if c.answered = true; err != nil {
			failure = failf(CodeInternal, "decoding the response: %w", err)
		}
	case !c.abandoned:
		c.push(message, 0)
	}
	s.local[h.Stream.Slot()].call = nil
	s.pending--
	c.trailers = p.Trailers
	if c.unary && s.serves() {
		s.lone++
	}
	if c.abandoned {
		c.drop()
	}
	c.fail(failure)
	s.freeSlot(h.Stream.Slot())
	s.settleDrain()
	return nil
}

// fail ends c; a nil failure is success. Called with the mutex held.
func (c *Call) fail(f *Failure) {
	c.finished, c.closed, c.over = true, true, true
	c.failure = f
	if c.arrivals != nil && c.partLeft > 0 {
		c.part, c.partLeft = nil, 0
		c.s.release(c.partRoom)
	}
	c.finish()
	c.sendWait.notify()
	if c.unary {
		c.recvWait.release() // c is its caller's from now on
	} else {
		c.recvWait.notify()
	}
}

// abandon lets go of a call: the peer is told, and the slot stays taken until its STATUS. Called with the mutex held.
func (s *Session) abandon(c *Call, why *Failure) {
	if c.abandoned {
		return
	}
	c.why = why
	if c.finished {
		// Where nothing is left to be received it has ended by itself, and goes on saying so.
		c.abandoned = c.arrivals != nil && (len(c.items) > 0 || c.room > 0)
		c.drop()
		s.grant()
		return
	}
	c.abandoned = true
	s.giveUp(c, why)
}

// letGo is how an abandoned call fails for whoever still sends or receives. Called with the mutex held.
func (c *Call) letGo() *Failure {
	if c.why != nil {
		return c.why
	}
	return failf(CodeCanceled, "canceled by the caller")
}

// giveUp tells the peer that nobody wants the rest of a call. Called with the mutex held.
func (s *Session) giveUp(c *Call, why *Failure) {
	c.canceled, c.closed, c.discard, c.over = true, true, true, true
	c.forget()
	s.owe(&c.stream)
	c.owesCancel = true
	c.cancelCode = CodeCanceled
	if why != nil && why.Code == CodeDeadlineExceeded {
		c.cancelCode = CodeDeadlineExceeded
	}
	c.sendWait.notify()
	c.recvWait.notify()
	s.flush(noWait)
}

// sendFailed is how a call fails whose message could not be sent. Called with the mutex held.
func (s *Session) sendFailed(c *Call, err error) *Failure {
	if c.finished && c.failure != nil {
		return c.failure
	}
	f := s.unsent(c, err)
	if c.abandoned && !c.canceled && !c.finished && s.ended == nil {
		s.giveUp(c, f) // a oneway call, which nobody waits for, but whose request the peer does
	}
	s.abandon(c, f)
	return f
}

// unsent is what is wrong where sending a message of c has failed with err. Called with the mutex held.
func (s *Session) unsent(c *Call, err error) *Failure {
	var f *Failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return contextFailure(err)
	case s.ended != nil:
		return s.lostCall(c)
	case err == errSendClosed:
		return failf(CodeInternal, "the peer answered a oneway call before it had the whole request")
	}
	return failf(CodeInvalidArgument, "%w", err) // it cannot be encoded
}

// Send sends a message, waiting for credit within ctx. It returns io.EOF when the peer has ended the call: Receive
// tells how.
func (c *Call) Send(ctx context.Context, m codec.Message) error {
	err := c.send(ctx, m, 0)
	if err == nil {
		return nil
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	switch {
	case c.abandoned:
		return c.letGo()
	case !errors.Is(err, errSendClosed):
		return c.s.sendFailed(c, err)
	case c.sentEnd:
		return failf(CodeFailedPrecondition, "this side has said that no more messages come: send before CloseSend")
	}
	return io.EOF
}

// CloseSend says that no more messages come from this side. How the call ended if that cannot be said any more, Receive tells.
func (c *Call) CloseSend(ctx context.Context) {
	c.sentEnd = true
	if err := c.closeSend(ctx); err != nil && ctx.Err() != nil {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		c.s.abandon(c, contextFailure(ctx.Err()))
	}
}

// Receive decodes the next message into m. It returns io.EOF when the call has ended well, a *Failure when it has
// not.
func (c *Call) Receive(ctx context.Context, m codec.Message) error {
	if _, err := c.receive(ctx, m, nil); err != nil {
		return c.ended(ctx, err)
	}
	return nil
}

// ReceiveNew is Receive that decodes into what fresh makes, which is told how many bytes the message has, at least.
func (c *Call) ReceiveNew(ctx context.Context, fresh func(size int) codec.Message) (codec.Message, error) {
	m, err := c.receive(ctx, nil, fresh)
	if err != nil {
		return nil, c.ended(ctx, err)
	}
	return m, nil
}

// ended is how the call has ended, when receive has failed with err.
func (c *Call) ended(ctx context.Context, err error) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == io.EOF && c.failure != nil && !c.abandoned:
		return c.failure
	case err == io.EOF && c.abandoned:
		return c.letGo()
	case err == io.EOF:
		return io.EOF
	}
	f := failf(CodeInternal, "%w", err)
	if ctx.Err() != nil {
		f = contextFailure(err)
	}
	s.abandon(c, f)
	return f
}

// Trailers are what the handler sent with its end. They are there once Receive has returned io.EOF or a *Failure.
func (c *Call) Trailers() frame.Metadata {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.trailers
}

// Cancel lets go of the call, at once on this side. It does nothing when the call is over.
func (c *Call) Cancel() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.abandon(c, nil)
}

// GiveUp lets go of the call for the reason of a context that has ended. What has come of a call that the peer has ended can
// still be received.
func (c *Call) GiveUp(why error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if !c.finished {
		c.s.abandon(c, contextFailure(why))
	}
}
