package shm

import (
	"cmp"
	"slices"
)

// unit is what an arena is given out in, in bytes: a range starts at a multiple of it, and takes as many as it needs.
const unit = 4096

// Sizes of arenas, in bytes; they are powers of two.
const (
	MinArena = 64 << 10
	MaxArena = 1 << 30
)

// validArena says whether an arena may have n bytes.
func validArena(n int) bool { return n >= MinArena && n <= MaxArena && n&(n-1) == 0 }

// A span is a range of units.
type span struct{ from, n int }

// spans knows which units of an arena are free, and which ranges are out.
type spans struct {
	free []span      // in ascending order; no two touch
	out  map[int]int // units of each range, by where it starts
}

func newSpans(units int) spans {
	return spans{free: []span{{0, units}}, out: map[int]int{}}
}

// take takes the first n units that are free in one piece: what was used last is likely to be used again, and still
// near the processor.
func (s *spans) take(n int) (from int, ok bool) {
	i := slices.IndexFunc(s.free, func(f span) bool { return f.n >= n })
	if i < 0 {
		return 0, false
	}
	f := &s.free[i]
	from = f.from
	f.from += n
	if f.n -= n; f.n == 0 {
		s.free = slices.Delete(s.free, i, i+1)
	}
	s.out[from] = n
	return from, true
}

// give frees the range that starts at from. It says whether it was out.
func (s *spans) give(from int) bool {
	n, ok := s.out[from]
	if !ok {
		return false
	}
	delete(s.out, from)
	i, _ := slices.BinarySearchFunc(s.free, from, func(f span, from int) int { return cmp.Compare(f.from, from) })
	before := i > 0 && s.free[i-1].from+s.free[i-1].n == from
	after := i < len(s.free) && from+n == s.free[i].from
	switch {
	case before && after:
		s.free[i-1].n += n + s.free[i].n
		s.free = slices.Delete(s.free, i, i+1)
	case before:
		s.free[i-1].n += n
	case after:
		s.free[i].from, s.free[i].n = from, s.free[i].n+n
	default:
		s.free = slices.Insert(s.free, i, span{from, n})
	}
	return true
}

// units is a set of them.
type units []uint64

func newUnits(n int) units { return make(units, (n+63)/64) }

// each calls f with each word that has some of the units, and which of its bits those are, until f returns false.
func (u units) each(s span, f func(word *uint64, mask uint64) bool) bool {
	for from, end := s.from, s.from+s.n; from < end; {
		word, bit := from/64, from%64
		n := min(64-bit, end-from)
		if !f(&u[word], (1<<uint(n)-1)<<uint(bit)) {
			return false
		}
		from += n
	}
	return true
}

// has says whether all units of s are in u.
func (u units) has(s span) bool {
	return u.each(s, func(word *uint64, mask uint64) bool { return *word&mask == mask })
}

// add adds the units of s to u.
func (u units) add(s span) {
	u.each(s, func(word *uint64, mask uint64) bool {
		*word |= mask
		return true
	})
}

// spanOf returns the units of n bytes from offset on.
func spanOf(offset, n int) span { return span{offset / unit, (n + unit - 1) / unit} }
