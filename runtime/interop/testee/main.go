// The testee of Go: it serves and calls interop.v1.Test as the conformance suite says (README.md of package interop).
// control.go has what it is told, call.go the calls that it makes, handlers.go those that it handles.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testee:", err)
		os.Exit(1)
	}
}

// run serves control at the first address, and, where there is a second one, Test at that.
func run(addresses []string) error {
	if len(addresses) == 0 || len(addresses) > 2 {
		return errors.New("want: testee CONTROL [SERVE]")
	}
	ctx := context.Background()
	t := &testee{names: map[string]*named{}, sessions: map[uint64]*ipc.Conn{}, grace: map[uint64]time.Duration{},
		observed: make(chan *interopv1.Observation, 1<<16)}
	control := &ipc.Endpoint{Services: []ipc.Service{interopv1.NewTesteeService(t)}, Logger: slog.New(slog.DiscardHandler)}
	l, err := control.Listen(ctx, addresses[0])
	if err != nil {
		return err
	}
	if len(addresses) == 1 {
		return l.Serve(ctx)
	}
	defer l.Close()
	go l.Serve(ctx)
	if _, err := t.serve(addresses[1], nil); err != nil {
		return err
	}
	<-t.served
	return nil
}

// A testee is the state of the program.
type testee struct {
	observed chan *interopv1.Observation

	mu       sync.Mutex // guards what follows
	names    map[string]*named
	sessions map[uint64]*ipc.Conn
	grace    map[uint64]time.Duration // of those dialed, where it is not the default
	last     uint64                   // number of a session
	stop     func()                   // ends what serves
	served   chan struct{}            // closed when that has ended
}

// A named is what belongs to a handler or a call by its name.
type named struct {
	gate chan struct{} // closed when it is open
	open sync.Once

	mu             sync.Mutex // guards what follows
	sent, received uint64
	cancel         context.CancelFunc
	calling        chan struct{} // closed when cancel is there
}

func (t *testee) name(name string) *named {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.names[name]
	if n == nil {
		n = &named{gate: make(chan struct{}), calling: make(chan struct{})}
		t.names[name] = n
	}
	return n
}

// pass waits for the gate.
func (n *named) pass(ctx context.Context) error {
	select {
	case <-n.gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *named) count(sent, received uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent += sent
	n.received += received
}

// calls says that the first call of this name can be cancelled from now on.
func (n *named) calls(cancel context.CancelFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cancel == nil {
		n.cancel = cancel
		close(n.calling)
	}
}

// add numbers a session and observes its end.
func (t *testee) add(c *ipc.Conn, accepted bool) uint64 {
	t.mu.Lock()
	t.last++
	id := t.last
	t.sessions[id] = c
	t.mu.Unlock()
	if accepted {
		t.observed <- &interopv1.Observation{What: &interopv1.Observation_Connected{Connected: id}}
	}
	go func() {
		<-c.Done()
		ended := &interopv1.Ended{Session: id, Reason: uint32(reasonOf(c.Err()))}
		t.observed <- &interopv1.Observation{What: &interopv1.Observation_Ended{Ended: ended}}
	}()
	return id
}

func (t *testee) session(id uint64) (*ipc.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.sessions[id]; c != nil {
		return c, nil
	}
	return nil, ipc.Errorf(ipc.InvalidArgument, "there is no session %d", id)
}

// reasonOf returns why a session ended, or did not begin; Closed, which is 0, where that is not known.
func reasonOf(err error) ipc.Reason {
	var e *ipc.SessionError
	if errors.As(err, &e) {
		return e.Reason
	}
	return ipc.Closed
}

// Observe is the suite's.
func (t *testee) Observe(ctx context.Context, _ *empty, send func(*interopv1.Observation) error) error {
	for {
		select {
		case o := <-t.observed:
			if err := send(o); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
