package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/transport/mem"
)

// tight are limits that are soon reached. The peer's HELLO agrees.
var tight = Limits{MaxFrame: minFrame, MaxMessage: 40_000, Slots: 4, Window: 4 * minFrame, Raised: 4 * minFrame, Assembly: 40_000}

var tightHello = frame.HelloPayload{MinVersion: 1, MaxVersion: 1, MaxFrame: minFrame, MaxMessage: 40_000, MaxSlots: 4, Window: 4 * minFrame}

// kept is how many bytes of the wire, or for it, the session keeps; most is how many it may, by what PROTOCOL.md says of
// limits.
func (s *Session) kept() (bytes, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	streams := make([]*stream, 0, 2*len(s.local))
	for i := range s.local {
		if c := s.local[i].call; c != nil {
			streams = append(streams, &c.stream)
		}
		if in := s.remote[i].in; in != nil {
			streams = append(streams, in.stream)
		}
	}
	bytes = len(s.out)
	for _, st := range streams {
		if st.arrivals == nil {
			continue
		}
		bytes += len(st.part)
		for _, it := range slices.Concat(st.items, st.batch) {
			bytes += len(it.data)
		}
	}
	return bytes, 2*s.agreed.slots*(s.agreed.maxFrame+s.agreed.window) + s.limits.Raised + s.limits.Assembly
}

// A flood is what a peer sends without end: the frames of round n.
type flood func(n int) []byte

func frameOf(h frame.Header, payload ...byte) []byte {
	h.Length = uint32(len(payload))
	return append(h.Append(nil), payload...)
}

func callOf(method uint64, slot, generation int, flags frame.Flags, message []byte) []byte {
	head := frame.CallPayload{Method: method}
	return frameOf(frame.Header{Type: frame.Call, Flags: flags, Stream: frame.NewStreamID(slot, 0, uint16(generation))}, append(head.Append(nil), message...)...)
}

// once has all slots call a method, and then goes on with more.
func once(method uint64, more func(id frame.StreamID) []byte) flood {
	return func(n int) []byte {
		id := frame.NewStreamID(n%tight.Slots, 0, 1)
		if n < tight.Slots {
			return callOf(method, n, 1, 0, nil)
		}
		return more(id)
	}
}

// TestFloods: a peer that sends without end, and reads nothing, costs no more than the limits say, and what is over a
// limit ends the session.
func TestFloods(t *testing.T) {
	full := make([]byte, tight.MaxFrame-frame.HeaderSize)
	piece := append(binary.LittleEndian.AppendUint32(nil, uint32(tight.MaxMessage)), full[4:]...)
	for _, c := range []struct {
		name  string
		flood flood
		ends  bool // the session ends for what the peer did
	}{
		{"PINGs", func(int) []byte { return frameOf(frame.Header{Type: frame.Ping}) }, false},
		{"credit", once(mSum, func(id frame.StreamID) []byte { return frameOf(frame.Header{Type: frame.Credit, Stream: id, Arg: 1}) }), false},
		{"CANCELs", once(mBlock, func(id frame.StreamID) []byte { return frameOf(frame.Header{Type: frame.Cancel, Stream: id, Arg: 1}) }), false},
		{"messages that nobody takes", once(mEcho, func(id frame.StreamID) []byte {
			return frameOf(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: id}, full...)
		}), true},
		{"empty messages that nobody takes", once(mEcho, func(id frame.StreamID) []byte {
			return frameOf(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: id})
		}), true},
		{"large messages that nobody takes", once(mEcho, func(id frame.StreamID) []byte {
			return frameOf(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: id}, piece...)
		}), true},
		{"messages whose echoes are not read", once(mEchoes, func(id frame.StreamID) []byte {
			return frameOf(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: id}, full...)
		}), true},
		{"calls of a handler that blocks", func(n int) []byte {
			return callOf(mBlock, n%tight.Slots, 1+n/tight.Slots, frame.Msg|frame.End, full[:1000])
		}, true},
		{"calls whose answers are not read", func(n int) []byte { return callOf(mEcho, 0, 1+n, frame.Msg|frame.End, full[:1000]) }, true},
		{"calls of a method that is not there", func(n int) []byte { return callOf(999, 0, 1+n, frame.Msg|frame.End, full[:1000]) }, true},
		{"calls that are given up before they are whole", func(n int) []byte {
			id := frame.NewStreamID(0, 0, uint16(1+n))
			return append(callOf(mEcho, 0, 1+n, 0, nil), frameOf(frame.Header{Type: frame.Cancel, Stream: id, Arg: 1})...)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testFlood(t, c.flood, c.ends) })
		})
	}
}

