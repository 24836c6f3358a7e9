//go:build unix

package interop

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/runtime/wkt"
	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

// patience is how long anything may take before the test fails instead of hanging.
const patience = 2 * time.Minute

// A testee is a program of a language, as the suite holds it.
type testee struct {
	*interopv1.TesteeClient
	language *language
	conn     *ipc.Conn
	pid      int
	log      *log

	mu       sync.Mutex // guards what follows
	observed []*interopv1.Observation
	more     chan struct{} // closed, and made anew, with each observation
	over     error         // why there are no more
}

// log is what a testee writes to stderr.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// limits are those of the control channel: what a testee reports may be large.
var limits = ipc.Limits{MaxMessage: 64 << 20, Assembly: 256 << 20}

// startTestee starts the testee of a language, which ends with the test.
func startTestee(t *testing.T, l *language) *testee {
	t.Helper()
	log := &log{}
	conn, err := (&ipc.Endpoint{Stderr: log, Limits: limits}).Dial(t.Context(), l.address("stdio:"))
	if err != nil {
		t.Fatalf("starting the testee of %s: %v\n%s", l.name, err, log)
	}
	return newTestee(t, l, conn, log)
}

// newTestee makes a testee of the session to its control service.
func newTestee(t *testing.T, l *language, conn *ipc.Conn, log *log) *testee {
	t.Helper()
	e := &testee{TesteeClient: interopv1.NewTesteeClient(conn), language: l, conn: conn, pid: conn.Peer().PID, log: log, more: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { e.observe(ctx) })
	t.Cleanup(func() {
		cancel()
		conn.Close()
		wg.Wait()
		if t.Failed() && log.String() != "" {
			t.Logf("stderr of the testee of %s:\n%s", l.name, log)
		}
	})
	return e
}

