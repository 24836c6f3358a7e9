//go:build unix

package ipc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
)

// A mortal is a worker in a child that the test stops and kills.
type mortal struct {
	address string // to dial
	pid     int    // 0: known from the connection, which starts it
}

func (m mortal) kill(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(m.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// stop returns when the worker stands still.
func (m mortal) stop(t *testing.T) {
	t.Helper()
	err := syscall.Kill(m.pid, syscall.SIGSTOP)
	if err == nil {
		var status syscall.WaitStatus
		for err = syscall.EINTR; err == syscall.EINTR; {
			_, err = syscall.Wait4(m.pid, &status, syscall.WUNTRACED, nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// startWorker starts a worker in a child that listens on address.
func startWorker(t *testing.T, address string) mortal {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestWorker$")
	cmd.Env = append(os.Environ(), workerVar+"="+address)
	listens := startChild(t, cmd)
	return mortal{listens, cmd.Process.Pid}
}

// startChild starts a child of this test, which is killed when the test ends, and returns the first line that it says.
func startChild(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // its end tells the child that this process is gone
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child said %q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

// deathWays are the transports over which a peer's death looks different.
var deathWays = map[string]func(t *testing.T) mortal{
	"unix":  func(t *testing.T) mortal { return startWorker(t, "unix:"+filepath.Join(t.TempDir(), "s")) },
	"tcp":   func(t *testing.T) mortal { return startWorker(t, "tcp:127.0.0.1:0") },
	"stdio": func(t *testing.T) mortal { return mortal{address: execAddress(t, "stdio:")} },
}

// visitMortal connects to m, with the limits.
func visitMortal(t *testing.T, m mortal, limits ipc.Limits) (*visit, mortal) {
	t.Helper()
	v := way{dial: func(t *testing.T, client *ipc.Endpoint) *ipc.Conn {
		client.Limits = limits
		conn, err := client.Dial(t.Context(), m.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}}.visit(t)
	if m.pid == 0 {
		m.pid = v.Peer().PID
	}
	return v, m
}

// An operation is one that blocks while the worker lives, begun when the worker has noted that it waits.
type operation struct {
	name string
	run  func(v *visit) error
	// calls is how many calls may run at a time; 0 is the default.
	calls int
	// notExecuted is what the error says: true where the call can be repeated whatever it does.
	notExecuted bool
}

var operations = []operation{
	{name: "a unary call waits for its answer", run: func(v *visit) error {
		_, err := v.echo.Say(context.Background(), &echov1.SayRequest{Text: "wait"})
		return err
	}},
	{name: "a server stream waits for a message", run: func(v *visit) error {
		for _, err := range v.echo.Repeat(context.Background(), &echov1.SayRequest{Text: "wait", Times: 3}) {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "a client stream waits to send", run: func(v *visit) error {
		_, err := v.echo.Join(context.Background(), func(yield func(*echov1.SayRequest) bool) {
			for more := yield(&echov1.SayRequest{Text: "enough"}); more; {
				more = yield(&echov1.SayRequest{Text: text(10_000)})
			}
		})
		return err
	}},
	{name: "a client stream waits to send a large message", run: func(v *visit) error {
		_, err := v.echo.Join(context.Background(), said("enough", text(1<<20)))
		return err
	}},
	{name: "a client stream waits for its answer", run: func(v *visit) error {
		_, err := v.echo.Join(context.Background(), said("enough"))
		return err
	}},
	{name: "a bidirectional call waits for a message", run: func(v *visit) error {
		return chat(v, func(c *ipc.Stream[*echov1.SayRequest, *echov1.SayResponse]) error {
			_, err := c.Receive()
			return err
		})
	}},
	{name: "a bidirectional call waits to send", run: func(v *visit) error {
		return chat(v, func(c *ipc.Stream[*echov1.SayRequest, *echov1.SayResponse]) error {
			err := c.Send(&echov1.SayRequest{Text: text(10_000)})
			if err == io.EOF {
				_, err = c.Receive()
			}
			return err
		})
	}},
	{name: "a call waits for a slot", calls: 1, notExecuted: true, run: func(v *visit) error {
		first := make(chan error, 1)
		go func() {
			_, err := v.echo.Say(context.Background(), &echov1.SayRequest{Text: "hold"})
			first <- err
		}()
		v.notes <- <-v.asked // the first has the only slot
		_, err := v.echo.Say(context.Background(), &echov1.SayRequest{Text: "x"})
		v.answer <- "too late"
		<-first
		return err
	}},
}

// chat opens a bidirectional call, has the worker note something, and does what until it fails.
func chat(v *visit, what func(*ipc.Stream[*echov1.SayRequest, *echov1.SayResponse]) error) error {
	c, err := v.echo.Chat(context.Background())
	if err != nil {
		return err
	}
	defer c.Close()
	for err = v.echo.Note(context.Background(), &echov1.SayRequest{}); err == nil; {
		err = what(c)
	}
	return err
}

// TestWorkerDies kills the worker while a call waits: the call ends, and says that the peer is gone and whether the
// handler may have run.
func TestWorkerDies(t *testing.T) {
	for name, start := range deathWays {
		for _, o := range operations {
			t.Run(name+"/"+o.name, func(t *testing.T) {
				transporttest.CheckLeaks(t)
				l := limits
				l.Calls = o.calls
				v, m := visitMortal(t, start(t), l)
				done := make(chan error, 1)
				go func() { done <- o.run(v) }()
				<-v.notes
				m.kill(t)
				err := <-done
				var e *ipc.Error
				if !errors.As(err, &e) || e.Code != ipc.Unavailable || e.NotExecuted != o.notExecuted || e.Remote || e.Method == "" {
					t.Errorf("got %+v, want UNAVAILABLE of this side with NotExecuted %v", err, o.notExecuted)
				}
				wantReason(t, err, ipc.PeerGone)
				<-v.Done()
				wantReason(t, v.Err(), ipc.PeerGone)
				if got := v.Err().Error(); !strings.Contains(got, "session with "+v.Peer().Address+" ended") {
					t.Errorf("got %q, want the peer's address in it", got)
				}
				_, err = v.echo.Say(t.Context(), &echov1.SayRequest{})
				if !errors.As(err, &e) || e.Code != ipc.Unavailable || !e.NotExecuted {
					t.Errorf("a later call: got %+v", err)
				}
			})
		}
	}
}

func wantReason(t *testing.T, err error, want ipc.Reason) {
	t.Helper()
	var e *ipc.SessionError
	if !errors.As(err, &e) || e.Reason != want {
		t.Errorf("got %v, want a SessionError with the reason %v", err, want)
	}
}

// TestStoppedWorkerDies: a stopped worker takes bytes and answers nothing; what waits for it ends when it dies.
func TestStoppedWorkerDies(t *testing.T) {
	for name, start := range deathWays {
		for what, run := range map[string]func(v *visit) error{
			"Ping": func(v *visit) error { return v.Ping(context.Background()) },
			"a unary call": func(v *visit) error {
				_, err := v.echo.Say(context.Background(), &echov1.SayRequest{})
				return err
			},
			"Shutdown": func(v *visit) error {
				if err := v.Shutdown(context.Background()); err != nil {
					return err
				}
				return v.Err() // it ended without Shutdown's doing
			},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				transporttest.CheckLeaks(t)
				v, m := visitMortal(t, start(t), limits)
				m.stop(t)
				done := make(chan error, 1)
				go func() { done <- run(v) }()
				m.kill(t)
				wantReason(t, <-done, ipc.PeerGone)
			})
		}
	}
}

// TestWorkerStops: where nobody dies, the limits end what waits.
func TestWorkerStops(t *testing.T) {
	for name, start := range deathWays {
		t.Run(name, func(t *testing.T) {
			transporttest.CheckLeaks(t)
			l := limits
			l.Stall = 50 * time.Millisecond
			v, m := visitMortal(t, start(t), l)
			m.stop(t)
			defer m.kill(t)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if _, err := v.echo.Say(ctx, &echov1.SayRequest{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a call with a deadline: got %v", err)
			}
			if err := v.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Ping with a deadline: got %v", err)
			}
			// More than all the buffers between two processes take.
			var wg sync.WaitGroup
			for range l.Calls {
				wg.Go(func() {
					_, err := v.echo.Say(patient(t), &echov1.SayRequest{Text: text(60_000)})
					if ipc.CodeOf(err) != ipc.Unavailable {
						t.Errorf("a call that is not read: got %v", err)
					}
				})
			}
			wg.Wait()
			<-v.Done()
			wantReason(t, v.Err(), ipc.Stalled)
		})
	}
}

// TestDialAPeerThatDies: the peer is there, and does not come to say hello.
func TestDialAPeerThatDies(t *testing.T) {
	for _, name := range []string{"unix", "tcp"} {
		t.Run(name, func(t *testing.T) {
			transporttest.CheckLeaks(t)
			m := deathWays[name](t)
			m.stop(t)
			e := &ipc.Endpoint{Limits: ipc.Limits{Handshake: 10 * time.Millisecond}, Logger: quiet()}
			_, err := e.Dial(t.Context(), m.address)
			wantReason(t, err, ipc.NoHandshake)
			done := make(chan error, 1)
			go func() {
				_, err := ipc.Dial(t.Context(), m.address)
				done <- err
			}()
			m.kill(t)
			if err := <-done; !strings.Contains(err.Error(), m.address) {
				t.Errorf("got %v, want an error that names %s", err, m.address)
			} else if e := (*ipc.SessionError)(nil); errors.As(err, &e) {
				wantReason(t, err, ipc.PeerGone)
			} else if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v, want that of a peer that died before it was connected", err)
			}
		})
	}
	t.Run("stdio", func(t *testing.T) {
		transporttest.CheckLeaks(t)
		for _, address := range []string{"exec:sh -c 'exit 3'", "exec:sh -c 'kill -9 $$'", "exec:sh -c 'printf IPC; exit 3'"} {
			_, err := ipc.Dial(t.Context(), address)
			wantReason(t, err, ipc.PeerGone)
		}
		e := &ipc.Endpoint{Limits: ipc.Limits{Handshake: 10 * time.Millisecond}, Logger: quiet()}
		_, err := e.Dial(t.Context(), "exec:sh -c 'exec cat >/dev/null'")
		wantReason(t, err, ipc.NoHandshake)
	})
}

const visitorVar = "IPCGEN_IPC_TEST_VISITOR"

// visitorCalls are what a client in a child is at when it is killed.
var visitorCalls = map[string]func(ctx context.Context, c *echov1.EchoClient){
	"a unary call": func(ctx context.Context, c *echov1.EchoClient) { c.Say(ctx, &echov1.SayRequest{}) },
	"a server stream that it does not read": func(ctx context.Context, c *echov1.EchoClient) {
		for range c.Repeat(ctx, &echov1.SayRequest{}) {
			select {}
		}
	},
	"a client stream at full speed": func(ctx context.Context, c *echov1.EchoClient) {
		c.Join(ctx, func(yield func(*echov1.SayRequest) bool) {
			for yield(&echov1.SayRequest{Text: text(300_000)}) {
			}
		})
	},
	"a bidirectional call": func(ctx context.Context, c *echov1.EchoClient) {
		chat, err := c.Chat(ctx)
		if err == nil {
			err = chat.Send(&echov1.SayRequest{})
		}
		for err == nil {
			_, err = chat.Receive()
		}
	},
}

// TestVisitor is no test but a client, where this process is a child.
func TestVisitor(t *testing.T) {
	name, address, ok := strings.Cut(os.Getenv(visitorVar), "@")
	if !ok {
		return
	}
	conn, err := ipc.Dial(context.Background(), address)
	if err == nil {
		do, ok := visitorCalls[name]
		if !ok {
			do = everything
		}
		do(context.Background(), echov1.NewEchoClient(conn))
		err = conn.Err()
	}
	fmt.Fprintln(os.Stderr, "the visitor was not killed:", err)
	os.Exit(1)
}

// A guest is a client in a child that is to be killed.
type guest struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
}

// startGuest starts a guest of address that makes the calls of a name. It ends with the test at the latest.
func startGuest(t *testing.T, name, address string) *guest {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{exec.Command(exe, "-test.run=^TestVisitor$"), make(chan struct{})}
	g.cmd.Env = append(os.Environ(), visitorVar+"="+name+"@"+address)
	g.cmd.Stderr = os.Stderr
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		g.cmd.Wait()
		close(g.gone)
	}()
	t.Cleanup(g.kill)
	return g
}

func (g *guest) kill() {
	g.cmd.Process.Kill()
	<-g.gone
}

// await returns what comes from c, for which the guest has to live.
func await[T any](t *testing.T, g *guest, c <-chan T) (came T) {
	t.Helper()
	select {
	case came = <-c:
	case <-g.gone:
		t.Fatal("the guest has ended before it was killed")
	}
	return came
}

// host serves visitors, and tells when a handler is at work and with what error it ends.
type host struct {
	begun chan struct{}
	ended chan error
}

func (h host) Say(ctx context.Context, _ *echov1.SayRequest) (*echov1.SayResponse, error) {
	h.begun <- struct{}{}
	<-ctx.Done()
	h.ended <- ctx.Err()
	return nil, ctx.Err()
}

func (h host) Repeat(_ context.Context, _ *echov1.SayRequest, send func(*echov1.SayResponse) error) error {
	h.begun <- struct{}{}
	for {
		if err := send(&echov1.SayResponse{Text: text(10_000)}); err != nil {
			h.ended <- err
			return err
		}
	}
}

func (h host) Join(_ context.Context, in iter.Seq2[*echov1.SayRequest, error]) (*echov1.SayResponse, error) {
	return nil, h.listen(in)
}

func (h host) Chat(_ context.Context, in iter.Seq2[*echov1.SayRequest, error], _ func(*echov1.SayResponse) error) error {
	return h.listen(in)
}

func (h host) listen(in iter.Seq2[*echov1.SayRequest, error]) error {
	first := true
	for _, err := range in {
		if err != nil {
			h.ended <- err
			return err
		}
		if first {
			h.begun <- struct{}{}
			first = false
		}
	}
	h.ended <- errors.New("the stream ended as if the caller had ended it")
	return nil
}

func (h host) Note(context.Context, *echov1.SayRequest) error { return nil }

// visitorSchemes are the transports by which a client comes that is killed.
var visitorSchemes = []string{"unix", "tcp", "fifo"}

// TestVisitorDies kills a client in the middle of a call: the handler's context and streams end, and the server serves
// on.
func TestVisitorDies(t *testing.T) {
	for _, scheme := range visitorSchemes {
		for name := range visitorCalls {
			t.Run(scheme+"/"+name, func(t *testing.T) {
				transporttest.CheckLeaks(t)
				address := scheme + ":" + filepath.Join(t.TempDir(), "x")
				if scheme == "tcp" {
					address = "tcp:127.0.0.1:0"
				}
				h := host{make(chan struct{}), make(chan error, 1)}
				ctx, stop := context.WithCancel(t.Context())
				l, err := (&ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(h)}, Logger: quiet()}).Listen(ctx, address)
				if err != nil {
					t.Fatal(err)
				}
				served := make(chan error, 1)
				go func() { served <- l.Serve(ctx) }()

				g := startGuest(t, name, l.Address())
				await(t, g, h.begun)
				g.kill()
				if err := <-h.ended; !errors.Is(err, context.Canceled) {
					t.Errorf("the handler got %v, want %v", err, context.Canceled)
				}

				conn, err := ipc.Dial(t.Context(), l.Address())
				if err != nil {
					t.Fatal(err)
				}
				if err := conn.Ping(t.Context()); err != nil {
					t.Errorf("the next client: %v", err)
				}
				conn.Close()
				stop()
				if err := <-served; err != nil {
					t.Errorf("Serve: %v", err)
				}
			})
		}
	}
}
