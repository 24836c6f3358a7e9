package ipc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
	"weak"

	"go.uber.org/goleak"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo implements every shape.
type echo struct {
	notes chan string
}

func (e *echo) Say(ctx context.Context, req *echov1.SayRequest) (*echov1.SayResponse, error) {
	switch {
	case req.Text == "too long":
		return nil, fmt.Errorf("handler: %w", &echov1.TooLong{Limit: 7})
	case req.Text == "too long, with a code":
		return nil, ipc.Errorf(ipc.OutOfRange, "over the limit: %w", &echov1.TooLong{Limit: 8})
	case req.Text == "secret":
		return nil, errors.New("the password is 1234")
	case req.Text == "nothing":
		return nil, nil
	case req.Text == "metadata":
		ipc.SetTrailer(ctx, "trailer", "t-"+ipc.MetadataOf(ctx)["key"])
	case req.Text == "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &echov1.SayResponse{Text: req.Text}, nil
}

func (e *echo) Repeat(ctx context.Context, req *echov1.SayRequest, send func(*echov1.SayResponse) error) error {
	for i := range req.Times {
		if err := send(&echov1.SayResponse{Text: fmt.Sprint(req.Text, i)}); err != nil {
			e.notes <- "send: " + err.Error()
			return err
		}
	}
	if req.Text == "fail" {
		return ipc.Errorf(ipc.DataLoss, "failed after %d", req.Times)
	}
	return nil
}

func (e *echo) Join(ctx context.Context, in iter.Seq2[*echov1.SayRequest, error]) (*echov1.SayResponse, error) {
	var all []string
	for req, err := range in {
		if err != nil {
			return nil, err
		}
		if req.Text == "enough" {
			break
		}
		all = append(all, req.Text)
	}
	return &echov1.SayResponse{Text: strings.Join(all, " ")}, nil
}

func (e *echo) Chat(ctx context.Context, in iter.Seq2[*echov1.SayRequest, error], send func(*echov1.SayResponse) error) error {
	for req, err := range in {
		if err != nil {
			return err
		}
		if err := send(&echov1.SayResponse{Text: "re: " + req.Text}); err != nil {
			return err
		}
	}
	return nil
}

func (e *echo) Note(ctx context.Context, req *echov1.SayRequest) error {
	e.notes <- req.Text
	return nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// mappings is how many pieces of shared memory this process has mapped.
func mappings() int {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0 // not on this system
	}
	return bytes.Count(maps, []byte("/memfd:ipcgen"))
}

// checkMappings fails the test if it leaves shared memory mapped.
func checkMappings(t *testing.T) {
	t.Helper()
	before := mappings()
	t.Cleanup(func() {
		if now := mappings(); now > before {
			t.Errorf("%d segments of shared memory are mapped, %d were before", now, before)
		}
	})
}

// serve serves impl at address and returns a connection to it.
func serve(t *testing.T, address string, e *ipc.Endpoint, dial *ipc.Endpoint) *ipc.Conn {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l, err := e.Listen(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx) }()
	conn, err := dial.Dial(ctx, l.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return conn
}

// callers are the ways to an echo service.
func callers(t *testing.T, impl echov1.EchoServer) map[string]func(t *testing.T) ipc.Caller {
	endpoint := func() *ipc.Endpoint {
		return &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(impl)}, Logger: quiet()}
	}
	return map[string]func(t *testing.T) ipc.Caller{
		"local": func(*testing.T) ipc.Caller { return ipc.Local(echov1.NewEchoService(impl)) },
		"unix": func(t *testing.T) ipc.Caller {
			return serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), endpoint(), &ipc.Endpoint{Logger: quiet()})
		},
		"tcp": func(t *testing.T) ipc.Caller {
			return serve(t, "tcp:127.0.0.1:0", endpoint(), &ipc.Endpoint{Logger: quiet()})
		},
	}
}

