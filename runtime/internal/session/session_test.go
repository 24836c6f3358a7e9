package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// blob is a message of bytes alone.
type blob struct{ b []byte }

func text(s string) *blob { return &blob{[]byte(s)} }

func (m *blob) Size() int                              { return len(m.b) }
func (m *blob) MarshalAppend(b []byte) ([]byte, error) { return append(b, m.b...), nil }
func (m *blob) Unmarshal(b []byte) error {
	if bytes.HasPrefix(b, []byte("undecodable")) {
		return errors.New("undecodable")
	}
	m.b = append([]byte(nil), b...)
	return nil
}

// The methods of the test server.
const (
	mEcho uint64 = iota + 1
	mBlock
	mPanic
	mExit
	mCount  // server stream: as many messages as the request says
	mSum    // client stream: how many bytes came
	mEchoes // bidirectional
	mCallBack
	mMeta
	mKeepContext
)

type server struct {
	methods map[uint64]*Method
	release chan struct{}
	running atomic.Int32
	most    atomic.Int32
	ctxErr  chan error
	kept    []*Incoming // of mKeepContext, whose calls come one at a time
}

func unary(f func(in *Incoming, req *blob) (codec.Message, *Failure)) *Method {
	return &Method{NewRequest: func() codec.Message { return new(blob) },
		Unary: func(in *Incoming, req codec.Message) (codec.Message, *Failure) { return f(in, req.(*blob)) }}
}

func newServer() *server {
	sv := &server{release: make(chan struct{}), ctxErr: make(chan error, 1000)}
	sv.methods = map[uint64]*Method{
		mEcho: unary(func(_ *Incoming, req *blob) (codec.Message, *Failure) { return req, nil }),
		mBlock: unary(func(in *Incoming, req *blob) (codec.Message, *Failure) {
			n := sv.running.Add(1)
			defer sv.running.Add(-1)
			for {
				most := sv.most.Load()
				if n <= most || sv.most.CompareAndSwap(most, n) {
					break
				}
			}
			select {
			case <-sv.release:
				return req, nil
			case <-in.Done():
				sv.ctxErr <- in.Err()
				return nil, contextFailure(in.Err())
			}
		}),
		mKeepContext: unary(func(in *Incoming, req *blob) (codec.Message, *Failure) {
			sv.kept = append(sv.kept, in)
			return req, nil
		}),
		mPanic: unary(func(*Incoming, *blob) (codec.Message, *Failure) { panic("boom") }),
		mExit: unary(func(*Incoming, *blob) (codec.Message, *Failure) {
			exitGoroutine()
			return nil, nil
		}),
		mCallBack: unary(func(in *Incoming, req *blob) (codec.Message, *Failure) {
			res := new(blob)
			if f := ask(in.Session(), in, Outgoing{Method: mEcho}, req, res); f != nil {
				return nil, f
			}
			return text("back: " + string(res.b)), nil
		}),
		mMeta: unary(func(in *Incoming, req *blob) (codec.Message, *Failure) {
			in.SetTrailer("seen", in.Metadata()["key"])
			return req, &Failure{Code: 9, Text: "no", Details: []frame.Detail{{Type: "a.B", Value: []byte("x")}}}
		}),
		mCount: {Stream: func(in *Incoming) (codec.Message, *Failure) {
			req := new(blob)
			if err := in.Receive(req); err != nil {
				return nil, failf(CodeInternal, "%w", err)
			}
			var n, size int
			fmt.Sscan(string(req.b), &n, &size)
			for i := range n {
				m := make([]byte, min(max(size, 0), 8<<20)) // a hostile peer asks for anything
				copy(m, fmt.Sprint(i))
				if err := in.Send(&blob{m}); err != nil {
					sv.ctxErr <- err
					return nil, failf(CodeCanceled, "%w", err)
				}
			}
			return nil, nil
		}},
		mSum: {Stream: func(in *Incoming) (codec.Message, *Failure) {
			n, m := 0, new(blob)
			for {
				switch err := in.Receive(m); err {
				case nil:
					n += len(m.b)
				case io.EOF:
					return text(fmt.Sprint(n)), nil
				default:
					sv.ctxErr <- err
					return nil, failf(CodeInternal, "%w", err)
				}
			}
		}},
		mEchoes: {Stream: func(in *Incoming) (codec.Message, *Failure) {
			m := new(blob)
			for {
				switch err := in.Receive(m); err {
				case nil:
				case io.EOF:
					return nil, nil
				default:
					return nil, failf(CodeInternal, "%w", err)
				}
				if err := in.Send(m); err != nil {
					return nil, failf(CodeCanceled, "%w", err)
				}
			}
		}},
	}
	for id, m := range sv.methods {
		m.Path = fmt.Sprint("test/", id)
	}
	return sv
}

