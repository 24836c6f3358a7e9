package ring

import (
	"fmt"
	"testing"
)

// The model of park and wake: a producer and a consumer, step by step, with the store buffers that x86-64 has: what a
// thread stores is seen by the other one at some later time, in order; a fence waits until that has happened. A search
// goes through all states that any order of steps can reach. A state in which nothing can happen and not everything was
// consumed is a lost wake-up.
//
// In the tests of this package and of its user the same happens in real time, where the rare orders do not come up.

// The words of the model. Those of the two sides are named as in ring.go.
const (
	mTail = iota
	mHead
	mRxWait
	mTxWait
	mWakeAt
	words
)

// The threads.
const (
	producer = iota
	consumer
)

// The model's ring has room for two; so many go through it that each side can park again after a wake-up.
const (
	modelSize  = 2
	modelItems = 4
)

type store struct{ word, value int8 }

// modelState is all there is at one moment. It is compared, so it has no pointers.
type modelState struct {
	memory [words]int8
	buffer [2][5]store // what a thread has stored and the other one may not see yet
	stored [2]int8     // how many of them
	thread [2]modelThread
}

type modelThread struct {
	pc     int8
	at     int8 // published, consumed
	seen   int8 // the other side's counter
	wait   int8
	rung   int8
	asleep bool // a doorbell is for this thread
	bell   bool // a doorbell is on its way to it
	token  bool // it may wake
}

// A flaw is a change of the protocol that must make a wake-up get lost.
type flaw int

const (
	sound flaw = iota
	noFenceAfterPublishing
	noFenceAfterConsuming
	noFenceParkedForData
	noFenceParkedForRoom
	noSecondLookForData
	noSecondLookForRoom
	noIncrementForData
	noIncrementForRoom
	asleepAfterParking
)

var flaws = map[flaw]string{
	noFenceAfterPublishing: "no fence after publishing",
	noFenceAfterConsuming:  "no fence after consuming",
	noFenceParkedForData:   "no fence between parking for data and the second look",
	noFenceParkedForRoom:   "no fence between parking for room and the second look",
	noSecondLookForData:    "no second look for data",
	noSecondLookForRoom:    "no second look for room",
	noIncrementForData:     "each wait for data looks like the one before",
	noIncrementForRoom:     "each wait for room looks like the one before",
	asleepAfterParking:     "a doorbell is let pass until after parking",
}

// A model is the protocol with a flaw, and with so much room wanted by who parks.
type model struct {
	flaw flaw
	need int8
}

func (s *modelState) load(thread int, word int8) int8 {
	for i := s.stored[thread] - 1; i >= 0; i-- {
		if b := s.buffer[thread][i]; b.word == word {
			return b.value
		}
	}
	return s.memory[word]
}

// canStore says whether the buffer has room. If not, the thread waits for it.
func (s *modelState) canStore(thread int) bool { return int(s.stored[thread]) < len(s.buffer[thread]) }

func (s *modelState) store(thread int, word, value int8) {
	s.buffer[thread][s.stored[thread]] = store{word, value}
	s.stored[thread]++
}

// drain makes the oldest store of a thread visible.
func (s *modelState) drain(thread int) {
	b := &s.buffer[thread]
	s.memory[b[0].word] = b[0].value
	copy(b[:], b[1:])
	s.stored[thread]--
	b[s.stored[thread]] = store{}
}

// deliver brings a doorbell to its thread, which it wakes, or where it comes to nothing.
func (s *modelState) deliver(thread int) {
	t := &s.thread[thread]
	t.bell = false
	t.token = t.token || t.asleep
}

// Where a thread is. The steps of waiting are the same for both but for the words.
const (
	work    = iota // look whether there is something to do, and do the first half of it
	fence          // make it visible
	ask            // is the other side parked?
	enough         // with as much room as it wants?
	lieDown        // doorbells are for this thread from now on
	say            // the first word of parking
	park
	fence2
	again // the second look
	sleep
	rise
	unpark
	finished
)

// next returns the states that one step leads to.
func (m model) next(s modelState) (after []modelState) {
	for thread := range 2 {
		if s.stored[thread] > 0 {
			n := s
			n.drain(thread)
			after = append(after, n)
		}
		if s.thread[thread].bell {
			n := s
			n.deliver(thread)
			after = append(after, n)
		}
		n := s
		step := m.produce
		if thread == consumer {
			step = m.consume
		}
		if step(&n, &n.thread[thread]) {
			after = append(after, n)
		}
	}
	return after
}

// ring sends a doorbell for the wait that the other side is in, unless that was done.
func ring(s *modelState, t *modelThread, other int, wait int8) {
	t.rung = wait
	s.thread[other].bell = true
}

// nextWait is the value of rx_wait or tx_wait after w.
func nextWait(w int8, increment bool) int8 {
	if increment {
		return w + 1
	}
	return 1 - w
}

