//go:build linux && (amd64 || arm64)

package shm

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestCutShortMeanwhile: the size of a memfd is what it is with its seals, also where the peer cuts it short while it is
// looked at. Otherwise reading what was mapped would be a fault.
func TestCutShortMeanwhile(t *testing.T) {
	const before, after = 1 << 16, 1 << 12
	for n := range 10_000 {
		fd, err := create()
		if err == nil {
			err = unix.Ftruncate(fd, before)
		}
		if err != nil {
			t.Fatal(err)
		}
		began, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			close(began)
			dally(uint32(n % 3000))
			unix.Ftruncate(fd, after)
			unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		}()
		<-began
		dally(500)
		if size, err := inspect(fd, seals); err == nil && size != after {
			t.Fatalf("round %d: a sealed memfd of %d bytes was taken for one of %d", n, after, size)
		}
		<-done
		unix.Close(fd)
	}
}
