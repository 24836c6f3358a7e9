//go:build linux && (amd64 || arm64)

package shm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
	transporttest.Main(m, map[string]transporttest.Role{})
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
	return s.Conn(mine, theirs, spin), nil
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
