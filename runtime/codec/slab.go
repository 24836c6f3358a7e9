package codec

import (
	"sync"
	"unsafe"
)

// Decoding takes memory in pieces that serve many values: one piece for numbers, one for strings, one for each type of
// message. A piece is as large as what is likely to follow needs, which the number of elements still to come of the list
// around says, and otherwise twice as large as the one before, so that one value costs no more than itself. Whoever keeps
// one value keeps its piece, of at most maxPiece bytes.
type pieces struct {
	ahead    int // how many elements of the list that is being read, and of such lists, are likely to come, with the present
	numbers  piece[uint64]
	strings  piece[string]
	pointers piece[unsafe.Pointer]
	slabs    *slabs // nil before there is a message
}

// A piece is the memory that was taken last, and how many of its elements are used. It counts them instead of keeping the
// rest, so that the collector need not be told of each.
type piece[T any] struct {
	all  []T
	used int
}

// A slab is a piece for messages of one type, whose size is known only where the type is.
type slab struct {
	kind  unsafe.Pointer // the type: the first word of an interface that holds it
	all   unsafe.Pointer // the first
	used  int
	total int
}

// slabs are those of one Decoder. They are used again, because clearing them costs more than decoding a small message.
type slabs [16]slab

var slabPool = sync.Pool{New: func() any { return new(slabs) }}

// put gives s back, for the next Decoder.
func (s *slabs) put() {
	*s = slabs{}
	slabPool.Put(s)
}

const (
	leastPiece = 32       // bytes, of which a message with some optional fields needs no second
	firstPiece = 1 << 10  // bytes, of the first for elements of a list
	maxPiece   = 32 << 10 // bytes
	maxShared  = 1 << 10  // bytes of a list of numbers; a larger one has memory of its own
)

// pieceLen returns how long the piece is to be from which n elements of a size are taken, when the one before had last. It
// is not longer than the input can need, and believes in many only when there have been some.
func (d *Decoder) pieceLen(n, last, size int) int {
	likely := max(2*last, leastPiece/size)
	if d.ahead > 1 {
		likely = min(n*d.ahead, max(4*last, firstPiece/size))
	}
	return max(n, min(likely, maxPiece/size, len(d.input)/2, d.memory/size))
}

// take returns n elements of the piece. It returns nil if they take more memory than is allowed.
func take[T any](d *Decoder, p *piece[T], n int) []T {
	if n <= len(p.all)-p.used {
		from := p.used
		p.used += n
		return p.all[from:p.used:p.used]
	}
	return takeMore(d, p, n)
}

// takeMore is take where the piece has too few.
func takeMore[T any](d *Decoder, p *piece[T], n int) []T {
	size := int(unsafe.Sizeof(*new(T)))
	total := d.pieceLen(n, len(p.all), size)
	if !d.claim(total * size) {
		return nil
	}
	all := make([]T, total)
	if total*size <= maxPiece {
		*p = piece[T]{all, n}
	}
	return all[:n:n]
}

// New returns an empty message, or an empty member of a oneof. Where that takes more memory than is allowed, reading it
// fails, or else the end of decoding.
func New[M any](d *Decoder) *M {
	kind := typeOf[M]()
	s := d.slabOf(kind)
	if s.kind != kind || s.used == s.total {
		return newInMore[M](d, s, kind)
	}
	m := (*M)(unsafe.Add(s.all, uintptr(s.used)*unsafe.Sizeof(*new(M))))
	s.used++
	return m
}

func newInMore[M any](d *Decoder, s *slab, kind unsafe.Pointer) *M {
	if list := moreMessages[M](d, s, kind, 1); list != nil {
		return &list[0]
	}
	return new(M)
}

// takeMessages returns n empty messages that stand one behind the other. It returns nil if they take more memory than is
// allowed.
func takeMessages[M any](d *Decoder, n int) []M {
	kind := typeOf[M]()
	s := d.slabOf(kind)
	if s.kind != kind || s.total-s.used < n {
		return moreMessages[M](d, s, kind, n)
	}
	from := s.used
	s.used += n
	return unsafe.Slice((*M)(s.all), s.total)[from:s.used:s.used]
}

// moreMessages is takeMessages where the slab has too few.
func moreMessages[M any](d *Decoder, s *slab, kind unsafe.Pointer, n int) []M {
	size := int(unsafe.Sizeof(*new(M)))
	total := n
	if s.kind != kind && s.used == s.total {
		*s = slab{kind: kind}
	}
	if s.kind == kind {
		total = d.pieceLen(n, s.total, size)
	}
	if !d.claim(total * size) {
		return nil
	}
	all := make([]M, total)
	if s.kind == kind && total*size <= maxPiece {
		*s = slab{kind, unsafe.Pointer(unsafe.SliceData(all)), n, total}
	}
	return all[:n:n]
}

// slabOf returns the slab for messages of a type, or of another with which it shares the place: the first that comes has
// it until it is used up.
func (d *Decoder) slabOf(kind unsafe.Pointer) *slab {
	if d.slabs == nil {
		d.slabs = slabPool.Get().(*slabs)
	}
	return &d.slabs[uintptr(kind)>>5%uintptr(len(d.slabs))]
}

// typeOf returns what tells M from other types.
func typeOf[M any]() unsafe.Pointer {
	var none any = (*M)(nil)
	return *(*unsafe.Pointer)(unsafe.Pointer(&none))
}

// number returns memory for a number.
func (d *Decoder) number() unsafe.Pointer {
	p := &d.numbers
	if p.used < len(p.all) {
		p.used++
		return unsafe.Pointer(&p.all[p.used-1])
	}
	cells := takeMore(d, p, 1)
	if cells == nil {
		cells = make([]uint64, 1)
	}
	return unsafe.Pointer(&cells[0])
}

func keep[T fixed | bool](d *Decoder, v T) *T {
	p := (*T)(d.number())
	*p = v
	return p
}

// NewBool returns a pointer to v, as the other methods named New do.
func (d *Decoder) NewBool(v bool) *bool { return keep(d, v) }

// NewInt32 returns a pointer to v.
func (d *Decoder) NewInt32(v int32) *int32 { return keep(d, v) }

// NewInt64 returns a pointer to v.
func (d *Decoder) NewInt64(v int64) *int64 { return keep(d, v) }

// NewUint32 returns a pointer to v.
func (d *Decoder) NewUint32(v uint32) *uint32 { return keep(d, v) }

// NewUint64 returns a pointer to v.
func (d *Decoder) NewUint64(v uint64) *uint64 { return keep(d, v) }

// NewFloat32 returns a pointer to v.
func (d *Decoder) NewFloat32(v float32) *float32 { return keep(d, v) }

// NewFloat64 returns a pointer to v.
func (d *Decoder) NewFloat64(v float64) *float64 { return keep(d, v) }

// NewString returns a pointer to v.
func (d *Decoder) NewString(v string) *string {
	list := take(d, &d.strings, 1)
	if list == nil {
		list = make([]string, 1)
	}
	list[0] = v
	return &list[0]
}

// numbers returns an empty list with room for n numbers. It returns nil if they take more memory than is allowed.
func newNumbers[T fixed | bool](d *Decoder, n int) []T {
	bytes := n * int(unsafe.Sizeof(*new(T)))
	if bytes > maxShared {
		if !d.claim(bytes) {
			return nil
		}
		return make([]T, 0, n)
	}
	cells := take(d, &d.numbers, (bytes+7)/8)
	if cells == nil {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(cells))), n)[:0]
}
