package ring

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
)

// TestReturns compares what one side gives back, and the other takes, with a queue.
func TestReturns(t *testing.T) {
	for name, memory := range memories {
		t.Run(name, func(t *testing.T) {
			a, b := segments(t, memory, MinSize)
			sides := [2]*Returns{NewReturns(a, b), NewReturns(b, a)}
			for i, r := range sides { // past where the words wrap
				r.gave, r.took = 1<<32-1000, 1<<32-1000
				word([][]byte{a, b}[i], atFreed).Store(r.gave)
				word([][]byte{a, b}[i], atTaken).Store(r.took)
			}
			var queues [2][]uint32
			rng := rand.New(rand.NewPCG(1, 1))
			full := 0
			for range 20_000 {
				i := rng.IntN(2)
				if rng.IntN(2) == 0 {
					for range rng.IntN(200) {
						offset := rng.Uint32()
						ok := sides[i].Give(offset)
						if ok != (len(queues[i]) < returnsSize) {
							t.Fatalf("gave: %v, with %d waiting", ok, len(queues[i]))
						}
						if ok {
							queues[i] = append(queues[i], offset)
						} else {
							full++
						}
					}
					continue
				}
				for range rng.IntN(200) {
					offset, ok, err := sides[1-i].Take()
					if err != nil || ok != (len(queues[i]) > 0) || ok && offset != queues[i][0] {
						t.Fatalf("took %d, %v, %v, with %d waiting", offset, ok, err, len(queues[i]))
					}
					if ok {
						queues[i] = queues[i][1:]
					}
				}
			}
			if full == 0 {
				t.Error("there was always room")
			}
		})
	}
}

// TestReturnsAtOnce has one side give and the other take at the same time.
func TestReturnsAtOnce(t *testing.T) {
	a, b := segments(t, memories["heap"], MinSize)
	giver, taker := NewReturns(a, b), NewReturns(b, a)
	const total = 100_000
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := uint32(0); n < total; {
			if giver.Give(n) {
				n++
			}
		}
	})
	for n := uint32(0); n < total; {
		switch offset, ok, err := taker.Take(); {
		case err != nil || ok && offset != n:
			t.Errorf("took %d, %v, want %d", offset, err, n)
			n = total
		case ok:
			n++
		}
	}
	if !t.Failed() {
		wg.Wait()
	}
}

// TestBrokenReturns: a word that cannot be is refused, and one that misleads the other side costs this one nothing.
func TestBrokenReturns(t *testing.T) {
	a, b := segments(t, memories["heap"], MinSize)
	r := NewReturns(a, b)
	for _, v := range []uint32{returnsSize + 1, 1 << 31, 1<<32 - 1} {
		word(b, atFreed).Store(v)
		if _, _, err := r.Take(); !errors.Is(err, ErrBroken) {
			t.Errorf("%d given back: %v", v, err)
		}
		word(b, atTaken).Store(v)
		r.Give(v)
	}
}