func (e *testee) observe(ctx context.Context) {
	var over error
	for o, err := range e.Observe(ctx, &wkt.Empty{}) {
		if err != nil {
			over = err
			break
		}
		e.mu.Lock()
		e.observed = append(e.observed, o)
		close(e.more)
		e.more = make(chan struct{})
		e.mu.Unlock()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = fmt.Errorf("the testee observes no more: %v", over)
	close(e.more)
	e.more = nil
}

// await returns the first observation that is wanted, and takes it away.
func (e *testee) await(t *testing.T, what string, wanted func(*interopv1.Observation) bool) *interopv1.Observation {
	t.Helper()
	late := time.After(patience)
	for {
		e.mu.Lock()
		for i, o := range e.observed {
			if wanted(o) {
				e.observed = append(e.observed[:i:i], e.observed[i+1:]...)
				e.mu.Unlock()
				return o
			}
		}
		more, over, seen := e.more, e.over, e.observed
		e.mu.Unlock()
		if over != nil {
			t.Fatalf("%s did not observe that %s: %v", e.language.name, what, over)
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("%s did not observe that %s, but %v", e.language.name, what, seen)
		}
	}
}

// waiting waits until a handler of a name waits.
func (e *testee) waiting(t *testing.T, name string) {
	t.Helper()
	e.await(t, "the handler "+name+" waits", func(o *interopv1.Observation) bool {
		w, ok := o.What.(*interopv1.Observation_Waiting)
		return ok && w.Waiting == name
	})
}

// handlerEnded waits until a handler of WAIT has been told that its call has ended, and returns the code.
func (e *testee) handlerEnded(t *testing.T, name string) ipc.Code {
	t.Helper()
	o := e.await(t, "the handler "+name+" was told of its end", func(o *interopv1.Observation) bool { return o.GetHandlerEnded().GetName() == name })
	return ipc.Code(o.GetHandlerEnded().Code)
}

// sessionEnded waits until a session has ended, and returns why.
func (e *testee) sessionEnded(t *testing.T, session uint64) ipc.Reason {
	t.Helper()
	o := e.await(t, fmt.Sprintf("session %d ended", session), func(o *interopv1.Observation) bool {
		return o.GetEnded() != nil && o.GetEnded().Session == session
	})
	return ipc.Reason(o.GetEnded().Reason)
}

// connected waits until a peer has connected, and returns the number of its session.
func (e *testee) connected(t *testing.T) uint64 {
	t.Helper()
	o := e.await(t, "a peer connected", func(o *interopv1.Observation) bool {
		_, ok := o.What.(*interopv1.Observation_Connected)
		return ok
	})
	return o.GetConnected()
}

// open opens a gate.
func (e *testee) open(t *testing.T, name string) {
	t.Helper()
	if _, err := e.Open(limited(t), &interopv1.OpenRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
}

// progress tells how far a call or handler is.
func (e *testee) progress(t *testing.T, name string) *interopv1.ProgressResponse {
	t.Helper()
	p, err := e.Progress(limited(t), &interopv1.ProgressRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// kill ends the program as a crash would.
func (e *testee) kill(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(e.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// limited is the test's context, with an end. It has no deadline: the testee's calls would inherit it.
func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(patience, cancel)
	t.Cleanup(func() {
		timer.Stop()
		cancel()
	})
	return ctx
}

// A call is one that a testee is making.
type call struct {
	t    *testing.T
	e    *testee
	name string
	done chan struct{}
	res  *interopv1.CallResponse
	err  error
}

var numbers atomic.Int64

// newName returns one that no call, handler or gate has had.
func newName(what string) string { return fmt.Sprintf("%s %d", what, numbers.Add(1)) }

// start has the testee make a call, and does not wait for it.
func (e *testee) start(t *testing.T, req *interopv1.CallRequest) *call {
	t.Helper()
	if req.Name == "" {
		req.Name = newName("call")
	}
	c := &call{t: t, e: e, name: req.Name, done: make(chan struct{})}
	ctx := limited(t)
	go func() {
		defer close(c.done)
		c.res, c.err = e.Call(ctx, req)
	}()
	return c
}

// wait returns how the call ended.
func (c *call) wait() *interopv1.CallResponse {
	c.t.Helper()
	<-c.done
	if c.err != nil {
		c.t.Fatalf("%s could not tell how the call %q ended: %v", c.e.language.name, c.name, c.err)
	}
	return c.res
}

// cancel cancels the call.
func (c *call) cancel() {
	c.t.Helper()
	if _, err := c.e.Cancel(limited(c.t), &interopv1.CancelRequest{Name: c.name}); err != nil {
		c.t.Fatal(err)
	}
}

// A visit is a session between two testees.
type visit struct {
	server, client   *testee
	session          uint64 // the client's number of it
	accepted         uint64 // the server's
	transport        string
	address          string
	served           *language          // the server's
	options          *interopv1.Options // of the end that dials
	certificate, key string             // files, of both ends
}

var transports = []string{"unix", "shm", "tcp", "tls", "exec"}

// most are the options of what serves: a session has less where the other side does not ask for as much.
var most = &interopv1.Options{MaxMessage: 4 << 20}

// newVisit starts both testees, has one serve, and the other one dial it.
func newVisit(t *testing.T, p pairing) *visit {
	t.Helper()
	v := &visit{transport: p.transport, client: startTestee(t, p.client), served: p.server}
	dir := t.TempDir()
	v.certificate, v.key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	switch p.transport {
	case "exec":
		v.open(t)
		return v
	case "tls":
		writeCertificate(t, v.certificate, v.key)
	}
	v.server = startTestee(t, p.server)
	v.serve(t, map[string]string{"unix": "unix:" + filepath.Join(dir, "s"), "shm": "shm:" + filepath.Join(dir, "s"), "tcp": "tcp:127.0.0.1:0", "tls": "tls:127.0.0.1:0"}[p.transport])
	v.open(t)
	return v
}

// another returns one more session between the same testees, with options of its own. Over exec its server is another one.
func (v *visit) another(t *testing.T, o *interopv1.Options) *visit {
	t.Helper()
	w := *v
	w.options = o
	w.open(t)
	return &w
}

// open makes the session.
func (v *visit) open(t *testing.T) {
	t.Helper()
	if v.transport != "exec" {
		v.dial(t)
		v.accepted = v.server.connected(t)
		return
	}
	control := "unix:" + filepath.Join(t.TempDir(), "control")
	v.address = v.served.address(control, "stdio:")
	v.dial(t)
	conn, err := (&ipc.Endpoint{Limits: limits}).Dial(t.Context(), control)
	if err != nil {
		t.Fatal(err)
	}
	v.server = newTestee(t, v.served, conn, &log{})
	v.accepted = v.server.connected(t)
}

// endOptions adds TLS to those of an end.
func (v *visit) endOptions(o *interopv1.Options) *interopv1.Options {
	if o = o.Clone(); o == nil {
		o = &interopv1.Options{}
	}
	if v.transport == "tls" {
		o.Certificate, o.Key, o.Authorities = v.certificate, v.key, v.certificate
	}
	return o
}

func (v *visit) serve(t *testing.T, address string) {
	t.Helper()
	res, err := v.server.Serve(limited(t), &interopv1.ServeRequest{Address: address, Options: v.endOptions(most)})
	if err != nil || res.Failure != nil {
		t.Fatalf("%s does not serve at %s: %v, %v", v.server.language.name, address, res.GetFailure(), err)
	}
	v.address = res.Address
}

func (v *visit) dial(t *testing.T) {
	t.Helper()
	res, err := v.client.Dial(limited(t), &interopv1.DialRequest{Address: v.address, Options: v.endOptions(v.options)})
	if err != nil || res.Failure != nil {
		t.Fatalf("%s does not reach %s: %v, %v\n%s", v.client.language.name, v.address, res.GetFailure(), err, v.client.log)
	}
	v.session = res.Session
}

// start has the client make a call over the session, and does not wait for it.
func (v *visit) start(t *testing.T, req *interopv1.CallRequest) *call {
	t.Helper()
	req.Session = v.session
	return v.client.start(t, req)
}

// call has the client make a call over the session.
func (v *visit) call(t *testing.T, req *interopv1.CallRequest) *interopv1.CallResponse {
	t.Helper()
	return v.start(t, req).wait()
}

// unary has the client call Unary.
func (v *visit) unary(t *testing.T, req *interopv1.Request) *interopv1.CallResponse {
	t.Helper()
	return v.call(t, &interopv1.CallRequest{Method: "Unary", Requests: []*interopv1.Request{req}})
}

// lives sees that the session still does.
func (v *visit) lives(t *testing.T) {
	t.Helper()
	res := v.unary(t, &interopv1.Request{Data: []byte("alive")})
	wantCode(t, res, ipc.OK)
	if len(res.Responses) != 1 || string(res.Responses[0].Data) != "alive" {
		t.Errorf("afterwards: got %v", res)
	}
}

func wantCode(t *testing.T, res *interopv1.CallResponse, code ipc.Code) {
	t.Helper()
	if ipc.Code(res.Code) != code {
		t.Fatalf("the call ended with %v: %s, want %v", ipc.Code(res.Code), res.Message, code)
	}
}

// wantExecuted checks what is said of whether the handler may have run.
func wantExecuted(t *testing.T, res *interopv1.CallResponse, want bool) {
	t.Helper()
	if res.NotExecuted == want {
		t.Errorf("%v: %s: not_executed is %v", ipc.Code(res.Code), res.Message, res.NotExecuted)
	}
}
