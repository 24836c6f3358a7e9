// Package session is the protocol between two processes over one byte stream (PROTOCOL.md): calls both ways, streams
// with flow control, deadlines, cancellation, draining, and one error for whatever ends it. It knows no method's
// types; package ipc puts those on top.
//
// The order of events, and the file that each is in:
//
//	session.go    a connection becomes a session, and ends
//	handshake.go  preface and HELLO each way
//	memory.go     from a unix socket into shared memory, where both want it
//	read.go       who reads, and what each frame does
//	write.go      how frames of many goroutines become few writes
//	call.go       a call of this side
//	serve.go      a call of the peer, and where its handler runs
//	stream.go     messages and credit of one stream, either side
//	blob.go       blobs that travel apart from their messages
//
// Everything that several goroutines touch is guarded by the one mutex of the Session; it is never held over I/O, a
// channel that may block, or code of the user. Copying into shared memory is not I/O; that a parked peer is rung for then
// is a system call, which does not wait.
package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/shm"
)

// Config is one side of a session. Methods and Services are shared by all sessions of an endpoint and not changed.
type Config struct {
	Side     uint8 // 0 dialed, 1 listened
	Limits   Limits
	Methods  map[uint64]*Method // by id
	Services []frame.ServiceHash
	Logger   *slog.Logger    // nil: says nothing
	Context  context.Context // handlers' contexts have its values; nil: none
	Memory   Memory
}

// A Method is a method that this side serves.
type Method struct {
	Path string // "echo.v1.Echo/Say"
	// Unary, with NewRequest, is a handler of one message that answers with at most one. Stream is any other.
	NewRequest func() codec.Message
	Unary      func(in *Incoming, req codec.Message) (codec.Message, *Failure)
	Stream     func(in *Incoming) (codec.Message, *Failure)

	pace pace
}

// A Session is one connection to a peer. All its methods may be called by any goroutine.
type Session struct {
	conn   transport.Conn
	try    transport.TryWriter    // conn, when it can write without waiting; else nil
	memory transport.MemoryWriter // conn, when it copies into memory: cheap enough for the mutex to be held; else nil
	cfg    Config
	limits Limits
	peer   transport.Peer
	hello  *frame.HelloPayload // the peer's
	agreed agreed
	shared memory
	blobs  *blobs // nil: they travel like other bytes
	decode codec.Options
	done   chan struct{} // closed when the session has ended
	calls  sync.Pool     // of *Call, for unary calls
	wg     sync.WaitGroup

	mu    sync.Mutex
	ended *EndError // nil while it lives

	// Calls of this side.
	local   []localSlot
	free    []int // slots never used or used before, last freed first
	pending int   // calls whose STATUS has not come
	queue   []*slotWaiter
	alarm   *time.Timer // rings when a call's deadline passes
	alarmAt int64       // of nanos; 0: not set
	// Calls of the peer.
	remote  []remoteSlot
	running int
	// Draining.
	leaving     bool // this side sent GOAWAY
	peerLeaving bool
	quiet       chan struct{}   // closed when a drain has nothing left to wait for; nil unless draining
	pings       []chan struct{} // wait for the answer to the PING that is on its way
	laterPings  []chan struct{} // came after it, and want one of their own

	// Reading (read.go). The holder of the role owns buf, r and w.
	role    role
	inline  *Incoming // the call whose handler runs on the reading goroutine
	ahead   ahead     // for the peer's next call
	relieve bool      // the borrower is to give the role back
	moves   uint64    // counts what the role did, so that the tick sees a standstill
	seen    uint64    // moves at the last tick
	ticking bool
	ticker  *time.Timer
	lone    int           // reads in a row that found at most one call waiting; where this side serves, answers (lend)
	wake    chan struct{} // gives the role back to the session's own goroutine
	buf     []byte
	r, w    int
	now     int64 // when what is in buf came; 0: nobody has asked yet
	place   place
	short   bool   // a piece of a message came last: the next one is better read into its place
	apart   *apart // the blobs of the frame that is being handled, until somebody has taken them over; nil: it has none

	// Writing (write.go).
	out, spare []byte
	writing    bool
	failed     *EndError // why a write failed: nothing more is sent, what has come is still read
	due        []*stream // owe a CREDIT or CANCEL
	pong       bool
	room       []*waiter
	queued     uint64 // bytes ever appended to out
	handed     uint64 // of them, those that a write has begun with

	// Budgets for messages that arrive (stream.go).
	raised   int
	reserved int
	starved  []*stream
}