func TestShapes(t *testing.T) {
	impl := &echo{notes: make(chan string, 100)}
	for name, caller := range callers(t, impl) {
		t.Run(name, func(t *testing.T) {
			client := echov1.NewEchoClient(caller(t))
			ctx := t.Context()
			if res, err := client.Say(ctx, &echov1.SayRequest{Text: "hello"}); err != nil || res.Text != "hello" {
				t.Errorf("Say: %v, %v", res, err)
			}
			var got []string
			for res, err := range client.Repeat(ctx, &echov1.SayRequest{Text: "x", Times: 3}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, res.Text)
			}
			if want := []string{"x0", "x1", "x2"}; !slices.Equal(got, want) {
				t.Errorf("Repeat: got %v, want %v", got, want)
			}
			texts := func(all ...string) iter.Seq[*echov1.SayRequest] {
				return func(yield func(*echov1.SayRequest) bool) {
					for _, s := range all {
						if !yield(&echov1.SayRequest{Text: s}) {
							return
						}
					}
				}
			}
			if res, err := client.Join(ctx, texts("a", "b", "c")); err != nil || res.Text != "a b c" {
				t.Errorf("Join: %v, %v", res, err)
			}
			if res, err := client.Join(ctx, texts("a", "enough", "c")); err != nil || res.Text != "a" {
				t.Errorf("Join that stops early: %v, %v", res, err)
			}
			chat, err := client.Chat(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				want := fmt.Sprint("re: ", i)
				if err := chat.Send(&echov1.SayRequest{Text: fmt.Sprint(i)}); err != nil {
					t.Fatal(err)
				}
				if res, err := chat.Receive(); err != nil || res.Text != want {
					t.Errorf("Chat: %v, %v, want %q", res, err, want)
				}
			}
			chat.CloseSend()
			if _, err := chat.Receive(); err != io.EOF {
				t.Errorf("Chat's end: %v", err)
			}
			if chat, err = client.Chat(ctx); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(chat.Send(&echov1.SayRequest{Text: "a"}), chat.Send(&echov1.SayRequest{Text: "b"})); err != nil {
				t.Fatal(err)
			}
			chat.CloseSend()
			var all []string
			for res, err := range chat.All() {
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, res.Text)
			}
			if !slices.Equal(all, []string{"re: a", "re: b"}) {
				t.Errorf("Chat: %q", all)
			}
			if err := client.Note(ctx, &echov1.SayRequest{Text: name}); err != nil {
				t.Error(err)
			}
			if got := <-impl.notes; got != name {
				t.Errorf("Note: got %q", got)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for name, caller := range callers(t, &echo{notes: make(chan string, 100)}) {
		t.Run(name, func(t *testing.T) {
			client := echov1.NewEchoClient(caller(t))
			for _, c := range []struct {
				text  string
				want  string
				limit uint32
			}{
				{"too long", "echo.v1.Echo/Say: UNKNOWN: ", 7},
				{"too long, with a code", "echo.v1.Echo/Say: OUT_OF_RANGE: over the limit: ", 8},
				{"secret", "echo.v1.Echo/Say: UNKNOWN: the handler failed; its process's log says how", 0},
				{"nothing", "echo.v1.Echo/Say: UNKNOWN: the handler failed; its process's log says how", 0},
			} {
				_, err := client.Say(t.Context(), &echov1.SayRequest{Text: c.text})
				var tooLong *echov1.TooLong
				errors.As(err, &tooLong)
				if err == nil || !strings.HasPrefix(err.Error(), c.want) || tooLong.GetLimit() != c.limit {
					t.Errorf("%s: got %v (%v), want %q with the limit %d", c.text, err, tooLong, c.want, c.limit)
				}
			}
			var last error
			n := 0
			for _, err := range client.Repeat(t.Context(), &echov1.SayRequest{Text: "fail", Times: 2}) {
				n, last = n+1, err
			}
			if n != 3 || ipc.CodeOf(last) != ipc.DataLoss {
				t.Errorf("a stream that fails: %d elements, the last %v", n, last)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := client.Say(ctx, &echov1.SayRequest{Text: "wait"})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("canceled: got %v", err)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	for name, caller := range callers(t, &echo{}) {
		t.Run(name, func(t *testing.T) {
			client := echov1.NewEchoClient(caller(t))
			var trailers ipc.Metadata
			ctx := ipc.WithTrailers(ipc.WithMetadata(t.Context(), ipc.Metadata{"key": "value"}), &trailers)
			if _, err := client.Say(ctx, &echov1.SayRequest{Text: "metadata"}); err != nil || trailers["trailer"] != "t-value" {
				t.Errorf("got trailers %v, %v", trailers, err)
			}
			_, err := client.Say(ipc.WithMetadata(t.Context(), ipc.Metadata{"Not Allowed": ""}), &echov1.SayRequest{})
			if ipc.CodeOf(err) != ipc.InvalidArgument {
				t.Errorf("a bad name: got %v", err)
			}
			ended, cancel := context.WithCancel(ipc.WithTrailers(t.Context(), &trailers))
			cancel()
			_, err = client.Say(ended, &echov1.SayRequest{})
			var e *ipc.Error
			if !errors.As(err, &e) || e.Code != ipc.Canceled || !e.NotExecuted || e.Method != "echo.v1.Echo/Say" || trailers != nil {
				t.Errorf("after the end of its context: got trailers %v, %+v", trailers, err)
			}
			for _, err := range client.Repeat(ended, &echov1.SayRequest{}) {
				if !errors.As(err, &e) || e.Code != ipc.Canceled || !e.NotExecuted || e.Method != "echo.v1.Echo/Repeat" {
					t.Errorf("a stream after the end of its context: %+v", err)
				}
			}
		})
	}
}

func TestLeavingAStreamEndsIt(t *testing.T) {
	impl := &echo{notes: make(chan string, 1)}
	for name, caller := range callers(t, impl) {
		t.Run(name, func(t *testing.T) {
			client := echov1.NewEchoClient(caller(t))
			for res, err := range client.Repeat(t.Context(), &echov1.SayRequest{Text: "x", Times: 1 << 31}) {
				if err != nil || res.Text != "x0" {
					t.Fatalf("got %v, %v", res, err)
				}
				break
			}
			if got := <-impl.notes; !strings.HasPrefix(got, "send: context canceled") {
				t.Errorf("the handler's send: %q", got)
			}
		})
	}
}

// bloated sends a message that is over every default limit.
type bloated struct{ echov1.UnimplementedEcho }

func (bloated) Repeat(_ context.Context, _ *echov1.SayRequest, send func(*echov1.SayResponse) error) error {
	return send(&echov1.SayResponse{Text: strings.Repeat("x", 5<<20)})
}

// TestTooLargeForTheStream: why a message was not sent reaches the caller, though the handler only passes it on.
func TestTooLargeForTheStream(t *testing.T) {
	client := echov1.NewEchoClient(ipc.Local(echov1.NewEchoService(bloated{})))
	for _, err := range client.Repeat(t.Context(), &echov1.SayRequest{}) {
		if ipc.CodeOf(err) != ipc.ResourceExhausted || !strings.Contains(err.Error(), "message of 5242885 bytes, over the limit of 4194304 that both sides take: see Limits.MaxMessage") {
			t.Errorf("got %v", err)
		}
	}
	_, err := client.Say(t.Context(), &echov1.SayRequest{Text: "\xff"})
	var e *ipc.Error
	if !errors.As(err, &e) || e.Code != ipc.InvalidArgument || !e.NotExecuted {
		t.Errorf("a request that cannot be encoded: %v", err)
	}
}

// A lockedBuffer is written by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// stubborn is a service whose handlers take no notice of their contexts.
type stubborn struct {
	echov1.UnimplementedEcho
	started chan struct{}
	release chan struct{}
}

func (s stubborn) Say(context.Context, *echov1.SayRequest) (*echov1.SayResponse, error) {
	s.started <- struct{}{}
	<-s.release
	return &echov1.SayResponse{}, nil
}

// TestServeDoesNotWaitForEver: a handler that goes on after the end of its context does not keep Serve, and is named.
func TestServeDoesNotWaitForEver(t *testing.T) {
	impl := stubborn{started: make(chan struct{}, 1), release: make(chan struct{})}
	var log lockedBuffer
	connected := make(chan struct{})
	server := &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(impl)}, Limits: ipc.Limits{Grace: time.Millisecond},
		Logger:    slog.New(slog.NewTextHandler(&log, nil)),
		Connected: func(*ipc.Conn) { defer close(connected); panic("of Connected") }}
	ctx, stop := context.WithCancel(t.Context())
	l, err := server.Listen(ctx, "unix:"+filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx) }()
	conn, err := (&ipc.Endpoint{Logger: quiet()}).Dial(t.Context(), l.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	said := make(chan error, 1)
	go func() {
		_, err := echov1.NewEchoClient(conn).Say(t.Context(), &echov1.SayRequest{})
		said <- err
	}()
	<-impl.started
	<-connected
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-said; ipc.CodeOf(err) != ipc.Unavailable || !strings.Contains(err.Error(), "the time was over in which calls could finish") {
		t.Errorf("the call: %v", err)
	}
	for _, want := range []string{"handlers=[echo.v1.Echo/Say]", `panic="of Connected"`} {
		if got := log.String(); !strings.Contains(got, want) {
			t.Errorf("%s is not in the log:\n%s", want, got)
		}
	}
	close(impl.release)
}

// TestRawStream: whoever has a method, as a hook does, can call it without its types.
func TestRawStream(t *testing.T) {
	var chat *ipc.Method
	e := &ipc.Endpoint{Logger: quiet(), CallHooks: []ipc.Hook{func(ctx context.Context, call *ipc.CallInfo) (context.Context, func(error) error, error) {
		chat = call.Method
		return ctx, nil, nil
	}}}
	conn := serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(&echo{})}, Logger: quiet()}, e)
	typed, err := echov1.NewEchoClient(conn).Chat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	typed.Close()
	if chat.Path() != "echo.v1.Echo/Chat" || chat.Shape() != ipc.BidiShape || ipc.Shape(99).String() != "shape 99" {
		t.Errorf("got %s, %s, %s", chat.Path(), chat.Shape(), ipc.Shape(99))
	}
	raw, err := conn.Open(t.Context(), chat, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	var res echov1.SayResponse
	if err := errors.Join(raw.Send(&echov1.SayRequest{Text: "x"}), raw.Receive(&res)); err != nil || res.Text != "re: x" {
		t.Errorf("got %v, %v", &res, err)
	}
	raw.CloseSend()
	if err := raw.Send(&echov1.SayRequest{}); ipc.CodeOf(err) != ipc.FailedPrecondition {
		t.Errorf("sending behind CloseSend: %v", err)
	}
	if err := raw.Receive(&res); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
	raw.Close()
	if err := raw.Receive(&res); err != io.EOF {
		t.Errorf("the end, after Close: %v", err)
	}
}

// abandoned is an echo whose Chat waits until it is given up.
type abandoned struct {
	echo
	ended chan error
}

func (a *abandoned) Chat(ctx context.Context, _ iter.Seq2[*echov1.SayRequest, error], _ func(*echov1.SayResponse) error) error {
	<-ctx.Done()
	a.ended <- ctx.Err()
	return ctx.Err()
}

// TestStreamEndsWithItsContext: also where the program neither sends nor receives when that ends.
func TestStreamEndsWithItsContext(t *testing.T) {
	impl := &abandoned{ended: make(chan error, 1)}
	for name, caller := range callers(t, impl) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			chat, err := echov1.NewEchoClient(caller(t)).Chat(ctx)
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			select {
			case err := <-impl.ended:
				if err != context.Canceled {
					t.Errorf("the handler's context: %v", err)
				}
			case <-time.After(5 * time.Second):
				t.Error("the handler runs on")
			}
			if err := chat.Send(&echov1.SayRequest{}); ipc.CodeOf(err) != ipc.Canceled || !errors.Is(err, context.Canceled) {
				t.Errorf("Send: %v", err)
			}
			if _, err := chat.Receive(); ipc.CodeOf(err) != ipc.Canceled || !errors.Is(err, context.Canceled) {
				t.Errorf("Receive: %v", err)
			}
		})
	}
}

