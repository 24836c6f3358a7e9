//go:build unix

package ipc_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
)

// A way is how a client comes to a server: by an address, over each transport. The server is a worker, in this process
// or in a child.
type way struct {
	name string
	// dial starts a server and returns a connection to it. Both end with the test.
	dial func(t *testing.T, client *ipc.Endpoint) *ipc.Conn
}

// limits are the same over every way, so that the tests are: a peer over TCP has less by default.
var limits = ipc.Limits{MaxMessage: 4 << 20, MaxFrame: 64 << 10, Calls: 1000, Window: 64 << 10, Assembly: 16 << 20}

// patient returns a context for calls that a busy machine may take long for: the schema gives Say 5 s where the caller does
// not say how long it has.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func workerEndpoint() *ipc.Endpoint {
	return &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(worker{})}, Limits: limits, Logger: quiet()}
}

// TestSilentOnePeer: who serves one peer that says nothing stops when it is told to, as any other does.
func TestSilentOnePeer(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	ctx, stop := context.WithCancel(t.Context())
	l, err := workerEndpoint().Listen(ctx, fmt.Sprintf("fd:%d", fds[1]))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- l.Serve(ctx) }()
	if n, err := syscall.Read(fds[0], make([]byte, 1)); n != 1 || err != nil { // it shakes hands
		t.Fatal(n, err)
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestOnePeerFails: why there is no session with the one peer is returned, and not logged as well.
func TestOnePeerFails(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	if _, err := syscall.Write(fds[0], []byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	e := workerEndpoint()
	e.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	wantReason(t, e.Serve(t.Context(), fmt.Sprintf("fd:%d", fds[1])), ipc.Foreign)
	if got := log.String(); got != "" {
		t.Errorf("it is logged, too:\n%s", got)
	}
}

// TestServeAfterClose: that the listener was closed is said of each kind of them.
func TestServeAfterClose(t *testing.T) {
	dir := t.TempDir()
	for _, address := range []string{"unix:" + filepath.Join(dir, "s"), "tcp:127.0.0.1:0", "fifo:" + filepath.Join(dir, "f"), "exec:cat"} {
		l, err := workerEndpoint().Listen(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		want := "serve " + l.Address() + ": the listener was closed: "
		if err := l.Serve(t.Context()); !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

var ways = []way{
	{"unix", func(t *testing.T, client *ipc.Endpoint) *ipc.Conn {
		return serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), workerEndpoint(), client)
	}},
	{"tcp", func(t *testing.T, client *ipc.Endpoint) *ipc.Conn {
		return serve(t, "tcp:127.0.0.1:0", workerEndpoint(), client)
	}},
	{"tls", func(t *testing.T, client *ipc.Endpoint) *ipc.Conn {
		server := workerEndpoint()
		server.TLS, client.TLS = mutualTLS(t)
		return serve(t, "tls:127.0.0.1:0", server, client)
	}},
	{"fifo", func(t *testing.T, client *ipc.Endpoint) *ipc.Conn {
		return serve(t, "fifo:"+filepath.Join(t.TempDir(), "f"), workerEndpoint(), client)
	}},
	{"a socket pair", func(t *testing.T, client *ipc.Endpoint) *ipc.Conn {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		return join(t, fmt.Sprintf("fd:%d", fds[0]), fmt.Sprintf("fd:%d", fds[1]), client)
	}},
	{"two pipes", func(t *testing.T, client *ipc.Endpoint) *ipc.Conn {
		var there, back [2]int
		if err := errors.Join(syscall.Pipe(there[:]), syscall.Pipe(back[:])); err != nil {
			t.Fatal(err)
		}
		return join(t, fmt.Sprintf("fd:%d,%d", there[0], back[1]), fmt.Sprintf("fd:%d,%d", back[0], there[1]), client)
	}},
	{"a child's stdin and stdout", func(t *testing.T, client *ipc.Endpoint) *ipc.Conn {
		conn, err := client.Dial(t.Context(), execAddress(t, "stdio:"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}},
}

func mutualTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	server, client, err := transporttest.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

// join serves a worker on one address of one peer and dials the other.
func join(t *testing.T, server, client string, e *ipc.Endpoint) *ipc.Conn {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- workerEndpoint().Serve(t.Context(), server) }()
	conn, err := e.Dial(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return conn
}

const workerVar = "IPCGEN_IPC_TEST_WORKER"

// TestWorker is no test but the worker, where this process is a child. It says on stdout where it listens, unless that
// is stdout.
func TestWorker(t *testing.T) {
	address := os.Getenv(workerVar)
	if address == "" {
		return
	}
	e := workerEndpoint()
	if path := os.Getenv(journalVar); path != "" {
		j, err := openJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		e.Services = []ipc.Service{echov1.NewEchoService(j)}
	}
	l, err := e.Listen(context.Background(), address)
	if err == nil {
		if address != "stdio:" {
			fmt.Println(l.Address())
		}
		err = l.Serve(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// execAddress is the address of a worker in a child, which serves on address.
func execAddress(t *testing.T, address string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(workerVar, address)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return fmt.Sprintf("exec:'%s' -test.run=^TestWorker$", exe)
}

// A visit is a client's side of a connection to a worker.
type visit struct {
	*ipc.Conn
	echo *echov1.EchoClient
	// notes are what the worker says of what happened to it; asked is what it asks and waits for, answered here.
	notes  chan string
	asked  chan string
	answer chan string
}

// overEach runs the test over every way.
func overEach(t *testing.T, test func(t *testing.T, v *visit)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			transporttest.CheckLeaks(t)
			test(t, w.visit(t))
		})
	}
}

func (w way) visit(t *testing.T) *visit {
	t.Helper()
	v := &visit{notes: make(chan string, 100), asked: make(chan string), answer: make(chan string)}
	v.Conn = w.dial(t, &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(visitor{v: v})}, Limits: limits, Logger: quiet()})
	v.echo = echov1.NewEchoClient(v.Conn)
	return v
}

// visitor is what the worker calls back.
type visitor struct {
	echov1.UnimplementedEcho
	v *visit
}

func (s visitor) Say(ctx context.Context, req *echov1.SayRequest) (*echov1.SayResponse, error) {
	if req.Text != "hold" {
		return &echov1.SayResponse{Text: "visited: " + req.Text}, nil
	}
	s.v.asked <- req.Text
	return &echov1.SayResponse{Text: <-s.v.answer}, nil
}

func (s visitor) Note(_ context.Context, req *echov1.SayRequest) error {
	s.v.notes <- req.Text
	return nil
}

// worker is an echo service that tells its caller, by notes, what it cannot see from there.
type worker struct{}

// note sends a note to the caller, also when the call is over.
func note(ctx context.Context, format string, args ...any) {
	echov1.NewEchoClient(ipc.ConnOf(ctx)).Note(context.WithoutCancel(ctx), &echov1.SayRequest{Text: fmt.Sprintf(format, args...)})
}

func (worker) Say(ctx context.Context, req *echov1.SayRequest) (*echov1.SayResponse, error) {
	switch req.Text {
	case "back", "hold":
		return echov1.NewEchoClient(ipc.ConnOf(ctx)).Say(ctx, req)
	case "wait":
		note(ctx, "waiting")
		<-ctx.Done()
		note(ctx, "ended: %v", ctx.Err())
		return nil, ctx.Err()
	}
	return &echov1.SayResponse{Text: req.Text}, nil
}

// Repeat sends until it may not, and then notes how far it came. After "wait" it waits.
func (worker) Repeat(ctx context.Context, req *echov1.SayRequest, send func(*echov1.SayResponse) error) error {
	for i := range req.Times {
		if err := send(&echov1.SayResponse{Text: req.Text}); err != nil {
			note(ctx, "sent %d", i)
			return err
		}
	}
	if req.Text == "wait" {
		note(ctx, "waiting")
		<-ctx.Done()
	}
	return ctx.Err()
}

// Join returns how many bytes came. After "enough" it takes no more, and waits.
func (worker) Join(ctx context.Context, in iter.Seq2[*echov1.SayRequest, error]) (*echov1.SayResponse, error) {
	n := 0
	for req, err := range in {
		if err != nil {
			return nil, err
		}
		if req.Text == "enough" {
			note(ctx, "waiting")
			<-ctx.Done()
			return nil, ctx.Err()
		}
		n += len(req.Text)
	}
	return &echov1.SayResponse{Text: fmt.Sprint(n)}, nil
}

func (worker) Chat(_ context.Context, in iter.Seq2[*echov1.SayRequest, error], send func(*echov1.SayResponse) error) error {
	for req, err := range in {
		if err != nil {
			return err
		}
		if err := send(&echov1.SayResponse{Text: req.Text}); err != nil {
			return err
		}
	}
	return nil
}

func (worker) Note(ctx context.Context, req *echov1.SayRequest) error {
	note(ctx, "noted: %s", req.Text)
	return nil
}

func said(texts ...string) iter.Seq[*echov1.SayRequest] {
	return func(yield func(*echov1.SayRequest) bool) {
		for s := range slices.Values(texts) {
			if !yield(&echov1.SayRequest{Text: s}) {
				return
			}
		}
	}
}

// text is one of n bytes.
func text(n int) string { return strings.Repeat("0123456789abcdef", n/16+1)[:n] }
