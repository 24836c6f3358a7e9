package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/transport"
)

// What happens to calls that end in the middle of something: of a message, of a write, of another wait.

// firstPiece is the payload of the first piece of a message of so many bytes.
func firstPiece(total int, piece []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(total)), piece...)
}

var success = (&frame.StatusPayload{}).Append(nil)

// TestCancelInsideAMessage: the rest of an answer, and its STATUS, may have crossed the CANCEL. What had come is given up at
// once, so that others have its room.
func TestCancelInsideAMessage(t *testing.T) {
	s, p := script(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *Failure, 1)
	go func() { done <- ask(s, ctx, Outgoing{Method: mEcho}, text("x"), new(blob)) }()
	id := p.expect(frame.Call).Stream
	p.send(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: id}, firstPiece(2<<20, make([]byte, 10_000))...)
	p.settled()
	cancel()
	if f := <-done; f == nil || f.Code != CodeCanceled {
		t.Errorf("got %+v", f)
	}
	p.until(frame.Cancel)
	s.mu.Lock()
	if s.reserved != 0 {
		t.Errorf("%d bytes are reserved for nobody", s.reserved)
	}
	s.mu.Unlock()
	p.send(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: id}, make([]byte, 10_000)...)
	p.send(frame.Header{Type: frame.Status, Flags: frame.End, Stream: id}, success...)
	p.settled()
	if err := s.Err(); err != nil {
		t.Errorf("the session has ended: %v", err)
	}
}

// TestHandlerEndsInsideAMessage: a handler that takes no notice of a failed Send has not succeeded, and nothing comes behind
// half a message.
func TestHandlerEndsInsideAMessage(t *testing.T) {
	after := make(chan error, 1)
	m := &Method{Path: "x", Stream: func(in *Incoming) (codec.Message, *Failure) {
		if err := in.Receive(new(blob)); err != nil {
			t.Error(err)
		}
		in.Send(&blob{make([]byte, 1<<20)})
		after <- in.Send(text("small"))
		return nil, nil
	}}
	_, p := scriptWith(t, Config{Side: 1, Methods: map[uint64]*Method{1: m}}, goodHello)
	if _, err := p.conn.Write(callOf(1, 0, 1, frame.Msg|frame.End, nil)); err != nil {
		t.Fatal(err)
	}
	id := p.expect(frame.Data).Stream
	p.send(frame.Header{Type: frame.Cancel, Stream: id, Arg: CodeCanceled})
	for {
		h := p.next()
		if h.Type == frame.Status {
			if h.Arg != CodeCanceled {
				t.Errorf("the STATUS of half a message has the code %d", h.Arg)
			}
			break
		}
		if h.Type == frame.Data && h.Flags&frame.More == 0 {
			t.Error("a message that is not whole was finished")
		}
	}
	if err := <-after; err != context.Canceled {
		t.Errorf("sending behind half a message: %v", err)
	}
}

// TestGivenUpBeforeTheEnd: how a call fails that was given up does not change with the end of the session.
func TestGivenUpBeforeTheEnd(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	c, f := s.Open(ctx, Outgoing{Method: mEchoes}, nil, false)
	if f != nil {
		t.Fatal(f)
	}
	cancel()
	c.GiveUp(ctx.Err())
	s.Close()
	for what, err := range map[string]error{"Receive": c.Receive(ctx, new(blob)), "Send": c.Send(ctx, text("x"))} {
		if f := (*Failure)(nil); !errors.As(err, &f) || f.Code != CodeCanceled {
			t.Errorf("%s: got %v, want CANCELLED", what, err)
		}
	}
}

// TestOnewayGivenUp: the peer is told, else it would wait for the rest of the request, and both would keep the slot.
func TestOnewayGivenUp(t *testing.T) {
	s, p := script(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *Failure, 1)
	go func() { done <- s.Oneway(ctx, Outgoing{Method: mEcho}, &blob{make([]byte, 1<<20)}) }()
	id := p.expect(frame.Call).Stream
	p.expect(frame.Data)
	cancel()
	p.until(frame.Cancel)
	if f := <-done; f == nil || f.Code != CodeCanceled {
		t.Errorf("got %+v", f)
	}
	p.send(frame.Header{Type: frame.Status, Flags: frame.End, Arg: CodeCanceled, Stream: id}, success...)
	p.settled()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending != 0 {
		t.Errorf("%d calls are pending", s.pending)
	}
}