func testFlood(t *testing.T, flood flood, ends bool) {
	a, b := mem.Pair()
	defer b.Close()
	go b.Write(hello(tightHello))
	s, err := Start(t.Context(), a, Config{Side: 1, Methods: newServer().methods, Limits: tight})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Wait()
	defer s.Close()
	b.SetWriteDeadline(time.Now().Add(5 * time.Second)) // before the session gives up a peer that does not read
	for n := range 10_000 {
		if _, err := b.Write(flood(n)); err != nil {
			break
		}
		if n%100 > 0 {
			continue
		}
		time.Sleep(5 * tickEvery)
		if kept, most := s.kept(); kept > most {
			t.Fatalf("%d bytes are kept after %d rounds, want at most %d", kept, n, most)
		}
	}
	time.Sleep(5 * tickEvery)
	if e := s.Err(); (e != nil) != ends || ends && e.Reason != Protocol {
		t.Errorf("the session ended with %v, want a violation: %v", e, ends)
	}
}

// FuzzBytes: whatever a peer sends from the first byte on, to a side that serves or to one with calls in flight, the
// session ends, with a reason of its own, and so do its calls.
func FuzzBytes(f *testing.F) {
	mine := frame.NewStreamID(0, 0, 1)
	var status frame.StatusPayload
	for _, b := range [][]byte{
		nil, []byte("IPC"), []byte("GET / HTTP/1.1\r\n\r\n"), hello(tightHello), hello(frame.HelloPayload{MinVersion: 2, MaxVersion: 2}),
		append(hello(tightHello), callOf(mEcho, 0, 1, frame.Msg|frame.End, []byte("x"))...),
		append(hello(tightHello), frameOf(frame.Header{Type: frame.Status, Flags: frame.Msg | frame.End, Stream: mine}, append(status.Append(nil), 'x')...)...),
		append(hello(tightHello), frameOf(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: frame.NewStreamID(1, 0, 1)}, 'x')...),
		append(hello(tightHello), frameOf(frame.Header{Type: frame.Credit, Stream: frame.NewStreamID(2, 0, 1), Arg: 100})...),
		append(hello(tightHello), frameOf(frame.Header{Type: frame.GoAway, Arg: uint32(Drained)})...),
	} {
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, sent []byte, serves bool) {
		synctest.Test(t, func(t *testing.T) { testBytes(t, sent, serves) })
	})
}

func testBytes(t *testing.T, sent []byte, serves bool) {
	a, b := mem.Pair()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer b.Close()
	wg.Go(func() { io.Copy(io.Discard, b) })
	wg.Go(func() { b.Write(sent) })
	config := Config{Limits: tight}
	if serves {
		config.Side, config.Methods = 1, newServer().methods
	}
	s, err := Start(t.Context(), a, config)
	var e *EndError
	if err != nil {
		if !errors.As(err, &e) {
			t.Errorf("Start: %v, want an EndError", err)
		}
		return
	}
	defer s.Wait()
	inFlight(&wg, s)
	time.Sleep(5 * tickEvery)
	if kept, most := s.kept(); kept > most {
		t.Errorf("%d bytes are kept, want at most %d", kept, most)
	}
	b.Close()
	<-s.Done()
	if e := s.Err(); e.Reason != PeerGone && e.Reason != Protocol && e.Reason != Refused {
		t.Errorf("the session ended with %v", e)
	}
}

// inFlight starts a call that waits for its answer, one that waits for messages, and one that sends what it may.
func inFlight(wg *sync.WaitGroup, s *Session) {
	ctx := context.Background()
	wg.Go(func() { ask(s, ctx, Outgoing{Method: mEcho}, text("x"), new(blob)) })
	synctest.Wait() // so that each has the slot of its order
	wg.Go(func() {
		c, f := s.Open(ctx, Outgoing{Method: mCount}, text("1"), true)
		for err := error(nil); f == nil && err == nil; {
			err = c.Receive(ctx, new(blob))
		}
	})
	synctest.Wait()
	wg.Go(func() {
		c, f := s.Open(ctx, Outgoing{Method: mSum}, nil, false)
		for err := error(nil); f == nil && err == nil; {
			err = c.Send(ctx, &blob{bytes.Repeat([]byte("x"), 10_000)})
		}
	})
}
