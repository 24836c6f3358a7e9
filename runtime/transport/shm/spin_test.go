//go:build linux && (amd64 || arm64)

package shm

import (
	"runtime"
	"testing"
	"time"
)

func TestLimitOf(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	if runtime.NumCPU() > 1 {
		if got := limitOf(0); got < leastSpin || got > mostSpin {
			t.Errorf("as measured: got %v, want %v to %v", got, leastSpin, mostSpin)
		}
		if got := limitOf(time.Second); got != time.Second {
			t.Errorf("as set: got %v", got)
		}
	}
	if got := limitOf(-1); got != 0 {
		t.Errorf("turned off: got %v", got)
	}
	runtime.GOMAXPROCS(1)
	for _, setting := range []time.Duration{0, time.Second, -1} {
		if got := limitOf(setting); got != 0 {
			t.Errorf("on one processor: got %v for %v", got, setting)
		}
	}
}

// waits has a spinner wait n times for what is there at no time, or at once, and returns how often it looked.
func waits(s *spinner, n int, there bool) (spins int) {
	var h half
	for range n {
		looked := false
		s.ready = func() bool {
			looked = true
			return there
		}
		if s.until(&h) != (there && looked) {
			panic("it found something else than there was")
		}
		if looked {
			spins++
		}
	}
	return spins
}

// TestSpinLess: spins that find nothing become rare, and one that finds something brings them back.
func TestSpinLess(t *testing.T) {
	s := &spinner{limit: time.Microsecond}
	if got, want := waits(s, 127, false), 18; got != want { // 1, 3, 7, 15, and then each eighth
		t.Errorf("%d spins in 127 waits for nothing, want %d", got, want)
	}
	if got, want := waits(s, 6400, false), 800; got != want {
		t.Errorf("%d spins in 6400 more, want %d", got, want)
	}
	if got := waits(s, 64, true); got < 1 {
		t.Errorf("%d spins in 64 waits", got)
	}
	if got := waits(s, 100, true); got != 100 {
		t.Errorf("%d spins in 100 waits for what is there, want 100", got)
	}
}

// TestOneSpinner: while a goroutine spins, others park.
func TestOneSpinner(t *testing.T) {
	second := &spinner{limit: time.Hour, ready: func() bool {
		t.Error("a second one spins")
		return true
	}}
	first := &spinner{limit: time.Hour, ready: func() bool { return !second.until(new(half)) }}
	if !first.until(new(half)) {
		t.Error("the first one found nothing")
	}
}