// TestOnewayAnsweredInside: a oneway call that is answered with a message before its request is whole has failed, by the
// peer's fault.
func TestOnewayAnsweredInside(t *testing.T) {
	s, p := script(t)
	done := make(chan *Failure, 1)
	go func() { done <- s.Oneway(t.Context(), Outgoing{Method: mEcho}, &blob{make([]byte, 1<<20)}) }()
	id := p.expect(frame.Call).Stream
	p.expect(frame.Data)
	p.send(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: id}, 'x')
	p.until(frame.Cancel)
	if f := <-done; f == nil || f.Code != CodeInternal {
		t.Errorf("got %+v, want INTERNAL", f)
	}
}

// TestOnewayWithALargeAnswer: what a oneway call is answered with, by a peer to which it is none, does not wait for credit that
// nobody gives.
func TestOnewayWithALargeAnswer(t *testing.T) {
	s, peer, _ := pair(t, Config{Limits: Limits{Slots: 1}}, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range 3 {
		if f := s.Oneway(ctx, Outgoing{Method: mEcho}, &blob{make([]byte, 1<<20)}); f != nil {
			t.Fatal(f)
		}
	}
	if f := ask(s, ctx, Outgoing{Method: mEcho}, text("x"), new(blob)); f != nil {
		t.Error(f)
	}
	if n := len(peer.Running()); n > 0 {
		t.Errorf("%d handlers run", n)
	}
}

// TestGone is how a session ends whose peer was killed: the address of a unix socket is where its file was made, which is gone.
func TestGone(t *testing.T) {
	e := ioError("reading", &net.OpError{Op: "read", Net: "unix", Addr: &net.UnixAddr{Name: "/run/.31469040/s", Net: "unix"}, Err: io.ErrClosedPipe})
	if got, want := e.Err.Error(), "reading: io: read/write on closed pipe"; got != want || e.Reason != PeerGone {
		t.Errorf("got %v: %s, want %v: %s", e.Reason, got, PeerGone, want)
	}
}

// TestSmallFrames: no frame is larger than the peer takes, though a stream's window has room for it.
func TestSmallFrames(t *testing.T) {
	small := goodHello
	small.MaxFrame = 5000
	s, p := scriptWith(t, Config{}, small)
	go func() {
		c, f := s.Open(t.Context(), Outgoing{Method: mSum}, nil, false)
		if f != nil {
			t.Error(f)
			return
		}
		if err := c.Send(t.Context(), &blob{make([]byte, 10_000)}); err != nil {
			t.Error(err)
		}
	}()
	p.expect(frame.Call)
	for sum := 0; sum < 10_004; {
		h := p.expect(frame.Data)
		if h.Length > small.MaxFrame {
			t.Errorf("a frame of %d bytes", h.Length)
		}
		sum += int(h.Length)
	}
	md := frame.Metadata{"a": string(make([]byte, 5000))}
	f := ask(s, t.Context(), Outgoing{Method: mEcho, Metadata: md}, text("x"), new(blob))
	if f == nil || f.Code != CodeInvalidArgument || !f.NotExecuted {
		t.Errorf("metadata that does not fit: got %+v", f)
	}
}

// TestTrailersThatDoNotFit: they fail the call, not the session.
func TestTrailersThatDoNotFit(t *testing.T) {
	s, _, sv := pair(t, Config{Limits: Limits{MaxFrame: minFrame}}, Config{})
	sv.methods[mEcho].Unary = func(in *Incoming, req codec.Message) (codec.Message, *Failure) {
		if err := in.SetTrailer("a", string(bytes.Repeat([]byte("x"), minFrame))); err != nil {
			t.Error(err)
		}
		return req, nil
	}
	for range 2 {
		if _, f := call(s, mEcho, "x"); f == nil || f.Code != CodeResourceExhausted {
			t.Errorf("got %+v", f)
		}
	}
}

// TestDeadlinesOfSenders: whatever a sender waits for, its time is kept, though the peer reads nothing, or gives no credit.
func TestDeadlinesOfSenders(t *testing.T) {
	const limit = time.Second
	for _, c := range []struct {
		name string
		read bool // the peer reads
		run  func(ctx context.Context, s *Session) error
	}{
		{"a large request without credit", true, func(_ context.Context, s *Session) error {
			return asError(ask(s, context.Background(), Outgoing{Method: mEcho, Timeout: limit}, &blob{make([]byte, 1<<20)}, new(blob)))
		}},
		{"a large oneway request without credit", true, func(_ context.Context, s *Session) error {
			return asError(s.Oneway(context.Background(), Outgoing{Method: mEcho, Timeout: limit}, &blob{make([]byte, 1<<20)}))
		}},
		{"a large request that is not read", false, func(_ context.Context, s *Session) error {
			return asError(ask(s, context.Background(), Outgoing{Method: mEcho, Timeout: limit}, &blob{make([]byte, 1<<20)}, new(blob)))
		}},
		{"small requests that are not read", false, func(ctx context.Context, s *Session) error {
			for {
				if f := s.Oneway(ctx, Outgoing{Method: mEcho}, &blob{make([]byte, 10_000)}); f != nil {
					return f
				}
			}
		}},
		{"a stream that is not read", false, func(ctx context.Context, s *Session) error { return sendWithout(ctx, s, 10_000) }},
		{"a stream of large messages that is not read", false, func(ctx context.Context, s *Session) error { return sendWithout(ctx, s, 60_000) }},
		{"the end of a stream without credit", true, func(ctx context.Context, s *Session) error {
			c, f := s.Open(ctx, Outgoing{Method: mSum}, nil, false)
			if f != nil {
				return f
			}
			for range 16 { // the window
				if err := c.Send(ctx, &blob{make([]byte, 4<<10-frame.HeaderSize)}); err != nil {
					return err
				}
			}
			c.CloseSend(ctx)
			return ctx.Err()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := script(t)
				if c.read {
					go io.Copy(io.Discard, p.conn)
				}
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				begin := time.Now()
				err := c.run(ctx, s)
				var f *Failure
				if !errors.Is(err, context.DeadlineExceeded) && !(errors.As(err, &f) && f.Code == CodeDeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(begin); took != limit {
					t.Errorf("it took %v, not %v", took, limit)
				}
			})
		})
	}
}

