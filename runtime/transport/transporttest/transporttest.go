// Package transporttest is the suite that every transport passes: what package transport promises of a Conn and a
// Listener, a test a promise. After each test no goroutine and no descriptor may be left.
package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// A Transport is what the suite needs to know of a transport. It has either Listen and Dial, or Pair.
type Transport struct {
	// Listen makes a listener of its own; Dial gets what its Address returns.
	Listen func(ctx context.Context) (transport.Listener, error)
	Dial   func(ctx context.Context, address string) (transport.Conn, error)
	// Pair makes the two ends of a connection, where one end is not dialed.
	Pair func() (dialed, accepted transport.Conn, err error)
	// Dialed and Accepted are what the two ends say of each other. Of the address only the beginning is compared;
	// a process id of 0 stands for any.
	Dialed, Accepted transport.Peer
	// HalfClose makes a Conn and the descriptor at its other end, with what ends the one direction towards the
	// Conn. Nil where a peer cannot do so.
	HalfClose func() (c transport.Conn, peer io.ReadWriteCloser, closeWrite func() error, err error)
}

// Run runs the suite.
func Run(t *testing.T, tr Transport) {
	conns := []struct {
		name string
		test func(*testing.T, Transport)
	}{
		{"bytes arrive in order both ways", testOrder},
		{"a slow reader gets all of a large write", testSlowReader},
		{"everything may be called at once", testConcurrentUse},
		{"a read deadline", testReadDeadline},
		{"a read deadline interrupts", testReadInterrupted},
		{"a write deadline", testWriteDeadline},
		{"writing without waiting", testTryWrite},
		{"Close ends what waits here", testCloseHere},
		{"Close ends what waits there", testCloseThere},
		{"what was written before Close arrives", testDataBeforeEnd},
		{"Close with unread data", testCloseUnread},
		{"Close twice", testCloseTwice},
		{"many connections", testMany},
		{"peers", testPeers},
	}
	for _, c := range conns {
		t.Run(c.name, func(t *testing.T) { run(t, tr, c.test) })
	}
	if tr.HalfClose != nil {
		t.Run("a peer that sends no more", func(t *testing.T) { run(t, tr, testHalfClose) })
	}
	if tr.Listen == nil {
		return
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, Transport)
	}{
		{"Dial within a context that has ended", testDialCanceled},
		{"Accept within a context that ends", testAcceptCanceled},
		{"a listener that is closed while it accepts", testListenerClosed},
		{"a listener that is closed leaves its connections", testListenerLeavesConns},
		{"a peer that is gone before it is accepted", testGoneBeforeAccept},
	} {
		t.Run(c.name, func(t *testing.T) { run(t, tr, c.test) })
	}
}

func run(t *testing.T, tr Transport, test func(*testing.T, Transport)) {
	CheckLeaks(t)
	test(t, tr)
}

// CheckLeaks fails the test if it leaves goroutines or descriptors. It is called before anything else is started: what
// the test cleans up, it cleans up before the check.
func CheckLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	openBefore := Descriptors()
	t.Cleanup(func() {
		err := goleak.Find(before)
		for range 20 { // a child may take its time to end
			if err == nil {
				break
			}
			err = goleak.Find(before)
		}
		if err != nil {
			t.Error(err)
		}
		if now := Descriptors(); len(now) > len(openBefore) {
			t.Errorf("%d descriptors are open, %d were before: %q", len(now), len(openBefore), now)
		}
	})
}

// Descriptors returns what this process's open descriptors stand for; nothing where the system does not tell. Those
// that the Go runtime opens once and keeps are left out.
func Descriptors() []string {
	const dir = "/proc/self/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var open []string
	for _, e := range entries {
		to, err := os.Readlink(dir + e.Name())
		if err != nil || strings.HasPrefix(to, "anon_inode:[event") {
			continue // the directory itself, closed by now; the poller's
		}
		open = append(open, e.Name()+" "+to)
	}
	return open
}

// pair makes a connection that ends with the test.
func (tr Transport) pair(t *testing.T) (dialed, accepted transport.Conn) {
	t.Helper()
	dialed, accepted, err := tr.connect(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialed.Close()
		accepted.Close()
	})
	return dialed, accepted
}

func (tr Transport) connect(t *testing.T) (dialed, accepted transport.Conn, err error) {
	if tr.Pair != nil {
		return tr.Pair()
	}
	l, err := tr.Listen(t.Context())
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	return tr.dial(t.Context(), l)
}

// dial makes a connection through l.
func (tr Transport) dial(ctx context.Context, l transport.Listener) (dialed, accepted transport.Conn, err error) {
	type result struct {
		c   transport.Conn
		err error
	}
	far := make(chan result, 1)
	go func() {
		c, err := l.Accept(ctx)
		far <- result{c, err}
	}()
	dialed, err = tr.Dial(ctx, l.Address())
	if err != nil {
		l.Close()
		if r := <-far; r.c != nil {
			r.c.Close()
		}
		return nil, nil, err
	}
	r := <-far
	if r.err != nil {
		dialed.Close()
		return nil, nil, r.err
	}
	return dialed, r.c, nil
}

// listen makes a listener that ends with the test.
func (tr Transport) listen(t *testing.T) transport.Listener {
	t.Helper()
	l, err := tr.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// pattern is n bytes of which no two places nearby look alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// want complains where err is not target.
func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: got error %v, want one that is %q", what, err, target)
	}
}

// wantGone complains where err does not say that the other end is gone.
func wantGone(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: got error %v, want one that says that the other end is gone", what, err)
	}
}

// samePeer says how got differs from what is wanted.
func samePeer(got, want transport.Peer) error {
	if want.PID == 0 {
		want.PID = got.PID
	}
	if !strings.HasPrefix(got.Address, want.Address) {
		return fmt.Errorf("the address is %q, want one that begins with %q", got.Address, want.Address)
	}
	if got.Address = want.Address; got != want {
		return fmt.Errorf("got %+v, want %+v", got, want)
	}
	return nil
}
