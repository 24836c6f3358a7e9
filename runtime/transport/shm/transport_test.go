//go:build linux && (amd64 || arm64)

package shm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/ring"
	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/shm"
	"github.com/ipcgen/ipcgen/runtime/transport/socket"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

func TestMain(m *testing.M) {
	shm.Calibrate() // else the first test would be blamed for the descriptors of measuring
	transporttest.Main(m, map[string]transporttest.Role{"echo": echo})
}

// echo sends back what comes over the socket at path, until nothing comes any more.
func echo(path string) (any, error) {
	c, err := socket.DialUnix(context.Background(), path)
	if err == nil {
		c, err = move(c, 0, 0)
	}
	if err != nil {
		return nil, err
	}
	go io.Copy(c, c)
	return c, nil
}

// move moves a connection into shared memory, as a session does, with the default ring of another user.
func move(c transport.Conn, side uint32, spin time.Duration) (transport.Conn, error) {
	s, err := shm.Open(c)
	if err != nil {
		return nil, err
	}
	mine, err := shm.Make(128<<10, ring.Identity{Side: side}, true)
	if err != nil {
		return nil, err
	}
	if err := s.Send([]byte("x"), mine); err != nil {
		return nil, err
	}
	if _, err := s.Read(make([]byte, 1)); err != nil {
		return nil, err
	}
	theirs, err := s.Attach(mine.Size(), ring.Identity{Side: 1 - side})
	if err != nil {
		return nil, err
	}
	return s.Conn(mine, theirs, spin, true, func() {}), nil
}

// pair makes both ends of a connection.
func pair(path string, spin time.Duration) (a, b transport.Conn, err error) {
	l, err := socket.ListenUnix(context.Background(), path)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	near, err := socket.DialUnix(context.Background(), path)
	if err != nil {
		return nil, nil, err
	}
	far, err := l.Accept(context.Background())
	if err != nil {
		return nil, nil, err
	}
	moved := make(chan error)
	go func() {
		var err error
		b, err = move(far, 1, spin)
		moved <- err
	}()
	a, err = move(near, 0, spin)
	return a, b, errors.Join(err, <-moved)
}

func TestTransport(t *testing.T) {
	for name, spin := range map[string]time.Duration{"parking at once": -1, "spinning as measured": 0, "spinning long": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			self := transport.Peer{Address: "unix:" + path, Identified: true, PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid(), SameUser: true}
			transporttest.Run(t, transporttest.Transport{
				Pair:   func() (transport.Conn, transport.Conn, error) { return pair(path, spin) },
				Dialed: self, Accepted: self,
			})
		})
	}
}

// TestProcesses: what another process sends back is what was sent; and when it is killed, what it had sent is read first.
func TestProcesses(t *testing.T) {
	transporttest.CheckLeaks(t)
	path := filepath.Join(t.TempDir(), "s")
	l, err := socket.ListenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	child := transporttest.Start(t, "echo", path, nil)
	sock, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := move(sock, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if said := child.Said(t); said != transporttest.Well {
		t.Fatal(said)
	}
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	for _, size := range []int{1, 31, 4096, 100_001, 1 << 20} {
		wrote := make(chan error, 1)
		go func() {
			_, err := c.Write(data[:size])
			wrote <- err
		}()
		got := make([]byte, size)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data[:size]) {
			t.Fatalf("%d bytes: other bytes came back, or %v", size, err)
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
	}

	if _, err := c.Write(data[:10_000]); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		t.Fatal(err)
	}
	child.Crash(t)
	rest, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(data[1:10_000], rest) {
		t.Errorf("behind the first byte came %d that were sent or others, and %v", len(rest), err)
	}
	for err = nil; err == nil; {
		_, err = c.Write(data)
	}
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("writing to a dead peer: got %v, want EPIPE", err)
	}
}