// TestLocalStreamEndsWithItsContext: nothing is left of it, which TestMain sees to, also where the program does nothing more.
func TestLocalStreamEndsWithItsContext(t *testing.T) {
	impl := &abandoned{ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	chat, err := echov1.NewEchoClient(ipc.Local(echov1.NewEchoService(impl))).Chat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-impl.ended
	goleak.VerifyNone(t)
	for what, f := range map[string]func() error{
		"Send":    func() error { return chat.Send(&echov1.SayRequest{}) },
		"Receive": func() error { _, err := chat.Receive(); return err },
	} {
		if err := f(); ipc.CodeOf(err) != ipc.Canceled || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestMessagesAreKeptByThemselves: a message of a stream that the program keeps does not keep what was in others.
func TestMessagesAreKeptByThemselves(t *testing.T) {
	for name, caller := range callers(t, &echo{}) {
		t.Run(name, func(t *testing.T) {
			const messages = 40
			var texts []weak.Pointer[byte]
			var kept *echov1.SayResponse
			req := &echov1.SayRequest{Text: strings.Repeat("x", 100_000), Times: messages}
			for res, err := range echov1.NewEchoClient(caller(t)).Repeat(t.Context(), req) {
				if err != nil {
					t.Fatal(err)
				}
				kept = res
				texts = append(texts, weak.Make(unsafe.StringData(res.Text)))
			}
			runtime.GC()
			there := 0
			for _, p := range texts {
				if p.Value() != nil {
					there++
				}
			}
			if there > 2 || len(texts) != messages {
				t.Errorf("%d of %d texts are still there, but for the one that is kept", there, len(texts))
			}
			runtime.KeepAlive(kept)
		})
	}
}

func TestUnimplemented(t *testing.T) {
	client := echov1.NewEchoClient(ipc.Local(echov1.NewEchoService(echov1.UnimplementedEcho{})))
	_, err := client.Say(t.Context(), &echov1.SayRequest{})
	var e *ipc.Error
	if !errors.As(err, &e) || e.Code != ipc.Unimplemented || !e.NotExecuted {
		t.Errorf("got %+v", err)
	}
	_, err = echov1.NewEchoClient(ipc.Local()).Say(t.Context(), &echov1.SayRequest{})
	if !errors.As(err, &e) || e.Code != ipc.Unimplemented || !e.NotExecuted {
		t.Errorf("no such service: got %+v", err)
	}
}

func TestHooks(t *testing.T) {
	var mu sync.Mutex
	var log []string
	hook := func(name string) ipc.Hook {
		return func(ctx context.Context, call *ipc.CallInfo) (context.Context, func(error) error, error) {
			mu.Lock()
			defer mu.Unlock()
			log = append(log, name+" begins "+call.Method.Path())
			if name == "call 2" {
				ctx = ipc.WithMetadata(ctx, ipc.Metadata{"key": "hooked"})
			}
			if r, ok := call.Request.(*echov1.SayRequest); ok && r.Text == "refuse at "+name {
				return nil, nil, ipc.Errorf(ipc.PermissionDenied, "refused by %s", name)
			}
			return ctx, func(err error) error {
				mu.Lock()
				defer mu.Unlock()
				log = append(log, fmt.Sprint(name, " ends ", ipc.CodeOf(err)))
				return err
			}, nil
		}
	}
	server := &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(&echo{})}, Logger: quiet(),
		HandlerHooks: []ipc.Hook{hook("handler 1"), hook("handler 2")}}
	conn := serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), server, &ipc.Endpoint{Logger: quiet(), CallHooks: []ipc.Hook{hook("call 1"), hook("call 2")}})
	client := echov1.NewEchoClient(conn)
	var trailers ipc.Metadata
	if _, err := client.Say(ipc.WithTrailers(t.Context(), &trailers), &echov1.SayRequest{Text: "metadata"}); err != nil || trailers["trailer"] != "t-hooked" {
		t.Errorf("got %v, %v", trailers, err)
	}
	want := []string{"call 1 begins echo.v1.Echo/Say", "call 2 begins echo.v1.Echo/Say", "handler 1 begins echo.v1.Echo/Say",
		"handler 2 begins echo.v1.Echo/Say", "handler 2 ends OK", "handler 1 ends OK", "call 2 ends OK", "call 1 ends OK"}
	if !slices.Equal(log, want) {
		t.Errorf("got %q", log)
	}
	for _, at := range []string{"call 1", "call 2", "handler 2"} {
		if _, err := client.Say(t.Context(), &echov1.SayRequest{Text: "refuse at " + at}); ipc.CodeOf(err) != ipc.PermissionDenied {
			t.Errorf("refused at %s: got %v", at, err)
		}
	}
	log = nil
	for range client.Repeat(t.Context(), &echov1.SayRequest{Times: 2}) {
	}
	if n := len(log); n != 8 {
		t.Errorf("a stream: got %q", log)
	}
}