// An ahead is what a call of the peer's needs, made while nobody waits for it.
type ahead struct {
	in     *Incoming // nil: it is made when the call comes
	method *Method   // of the last call
	req    codec.Message
}

// epoch is what nanos counts from.
var epoch = time.Now()

// nanos returns the time in nanoseconds since the epoch, of a clock that never jumps.
func nanos() int64 { return int64(time.Since(epoch)) }

// Start makes a session of conn: it shakes hands within ctx and the limit for it, and begins to read. It owns conn
// from now on, also when it fails. The error is an *EndError or ctx's.
func Start(ctx context.Context, conn transport.Conn, cfg Config) (*Session, error) {
	s := &Session{
		conn: conn, cfg: cfg, peer: conn.Peer(),
		done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	s.limits = cfg.Limits.withDefaults(s.peer.SameUser)
	s.decode = codec.Options{MaxDepth: s.limits.Depth}
	if s.cfg.Logger == nil {
		s.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if s.cfg.Context == nil {
		s.cfg.Context = context.Background()
	}
	if err := s.handshake(ctx); err != nil {
		conn.Close()
		var e *EndError
		if errors.As(err, &e) {
			e.Peer = s.peer.Address
		}
		return nil, err
	}
	s.try, _ = s.conn.(transport.TryWriter) // which the handshake may have changed
	s.memory, _ = s.conn.(transport.MemoryWriter)
	s.local = make([]localSlot, s.agreed.slots)
	s.remote = make([]remoteSlot, s.agreed.slots)
	for i := range s.agreed.slots {
		s.free = append(s.free, s.agreed.slots-1-i)
	}
	s.ticker = time.AfterFunc(time.Hour, s.tick)
	s.ticker.Stop()
	s.alarm = time.AfterFunc(time.Hour, s.ring)
	s.alarm.Stop()
	s.wg.Add(1)
	go s.readLoop()
	return s, nil
}

// Peer tells who is at the other end.
func (s *Session) Peer() transport.Peer { return s.peer }

// PeerHello is what the peer said of itself.
func (s *Session) PeerHello() *frame.HelloPayload { return s.hello }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session ended, or nil while it lives.
func (s *Session) Err() *EndError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// Running are the methods of the peer's calls whose handlers run.
func (s *Session) Running() (paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.remote {
		if in := s.remote[i].in; in != nil && in.started {
			paths = append(paths, in.method.Path)
		}
	}
	return paths
}

// Wait returns once the session has ended and its goroutines and handlers have returned.
func (s *Session) Wait() { s.wg.Wait() }

// Close ends the session now. Calls that run fail on both sides.
func (s *Session) Close() { s.end(&EndError{Reason: Closed, Err: errClosed}) }

// errClosed says no more than that the session was closed.
var errClosed = errors.New("this side closed it")

// Drain tells the peer that the session is to end, lets the calls of both sides finish, and ends it; when ctx ends
// first, the calls that still run fail. It returns an error only in that case.
func (s *Session) Drain(ctx context.Context) error {
	s.mu.Lock()
	if s.ended == nil && !s.leaving {
		s.leaving = true
		s.appendFrame(frame.Header{Type: frame.GoAway, Arg: uint32(Drained)}, []byte("draining"))
		s.refuseQueued()
	}
	if s.quiet == nil {
		s.quiet = make(chan struct{})
	}
	quiet := s.quiet
	s.mu.Unlock()

	// Calls that crossed the GOAWAY have come when the peer has answered a PING behind it.
	err := s.Ping(ctx)
	s.mu.Lock()
	s.settleDrain()
	s.mu.Unlock()
	if err == nil {
		select {
		case <-quiet:
			err = s.flushAll(ctx)
		case <-s.done:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err == nil || ctx.Err() == nil { // or the session ended by itself, and with it the calls
		s.end(endf(Drained, "drained"))
		return nil
	}
	s.end(endf(Closed, "the time was over in which calls could finish"))
	return err
}

// settleDrain ends the wait of a drain when no call is left. Called with the mutex held.
func (s *Session) settleDrain() {
	if s.quiet == nil || s.pending > 0 || s.running > 0 || len(s.pings) > 0 {
		return
	}
	select {
	case <-s.quiet:
	default:
		close(s.quiet)
	}
}

// Ping returns when the peer has answered.
func (s *Session) Ping(ctx context.Context) error {
	answer := make(chan struct{})
	s.mu.Lock()
	if s.ended != nil {
		defer s.mu.Unlock()
		return s.ended
	}
	if len(s.pings) > 0 {
		s.laterPings = append(s.laterPings, answer) // the answer under way says nothing of what was sent since
	} else {
		s.pings = append(s.pings, answer)
		s.appendFrame(frame.Header{Type: frame.Ping}, nil)
	}
	s.toReader()
	s.flush(noWait)
	s.mu.Unlock()
	select {
	case <-answer:
		return nil
	case <-s.done:
		return s.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end ends the session for the reason of the first call; later ones do nothing. It tells the peer when the peer is
// at fault, fails every call of this side, and ends the contexts of the peer's calls.
func (s *Session) end(e *EndError) {
	s.mu.Lock()
	if s.ended != nil {
		s.mu.Unlock()
		return
	}
	if e.Peer == "" {
		e.Peer = s.peer.Address
	}
	s.ended = e
	s.ticker.Stop()
	s.alarm.Stop()
	var farewell []byte
	if !s.writing && s.failed == nil && (e.Reason == Protocol || e.Reason == Closed) {
		s.collect()
		why := ""
		if e.Err != errClosed {
			why = cutText(e.Err.Error(), frame.MaxGoAwayText)
		}
		s.appendFrame(frame.Header{Type: frame.GoAway, Arg: uint32(e.Reason)}, []byte(why))
		farewell = s.out
	}
	for i := range s.local {
		if c := s.local[i].call; c != nil {
			s.local[i].call = nil
			if c.abandoned {
				c.drop()
			}
			c.fail(s.lostCall(c))
		}
	}
	var running []*Incoming
	for i := range s.remote {
		if in := s.remote[i].in; in != nil {
			running = append(running, in)
			in.recvWait.notify()
			in.sendWait.notify()
			if !in.started {
				s.remote[i].in = nil
				s.running--
				in.drop()
			}
		}
	}
	s.refuseQueued()
	for _, w := range s.room {
		w.notify()
	}
	s.room, s.due, s.starved = nil, nil, nil // else they would keep streams that the program lets go of
	if s.blobs != nil {
		s.blobs.end()
	}
	s.mu.Unlock()

	if farewell != nil && s.try != nil {
		s.try.TryWrite(farewell) // best effort: the session is over either way
	}
	s.conn.Close()
	close(s.done)
	for _, in := range running {
		in.cancel(context.Canceled)
	}
	if e.Reason != Closed && e.Reason != Drained && e.Reason != PeerGone {
		s.cfg.Logger.Warn("ipc session ended", "peer", s.peer.Address, "reason", e.Reason.String(), "error", e.Err)
	}
}

// lostCall is how a call fails whose session ended.
func (s *Session) lostCall(c *Call) *Failure {
	f := failf(CodeUnavailable, "%w", s.ended)
	f.NotExecuted = s.handed <= c.mark
	return f
}

// ioError names the reason behind an error of the connection.
func ioError(what string, err error) *EndError {
	if op, ok := err.(*net.OpError); ok && op.Addr != nil {
		err = op.Err // without addresses, which are as the kernel has them: a unix socket's is where its file was made
	}
	switch {
	case err == io.EOF:
		return endf(PeerGone, "the peer closed the connection or died")
	case errors.Is(err, io.EOF): // the transport knows more: how a child ended
		return endf(PeerGone, "the peer closed the connection or died: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return endf(PeerGone, "the peer closed the connection or died in the middle of a frame")
	case errors.Is(err, shm.ErrBroken):
		return endf(Protocol, "%s: %w", what, err)
	case goneError(err):
		return endf(PeerGone, "%s: %w", what, err)
	default:
		return endf(Broken, "%s: %w", what, err)
	}
}