func asError(f *Failure) error {
	if f == nil {
		return nil
	}
	return f
}

// sendWithout sends messages of so many bytes until that fails.
func sendWithout(ctx context.Context, s *Session, size int) error {
	c, f := s.Open(ctx, Outgoing{Method: mSum}, nil, false)
	if f != nil {
		return f
	}
	for {
		if err := c.Send(ctx, &blob{make([]byte, size)}); err != nil {
			return err
		}
	}
}

// TestDrainBesideAPing: a drain is over when its calls are, whoever else waits for an answer to a PING.
func TestDrainBesideAPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := script(t)
		drained, pinged := make(chan error, 1), make(chan error, 1)
		go func() { drained <- s.Drain(context.Background()) }()
		p.until(frame.Ping)
		go func() { pinged <- s.Ping(context.Background()) }()
		synctest.Wait()
		p.send(frame.Header{Type: frame.Ping, Flags: frame.Ack})
		p.until(frame.Ping)
		synctest.Wait()
		p.send(frame.Header{Type: frame.Ping, Flags: frame.Ack})
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
		<-pinged // its answer, or the end of the session
	})
}

// TestAnEndedCallIsNotWokenForRoom: a request that is answered before it was sent leaves nothing behind.
func TestAnEndedCallIsNotWokenForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := script(t)
		for _, n := range []int{2, 6} { // what is being written, and what waits behind it
			for range n {
				go ask(s, t.Context(), Outgoing{Method: mEcho}, &blob{make([]byte, 60_000)}, new(blob))
			}
			synctest.Wait()
		}
		done := make(chan *Failure, 1)
		go func() { done <- ask(s, t.Context(), Outgoing{Method: mEcho}, &blob{make([]byte, 200_000)}, new(blob)) }()
		synctest.Wait()
		waiting := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.room)
		}
		before := waiting()
		p.send(frame.Header{Type: frame.Status, Flags: frame.End, Arg: CodeUnimplemented, Stream: frame.NewStreamID(8, 0, 1)}, success...)
		if f := <-done; f == nil || f.Code != CodeUnimplemented {
			t.Errorf("got %+v", f)
		}
		if after := waiting(); before == 0 || after != before-1 {
			t.Errorf("%d wait for room, %d did before", after, before)
		}
	})
}