// dies does not return.
type dies struct{ echov1.UnimplementedEcho }

func (dies) Say(_ context.Context, req *echov1.SayRequest) (*echov1.SayResponse, error) {
	switch req.Text {
	case "panic":
		panic("of Say")
	case "exit":
		runtime.Goexit()
	}
	return nil, nil
}

func (dies) Repeat(context.Context, *echov1.SayRequest, func(*echov1.SayResponse) error) error {
	panic("of Repeat")
}

func TestHandlerHooksOfAHandlerThatDoesNotReturn(t *testing.T) {
	var begun atomic.Int32
	ended := make(chan error, 10)
	hook := func(ctx context.Context, _ *ipc.CallInfo) (context.Context, func(error) error, error) {
		begun.Add(1)
		return ctx, func(err error) error {
			ended <- err
			return err
		}, nil
	}
	check := func(what string, want ipc.Code, err error) {
		t.Helper()
		if ipc.CodeOf(err) != want {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
		select {
		case err := <-ended:
			if ipc.CodeOf(err) != want {
				t.Errorf("%s: the hook got %v, want %v", what, err, want)
			}
		default:
			t.Errorf("%s: the hook was not told", what)
		}
	}
	conn := serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(dies{})},
		Logger: quiet(), HandlerHooks: []ipc.Hook{hook}}, &ipc.Endpoint{Logger: quiet()})
	client := echov1.NewEchoClient(conn)
	for text, want := range map[string]ipc.Code{"panic": ipc.Internal, "exit": ipc.Internal, "nothing": ipc.Unknown} {
		_, err := client.Say(t.Context(), &echov1.SayRequest{Text: text})
		check(text, want, err)
	}
	for _, err := range client.Repeat(t.Context(), &echov1.SayRequest{}) {
		check("a stream", ipc.Internal, err)
	}
	if n := len(ended); begun.Load() != 4 || n != 0 {
		t.Errorf("%d calls began, and %d ended more than once", begun.Load(), n)
	}
}