// pair returns a session and the server at its other end.
func pair(t *testing.T, client, serve Config) (*Session, *Session, *server) {
	t.Helper()
	sv := newServer()
	a, b := mem.Pair()
	serve.Side, serve.Methods = 1, sv.methods
	var remote *Session
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { remote, err = Start(t.Context(), b, serve) })
	local, cerr := Start(t.Context(), a, client)
	wg.Wait()
	if err != nil || cerr != nil {
		t.Fatalf("handshake: client %v, server %v", cerr, err)
	}
	t.Cleanup(func() {
		local.Close()
		remote.Close()
		local.Wait()
		remote.Wait()
	})
	return local, remote, sv
}

// ask is Unary whose answer is decoded into res.
func ask(s *Session, ctx context.Context, o Outgoing, req, res codec.Message) *Failure {
	_, f := s.Unary(ctx, o, req, func() codec.Message { return res })
	return f
}

func call(s *Session, method uint64, req string) (string, *Failure) {
	res := new(blob)
	f := ask(s, context.Background(), Outgoing{Method: method}, text(req), res)
	return string(res.b), f
}

func TestUnary(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	for i := range 100 {
		want := fmt.Sprint("hello ", i)
		if got, f := call(s, mEcho, want); f != nil || got != want {
			t.Fatalf("got %q, %v, want %q", got, f, want)
		}
	}
}

func TestUnarySizes(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	for _, n := range []int{0, 1, 1000, 16 << 10, 64<<10 - 50, 64 << 10, 65 << 10, 200 << 10, 4 << 20} {
		req := bytes.Repeat([]byte{byte(n)}, n)
		res := new(blob)
		if f := ask(s, t.Context(), Outgoing{Method: mEcho}, &blob{req}, res); f != nil || !bytes.Equal(res.b, req) {
			t.Fatalf("%d bytes: got %d, %v", n, len(res.b), f)
		}
	}
	if f := ask(s, t.Context(), Outgoing{Method: mEcho}, &blob{make([]byte, 4<<20+1)}, new(blob)); f == nil || f.Code != CodeResourceExhausted || !f.NotExecuted {
		t.Fatalf("too large: got %v", f)
	}
}

