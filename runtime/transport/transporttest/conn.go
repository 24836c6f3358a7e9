package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// transfer writes b to one end, in pieces of growing size, while all of it is read at the other.
func transfer(w, r transport.Conn, b []byte) error {
	wrote := make(chan error, 1)
	go func() {
		for rest, n := b, 1; len(rest) > 0; n = n*3 + 1 {
			k, err := w.Write(rest[:min(n, len(rest))])
			if err != nil {
				wrote <- fmt.Errorf("writing at %d: %w", len(b)-len(rest), err)
				return
			}
			rest = rest[k:]
		}
		wrote <- nil
	}()
	got := make([]byte, len(b))
	_, err := io.ReadFull(r, got)
	if err == nil && !bytes.Equal(got, b) {
		err = errors.New("other bytes arrived than were sent")
	}
	if err != nil {
		return err // the writer ends with its Conn
	}
	return <-wrote
}

func testOrder(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	data := pattern(1 << 20)
	var wg sync.WaitGroup
	for _, way := range [][2]transport.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			if err := transfer(way[0], way[1], data); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func testSlowReader(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	data := pattern(1 << 20)
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := a.Write(data); n != len(data) || err != nil {
			t.Errorf("wrote %d bytes, %v", n, err)
		}
	})
	var got []byte
	for step := 1; len(got) < len(data); step = step%700 + 1 {
		p := make([]byte, step)
		n, err := b.Read(p)
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		got = append(got, p[:n]...)
		runtime.Gosched()
	}
	wg.Wait()
	if !bytes.Equal(got, data) {
		t.Error("other bytes arrived than were sent")
	}
}

// testConcurrentUse is for the race detector, and for whatever does not return.
func testConcurrentUse(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	var wg sync.WaitGroup
	moved := make(chan struct{}, 2) // each end has read something
	for _, c := range []transport.Conn{a, b} {
		wg.Go(func() {
			p := make([]byte, 1000)
			_, err := c.Read(p)
			for moved <- struct{}{}; err == nil || errors.Is(err, os.ErrDeadlineExceeded); {
				_, err = c.Read(p)
			}
		})
		wg.Go(func() {
			data := pattern(5000)
			for {
				if _, err := c.Write(data); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					return
				}
				if try, ok := c.(transport.TryWriter); ok {
					try.TryWrite(data)
				}
			}
		})
	}
	<-moved
	<-moved
	for i := range 100 {
		for _, c := range []transport.Conn{a, b} {
			wg.Go(func() { c.SetReadDeadline(time.Now().Add(time.Duration(i-50) * time.Millisecond)) })
			wg.Go(func() { c.SetWriteDeadline(time.Time{}) })
			wg.Go(func() { c.Peer() })
		}
	}
	wg.Go(func() { a.Close() })
	wg.Go(func() { a.Close() })
	wg.Go(func() { b.Close() })
	wg.Wait()
}