// deaf reads nothing.
type deaf struct{ echov1.UnimplementedEcho }

func (deaf) Join(ctx context.Context, _ iter.Seq2[*echov1.SayRequest, error]) (*echov1.SayResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A sending is of texts, again and again, in a call of which it is the end.
type sending struct {
	limit time.Duration // of the call
	text  string
	want  ipc.Code
}

// unsendable are the reasons why a caller cannot send to a handler that receives nothing.
func unsendable() []sending {
	return []sending{
		{500 * time.Millisecond, strings.Repeat("x", 100_000), ipc.DeadlineExceeded},
		{time.Minute, "\xff", ipc.InvalidArgument},
		{time.Minute, strings.Repeat("x", 5<<20), ipc.ResourceExhausted},
	}
}

func TestCallHooksOfAClientStreamThatCannotBeSent(t *testing.T) {
	var outcome error
	hook := func(ctx context.Context, _ *ipc.CallInfo) (context.Context, func(error) error, error) {
		return ctx, func(err error) error {
			outcome = err
			return fmt.Errorf("hooked: %w", err)
		}, nil
	}
	conn := serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(deaf{})}, Logger: quiet()},
		&ipc.Endpoint{Logger: quiet(), CallHooks: []ipc.Hook{hook}})
	for _, c := range unsendable() {
		ctx, cancel := context.WithTimeout(t.Context(), c.limit)
		defer cancel()
		_, err := echov1.NewEchoClient(conn).Join(ctx, func(yield func(*echov1.SayRequest) bool) {
			for yield(&echov1.SayRequest{Text: c.text}) {
			}
		})
		if ipc.CodeOf(outcome) != c.want {
			t.Errorf("the hook got %v, want %v", outcome, c.want)
		}
		if ipc.CodeOf(err) != c.want || !strings.HasPrefix(err.Error(), "hooked: ") {
			t.Errorf("the caller got %v, want %v by way of the hook", err, c.want)
		}
	}
}

