package session

import (
	"math"
	"math/bits"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/internal/ring"
	"github.com/ipcgen/ipcgen/runtime/transport/shm"
)

// Limits bound what the peer may cost this side (PROTOCOL.md, section 3). A zero field has the default for the kind
// of peer.
type Limits struct {
	MaxFrame   int // bytes of payload in one frame, 4 KiB to 16 MiB
	MaxMessage int // bytes of one message, 4 KiB to mostMessage
	Slots      int // calls of one side that run at a time, 1 to 32768
	Window     int // bytes of stream messages that may be on their way on a new stream
	// Raised bounds the sum by which a session's windows may grow beyond Window, in bytes.
	Raised int
	// Assembly bounds the messages of a session that arrive in several frames and are not taken yet, in bytes.
	Assembly int
	Metadata frame.MetadataLimit
	// Ring is how many bytes this side's ring has, where the session is in shared memory; a power of two. PeerRing
	// bounds the peer's.
	Ring, PeerRing int
	// Arena is how many bytes of blobs this side lends the peer at a time, where the session is in shared memory; a power
	// of two; less than 0: neither lends. PeerArena bounds the peer's.
	Arena, PeerArena int
	// Depth bounds how deep messages nest.
	Depth int
	// Handshake is how long the peer's HELLO may take.
	Handshake time.Duration
	// Stall is how long one write may make no progress before the session ends.
	Stall time.Duration
	// Grace is how long a drain waits for running calls.
	Grace time.Duration
}

var trusted = Limits{
	MaxFrame: 128 << 10, MaxMessage: 4 << 20, Slots: 256, Window: 128 << 10, Raised: 8 << 20, Assembly: 16 << 20,
	Ring: 256 << 10, PeerRing: ring.MaxSize, Arena: 64 << 20, PeerArena: shm.MaxArena,
	Metadata: frame.MetadataLimit{Entries: 64, Bytes: 8 << 10}, Depth: 64,
	Handshake: 5 * time.Second, Stall: 30 * time.Second, Grace: 5 * time.Second,
}

var untrusted = Limits{
	MaxFrame: 16 << 10, MaxMessage: 1 << 20, Slots: 32, Window: 32 << 10, Raised: 1 << 20, Assembly: 2 << 20,
	Ring: 128 << 10, PeerRing: 1 << 20, Arena: shm.MinArena, PeerArena: shm.MinArena,
	Metadata: frame.MetadataLimit{Entries: 32, Bytes: 4 << 10}, Depth: 32,
	Handshake: 5 * time.Second, Stall: 10 * time.Second, Grace: 5 * time.Second,
}

// minFrame is the least that a side may take in one frame, and keeps to until the peer's HELLO has come.
const minFrame = 4 << 10

// mostMessage is the most that a message may have: the credit for all of it, headers included, is below 2^31, over which
// the peer takes none.
const mostMessage = 2040 << 20

// withDefaults returns l with the zero fields filled in and the others brought into their ranges.
func (l Limits) withDefaults(sameUser bool) Limits {
	d := untrusted
	if sameUser {
		d = trusted
	}
	fill := func(p *int, def, least, most int) {
		if *p <= 0 {
			*p = def
		}
		*p = min(max(*p, least), most)
	}
	fill(&l.MaxFrame, d.MaxFrame, minFrame, 16<<20-1)
	fill(&l.MaxMessage, d.MaxMessage, minFrame, mostMessage)
	fill(&l.Slots, d.Slots, 1, 1<<15)
	fill(&l.Window, d.Window, 4*minFrame, 1<<30)
	fill(&l.Raised, d.Raised, 0, math.MaxInt)
	fill(&l.Assembly, max(d.Assembly, l.MaxMessage), l.MaxMessage, math.MaxInt)
	fill(&l.Ring, d.Ring, ring.MinSize, ring.MaxSize)
	l.Ring = 1 << bits.Len(uint(l.Ring-1))
	fill(&l.PeerRing, d.PeerRing, ring.MinSize, ring.MaxSize)
	if l.Arena >= 0 {
		fill(&l.Arena, d.Arena, shm.MinArena, shm.MaxArena)
		l.Arena = 1 << bits.Len(uint(l.Arena-1))
	}
	fill(&l.PeerArena, d.PeerArena, shm.MinArena, shm.MaxArena)
	fill(&l.Metadata.Entries, d.Metadata.Entries, 0, 1<<16-1)
	fill(&l.Metadata.Bytes, d.Metadata.Bytes, 0, 1<<16-1)
	fill(&l.Depth, d.Depth, 1, 10000)
	for _, p := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&l.Handshake, d.Handshake}, {&l.Stall, d.Stall}, {&l.Grace, d.Grace}} {
		if *p.v <= 0 {
			*p.v = p.def
		}
	}
	return l
}

// agreed is what both sides keep to: the smaller of each limit.
type agreed struct {
	maxFrame   int
	maxMessage int
	slots      int
	window     int
	single     int // the largest message that is sent in one DATA frame
}
