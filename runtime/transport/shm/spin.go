//go:build linux && (amd64 || arm64)

package shm

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A spinner waits a little for something without parking. It is used by one goroutine at a time.
//
// What it does is competitive: it spins for as long as it takes that two parked sides wake each other, which is what a spin
// can save, so that a wait in vain costs at most three times what parking at once would have. A spin that finds something
// pays for the next few that do not: while large messages flow, some waits are long, such as those for the sender to encode
// the next one, and parking in each short one behind them costs more than the messages. When all is spent it passes over
// most waits. It does not spin for a shorter time instead, because two processes that had both come down to short spins
// would never find each other awake again.
//
// Where both sides have come to share a processor, each spins until it yields to the other, and each wait takes as long as
// switching between them, while another processor may be idle: the scheduler leaves two that run where they are for some
// ten milliseconds. Who finds again and again what it waits for just when it comes back from a yield parks once, because
// who is woken is put on an idle processor.
type spinner struct {
	limit time.Duration           // 0: never
	look  func(looks uint32) bool // looks for a round
	first bool                    // it may take the place of one that is not
	yield func()                  // lets other threads run
	// others says that other goroutines wait for what it waits for, or have just got it: they are to run meanwhile.
	others bool

	purse   int // spins in vain that are paid for
	pass    int // waits to pass over before the next spin
	shared  int // spins in a row that found something behind a yield to another thread
	keep    int // spins that do not yield
	crowded int // what keep was when the processor was lost last, less the spins that ended well since
}

const (
	earned     = 4 // spins in vain that one pays for which found something
	mostEarned = 8
	// passedOver bounds how much of what waits in vain cost goes into spinning, an eighth, and how long two processes that
	// were disturbed take to find each other awake again.
	passedOver = 7
	// A yield that takes longer than switched has let another thread run. After mostShared finds behind such yields the
	// processor is taken for one that the peer uses, too.
	switched   = 2 * time.Microsecond
	mostShared = 4
	// Who yielded its processor and had it back only after lost, on a machine that is busy with something else, does not
	// yield in the next leastCrowded spins, and in twice as many each time that it comes to that again.
	lost         = time.Millisecond
	leastCrowded = 64
	mostCrowded  = 4096
)

// spinning is what spins in this process. A second one would take a processor from those who have something to do.
var spinning atomic.Pointer[spinner]

// until says whether the wait is over. If not, it is time to park.
func (s *spinner) until(h *half) bool {
	if s.limit <= 0 {
		return false
	}
	if s.pass > 0 {
		s.pass--
		return false
	}
	if other := spinning.Load(); other != nil && (other.first || !s.first) || !spinning.CompareAndSwap(other, s) {
		return false
	}
	found := s.spin(h)
	s.keep = max(s.keep-1, 0)
	switch {
	case found:
		s.purse = min(s.purse+earned, mostEarned)
		s.crowded = max(s.crowded-1, 0)
	case spinning.Load() != s: // it had to give way
	case s.purse > 0:
		s.purse--
	default:
		s.pass = max(s.pass, passedOver)
	}
	spinning.CompareAndSwap(s, nil)
	return found
}

// How a spinner looks: looksPerRound times in a round, which takes about a microsecond; then it lets other goroutines run.
// Where it knows of none its first round is twice as long, so that most calls are answered in it, and it lets others run only
// every roundsBetween, after roundsPolite: each time the runtime wakes another thread, which looks for something to run,
// perhaps on the peer's processor. After roundsAlone it lets other threads run, too: on a machine with few processors the peer
// may be waiting for one that its collector needs, and this thread has it.
//
// Each look fetches the place where the data will be along with the word that says whether there is some: to ask the peer's
// processor for one after the other took 70 ns of a short call.
const (
	looksPerRound = 32
	roundsPolite  = 4
	roundsBetween = 32
	roundsAlone   = 8
)

// yieldThread lets other threads run, if some wait for this one's processor.
func yieldThread() { syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }

func (s *spinner) spin(h *half) bool {
	var start time.Time
	away := false // another thread ran before this round
	for round := 0; ; round++ {
		looks := uint32(looksPerRound)
		if round == 0 && !s.others {
			looks *= 2
		}
		if s.look(looks) {
			s.found(away)
			return true
		}
		if h.state.Load() != 0 {
			return true // something has changed
		}
		now := time.Now()
		switch {
		case round == 0:
			start = now
		case now.Sub(start) > s.limit || spinning.Load() != s:
			return false
		}
		if round >= roundsAlone && s.keep == 0 {
			s.yield()
			took := time.Since(now)
			away = took > switched
			if took > lost {
				s.crowded = min(max(2*s.crowded, leastCrowded), mostCrowded)
				s.keep = s.crowded
			}
		}
		if s.others || round < roundsPolite || round%roundsBetween == 0 {
			runtime.Gosched()
		}
	}
}

// found notes that a spin found something, perhaps because another thread ran before.
func (s *spinner) found(away bool) {
	if !away {
		s.shared = 0
	} else if s.shared++; s.shared == mostShared {
		s.shared, s.pass = 0, 1
	}
}

// Bounds of what is measured, and what is taken where nothing can be.
const (
	leastSpin   = 10 * time.Microsecond
	mostSpin    = 400 * time.Microsecond
	unknownSpin = 100 * time.Microsecond
)

// parkCost is how many times what measure says parking costs two processes: beside their threads, goroutines have to be
// scheduled, and their memory comes back to cold caches. Where 24 µs were measured a call between two that had parked took
// 100, and a spin of 100 in place of 24 made half as many calls of 64 KiB again, in a fifth less processor time each.
const parkCost = 4

// limitOf returns how long to spin for a setting: 0 is as long as parking costs, less is not at all.
func limitOf(setting time.Duration) time.Duration {
	if setting < 0 || runtime.NumCPU() == 1 || runtime.GOMAXPROCS(0) == 1 {
		return 0 // alone on a processor it would wait for what cannot happen meanwhile
	}
	if setting > 0 {
		return setting
	}
	return calibrated()
}

// calibrated is what parking costs on this machine, estimated when the first connection asks.
var calibrated = sync.OnceValue(func() time.Duration {
	cost, err := measure()
	if err != nil {
		return unknownSpin
	}
	return min(max(parkCost*cost, leastSpin), mostSpin)
})