// TestCallHooksThatMakeGood: a call that failed, and of which the hooks make none that did, ends with nothing.
func TestCallHooksThatMakeGood(t *testing.T) {
	refuse := errors.New("refused")
	for name, inner := range map[string]error{"by the peer": nil, "by a hook": refuse} {
		t.Run(name, func(t *testing.T) {
			var outcomes []error
			good := func(ctx context.Context, _ *ipc.CallInfo) (context.Context, func(error) error, error) {
				return ctx, func(err error) error {
					outcomes = append(outcomes, err)
					return nil
				}, nil
			}
			second := func(ctx context.Context, _ *ipc.CallInfo) (context.Context, func(error) error, error) {
				return ctx, nil, inner
			}
			conn := serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), &ipc.Endpoint{Logger: quiet()},
				&ipc.Endpoint{Logger: quiet(), CallHooks: []ipc.Hook{good, second}})
			client := echov1.NewEchoClient(conn)
			if res, err := client.Say(t.Context(), &echov1.SayRequest{}); err != nil || res == nil || res.Text != "" {
				t.Errorf("Say: got %v, %v", res, err)
			}
			if err := client.Note(t.Context(), &echov1.SayRequest{}); err != nil {
				t.Errorf("Note: %v", err)
			}
			join, err := client.Join(t.Context(), func(func(*echov1.SayRequest) bool) {})
			if inner != nil {
				if err != inner {
					t.Errorf("Join: got %v", err)
				}
			} else if err != nil || join == nil || join.Text != "" {
				t.Errorf("Join: got %v, %v", join, err)
			}
			for res, err := range client.Repeat(t.Context(), &echov1.SayRequest{}) {
				if inner == nil || err != inner {
					t.Errorf("Repeat: got %v, %v", res, err)
				}
			}
			chat, err := client.Chat(t.Context())
			if err != inner {
				t.Fatalf("Chat: %v", err)
			}
			if err == nil {
				if res, err := chat.Receive(); err != io.EOF {
					t.Errorf("Chat: got %v, %v", res, err)
				}
				chat.Close()
			}
			if len(outcomes) != 5 {
				t.Errorf("%d calls ended, want 5: %v", len(outcomes), outcomes)
			}
		})
	}
}