// TestCloseBehindTheEnd: messages that are not wanted, of a call that has ended, give back their room.
func TestCloseBehindTheEnd(t *testing.T) {
	s, p := script(t)
	opened := make(chan *Call, 1)
	go func() {
		c, f := s.Open(t.Context(), Outgoing{Method: mCount}, text("x"), true)
		if f != nil {
			t.Error(f)
		}
		opened <- c
	}()
	id := p.expect(frame.Call).Stream
	c := <-opened
	for range 2 {
		p.send(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: id}, firstPiece(20_000, make([]byte, 10_000))...)
		p.send(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: id}, make([]byte, 10_000)...)
	}
	p.send(frame.Header{Type: frame.Status, Flags: frame.End, Stream: id}, success...)
	p.settled()
	if err := c.Receive(t.Context(), new(blob)); err != nil {
		t.Fatal(err)
	}
	c.Cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserved != 0 {
		t.Errorf("%d bytes are reserved for nobody", s.reserved)
	}
}

// held is a Conn whose next TryWrite can be held back.
type held struct {
	transport.Conn
	begun, goOn chan struct{} // nil: it is not
}

// hold has the next write of s wait for goOn when it has begun.
func (h *held) hold(s *Session) (begun, goOn chan struct{}) {
	begun, goOn = make(chan struct{}), make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	h.begun, h.goOn = begun, goOn
	return begun, goOn
}

func (h *held) TryWrite(b []byte) (int, error) {
	if begun, goOn := h.begun, h.goOn; begun != nil {
		h.begun, h.goOn = nil, nil
		close(begun)
		<-goOn
	}
	return h.Conn.Write(b)
}

// TestCancelDuringALargeFrame: what is owed since a large frame is being written leaves behind it, though nothing is queued.
func TestCancelDuringALargeFrame(t *testing.T) {
	conn := new(held)
	s, p := scriptOver(t, conn, Config{}, goodHello)
	var calls [2]*Call
	for i := range calls {
		c, f := s.Open(t.Context(), Outgoing{Method: mSum}, nil, false)
		if f != nil {
			t.Fatal(f)
		}
		calls[i] = c
		p.expect(frame.Call)
	}
	if err := calls[0].Send(t.Context(), text("the first leaves at once")); err != nil {
		t.Fatal(err)
	}
	p.expect(frame.Data)
	begun, goOn := conn.hold(s)
	sent := make(chan error, 1)
	go func() { sent <- calls[0].Send(t.Context(), &blob{make([]byte, 9000)}) }()
	<-begun
	calls[1].Cancel()
	close(goOn)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	p.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	p.until(frame.Cancel)
}

// TestCancelDuringAPiece: so does the CANCEL of the call whose message it is a piece of.
func TestCancelDuringAPiece(t *testing.T) {
	conn := new(held)
	s, p := scriptOver(t, conn, Config{}, goodHello)
	c, f := s.Open(t.Context(), Outgoing{Method: mSum}, nil, false)
	if f != nil {
		t.Fatal(f)
	}
	p.expect(frame.Call)
	begun, goOn := conn.hold(s)
	sent := make(chan error, 1)
	go func() { sent <- c.Send(t.Context(), &blob{make([]byte, 1<<20)}) }()
	<-begun
	c.Cancel()
	close(goOn)
	p.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	p.until(frame.Cancel)
	if err := <-sent; err == nil {
		t.Error("half a message was sent, and no error")
	}
}

