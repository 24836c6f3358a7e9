//go:build linux && (amd64 || arm64)

package shm

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A spinner waits a little for something without parking. It is used by one goroutine at a time.
//
// What it does is competitive: it spins for as long as it takes that two parked sides wake each other, which is what a spin
// can save, so that a wait in vain costs at most three times what parking at once would have. After each spin that found
// nothing it passes over twice as many waits as before; a spin that finds something makes it spin each time again. It does not spin for a shorter time instead, because two
// processes that had both come down to short spins would never find each other awake again.
type spinner struct {
	limit time.Duration // 0: never
	ready func() bool

	skip   int // waits to pass over before the next spin
	passed int // of them, those that were
}

// mostSkipped bounds skip: how much of what waits in vain cost goes into spinning, an eighth, and how long two processes
// that were disturbed take to find each other awake again.
const mostSkipped = 7

// spinning is whether a goroutine of this process spins. A second one would take a processor from those who have
// something to do.
var spinning atomic.Bool

// until says whether the wait is over. If not, it is time to park.
func (s *spinner) until(h *half) bool {
	if s.limit <= 0 {
		return false
	}
	if s.passed < s.skip {
		s.passed++
		return false
	}
	if !spinning.CompareAndSwap(false, true) {
		return false
	}
	found := s.spin(h)
	spinning.Store(false)
	s.passed = 0
	if found {
		s.skip = 0
	} else {
		s.skip = min(2*s.skip+1, mostSkipped)
	}
	return found
}

// How a spinner looks: looksPerRound times with a pause in between, which takes about half a microsecond; then it lets
// others run.
const (
	looksPerRound = 16
	pauses        = 4
)

func (s *spinner) spin(h *half) bool {
	var start time.Time
	for round := 0; ; round++ {
		for range looksPerRound {
			if s.ready() {
				return true
			}
			pause(pauses)
		}
		switch {
		case h.state.Load() != 0:
			return true // something has changed
		case round == 0:
			start = time.Now()
		case time.Since(start) > s.limit:
			return false
		}
		runtime.Gosched()
	}
}

// Bounds of what is measured, and what is taken where nothing can be.
const (
	leastSpin   = 10 * time.Microsecond
	mostSpin    = 200 * time.Microsecond
	unknownSpin = 50 * time.Microsecond
)

// limitOf returns how long to spin for a setting: 0 is as long as was measured, less is not at all.
func limitOf(setting time.Duration) time.Duration {
	if setting < 0 || runtime.NumCPU() == 1 || runtime.GOMAXPROCS(0) == 1 {
		return 0 // alone on a processor it would wait for what cannot happen meanwhile
	}
	if setting > 0 {
		return setting
	}
	return calibrated()
}

// calibrated is what a park and a wake-up cost on this machine, measured when the first connection asks.
var calibrated = sync.OnceValue(func() time.Duration {
	cost, err := measure()
	if err != nil {
		return unknownSpin
	}
	return min(max(cost, leastSpin), mostSpin)
})
