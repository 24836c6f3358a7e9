//go:build linux && (amd64 || arm64)

package shm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/ring"
	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/socket"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

// counter is a socket that counts the doorbells which come.
type counter struct {
	transport.Conn
	bells *atomic.Int64
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bells.Add(int64(n))
	return n, err
}

// heapPair makes both ends of a connection whose segments lie on the heap: there the race detector looks at them. It
// counts doorbells.
func heapPair(path string, size int, spin time.Duration, bells *atomic.Int64) (a, b transport.Conn, err error) {
	return knocking(path, size, spin, bells, func() {})
}

// knocking is heapPair with what Watch has called.
func knocking(path string, size int, spin time.Duration, bells *atomic.Int64, knock func()) (a, b transport.Conn, err error) {
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
	mine, theirs := make([]byte, ring.HeaderSize+size), make([]byte, ring.HeaderSize+size)
	end := func(sock transport.Conn, mine, theirs []byte) transport.Conn {
		raw, rawErr := sock.(syscall.Conn).SyscallConn()
		err = errors.Join(err, rawErr)
		w, r := ring.New(mine, theirs)
		return newConn(counter{sock, bells}, raw, w, r, func() {}, spin, nil, knock)
	}
	return end(near, mine, theirs), end(far, theirs, mine), err
}

func TestHeap(t *testing.T) {
	for name, spin := range map[string]time.Duration{"parking at once": 0, "spinning": 50 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			self := transport.Peer{Address: "unix:" + path, Identified: true, PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid(), SameUser: true}
			transporttest.Run(t, transporttest.Transport{
				Pair: func() (transport.Conn, transport.Conn, error) {
					return heapPair(path, 64<<10, spin, new(atomic.Int64))
				},
				Dialed: self, Accepted: self,
			})
		})
	}
}

var wakeups = flag.Int("wakeups", 3000, "how many parks and wake-ups TestWakeups makes on each number of processors")

// TestWakeups parks and wakes with random delays in between. A wake-up that is lost makes it hang.
func TestWakeups(t *testing.T) {
	for _, procs := range []int{1, 2, 4} {
		for name, run := range map[string]func(rng *rand.Rand, a, b transport.Conn) error{"for data": pingPong, "for room": pour} {
			t.Run(fmt.Sprintf("%s on %d processors", name, procs), func(t *testing.T) {
				transporttest.CheckLeaks(t)
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				var bells atomic.Int64
				a, b, err := heapPair(filepath.Join(t.TempDir(), "s"), ring.MinSize, 0, &bells)
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close()
				defer b.Close()
				rng := rand.New(rand.NewPCG(uint64(procs), 0))
				for bells.Load() < int64(*wakeups/2) {
					if err := run(rng, a, b); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// dawdle takes a random time, from nothing to a few microseconds, in which others may run or not.
func dawdle(rng *rand.Rand) {
	switch n := rng.IntN(8); n {
	case 0, 1:
		runtime.Gosched()
	case 2, 3, 4:
		dally(uint32(1 + rng.IntN(100)))
	}
}

// dally takes the time of so many pauses of the processor.
func dally(n uint32) {
	var word uint32
	var next byte
	if n > 0 {
		poll(&word, 0, n, 1, &next)
	}
}

// pingPong sends a few bytes to and fro.
func pingPong(rng *rand.Rand, a, b transport.Conn) error {
	seed := rng.Uint64()
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, way := range [][2]transport.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			p := make([]byte, 1)
			for range 100 {
				if i == 0 {
					dawdle(rng)
					way[0].Write(p)
				}
				if _, err := io.ReadFull(way[0], p); err != nil {
					errs[i] = err
					return
				}
				if i == 1 {
					dawdle(rng)
					way[0].Write(p)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// pour sends more than fits.
func pour(rng *rand.Rand, a, b transport.Conn) error {
	seed := rng.Uint64()
	const total = 40 * ring.MinSize
	wrote := make(chan error, 1)
	go func() {
		rng := rand.New(rand.NewPCG(seed, 0))
		for n := 0; n < total; {
			k, err := a.Write(make([]byte, min(total-n, 1+rng.IntN(3*ring.MinSize))))
			if n += k; err != nil {
				wrote <- err
				return
			}
			dawdle(rng)
		}
		wrote <- nil
	}()
	for n := 0; n < total; {
		k, err := b.Read(make([]byte, 1+rng.IntN(ring.MinSize)))
		if n += k; err != nil {
			return err
		}
		dawdle(rng)
	}
	return <-wrote
}