// deafUntil reads nothing, whatever its context says.
type deafUntil struct {
	echov1.UnimplementedEcho
	until chan struct{}
}

func (s deafUntil) Chat(context.Context, iter.Seq2[*echov1.SayRequest, error], func(*echov1.SayResponse) error) error {
	<-s.until
	return nil
}

// TestCloseEndsReceive closes a call whose handler goes on regardless while its messages are awaited.
func TestCloseEndsReceive(t *testing.T) {
	until := make(chan struct{})
	conn := serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(deafUntil{until: until})},
		Logger: quiet()}, &ipc.Endpoint{Logger: quiet()})
	defer close(until)
	chat, err := echov1.NewEchoClient(conn).Chat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan error)
	go func() {
		_, err := chat.Receive()
		received <- err
	}()
	chat.Close()
	if err := <-received; ipc.CodeOf(err) != ipc.Canceled {
		t.Errorf("got %v, want CANCELLED", err)
	}
	if _, err := chat.Receive(); ipc.CodeOf(err) != ipc.Canceled {
		t.Errorf("once more: got %v, want CANCELLED", err)
	}
}

// TestFailedSendIsHowTheCallFails has one goroutine's Send end a call: the other one is told the same.
func TestFailedSendIsHowTheCallFails(t *testing.T) {
	until := make(chan struct{})
	conn := serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(deafUntil{until: until})},
		Logger: quiet()}, &ipc.Endpoint{Logger: quiet()})
	defer close(until)
	for _, c := range unsendable() {
		ctx, cancel := context.WithTimeout(t.Context(), c.limit)
		defer cancel()
		chat, err := echov1.NewEchoClient(conn).Chat(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			err = chat.Send(&echov1.SayRequest{Text: c.text})
		}
		_, received := chat.Receive()
		again := chat.Send(&echov1.SayRequest{})
		for _, err := range []error{err, received, again} {
			if ipc.CodeOf(err) != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
		}
		chat.Close()
		if _, err := chat.Receive(); ipc.CodeOf(err) != c.want {
			t.Errorf("behind Close: got %v, want %v", err, c.want)
		}
	}
}

// caller calls back the peer that calls it.
type backCaller struct{ echov1.UnimplementedEcho }

