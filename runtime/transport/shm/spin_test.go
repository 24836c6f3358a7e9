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
		s.look = func(uint32) bool {
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

// TestSpinLess: spins that find nothing become rare, and one that finds something brings them back, for a while.
func TestSpinLess(t *testing.T) {
	s := &spinner{limit: time.Microsecond, yield: func() {}}
	if got, want := waits(s, 128, false), 16; got != want {
		t.Errorf("%d spins in 128 waits for nothing, want each eighth: %d", got, want)
	}
	if got := waits(s, 8, true); got < 1 {
		t.Errorf("%d spins in 8 waits", got)
	}
	if got := waits(s, 100, true); got != 100 {
		t.Errorf("%d spins in 100 waits for what is there, want 100", got)
	}
	if got, want := waits(s, 89, false), 19; got != want {
		t.Errorf("%d spins in 89 waits for nothing, want %d that are paid for, and each eighth", got, want)
	}
}

// TestOneSpinner: while a goroutine spins, others park, but who waits for room takes the place of who waits for data.
func TestOneSpinner(t *testing.T) {
	found := func(uint32) bool { return true }
	reader := &spinner{limit: time.Hour, look: found}
	writer := &spinner{limit: time.Hour, look: found, first: true}
	if !during(t, reader, func() {
		if (&spinner{limit: time.Hour, look: found}).until(new(half)) {
			t.Error("a second reader spins")
		}
	}) {
		t.Error("the reader found nothing")
	}
	if !during(t, writer, func() {
		if reader.until(new(half)) || (&spinner{limit: time.Hour, look: found, first: true}).until(new(half)) {
			t.Error("others spin while a writer does")
		}
	}) {
		t.Error("the writer found nothing")
	}
	never := &spinner{limit: time.Hour, look: func(uint32) bool { return false }, purse: 1}
	if during(t, never, func() {
		if !writer.until(new(half)) {
			t.Error("the writer did not take the place of a reader")
		}
	}) || never.purse != 1 {
		t.Errorf("the reader whose place was taken found something, or paid for it: %d left of 1", never.purse)
	}
}

// during calls f once while s spins, and returns what s found.
func during(t *testing.T, s *spinner, f func()) bool {
	t.Helper()
	look, called := s.look, false
	s.look = func(uint32) bool {
		if !called {
			called = true
			f()
		}
		return look(0)
	}
	defer func() { s.look = look }()
	return s.until(new(half))
}

// TestShared: who finds what it waits for again and again where it has just let another thread run parks once.
func TestShared(t *testing.T) {
	took := switched
	came := false
	s := &spinner{limit: time.Hour, look: func(uint32) bool { return came }, yield: func() {
		for begin := time.Now(); time.Since(begin) <= took; {
		}
		came = true
	}}
	wait := func() bool {
		came = false
		s.keep, s.crowded = 0, 0 // it may have lost its processor: then it would not yield, and wait for its limit
		return s.until(new(half))
	}
	for range 2 {
		for i := range mostShared {
			if !wait() {
				t.Errorf("wait %d behind a yield to another thread did not spin", i)
			}
		}
		if wait() {
			t.Errorf("after %d of them it does not park", mostShared)
		}
	}
	for range mostShared - 1 {
		wait()
	}
	waits(s, 1, true)
	s.look = func(uint32) bool { return came }
	for range 2 {
		if !wait() {
			t.Error("a find without such a yield in between does not count")
		}
	}
}

// TestCrowded: who yields its processor and does not get it back soon keeps it from then on, longer each time.
func TestCrowded(t *testing.T) {
	yields, looks := 0, 0
	s := &spinner{yield: func() {
		yields++
		for begin := time.Now(); time.Since(begin) <= lost; {
		}
	}}
	// A spin that would yield in its last rounds, and finds nothing.
	spin := func() {
		looks, s.pass, s.limit = 0, 0, time.Hour
		s.look = func(uint32) bool {
			if looks++; looks == roundsAlone+2 {
				s.limit = time.Nanosecond
			}
			return false
		}
		if s.until(new(half)) {
			t.Error("it found something")
		}
	}
	for _, want := range []int{64, 128, 256} {
		if spin(); s.keep != want-1 {
			t.Errorf("after losing its processor it keeps it in %d spins, want %d", s.keep, want-1)
		}
		yields = 0
		for range want - 1 {
			spin()
		}
		if yields > 0 || s.keep > 0 {
			t.Errorf("it yielded %d times meanwhile, and keeps it in %d more", yields, s.keep)
		}
	}
	s.pass, s.limit = 0, time.Hour
	waits(s, 256, true)
	if spin(); s.keep != 63 {
		t.Errorf("after 256 spins that went well it keeps it in %d spins, want 63", s.keep)
	}
}