func TestConcurrent(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	var wg sync.WaitGroup
	for i := range 300 { // more than there are slots
		wg.Go(func() {
			for j := range 20 {
				want := string(bytes.Repeat([]byte{'a' + byte(i%26)}, 1+i*j))
				if got, f := call(s, mEcho, want); f != nil || got != want {
					t.Errorf("got %d bytes, %v, want %d", len(got), f, len(want))
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestFailures(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	for _, c := range []struct {
		method uint64
		req    string
		code   uint32
		text   string
	}{
		{99, "", CodeUnimplemented, "the peer does not serve this method (id 0x0000000000000063): is it of an older schema?"},
		{mPanic, "", CodeInternal, "the handler panicked"},
		{mExit, "", CodeInternal, "the handler ended without an answer"},
		{mEcho, "undecodable", CodeInvalidArgument, "decoding the request: undecodable"},
	} {
		_, f := call(s, c.method, c.req)
		if f == nil || f.Code != c.code || f.Text != c.text || !f.Remote {
			t.Errorf("method %d: got %+v, want code %d, %q", c.method, f, c.code, c.text)
		}
	}
	if got, f := call(s, mEcho, "still here"); f != nil || got != "still here" {
		t.Fatalf("afterwards: got %q, %v", got, f)
	}
}

func TestMetadataDetailsTrailers(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	var trailers frame.Metadata
	f := ask(s, t.Context(), Outgoing{Method: mMeta, Metadata: frame.Metadata{"key": "value"}, Trailers: &trailers}, text("x"), new(blob))
	if f == nil || f.Code != 9 || len(f.Details) != 1 || f.Details[0].Type != "a.B" || trailers["seen"] != "value" {
		t.Fatalf("got %+v, trailers %v", f, trailers)
	}
}

func TestBothEndsCall(t *testing.T) {
	sv := newServer()
	s, remote, _ := pair(t, Config{Methods: sv.methods}, Config{})
	if got, f := call(s, mCallBack, "x"); f != nil || got != "back: x" {
		t.Fatalf("got %q, %v", got, f)
	}
	if got, f := call(remote, mEcho, "from the server"); f != nil || got != "from the server" {
		t.Fatalf("got %q, %v", got, f)
	}
}

func TestServerStream(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	for _, c := range []struct{ n, size int }{{0, 0}, {1, 5}, {10000, 32}, {10000, 0}, {50, 100 << 10}, {4, 4 << 20}} {
		st, f := s.Open(t.Context(), Outgoing{Method: mCount}, text(fmt.Sprint(c.n, " ", c.size)), true)
		if f != nil {
			t.Fatal(f)
		}
		n := 0
		for {
			m := new(blob)
			err := st.Receive(t.Context(), m)
			if err == io.EOF {
				break
			}
			if want := fmt.Sprint(n); err != nil || len(m.b) != c.size || (c.size > 5 && !bytes.HasPrefix(m.b, []byte(want))) {
				t.Fatalf("message %d of %v: got %d bytes, %v", n, c, len(m.b), err)
			}
			n++
		}
		if n != c.n {
			t.Fatalf("got %d messages, want %d", n, c.n)
		}
	}
}

func TestClientStream(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	st, f := s.Open(t.Context(), Outgoing{Method: mSum}, nil, false)
	if f != nil {
		t.Fatal(f)
	}
	for i := range 2000 {
		if err := st.Send(t.Context(), &blob{make([]byte, i*10)}); err != nil {
			t.Fatal(err)
		}
	}
	st.CloseSend(t.Context())
	m := new(blob)
	if err := st.Receive(t.Context(), m); err != nil || string(m.b) != "19990000" {
		t.Fatalf("got %q, %v", m.b, err)
	}
	if err := st.Receive(t.Context(), m); err != io.EOF {
		t.Fatalf("got %v, want io.EOF", err)
	}
}

func TestBidi(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	st, f := s.Open(t.Context(), Outgoing{Method: mEchoes}, nil, false)
	if f != nil {
		t.Fatal(f)
	}
	for i := range 1000 {
		want := fmt.Sprint("message ", i)
		m := new(blob)
		if err := st.Send(t.Context(), text(want)); err != nil {
			t.Fatal(err)
		}
		if err := st.Receive(t.Context(), m); err != nil || string(m.b) != want {
			t.Fatalf("got %q, %v", m.b, err)
		}
	}
	st.CloseSend(t.Context())
	if err := st.Receive(t.Context(), new(blob)); err != io.EOF {
		t.Fatalf("got %v, want io.EOF", err)
	}
}

// TestStreamReadsItself: who waits in the only call reads, also where the call began while the session's goroutine did.
func TestStreamReadsItself(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	st, f := s.Open(t.Context(), Outgoing{Method: mEchoes}, nil, false)
	if f != nil {
		t.Fatal(f)
	}
	defer st.Cancel()
	for range 1000 {
		if err := st.Send(t.Context(), text("x")); err != nil {
			t.Fatal(err)
		}
		if err := st.Receive(t.Context(), new(blob)); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		lent := s.role != own
		s.mu.Unlock()
		if lent {
			return
		}
	}
	t.Error("after 1000 messages the session's goroutine still reads")
}

func TestCancelReachesHandler(t *testing.T) {
	s, _, sv := pair(t, Config{}, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *Failure, 1)
	go func() { done <- ask(s, ctx, Outgoing{Method: mBlock}, text("x"), new(blob)) }()
	for sv.running.Load() == 0 {
		call(s, mEcho, "until the handler runs")
	}
	cancel()
	if f := <-done; f == nil || f.Code != CodeCanceled || f.NotExecuted {
		t.Fatalf("caller: got %+v", f)
	}
	if err := <-sv.ctxErr; err != context.Canceled {
		t.Fatalf("handler: got %v", err)
	}
}

// TestKeptContext: what a handler has kept of its call says the same when the call is over and others have followed.
func TestKeptContext(t *testing.T) {
	s, serving, sv := pair(t, Config{}, Config{})
	const calls = 100
	for i := range calls {
		o := Outgoing{Method: mKeepContext, Metadata: frame.Metadata{"n": fmt.Sprint(i)}, Timeout: time.Duration(i%2) * time.Hour}
		if f := ask(s, t.Context(), o, text(fmt.Sprint(i)), new(blob)); f != nil {
			t.Fatal(f)
		}
	}
	if len(sv.kept) != calls {
		t.Fatalf("%d calls came", len(sv.kept))
	}
	for i, in := range sv.kept {
		_, limited := in.Deadline()
		if in.Metadata()["n"] != fmt.Sprint(i) || in.Session() != serving || in.Method() != sv.methods[mKeepContext] || limited != (i%2 == 1) || in.Err() != context.Canceled {
			t.Errorf("call %d: metadata %v, deadline %v, %v", i, in.Metadata(), limited, in.Err())
		}
		select {
		case <-in.Done():
		default:
			t.Errorf("call %d is not done", i)
		}
	}
}

func TestDeadlineReachesHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, sv := pair(t, Config{}, Config{})
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if f := ask(s, ctx, Outgoing{Method: mBlock}, text("x"), new(blob)); f == nil || f.Code != CodeDeadlineExceeded {
			t.Fatalf("caller: got %+v", f)
		}
		if err := <-sv.ctxErr; err != context.DeadlineExceeded {
			t.Fatalf("handler: got %v", err)
		}
		if f := ask(s, t.Context(), Outgoing{Method: mBlock, Timeout: time.Second}, text("x"), new(blob)); f == nil || f.Code != CodeDeadlineExceeded {
			t.Fatalf("method's deadline: got %+v", f)
		}
		if got := time.Since(start); got != 4*time.Second {
			t.Fatalf("took %v, want 4s", got)
		}
	})
}

func TestSlotsBoundHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, sv := pair(t, Config{}, Config{Limits: Limits{Slots: 4}})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { call(s, mBlock, "x") })
		}
		<-time.After(time.Second) // of the bubble's time: the first handler is found to block
		// Calls that were given up keep their slots until the handler has returned.
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() { ask(s, ctx, Outgoing{Method: mBlock}, text("x"), new(blob)) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		if got := sv.most.Load(); got != 4 {
			t.Errorf("%d handlers ran at once, want 4", got)
		}
		close(sv.release)
		wg.Wait()
	})
}