func (backCaller) Say(ctx context.Context, req *echov1.SayRequest) (*echov1.SayResponse, error) {
	return echov1.NewEchoClient(ipc.ConnOf(ctx)).Say(ctx, &echov1.SayRequest{Text: "back: " + req.Text})
}

func TestBothEndsCall(t *testing.T) {
	connected, hooked := make(chan *ipc.Conn, 1), make(chan *ipc.Conn, 10)
	server := &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(backCaller{})}, Logger: quiet(),
		Connected: func(c *ipc.Conn) { connected <- c },
		HandlerHooks: []ipc.Hook{func(ctx context.Context, call *ipc.CallInfo) (context.Context, func(error) error, error) {
			if !slices.Equal(call.Peer.Services, []string{"echo.v1.Echo"}) || !slices.Equal(ipc.PeerOf(ctx).Services, call.Peer.Services) {
				t.Errorf("peer of a call: %+v, %+v", call.Peer, ipc.PeerOf(ctx))
			}
			hooked <- ipc.ConnOf(ctx)
			return ctx, nil, nil
		}}}
	conn := serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), server,
		&ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(&echo{})}, Logger: quiet()})
	for range 10 {
		res, err := echov1.NewEchoClient(conn).Say(t.Context(), &echov1.SayRequest{Text: "x"})
		if err != nil || res.Text != "back: x" {
			t.Fatalf("got %v, %v", res, err)
		}
	}
	c := <-connected
	for range 10 {
		if got := <-hooked; got != c {
			t.Fatal("the session of a call is not that of Connected")
		}
	}
	if p := conn.Peer(); !p.Identified || !p.SameUser || !slices.Equal(p.Services, []string{"echo.v1.Echo"}) {
		t.Errorf("peer: %+v", p)
	}
}

func TestBadEndpoints(t *testing.T) {
	s := echov1.NewEchoService(&echo{})
	for _, c := range []struct {
		e       ipc.Endpoint
		address string
		want    string
	}{
		{ipc.Endpoint{Services: []ipc.Service{s, s}}, "tcp:127.0.0.1:0", "the service echo.v1.Echo is there twice"},
		{ipc.Endpoint{Services: []ipc.Service{{}}}, "tcp:127.0.0.1:0", "a service is empty"},
		{ipc.Endpoint{}, "/run/x", `write "unix:/run/x"`},
		{ipc.Endpoint{}, "unix:///run/x", `write "unix:/run/x"`},
		{ipc.Endpoint{}, "localhost:80", `write "tcp:localhost:80"`},
		{ipc.Endpoint{}, "http://x", "want one of unix:PATH"},
		{ipc.Endpoint{}, "signal:1", "no signal: transport yet"},
		{ipc.Endpoint{SharedMemory: ipc.SharedMemoryOff}, "shm:/x", "the endpoint's SharedMemory is off: write unix:PATH"},
		{ipc.Endpoint{}, "unix:", "want unix:PATH"},
		{ipc.Endpoint{}, "unix:/nonexistent/dir/s", "make the directory first"},
		{ipc.Endpoint{}, "unix:/" + strings.Repeat("x", 200), "use a shorter directory"},
		{ipc.Endpoint{}, "tls:127.0.0.1:0", "needs a TLS configuration"},
		{ipc.Endpoint{}, "fd:x", "want the numbers of descriptors"},
		{ipc.Endpoint{}, "fd:1000", "is not open"},
	} {
		l, err := c.e.Listen(t.Context(), c.address)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.address, err, c.want)
		}
	}
}

func TestDialErrors(t *testing.T) {
	_, err := ipc.Dial(t.Context(), "unix:"+filepath.Join(t.TempDir(), "none"))
	if err == nil || !strings.Contains(err.Error(), "is the server running?") {
		t.Errorf("got %v", err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "silent"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := ipc.Dial(ctx, "unix:"+l.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a server that says nothing, until the end of a context: %v", err)
		}
		cancel()
	}
}

func TestASecondServerIsRefused(t *testing.T) {
	address := "unix:" + filepath.Join(t.TempDir(), "s")
	serve(t, address, &ipc.Endpoint{Logger: quiet()}, &ipc.Endpoint{})
	_, err := (&ipc.Endpoint{}).Listen(t.Context(), address)
	if err == nil || !strings.Contains(err.Error(), "another server listens there") {
		t.Errorf("got %v", err)
	}
}
