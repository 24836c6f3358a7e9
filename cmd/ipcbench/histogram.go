package main

import (
	"math/bits"
	"time"
)

// A histogram counts latencies. It is of a fixed size however many there are; a bucket is at most 1/64 wide of what is in
// it, so that what quantile returns is off by less than 1 %. Its zero value is empty.
type histogram struct {
	counts [(longest - bucketBits + 1) << bucketBits]uint64
	total  uint64
}

const (
	bucketBits = 6  // of a value that tell its bucket, besides its length
	longest    = 36 // bits of the longest latency in ns, about a minute; what is longer counts as that
)

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
}

// bucket returns where a value is counted: below 64 each has its own, and then each power of two has 64.
func bucket(v uint64) int {
	v = min(v, 1<<longest-1)
	shift := max(0, bits.Len64(v)-bucketBits-1)
	return shift<<bucketBits + int(v>>shift)
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// quantile returns the latency that a part q of all do not exceed, q being over 0 and at most 1; 0 where there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := q * float64(h.total)
	below := 0.0
	for i, n := range h.counts {
		if below += float64(n); n > 0 && below >= rank {
			return middle(i)
		}
	}
	return 0
}

// middle returns the middle of a bucket.
func middle(i int) time.Duration {
	shift := max(0, i>>bucketBits-1)
	least := uint64(i-shift<<bucketBits) << shift
	return time.Duration(least + (uint64(1)<<shift-1)/2)
}