// TestTimeoutWithoutASlot: the timeout of a method holds for the wait for a slot too.
func TestTimeoutWithoutASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, sv := pair(t, Config{}, Config{Limits: Limits{Slots: 1}})
		var wg sync.WaitGroup
		wg.Go(func() { call(s, mBlock, "x") })
		synctest.Wait()
		start := time.Now()
		f := ask(s, t.Context(), Outgoing{Method: mEcho, Timeout: time.Second}, text("x"), new(blob))
		if f == nil || f.Code != CodeDeadlineExceeded || !f.NotExecuted {
			t.Errorf("got %+v, want DEADLINE_EXCEEDED, not executed", f)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("took %v, want 1s", got)
		}
		close(sv.release)
		wg.Wait()
	})
}

func TestAHandlerThatBlocksStopsNoOther(t *testing.T) {
	s, _, sv := pair(t, Config{}, Config{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		call(s, mBlock, "x")
	}()
	for sv.running.Load() == 0 {
		if got, f := call(s, mEcho, "beside"); f != nil || got != "beside" {
			t.Fatalf("got %q, %v", got, f)
		}
	}
	if got, f := call(s, mEcho, "beside"); f != nil || got != "beside" {
		t.Fatalf("got %q, %v", got, f)
	}
	close(sv.release)
	<-done
}

func TestSlowStreamStallsOnlyItself(t *testing.T) {
	s, _, _ := pair(t, Config{}, Config{})
	st, f := s.Open(t.Context(), Outgoing{Method: mCount}, text("10000 1000"), true)
	if f != nil {
		t.Fatal(f)
	}
	if err := st.Receive(t.Context(), new(blob)); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, f := call(s, mEcho, "beside"); f != nil {
			t.Fatal(f)
		}
	}
	st.Cancel()
	var err error
	for err == nil { // what had come is still there
		err = st.Receive(t.Context(), new(blob))
	}
	var failure *Failure
	if !errors.As(err, &failure) || failure.Code != CodeCanceled {
		t.Fatalf("after Cancel: got %v", err)
	}
}