// TestFramesOfOneSlotKeepTheirOrder: a large frame that waits to be written is not overtaken by the next call in its slot.
func TestFramesOfOneSlotKeepTheirOrder(t *testing.T) {
	conn := new(held)
	s, p := scriptOver(t, conn, Config{}, goodHello)
	opened := make(chan *Call, 1)
	go func() {
		c, f := s.Open(t.Context(), Outgoing{Method: mSum}, nil, false)
		if f != nil {
			t.Error(f)
		}
		opened <- c
	}()
	id := p.expect(frame.Call).Stream
	c := <-opened
	begun, goOn := make(chan struct{}), make(chan struct{})
	p.settled()
	s.mu.Lock()
	for s.writing { // the answer to that
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
	}
	s.appendFrame(frame.Header{Type: frame.Ping, Flags: frame.Ack}, nil) // something that is to be written before
	conn.begun, conn.goOn = begun, goOn
	s.mu.Unlock()
	go c.Send(t.Context(), &blob{make([]byte, 9000)})
	<-begun
	p.send(frame.Header{Type: frame.Status, Flags: frame.End, Arg: CodeInternal, Stream: id}, success...)
	if err := c.Receive(t.Context(), new(blob)); err == nil {
		t.Error("no failure")
	}
	go ask(s, t.Context(), Outgoing{Method: mEcho}, text("new"), new(blob))
	for queued := false; !queued; runtime.Gosched() {
		s.mu.Lock()
		queued = s.pending == 1
		s.mu.Unlock()
	}
	close(goOn)
	p.expect(frame.Ping)
	if h := p.expect(frame.Data); h.Stream != id {
		t.Errorf("DATA of %#x", uint32(h.Stream))
	}
	if h := p.expect(frame.Call); h.Stream.Slot() != id.Slot() {
		t.Errorf("the new call is in slot %d", h.Stream.Slot())
	}
}

// TestCancelEndsReceive: who receives need not wait until the peer has noticed that the call was given up.
func TestCancelEndsReceive(t *testing.T) {
	s, p := script(t)
	go func() {
		c, f := s.Open(t.Context(), Outgoing{Method: mEchoes}, nil, false)
		if f != nil {
			t.Error(f)
			return
		}
		time.AfterFunc(10*time.Millisecond, c.Cancel)
		for _, when := range []string{"while it waits", "later"} {
			var f *Failure
			if err := c.Receive(t.Context(), new(blob)); !errors.As(err, &f) || f.Code != CodeCanceled {
				t.Errorf("%s: got %v", when, err)
			}
		}
		s.Close()
	}()
	p.expect(frame.Call)
	p.expect(frame.Cancel)
	select {
	case <-s.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("Receive goes on")
	}
}

// TestLateBeforeItWaits: a call whose time is over before it waits for its answer does not wait.
func TestLateBeforeItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := new(held)
		s, _ := scriptOver(t, conn, Config{}, goodHello)
		begun, goOn := conn.hold(s)
		call := func(timeout time.Duration) chan *Failure {
			failed := make(chan *Failure, 1)
			go func() {
				failed <- ask(s, t.Context(), Outgoing{Method: mEcho, Timeout: timeout}, text("x"), new(blob))
			}()
			return failed
		}
		first := call(time.Second) // it is held back while it is written
		<-begun
		if f := <-call(2 * time.Second); f == nil || f.Code != CodeDeadlineExceeded { // whose alarm is the first one's, too
			t.Errorf("the second: got %+v", f)
		}
		close(goOn)
		if f := <-first; f == nil || f.Code != CodeDeadlineExceeded {
			t.Errorf("the first: got %+v", f)
		}
	})
}
