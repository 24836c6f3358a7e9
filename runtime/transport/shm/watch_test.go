//go:build linux && (amd64 || arm64)

package shm

import (
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/ring"
	"github.com/ipcgen/ipcgen/runtime/transport"
)

// TestWatch: who watches is told of what comes while nobody reads, and of the end.
func TestWatch(t *testing.T) {
	for name, spin := range map[string]time.Duration{"parking at once": 0, "spinning": 50 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			knocks := make(chan struct{}, 1)
			a, b, err := knocking(filepath.Join(t.TempDir(), "s"), ring.MinSize, spin, new(atomic.Int64), func() {
				select {
				case knocks <- struct{}{}:
				default:
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			defer b.Close()
			write := func() {
				t.Helper()
				if _, err := b.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			read := func() {
				t.Helper()
				if n, err := a.Read(make([]byte, 10)); n != 1 || err != nil {
					t.Fatalf("read %d bytes, %v", n, err)
				}
			}
			watch := func(want bool) {
				t.Helper()
				if got := a.(transport.MemoryWriter).Watch(); got != want {
					t.Fatalf("something is there: %v, want %v", got, want)
				}
			}
			for range 100 {
				watch(false)
				watch(false)
				write()
				<-knocks
				watch(true)
				read()
			}
			watch(false)
			done := make(chan struct{})
			go func() {
				defer close(done)
				read() // which waits, or not
			}()
			write()
			<-done
			watch(false)
			select {
			case <-knocks: // what came before it was read
			default:
			}
			b.Close()
			<-knocks
			if _, err := a.Read(make([]byte, 10)); err != io.EOF {
				t.Errorf("after the end: %v", err)
			}
			watch(true)
			a.Close()
			watch(true)
		})
	}
}