func TestCloseFailsCalls(t *testing.T) {
	for _, end := range []string{"here", "there"} {
		s, remote, sv := pair(t, Config{}, Config{})
		done := make(chan *Failure, 1)
		go func() {
			_, f := call(s, mBlock, "x")
			done <- f
		}()
		for sv.running.Load() == 0 {
			call(s, mEcho, "until the handler runs")
		}
		want := Closed
		if end == "here" {
			s.Close()
		} else {
			remote.Close()
			want = PeerGone
		}
		f := <-done
		var e *EndError
		if f == nil || f.Code != CodeUnavailable || f.NotExecuted || !errors.As(f, &e) || e.Reason != want {
			t.Errorf("closed %s: got %+v (%v)", end, f, e)
		}
		if _, f := call(s, mEcho, "too late"); f == nil || !f.NotExecuted {
			t.Errorf("closed %s: a later call got %+v", end, f)
		}
		<-sv.ctxErr
	}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, remote, sv := pair(t, Config{}, Config{})
		done := make(chan *Failure, 1)
		go func() {
			_, f := call(s, mBlock, "x")
			done <- f
		}()
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- remote.Drain(t.Context()) }()
		synctest.Wait()
		if _, f := call(s, mEcho, "late"); f == nil || !f.NotExecuted || f.Code != CodeUnavailable {
			t.Errorf("a call during the drain: got %+v", f)
		}
		close(sv.release)
		if f := <-done; f != nil {
			t.Errorf("the call that ran: got %v", f)
		}
		if err := <-drained; err != nil {
			t.Errorf("Drain: %v", err)
		}
		<-s.Done()
		if e := s.Err(); e.Reason != PeerGone {
			t.Errorf("the caller's session ended with %v", e)
		}
	})
}

func TestDrainGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, remote, _ := pair(t, Config{}, Config{})
		done := make(chan *Failure, 1)
		go func() {
			_, f := call(s, mBlock, "x")
			done <- f
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := remote.Drain(ctx); err != context.DeadlineExceeded {
			t.Errorf("Drain: got %v", err)
		}
		if f := <-done; f == nil || f.NotExecuted {
			t.Errorf("the call: got %+v", f)
		}
	})
}

func TestPing(t *testing.T) {
	s, remote, _ := pair(t, Config{}, Config{})
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := remote.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOnewayOrder(t *testing.T) {
	var mu sync.Mutex
	var got []string
	s, _, sv := pair(t, Config{}, Config{})
	all := make(chan struct{})
	sv.methods[mEcho].Unary = func(_ *Incoming, req codec.Message) (codec.Message, *Failure) {
		mu.Lock()
		defer mu.Unlock()
		if got = append(got, string(req.(*blob).b)); len(got) == 1000 {
			close(all)
		}
		return nil, nil
	}
	for i := range 1000 {
		if f := s.Oneway(t.Context(), Outgoing{Method: mEcho}, text(fmt.Sprint(i))); f != nil {
			t.Fatal(f)
		}
	}
	<-all
}

// hello returns the preface and a HELLO.
func hello(p frame.HelloPayload) []byte {
	body := p.Append(nil)
	b := append([]byte(frame.Preface), frame.Header{Type: frame.Hello, Length: uint32(len(body))}.Append(nil)...)
	return append(b, body...)
}

var goodHello = frame.HelloPayload{MinVersion: 1, MaxVersion: 1, MaxFrame: 64 << 10, MaxMessage: 4 << 20, MaxSlots: 256, Window: 64 << 10, Agent: "test"}

// A scripted is a peer that does what a test says, frame by frame.
type scripted struct {
	t    *testing.T
	conn transport.Conn
}

// script starts a session whose peer is scripted; their handshake is over.
func script(t *testing.T) (*Session, *scripted) { return scriptWith(t, Config{}, goodHello) }

// scriptWith is script with a configuration and the peer's HELLO.
func scriptWith(t *testing.T, cfg Config, peer frame.HelloPayload) (*Session, *scripted) {
	t.Helper()
	return scriptOver(t, nil, cfg, peer)
}

// scriptOver is scriptWith whose session writes by way of over, if that is not nil.
func scriptOver(t *testing.T, over *held, cfg Config, peer frame.HelloPayload) (*Session, *scripted) {
	t.Helper()
	a, b := mem.Pair()
	if over != nil {
		over.Conn, a = a, over
	}
	p := &scripted{t, b}
	started := make(chan *Session, 1)
	go func() {
		s, err := Start(t.Context(), a, cfg)
		if err != nil {
			t.Error(err)
		}
		started <- s
	}()
	if _, err := io.ReadFull(b, make([]byte, len(frame.Preface))); err != nil {
		t.Fatal(err)
	}
	p.expect(frame.Hello)
	if _, err := b.Write(hello(peer)); err != nil {
		t.Fatal(err)
	}
	s := <-started
	t.Cleanup(func() {
		s.Close()
		b.Close()
		s.Wait()
	})
	return s, p
}

// expect reads the next frame, which is of a type.
func (p *scripted) expect(want frame.Type) frame.Header {
	p.t.Helper()
	h := p.next()
	if h.Type != want {
		p.t.Fatalf("got %v, want a %v", h, want)
	}
	return h
}

// until reads frames to the first one of a type.
func (p *scripted) until(want frame.Type) frame.Header {
	p.t.Helper()
	for {
		if h := p.next(); h.Type == want {
			return h
		}
	}
}

func (p *scripted) next() frame.Header {
	p.t.Helper()
	head := make([]byte, frame.HeaderSize)
	if _, err := io.ReadFull(p.conn, head); err != nil {
		p.t.Fatal(err)
	}
	h, err := frame.Parse(head, 1<<20)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, p.conn, int64(h.Length)); err != nil {
		p.t.Fatal(err)
	}
	return h
}