func testReadDeadline(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	// The stream is in use before the first deadline, so that nothing is left to shake hands about.
	if err := transfer(a, b, pattern(10)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	for name, deadline := range map[string]time.Time{"past": past, "soon": time.Now().Add(time.Millisecond)} {
		if err := b.SetReadDeadline(deadline); err != nil {
			t.Fatal(err)
		}
		n, err := b.Read(p)
		if want(t, name, err, os.ErrDeadlineExceeded); n != 0 {
			t.Errorf("%s: read %d bytes", name, n)
		}
		if now := time.Now(); now.Before(deadline) {
			t.Errorf("%s: the read ended %v before its deadline", name, deadline.Sub(now))
		}
	}
	_, err := b.Read(p)
	want(t, "a second read", err, os.ErrDeadlineExceeded)
	if err := b.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := transfer(a, b, pattern(100_000)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func testReadInterrupted(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	if err := transfer(a, b, pattern(10)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		done := make(chan error, 1)
		go func() {
			_, err := b.Read(make([]byte, 1))
			done <- err
		}()
		runtime.Gosched() // it may wait by now, or not: both must do
		b.SetReadDeadline(past)
		want(t, "the read", <-done, os.ErrDeadlineExceeded)
		b.SetReadDeadline(time.Time{})
		if err := transfer(a, b, pattern(100)); err != nil {
			t.Fatalf("afterwards: %v", err)
		}
	}
}

// fill writes until nothing more is taken, and returns how many bytes were. Data is repeated as often as it takes.
func fill(t *testing.T, c transport.Conn, data []byte) (written int) {
	t.Helper()
	for {
		c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := c.Write(data[written%len(data):])
		written += n
		if errors.Is(err, os.ErrDeadlineExceeded) && n == 0 {
			return written
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %d bytes: %v", written, err)
		}
	}
}

func testWriteDeadline(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	if err := transfer(a, b, pattern(10)); err != nil {
		t.Fatal(err)
	}
	data := pattern(300_001)
	a.SetWriteDeadline(past)
	n, err := a.Write(data)
	if want(t, "a deadline in the past", err, os.ErrDeadlineExceeded); n != 0 {
		t.Errorf("a deadline in the past: wrote %d bytes", n)
	}
	written := fill(t, a, data)
	a.SetWriteDeadline(time.Time{})
	rest := data[written%len(data):]
	wrote := make(chan error, 1)
	go func() {
		_, err := a.Write(rest)
		wrote <- err
	}()
	got := make([]byte, written+len(rest))
	if n, err := io.ReadFull(b, got); err != nil {
		t.Fatalf("read %d of %d bytes: %v", n, len(got), err) // the writer ends with its Conn
	}
	if err := <-wrote; err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if !bytes.Equal(got, bytes.Repeat(data, len(got)/len(data))) {
		t.Error("other bytes arrived than were sent")
	}
}

func testTryWrite(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	try, ok := a.(transport.TryWriter)
	if !ok {
		return // the session then always waits
	}
	var written []byte
	for data := pattern(100_000); ; {
		n, err := try.TryWrite(data)
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(written), err)
		}
		if written = append(written, data[:n]...); n < len(data) {
			break
		}
	}
	a.SetWriteDeadline(past)
	if _, err := try.TryWrite(make([]byte, 1)); err != nil {
		t.Errorf("after a deadline: %v", err)
	}
	a.SetWriteDeadline(time.Time{})
	got := make([]byte, len(written))
	if n, err := io.ReadFull(b, got); err != nil {
		t.Fatalf("read %d of %d bytes: %v", n, len(got), err)
	}
	if !bytes.Equal(got, written) {
		t.Error("other bytes arrived than were sent")
	}
	b.Close()
	var err error
	for err == nil { // the news may take a moment
		_, err = try.TryWrite([]byte("x"))
		runtime.Gosched()
	}
	wantGone(t, "after the other end closed", err)
	a.Close()
	if _, err := try.TryWrite([]byte("x")); err == nil {
		t.Error("after Close: no error")
	}
}

// writeUntil writes until it fails.
func writeUntil(c transport.Conn) error {
	for b := pattern(100_000); ; {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// inFlight starts a read and a write at c that wait, and returns how they end.
func inFlight(c transport.Conn) (read, write chan error) {
	read, write = make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	go func() { write <- writeUntil(c) }()
	return read, write
}

// awaitData returns when something can be read, which says that the other end's writer is at work.
func awaitData(t *testing.T, c transport.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func testCloseHere(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	read, write := inFlight(a)
	awaitData(t, b)
	a.Close()
	want(t, "the read that waited", <-read, net.ErrClosed)
	want(t, "the write that waited", <-write, net.ErrClosed)
	_, err := a.Read(make([]byte, 1))
	want(t, "a later read", err, net.ErrClosed)
	_, err = a.Write(make([]byte, 1))
	want(t, "a later write", err, net.ErrClosed)
}

func testCloseThere(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	read, write := inFlight(a)
	awaitData(t, b)
	b.Close()
	wantGone(t, "the read", <-read)
	wantGone(t, "the write", <-write)
	_, err := a.Read(make([]byte, 1))
	wantGone(t, "a later read", err)
	wantGone(t, "a later write", writeUntil(a))
}

func testDataBeforeEnd(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	data := pattern(30_000) // fits the least buffer there is
	if _, err := a.Write(data); err != nil {
		t.Fatal(err)
	}
	a.Close()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes and %v, want %d and the end", len(got), err, len(data))
	}
	for range 2 {
		n, err := b.Read(make([]byte, 1))
		if want(t, "a later read", err, io.EOF); n != 0 {
			t.Errorf("a later read got %d bytes", n)
		}
	}
}

func testCloseUnread(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	if _, err := b.Write([]byte("nobody reads this")); err != nil {
		t.Fatal(err)
	}
	data := pattern(1000)
	if _, err := a.Write(data); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(b, make([]byte, len(data))); err != nil {
		t.Fatal(err)
	}
	a.Close()
	_, err := b.Read(make([]byte, 1))
	wantGone(t, "the read", err)
	wantGone(t, "the write", writeUntil(b))
}

func testCloseTwice(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	if err := a.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	// What takes the numbers of a's descriptors must not be closed with a.
	c, d := tr.pair(t)
	a.Close()
	b.Close()
	b.Close()
	if err := transfer(c, d, pattern(1000)); err != nil {
		t.Errorf("another connection: %v", err)
	}
}

// testMany has many connections at once, all in use.
func testMany(t *testing.T, tr Transport) {
	const many = 20
	var l transport.Listener
	if tr.Listen != nil {
		l = tr.listen(t)
	}
	conns := make([][2]transport.Conn, many)
	for i := range conns {
		var err error
		if l != nil {
			conns[i][0], conns[i][1], err = tr.dial(t.Context(), l)
		} else {
			conns[i][0], conns[i][1], err = tr.Pair()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			conns[i][0].Close()
			conns[i][1].Close()
		})
	}
	var wg sync.WaitGroup
	for i, c := range conns {
		for _, way := range [][2]transport.Conn{{c[0], c[1]}, {c[1], c[0]}} {
			wg.Go(func() {
				if err := transfer(way[0], way[1], pattern(50_000 + i)[i:]); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
		}
	}
	wg.Wait()
}

func testPeers(t *testing.T, tr Transport) {
	a, b := tr.pair(t)
	if err := samePeer(a.Peer(), tr.Dialed); err != nil {
		t.Errorf("the dialed end: %v", err)
	}
	if err := samePeer(b.Peer(), tr.Accepted); err != nil {
		t.Errorf("the accepted end: %v", err)
	}
	before := a.Peer()
	b.Close()
	a.Close()
	if after := a.Peer(); after != before {
		t.Errorf("after Close the peer is %+v, was %+v", after, before)
	}
}

func testHalfClose(t *testing.T, tr Transport) {
	c, peer, closeWrite, err := tr.HalfClose()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	defer c.Close()
	if _, err := peer.Write([]byte("the last")); err != nil {
		t.Fatal(err)
	}
	if err := closeWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "the last" {
		t.Errorf("got %q, %v", got, err)
	}
	// The other direction is open still.
	if _, err := c.Write([]byte("heard")); err != nil {
		t.Error(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "heard" {
		t.Errorf("the peer got %q, %v", got, err)
	}
}
