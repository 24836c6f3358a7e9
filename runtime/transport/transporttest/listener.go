package transporttest

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

func testDialCanceled(t *testing.T, tr Transport) {
	l := tr.listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := tr.Dial(ctx, l.Address())
	if want(t, "Dial", err, context.Canceled); c != nil {
		c.Close()
	}
}

func testAcceptCanceled(t *testing.T, tr Transport) {
	l := tr.listen(t)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := l.Accept(ctx)
			done <- err
		}()
		cancel()
		want(t, "Accept", <-done, context.Canceled)
	}
	a, b, err := tr.dial(t.Context(), l)
	if err != nil {
		t.Fatalf("the next peer: %v", err)
	}
	defer a.Close()
	defer b.Close()
	if err := transfer(a, b, pattern(1000)); err != nil {
		t.Error(err)
	}
}

func testListenerClosed(t *testing.T, tr Transport) {
	l := tr.listen(t)
	done := make(chan error, 1)
	go func() {
		_, err := l.Accept(t.Context())
		done <- err
	}()
	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	want(t, "Accept while Close is called", <-done, net.ErrClosed)
	_, err := l.Accept(t.Context())
	want(t, "Accept after Close", err, net.ErrClosed)
	l.Close()
	if c, err := tr.Dial(t.Context(), l.Address()); err == nil {
		c.Close()
		t.Error("Dial after Close: no error")
	}
}

func testListenerLeavesConns(t *testing.T, tr Transport) {
	l := tr.listen(t)
	a, b, err := tr.dial(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	l.Close()
	for _, way := range [][2]transport.Conn{{a, b}, {b, a}} {
		if err := transfer(way[0], way[1], pattern(1000)); err != nil {
			t.Error(err)
		}
	}
}

// testGoneBeforeAccept: such a peer may be accepted and found gone, or not accepted; the next one is served.
func testGoneBeforeAccept(t *testing.T, tr Transport) {
	l := tr.listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	dialed := make(chan error, 1)
	go func() {
		c, err := tr.Dial(ctx, l.Address())
		if err == nil {
			c.Close()
		}
		dialed <- err
	}()
	cancel() // a Dial that needs an Accept is given up
	if err := <-dialed; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var next transport.Conn
	go func() {
		var err error
		if next, err = tr.Dial(t.Context(), l.Address()); err == nil {
			_, err = next.Write([]byte("me"))
		}
		if err != nil {
			l.Close() // nobody else comes
		}
		dialed <- err
	}()
	for served := false; !served; {
		p, err := l.Accept(t.Context())
		if errors.Is(err, net.ErrClosed) {
			t.Fatal(<-dialed)
		}
		if err != nil {
			continue // the peer that gave up
		}
		got := make([]byte, 2)
		if _, err := io.ReadFull(p, got); err != nil {
			wantGone(t, "the peer that gave up", err)
		}
		served = string(got) == "me"
		p.Close()
	}
	if err := <-dialed; err != nil {
		t.Fatal(err)
	}
	next.Close()
}
