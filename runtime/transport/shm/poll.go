//go:build linux && (amd64 || arm64)

package shm

import (
	"sync"
	"time"
)

// poll looks at word up to so many times, with so many pauses of the processor behind each look, and says whether it is no
// longer what it was. Meanwhile it fetches the 128 bytes that begin in next's cache line, without waiting for them.
//
// It does so in as few instructions as there can be: two virtual processors may be the two threads of one core, where each
// instruction of the one that waits takes time from the one that works.
//
//go:noescape
func poll(word *uint32, was, looks, pauses uint32, next *byte) (changed bool)

// lookEvery is about how long there is between two looks. More often, and the peer is disturbed while it writes; less often,
// and what has come lies there for longer.
const lookEvery = 30 * time.Nanosecond

// pauses is how many of the processor's pauses take that long: one takes from some nanoseconds to some tens of them.
var pauses = sync.OnceValue(func() uint32 {
	const looks, most = 256, 64
	var word uint32
	var next byte
	took := time.Hour
	for range 8 { // of which some may lose the processor
		start := time.Now()
		poll(&word, 0, looks, 1, &next)
		took = min(took, time.Since(start))
	}
	return uint32(min(max(looks*lookEvery/max(took, 1), 1), most))
})
