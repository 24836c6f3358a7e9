package ring

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func init() {
	memories["mapped"] = func(t *testing.T, size int) []byte {
		t.Helper()
		b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANONYMOUS)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Munmap(b) })
		return b
	}
}

// TestFences: of two sides, one of which parks while the other moves a byte, one sees what the other has done. The race
// detector has atomic operations of its own, which keep less of an order in memory that is mapped.
func TestFences(t *testing.T) {
	for _, what := range []string{"data", "room"} {
		t.Run(what, func(t *testing.T) {
			a, b := segments(t, memories["mapped"], MinSize)
			w, _ := New(a, b)
			_, r := New(b, a)
			p := make([]byte, 1)
			move := func() (rings bool) { w.Write(p); return w.Bell() }
			park := func() (ready bool, err error) { return r.Park() }
			undo := func() { r.Unpark(); r.Read(p) }
			if what == "room" {
				w.Write(make([]byte, MinSize))
				move = func() (rings bool) { r.Read(p); return r.Bell() }
				park = func() (ready bool, err error) { return w.Park(1) }
				undo = func() { w.Unpark(); w.Write(p) }
			}
			var arrived atomic.Int32
			meet := func(n int32) { // returns when both sides have called it so often
				arrived.Add(1)
				for i := 1; arrived.Load() < 2*n; i++ {
					if i%100 == 0 { // the other one may need this goroutine's thread, or the thread's processor
						runtime.Gosched()
						syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
					}
				}
			}
			rings, over := false, false
			go func() {
				for n := int32(1); ; n += 2 {
					if meet(n); over {
						return
					}
					rings = move()
					meet(n + 1)
				}
			}()
			rounds, asleep := int32(0), 0
			for begin := time.Now(); ; rounds++ {
				over = rounds == 200_000 || time.Since(begin) > time.Second // each takes long on a machine that is busy
				if meet(2*rounds + 1); over {
					break
				}
				for range rounds % 800 { // at each moment of what the other side does
				}
				ready, err := park()
				meet(2*rounds + 2)
				if err != nil {
					t.Error(err)
				}
				if !ready && !rings {
					asleep++
				}
				undo()
			}
			if asleep > 0 {
				t.Errorf("in %d of %d rounds nobody would have woken who has parked", asleep, rounds)
			}
		})
	}
}
