package codec

import (
	"cmp"
	"slices"
)

// An Encoder is what the messages of one MarshalAppend share. Its zero value is ready.
//
// A message inside another stands behind its length, which is known only when the message is written. Computing the
// sizes of all first would cost as much as writing them. So Open leaves room for the length, and Close writes it, moving
// the message where it guessed wrong. It moves no more than wideLimit bytes: what is longer waits for Finish, which puts
// in all lengths that do not fit at once, so that time stays in proportion to the size, however deep the messages are.
type Encoder struct {
	narrow bool    // the last message that holds messages had a length of one byte
	late   []span  // messages whose lengths have no room yet, those inside a message before it
	err    *Error  // the first; which field it is about is found out when all is done
	apart  *Parts  // where the contents of large blobs go; nil: they are written like any bytes
	spread *[]Part // where the contents of large fields are noted in place of copying them; nil: they are copied
}

// The lengths from which on one and two bytes are too few.
const (
	narrowLimit = 1 << 7
	wideLimit   = 1 << 14
)

// What Open leaves where a length will be says how much room there is. Lengths that are less can just be put there.
const (
	roomWide   = 0               // two bytes
	roomNarrow = narrowLimit - 1 // one byte
	roomOfLeaf = narrowLimit     // one byte
)

// A span is a message that has been written: where its length stands, how much room that has, and where the message ends.
type span struct{ at, room, end int }

// Room returns b with room for m if it has none at all. A slice that has some is left to grow by itself, which
// saves computing the size when buffers are used again.
func Room(b []byte, m Message) []byte {
	if len(b) == cap(b) {
		return makeRoom(b, m)
	}
	return b
}

func makeRoom(b []byte, m Message) []byte { return slices.Grow(b, m.Size()) }

// Open appends a tag, and room for the length of a message that holds messages.
func (e *Encoder) Open(b []byte, tag uint64) []byte {
	b = AppendTag(b, tag)
	if e.narrow {
		return append(b, roomNarrow)
	}
	return append(b, roomWide, 0)
}

// OpenLeaf is Open for a message that holds none, of which most are short.
func OpenLeaf(b []byte, tag uint64) []byte {
	return append(AppendTag(b, tag), roomOfLeaf)
}

// Close writes the length of the message that ends b, into the room at position at.
func (e *Encoder) Close(b []byte, at int) []byte {
	n := len(b) - at - 1
	if n >= int(b[at]) {
		return e.close(b, at)
	}
	b[at] = byte(n)
	return b
}

// close is Close where the length may take two bytes or more, or has two.
func (e *Encoder) close(b []byte, at int) []byte {
	room := 1
	if b[at] == roomWide {
		room = 2
	}
	n := len(b) - at - room
	if b[at] != roomOfLeaf {
		e.narrow = n < narrowLimit
	}
	switch {
	case n >= wideLimit:
		e.late = append(e.late, span{at, room, len(b)})
		return b
	case n < narrowLimit && room == 1:
		b[at] = byte(n)
		return b
	case n < narrowLimit:
		copy(b[at+1:], b[at+2:])
		b[at] = byte(n)
		return b[:len(b)-1]
	case room == 1:
		b = append(b, 0)
		copy(b[at+2:], b[at+1:])
	}
	b[at], b[at+1] = byte(n)|0x80, byte(n>>7)
	return b
}

// Finish returns b, to which m has been appended, complete, or what was wrong with m.
func (e *Encoder) Finish(b []byte, m any) (_ []byte, err error) {
	if e.err != nil || e.late != nil {
		b, err = e.finish(b, m)
	}
	return b, err
}

func (e *Encoder) finish(b []byte, m any) ([]byte, error) {
	if e.err != nil {
		e.err.Message, e.err.Field = typeName(m), findString(m, e.err.invalid)
		return b, e.err
	}
	return e.putLengths(b), nil
}

// putLengths puts the late lengths into b.
func (e *Encoder) putLengths(b []byte) []byte {
	lengths := e.lateLengths()
	slices.SortFunc(lengths, func(a, b length) int { return cmp.Compare(a.at, b.at) })
	e.moveParts(lengths)
	grown := 0
	for _, l := range lengths {
		grown += SizeVarint(l.n) - l.room
	}
	from := len(b)
	b = slices.Grow(b, grown)[:len(b)+grown]
	to := len(b)
	// From the back on, each byte moves once.
	for _, l := range slices.Backward(lengths) {
		tail := from - l.at - l.room
		copy(b[to-tail:to], b[from-tail:from])
		from, to = l.at, to-tail-SizeVarint(l.n)
		putVarint(b[to:], l.n)
	}
	return b
}

// putVarint writes v to the start of b, and no byte more.
func putVarint(b []byte, v uint64) {
	for ; v >= 0x80; v >>= 7 {
		b[0] = byte(v) | 0x80
		b = b[1:]
	}
	b[0] = byte(v)
}

// A length is what is to be written at position at, where it has room bytes.
type length struct {
	at, room int
	n        uint64
}

// lateLengths returns the lengths that the late messages have with the lengths inside them put in.
func (e *Encoder) lateLengths() []length {
	lengths := make([]length, 0, len(e.late))
	type grown struct{ at, by int }
	var inside []grown // messages that are in none of those that have been looked at, from the first on
	for _, s := range e.late {
		by := 0
		for len(inside) > 0 && inside[len(inside)-1].at > s.at {
			by += inside[len(inside)-1].by
			inside = inside[:len(inside)-1]
		}
		l := length{s.at, s.room, uint64(s.end - s.at - s.room + by)}
		lengths = append(lengths, l)
		inside = append(inside, grown{s.at, by + SizeVarint(l.n) - s.room})
	}
	return lengths
}

// fail keeps the first error, which is about the string s.
func (e *Encoder) fail(s string) {
	if e.err == nil {
		e.err = &Error{Offset: -1, Reason: reasons[-badUTF8], invalid: s}
	}
}