// produce does the producer's next step, if it has one that it can do.
func (m model) produce(s *modelState, t *modelThread) bool {
	room := func() int8 { return modelSize - (t.at - t.seen) }
	switch t.pc {
	case work:
		if t.at == modelItems {
			t.pc = finished
			return true
		}
		if room() == 0 {
			t.seen = s.load(producer, mHead)
		}
		if room() == 0 {
			t.pc = lieDown
			return true
		}
		if !s.canStore(producer) {
			return false
		}
		t.at++
		s.store(producer, mTail, t.at)
		t.pc = fence
	case fence:
		if s.stored[producer] > 0 && m.flaw != noFenceAfterPublishing {
			return false
		}
		t.pc = ask
	case ask:
		if w := s.load(producer, mRxWait); w&1 == 1 && w != t.rung {
			ring(s, t, consumer, w)
		}
		t.pc = work
	case again:
		t.seen = s.load(producer, mHead)
		t.pc = sleep
		if room() >= m.need && m.flaw != noSecondLookForRoom {
			t.pc = rise
		}
	default:
		return m.wait(s, t, producer)
	}
	return true
}

// consume does the consumer's next step, if it has one that it can do.
func (m model) consume(s *modelState, t *modelThread) bool {
	switch t.pc {
	case work:
		if t.at == modelItems {
			t.pc = finished
			return true
		}
		if t.seen = s.load(consumer, mTail); t.seen == t.at {
			t.pc = lieDown
			return true
		}
		if !s.canStore(consumer) {
			return false
		}
		t.at++
		s.store(consumer, mHead, t.at)
		t.pc = fence
	case fence:
		if s.stored[consumer] > 0 && m.flaw != noFenceAfterConsuming {
			return false
		}
		t.pc = ask
	case ask:
		t.seen = s.load(consumer, mTxWait) // kept for the next step
		t.pc = work
		if t.seen&1 == 1 && t.seen != t.rung {
			t.pc = enough
		}
	case enough:
		if t.at >= s.load(consumer, mWakeAt) {
			ring(s, t, producer, t.seen)
		}
		t.pc = work
	case again:
		t.seen = s.load(consumer, mTail)
		t.pc = sleep
		if t.seen != t.at && m.flaw != noSecondLookForData {
			t.pc = rise
		}
	default:
		return m.wait(s, t, consumer)
	}
	return true
}

// wait does what is the same for both while they park.
func (m model) wait(s *modelState, t *modelThread, thread int) bool {
	word, increment, fenced := int8(mRxWait), m.flaw != noIncrementForData, m.flaw != noFenceParkedForData
	if thread == producer {
		word, increment, fenced = mTxWait, m.flaw != noIncrementForRoom, m.flaw != noFenceParkedForRoom
	}
	switch t.pc {
	case lieDown:
		t.asleep = m.flaw != asleepAfterParking
		t.pc = park
		if thread == producer {
			t.pc = say
		}
	case say:
		if !s.canStore(thread) {
			return false
		}
		s.store(thread, mWakeAt, t.at-modelSize+m.need)
		t.pc = park
	case park:
		if !s.canStore(thread) {
			return false
		}
		t.wait = nextWait(t.wait, increment)
		s.store(thread, word, t.wait)
		t.pc = fence2
	case fence2:
		if s.stored[thread] > 0 && fenced {
			return false
		}
		t.pc = again
	case sleep:
		t.asleep = true
		if !t.token {
			return false
		}
		t.token = false
		t.pc = rise
	case rise:
		t.asleep = false
		t.pc = unpark
	case unpark:
		if !s.canStore(thread) {
			return false
		}
		t.wait = nextWait(t.wait, increment)
		s.store(thread, word, t.wait)
		t.pc = work
	default: // finished
		return false
	}
	return true
}

// search goes through all states and returns one with a lost wake-up, if there is one.
func (m model) search() (lost *modelState, states int) {
	var first modelState
	seen := map[modelState]bool{first: true}
	for todo := []modelState{first}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		after := m.next(s)
		if len(after) == 0 && (s.thread[producer].pc != finished || s.thread[consumer].pc != finished) {
			return &s, len(seen)
		}
		for _, n := range after {
			if !seen[n] {
				seen[n] = true
				todo = append(todo, n)
			}
		}
	}
	return nil, len(seen)
}

// TestModel shows that no wake-up is lost, and that each part of the protocol is needed for that.
func TestModel(t *testing.T) {
	for need := int8(1); need <= modelSize; need++ {
		if lost, states := (model{sound, need}).search(); lost != nil {
			t.Errorf("room for %d: a wake-up is lost: %+v", need, *lost)
		} else {
			t.Logf("room for %d: %d states", need, states)
		}
	}
	for f, what := range flaws {
		t.Run(what, func(t *testing.T) {
			found := ""
			for need := int8(1); need <= modelSize; need++ {
				if lost, states := (model{f, need}).search(); lost != nil {
					found += fmt.Sprintf("room for %d: lost after %d states; ", need, states)
				}
			}
			if found == "" {
				t.Error("no wake-up is lost")
			}
			t.Log(found)
		})
	}
}
