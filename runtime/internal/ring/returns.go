package ring

import (
	"fmt"
	"sync/atomic"
)

// returnsSize is how many ranges may have been given back without the other side having looked.
const returnsSize = 512

// Where things are in a segment, for sides that lend each other memory (PROTOCOL.md, section 13.6).
const (
	atFreed = 0x280 // how many ranges this side has ever given back here, mod 2^32
	atTaken = 0x300 // how many of the other side's it has taken back, mod 2^32
	atFree  = 0x400 // the last of them: 4 bytes each
)

// Returns are the ranges of its memory that each side is given back by the other. They are told in the segments' headers:
// who lends looks there when it is about to lend more, and nobody is woken. Each of the two methods is called by one
// goroutine at a time.
type Returns struct {
	mine, theirs           []byte
	freed, taken           *atomic.Uint32 // this side's, only written
	theirFreed, theirTaken *atomic.Uint32 // the other side's, only read

	gave, took uint32 // what this side's words are
}

// NewReturns returns those of two segments, which are as long as Check wants them.
func NewReturns(mine, theirs []byte) *Returns {
	return &Returns{mine: mine, theirs: theirs, freed: word(mine, atFreed), taken: word(mine, atTaken),
		theirFreed: word(theirs, atFreed), theirTaken: word(theirs, atTaken)}
}

func entry(segment []byte, n uint32) *atomic.Uint32 {
	return word(segment, int(atFree+4*(n%returnsSize)))
}

// Give gives a range of the other side's back, by where it starts. It says whether there was room for that.
func (r *Returns) Give(offset uint32) bool {
	if r.gave-r.theirTaken.Load() >= returnsSize {
		return false
	}
	entry(r.mine, r.gave).Store(offset)
	r.gave++
	r.freed.Store(r.gave)
	return true
}

// Take returns where the next range starts that has been given back; ok is false where there is none.
func (r *Returns) Take() (offset uint32, ok bool, err error) {
	switch n := r.theirFreed.Load() - r.took; {
	case n == 0:
		return 0, false, nil
	case n > returnsSize:
		return 0, false, fmt.Errorf("%w: it has given back %d ranges at once, of %d that there is room for", ErrBroken, n, returnsSize)
	}
	offset = entry(r.theirs, r.took).Load()
	r.took++
	r.taken.Store(r.took)
	return offset, true, nil
}