// settled returns when all that was sent has been handled.
func (p *scripted) settled() {
	p.t.Helper()
	p.send(frame.Header{Type: frame.Ping})
	p.until(frame.Ping)
}

func (p *scripted) send(h frame.Header, payload ...byte) {
	p.t.Helper()
	h.Length = uint32(len(payload))
	if _, err := p.conn.Write(append(h.Append(nil), payload...)); err != nil {
		p.t.Fatal(err)
	}
}

// TestEcho: what sends back what it gets is no peer.
func TestEcho(t *testing.T) {
	a, b := mem.Pair()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(b, b) })
	_, err := Start(t.Context(), a, Config{})
	var e *EndError
	if !errors.As(err, &e) || e.Reason != Foreign || !strings.Contains(err.Error(), "it is no ipcgen peer") {
		t.Errorf("got %v", err)
	}
	b.Close()
	wg.Wait()
}

// TestPingsWaitForTheirOwnAnswer: an answer that was under way says nothing of what was sent since.
func TestPingsWaitForTheirOwnAnswer(t *testing.T) {
	s, p := script(t)
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- s.Ping(t.Context()) }()
	p.expect(frame.Ping)
	go func() { second <- s.Ping(t.Context()) }()
	for waiting := 0; waiting == 0; runtime.Gosched() {
		s.mu.Lock()
		waiting = len(s.laterPings)
		s.mu.Unlock()
	}
	p.send(frame.Header{Type: frame.Ping, Flags: frame.Ack})
	if err := <-first; err != nil {
		t.Error(err)
	}
	p.expect(frame.Ping)
	select {
	case err := <-second:
		t.Errorf("the second returned with the first one's answer: %v", err)
	default:
	}
	p.send(frame.Header{Type: frame.Ping, Flags: frame.Ack})
	if err := <-second; err != nil {
		t.Error(err)
	}
}

// TestOnlyStatusEndsResponses: an END before the STATUS would hide how the call ended.
func TestOnlyStatusEndsResponses(t *testing.T) {
	s, p := script(t)
	c, f := s.Open(t.Context(), Outgoing{Method: mCount}, text("1"), true)
	if f != nil {
		t.Fatal(f)
	}
	h := p.expect(frame.Call)
	p.send(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.End, Stream: h.Stream}, 'x')
	<-s.Done()
	if e := s.Err(); e.Reason != Protocol {
		t.Errorf("the session ended with %v", e)
	}
	c.Cancel()
}

// TestLargeMessagesTakeTurns: where there is room for one of several large answers only, each is answered in its turn.
func TestLargeMessagesTakeTurns(t *testing.T) {
	limits := Limits{MaxMessage: 40_000, Assembly: 40_000, Window: 4 * minFrame, MaxFrame: minFrame}
	s, _, _ := pair(t, Config{Limits: limits}, Config{Limits: limits})
	want := string(make([]byte, 39_000))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				if got, f := call(s, mEcho, want); f != nil || got != want {
					t.Errorf("got %d bytes, %v", len(got), f)
				}
			}
		})
	}
	wg.Wait()
}

// TestCreditOfTheLargestMessage: the credit for a message of the largest size is one that a peer takes.
func TestCreditOfTheLargestMessage(t *testing.T) {
	hello := goodHello
	hello.MaxMessage = 1<<32 - 1
	s, p := scriptWith(t, Config{Limits: Limits{MaxMessage: 1<<31 - 1, Window: 1 << 30}}, hello)
	c, f := s.Open(t.Context(), Outgoing{Method: mEchoes}, nil, false)
	if f != nil {
		t.Fatal(f)
	}
	defer c.Cancel()
	id := p.expect(frame.Call).Stream
	piece := append(binary.LittleEndian.AppendUint32(nil, uint32(s.agreed.maxMessage)), make([]byte, pieceLeast)...)
	p.send(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: id}, piece...)
	left := int64(hello.Window) - frame.HeaderSize - int64(len(piece))
	if credit := left + int64(p.expect(frame.Credit).Arg); credit > 1<<31-1 {
		t.Errorf("got a credit of %d, want at most %d", credit, 1<<31-1)
	}
}

