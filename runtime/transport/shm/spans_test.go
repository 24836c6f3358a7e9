//go:build linux && (amd64 || arm64)

package shm

import (
	"math/rand/v2"
	"testing"
)

// TestSpans compares what is taken and given with a list of units, each of which is free or not.
func TestSpans(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		total := 1 + rng.IntN(200)
		s := newSpans(total)
		used := make([]bool, total)
		fits := func(from, n int) bool {
			for i := from; i < from+n; i++ {
				if i >= total || used[i] {
					return false
				}
			}
			return true
		}
		out := map[int]int{}
		for range 1000 {
			if rng.IntN(2) == 0 {
				n := 1 + rng.IntN(1+total/3)
				want := 0
				for want < total && !fits(want, n) {
					want++
				}
				from, ok := s.take(n)
				if ok != (want < total) || ok && from != want {
					t.Fatalf("seed %d: take(%d): got %d, %v, want %d of %d", seed, n, from, ok, want, total)
				}
				if ok {
					out[from] = n
				}
				for i := from; ok && i < from+n; i++ {
					used[i] = true
				}
				continue
			}
			from := rng.IntN(total)
			n, want := out[from]
			if got := s.give(from); got != want {
				t.Fatalf("seed %d: give(%d): got %v, want %v", seed, from, got, want)
			}
			delete(out, from)
			for i := from; i < from+n; i++ {
				used[i] = false
			}
		}
		for from := range out {
			s.give(from)
		}
		if len(s.free) != 1 || s.free[0] != (span{0, total}) || len(s.out) > 0 {
			t.Fatalf("seed %d: when all is given back: %+v", seed, s)
		}
	}
}

// TestUnits compares a set with a map.
func TestUnits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		const total = 300
		u, model := newUnits(total), [total]bool{}
		for range 20 {
			s := span{from: rng.IntN(total)}
			s.n = rng.IntN(total - s.from)
			want := true
			for i := s.from; i < s.from+s.n; i++ {
				want = want && model[i]
			}
			if got := u.has(s); got != want {
				t.Fatalf("has(%v): got %v, want %v", s, got, want)
			}
			if rng.IntN(2) == 0 {
				u.add(s)
				for i := s.from; i < s.from+s.n; i++ {
					model[i] = true
				}
			}
		}
	}
}
