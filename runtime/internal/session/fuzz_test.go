package session

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/transport/mem"
)

// FuzzPeer: whatever a peer sends behind its HELLO, the session ends with a reason of its own, having started no more
// handlers than there are slots, and nothing of it is left.
func FuzzPeer(f *testing.F) {
	id := frame.NewStreamID(0, 0, 1)
	fr := func(h frame.Header, payload ...byte) []byte {
		h.Length = uint32(len(payload))
		return append(h.Append(nil), payload...)
	}
	call := func(m uint64, flags frame.Flags, message ...byte) []byte {
		head := frame.CallPayload{Method: m}
		return fr(frame.Header{Type: frame.Call, Flags: flags, Stream: id}, append(head.Append(nil), message...)...)
	}
	f.Add(call(mEcho, frame.Msg|frame.End, 'x'))
	f.Add(append(call(mSum, 0), fr(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.End, Stream: id}, 'x')...))
	f.Add(append(call(mSum, 0), fr(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: id}, 9, 0, 0, 0, 1)...))
	f.Add(append(call(mBlock, frame.Msg|frame.End), fr(frame.Header{Type: frame.Cancel, Stream: id, Arg: CodeCanceled})...))
	f.Add(append(call(mCount, frame.Msg|frame.End, '9'), fr(frame.Header{Type: frame.Credit, Stream: id, Arg: 100})...))
	f.Add(append(fr(frame.Header{Type: frame.Ping}), fr(frame.Header{Type: frame.GoAway, Arg: uint32(Drained)})...))
	f.Fuzz(func(t *testing.T, sent []byte) {
		a, b := mem.Pair()
		var wg sync.WaitGroup
		shaken := make(chan struct{})
		wg.Go(func() {
			io.CopyN(io.Discard, b, int64(len(frame.Preface)+frame.HeaderSize))
			close(shaken)
			io.Copy(io.Discard, b)
		})
		wg.Go(func() {
			b.Write(hello(goodHello))
			<-shaken
			b.Write(sent)
			b.Close()
		})
		sv := newServer()
		close(sv.release)
		s, err := Start(t.Context(), a, Config{Side: 1, Methods: sv.methods})
		if err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		s.Wait()
		wg.Wait()
		if most := sv.most.Load(); int(most) > s.agreed.slots {
			t.Errorf("%d handlers ran at a time, with %d slots", most, s.agreed.slots)
		}
		switch e := s.Err(); e.Reason {
		case PeerGone, Protocol, Refused:
		default:
			t.Errorf("the session ended with %v", e)
		}
	})
}

// An action is something that a side does with a session; it returns what is wrong with the outcome.
type action func(ctx context.Context, s *Session, n int) error

// actions are the states' ways: each is started while others run.
var actions = [...]action{
	func(ctx context.Context, s *Session, n int) error { // a call, also one that takes several frames
		want := string(bytes.Repeat([]byte{'x'}, n*n*10))
		res := new(blob)
		if f := ask(s, ctx, Outgoing{Method: mEcho}, text(want), res); f != nil {
			return f
		}
		if string(res.b) != want {
			return fmt.Errorf("%d bytes came back of %d", len(res.b), len(want))
		}
		return nil
	},
	func(ctx context.Context, s *Session, n int) error { // a stream that is read to its end
		return receive(ctx, s, n, n)
	},
	func(ctx context.Context, s *Session, n int) error { // one that is left
		return receive(ctx, s, n+1000, n%7)
	},
	func(ctx context.Context, s *Session, n int) error { // a stream to the peer
		c, f := s.Open(ctx, Outgoing{Method: mSum}, nil, false)
		if f != nil {
			return f
		}
		defer c.Cancel()
		for range n {
			if err := c.Send(ctx, text(string(make([]byte, n*20)))); err != nil {
				return err
			}
		}
		c.CloseSend(ctx)
		res := new(blob)
		if err := c.Receive(ctx, res); err != nil {
			return err
		}
		if want := fmt.Sprint(n * n * 20); string(res.b) != want {
			return fmt.Errorf("the sum is %s, want %s", res.b, want)
		}
		return nil
	},
	func(ctx context.Context, s *Session, n int) error { // a call that is given up
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if f := ask(s, ctx, Outgoing{Method: mEcho}, text("x"), new(blob)); f == nil || f.Code != CodeCanceled {
			return fmt.Errorf("a canceled call: got %v", f)
		}
		return nil
	},
	func(ctx context.Context, s *Session, n int) error { // a handler that panics
		if f := ask(s, ctx, Outgoing{Method: mPanic}, text("x"), new(blob)); f == nil || f.Code != CodeInternal {
			return fmt.Errorf("a handler that panics: got %v", f)
		}
		return nil
	},
	func(ctx context.Context, s *Session, n int) error { return s.Ping(ctx) },
}

// receive opens a stream of so many messages and takes some of them.
func receive(ctx context.Context, s *Session, messages, taken int) error {
	c, f := s.Open(ctx, Outgoing{Method: mCount}, text(fmt.Sprint(messages)), true)
	if f != nil {
		return f
	}
	defer c.Cancel()
	for i := range taken {
		if err := c.Receive(ctx, new(blob)); err != nil {
			return fmt.Errorf("message %d of %d: %w", i, messages, err)
		}
	}
	if taken < messages {
		return nil
	}
	if err := c.Receive(ctx, new(blob)); err != io.EOF {
		return fmt.Errorf("behind the last message: %v, want io.EOF", err)
	}
	return nil
}

// FuzzStates has both ends do what the input says, all at a time. Each call comes out as it should, and when all are
// over and the session has been drained, the books of both ends are even: no slot taken, no room reserved, no window
// raised.
func FuzzStates(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6})
	f.Add(bytes.Repeat([]byte{0x83, 0x04, 0xff, 0x7d, 2}, 30))
	f.Add(bytes.Repeat([]byte{0xfe, 0x77}, 120))
	f.Fuzz(func(t *testing.T, steps []byte) {
		s, remote, _ := pair(t, Config{Methods: newServer().methods}, Config{})
		var wg sync.WaitGroup
		for i, b := range steps[:min(len(steps), 400)] {
			wg.Go(func() {
				end := []*Session{s, remote}[i%2]
				if err := actions[int(b)%len(actions)](t.Context(), end, int(b)); err != nil {
					t.Errorf("step %d, action %d: %v", i, int(b)%len(actions), err)
				}
			})
		}
		wg.Wait()
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-remote.Done()
		for name, end := range map[string]*Session{"this side": s, "the peer": remote} {
			end.Wait()
			end.mu.Lock()
			if end.pending != 0 || end.running != 0 || end.reserved != 0 || end.raised != 0 || len(end.free) != end.agreed.slots {
				t.Errorf("%s: %d calls pending, %d running, %d bytes reserved, %d raised, %d of %d slots free", name,
					end.pending, end.running, end.reserved, end.raised, len(end.free), end.agreed.slots)
			}
			end.mu.Unlock()
		}
	})
}