// TestTextIsCutBetweenCharacters: what is cut is not more than what does not fit.
func TestTextIsCutBetweenCharacters(t *testing.T) {
	for in, want := range map[string]string{
		"ab":                    "ab",
		"abcdefgh":              "abcdefgh",
		"abcdefghi":             "abcdefgh",
		"\u8a9e\u8a9e\u8a9e":    "\u8a9e\u8a9e",
		"a\U0001f642\U0001f642": "a\U0001f642",
		"\xffbcdefghi":          "(the error's text is not UTF-8)",
	} {
		if got := cutText(in, 8); got != want {
			t.Errorf("cutText(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestResponsesThatAreNotWanted: a call of one response fails where there are more, and keeps nothing of a response that
// came before it failed.
func TestResponsesThatAreNotWanted(t *testing.T) {
	for name, c := range map[string]struct {
		end  frame.Header
		body []byte
		want uint32
	}{
		"a second response": {frame.Header{Flags: frame.Msg | frame.End}, []byte("y"), CodeInternal},
		"an error":          {frame.Header{Flags: frame.End, Arg: 5}, nil, 5},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := script(t)
			failed := make(chan *Failure, 1)
			go func() { failed <- ask(s, t.Context(), Outgoing{Method: mEcho}, text("x"), new(blob)) }()
			c.end.Type, c.end.Stream = frame.Status, p.expect(frame.Call).Stream
			p.send(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: c.end.Stream}, 0, 0x50, 0, 0, 'x')
			p.send(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: c.end.Stream}, make([]byte, 0x5000-1)...)
			var head frame.StatusPayload
			p.send(c.end, append(head.Append(nil), c.body...)...)
			if f := <-failed; f == nil || f.Code != c.want {
				t.Errorf("got %v, want the code %d", f, c.want)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.reserved != 0 {
				t.Errorf("%d bytes are still reserved", s.reserved)
			}
		})
	}
}

// TestBadPeers: whatever a peer does wrong, the session ends with the reason, and nothing hangs.
func TestBadPeers(t *testing.T) {
	good := hello(goodHello)
	with := func(frames ...[]byte) []byte { return bytes.Join(append([][]byte{good}, frames...), nil) }
	fr := func(h frame.Header, payload ...byte) []byte {
		h.Length = uint32(len(payload))
		return append(h.Append(nil), payload...)
	}
	theirs := frame.NewStreamID(0, 0, 1)
	callHead := frame.CallPayload{Method: mSum}
	open := fr(frame.Header{Type: frame.Call, Stream: theirs}, callHead.Append(nil)...)
	openOne := callOf(mEcho, 0, 1, 0, nil) // nothing is read before the END
	for _, c := range []struct {
		name   string
		send   []byte
		reason Reason
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), Foreign},
		{"nothing and gone", nil, PeerGone},
		{"gone in the preface", []byte("IPC"), PeerGone},
		{"another version", hello(frame.HelloPayload{MinVersion: 7, MaxVersion: 9, MaxFrame: 64 << 10, MaxMessage: 4 << 20, MaxSlots: 1, Window: 64 << 10}), Version},
		{"limits of nothing", hello(frame.HelloPayload{MinVersion: 1, MaxVersion: 1}), Protocol},
		{"a call before HELLO", append([]byte(frame.Preface), open...), Protocol},
		{"a huge HELLO", append([]byte(frame.Preface), frame.Header{Type: frame.Hello, Length: 1 << 20}.Append(nil)...), Protocol},
		{"gone in a frame", with(open[:20]), PeerGone},
		{"zeroes", with(make([]byte, 64)), Protocol},
		{"a second HELLO", with(good[8:]), Protocol},
		{"a huge frame", with(frame.Header{Type: frame.Call, Stream: theirs, Length: 1 << 23}.Append(nil)), Protocol},
		{"a call on the wrong side", with(fr(frame.Header{Type: frame.Call, Stream: frame.NewStreamID(0, 1, 1)}, callHead.Append(nil)...)), Protocol},
		{"a slot beyond the limit", with(fr(frame.Header{Type: frame.Call, Stream: frame.NewStreamID(300, 0, 1)}, callHead.Append(nil)...)), Protocol},
		{"a generation skipped", with(fr(frame.Header{Type: frame.Call, Stream: frame.NewStreamID(0, 0, 2)}, callHead.Append(nil)...)), Protocol},
		{"a slot twice", with(open, fr(frame.Header{Type: frame.Call, Stream: frame.NewStreamID(0, 0, 2)}, callHead.Append(nil)...)), Protocol},
		{"data without a call", with(fr(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: theirs}, 1)), Protocol},
		{"more data than credit", with(open, bytes.Repeat(fr(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: theirs}, append([]byte{0, 0, 64, 0}, make([]byte, 60000)...)...), 1), fr(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: theirs}, make([]byte, 65000)...), bytes.Repeat(fr(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: theirs}, make([]byte, 65000)...), 200)), Protocol},
		{"more small messages than credit", with(openOne, bytes.Repeat(fr(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: theirs}, make([]byte, 1000)...), 70)), Protocol},
		{"a huge frame behind a message", with(open, fr(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: theirs}, 1), frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: theirs, Length: 1 << 23}.Append(nil)), Protocol},
		{"another frame behind messages", with(open, bytes.Repeat(fr(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: theirs}, 1), 3), fr(frame.Header{Type: frame.Data, Flags: frame.Ack, Stream: theirs})), Protocol},
		{"a message over the limit", with(open, fr(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: theirs}, 0, 0, 0, 0x7f, 1)), Protocol},
		{"a message longer than it said", with(open, fr(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: theirs}, 3, 0, 0, 0, 1), fr(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: theirs}, 1, 2, 3)), Protocol},
		{"a message shorter than it said", with(open, fr(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: theirs}, 9, 0, 0, 0, 1), fr(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: theirs}, 1)), Protocol},
		{"data after END", with(open, fr(frame.Header{Type: frame.Data, Flags: frame.End, Stream: theirs}), bytes.Repeat(fr(frame.Header{Type: frame.Data, Flags: frame.Msg, Stream: theirs}, 1), 1)), Protocol},
		{"a status of no call", with(fr(frame.Header{Type: frame.Status, Flags: frame.End, Stream: frame.NewStreamID(0, 1, 1)}, 0, 0, 0, 0, 0, 0)), Protocol},
		{"an answer to no ping", with(fr(frame.Header{Type: frame.Ping, Flags: frame.Ack})), Protocol},
		{"credit beyond all", with(open, fr(frame.Header{Type: frame.Credit, Stream: theirs, Arg: 1 << 31})), Protocol},
		{"no credit", with(open, fr(frame.Header{Type: frame.Credit, Stream: theirs})), Protocol},
		{"metadata cut off", with(fr(frame.Header{Type: frame.Call, Stream: theirs}, append(make([]byte, 16), 9, 0)...)), Protocol},
		{"going away for a reason", with(fr(frame.Header{Type: frame.GoAway, Arg: uint32(Protocol)}, []byte("you \x1b[31merred")...)), Refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := mem.Pair()
			var wg sync.WaitGroup
			wg.Go(func() { io.Copy(io.Discard, b) })
			wg.Go(func() {
				b.Write(c.send)
				if c.reason == PeerGone {
					b.Close()
				}
			})
			s, err := Start(t.Context(), a, Config{Side: 1, Methods: newServer().methods})
			if err == nil {
				<-s.Done()
				err = s.Err()
			}
			var e *EndError
			if !errors.As(err, &e) || e.Reason != c.reason {
				t.Errorf("got %v, want the reason %v", err, c.reason)
			}
			b.Close()
			wg.Wait()
			if s != nil {
				s.Wait()
			}
		})
	}
}

func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := mem.Pair()
		defer b.Close()
		_, err := Start(t.Context(), a, Config{})
		var e *EndError
		if !errors.As(err, &e) || e.Reason != NoHandshake {
			t.Fatalf("got %v", err)
		}
	})
}

// TestStalledPeer: a peer that takes nothing more.
func TestStalledPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := mem.Pair()
		defer b.Close()
		go func() {
			hello := frame.HelloPayload{MinVersion: 1, MaxVersion: 1, MaxFrame: 64 << 10, MaxMessage: 4 << 20, MaxSlots: 256, Window: 1 << 30}
			body := hello.Append(nil)
			b.Write(append(append([]byte(frame.Preface), frame.Header{Type: frame.Hello, Length: uint32(len(body))}.Append(nil)...), body...))
		}()
		s, err := Start(t.Context(), a, Config{Limits: Limits{Window: 1 << 30}})
		if err != nil {
			t.Fatal(err)
		}
		f := ask(s, t.Context(), Outgoing{Method: 1}, &blob{make([]byte, 1<<20)}, new(blob))
		var e *EndError
		if f == nil || !errors.As(f, &e) || e.Reason != Stalled {
			t.Fatalf("got %+v, %v", f, e)
		}
		s.Wait()
	})
}
