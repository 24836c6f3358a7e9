package codec

import (
	"slices"
	"sync"
	"unicode/utf8"
)

// An Encoder is what the messages of one MarshalAppend share. Its zero value is ready for a message that holds no
// messages below its children; the others are encoded by Marshal.
type Encoder struct {
	sizes []int // of the messages inside, in the order in which they are written
	next  int
	err   *Error // the first; which field it is about is found out when all is done
}

// maxPooledSizes bounds what an unusually large message leaves in the pool.
const maxPooledSizes = 64 << 10

var encoders = sync.Pool{New: func() any { return new(Encoder) }}

// Marshal appends m, which holds messages that hold messages, to b. It takes time in proportion to the size and not
// to the depth: each message's size is computed once.
func Marshal(b []byte, m NestedMessage) ([]byte, error) {
	e := encoders.Get().(*Encoder)
	n := m.SizeFields(e)
	b = m.AppendFields(e, slices.Grow(b, n))
	err := e.Err(m)
	if cap(e.sizes) <= maxPooledSizes {
		*e = Encoder{sizes: e.sizes[:0]}
		encoders.Put(e)
	}
	return b, err
}

// Room returns b with room for m if it has none at all. A slice that has some is left to grow by itself, which
// saves computing the size when buffers are used again.
func Room(b []byte, m Message) []byte {
	if len(b) == cap(b) {
		return slices.Grow(b, m.Size())
	}
	return b
}

// Err returns what was wrong with m, which has been appended.
func (e *Encoder) Err(m any) error {
	if e.err == nil {
		return nil
	}
	if e.err.invalid != "" {
		e.err.Message, e.err.Field = typeName(m), findString(m, e.err.invalid)
	}
	return e.err
}

// AppendString appends the length and the bytes of s, which must be UTF-8.
func (e *Encoder) AppendString(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		e.fail(&Error{Offset: -1, Reason: reasons[-badUTF8], invalid: s})
	}
	return append(AppendVarint(b, uint64(len(s))), s...)
}

// AppendRawString appends the length and the bytes of s, whatever they are.
func AppendRawString(b []byte, s string) []byte {
	return append(AppendVarint(b, uint64(len(s))), s...)
}

// SizeMessage returns the size of m with its length, and notes it in e if that is not nil.
func (e *Encoder) SizeMessage(m NestedMessage) int { return SizeBytes(e.SizeGroup(m)) }

// SizeGroup returns the size of m without its end tag, and notes it in e if that is not nil.
func (e *Encoder) SizeGroup(m NestedMessage) int {
	if e == nil {
		return m.SizeFields(nil)
	}
	at := len(e.sizes)
	e.sizes = append(e.sizes, 0)
	n := m.SizeFields(e)
	e.sizes[at] = n
	return n
}

// AppendMessage appends the length and the fields of m, whose size was noted before.
func (e *Encoder) AppendMessage(b []byte, m NestedMessage) []byte {
	n := e.sizes[e.next]
	e.next++
	return m.AppendFields(e, AppendVarint(b, uint64(n)))
}

// AppendGroup appends the fields of m, whose size was noted before, and the end tag.
func (e *Encoder) AppendGroup(b []byte, m NestedMessage, end uint64) []byte {
	e.next++
	return AppendVarint(m.AppendFields(e, b), end)
}

// AppendLeaf appends the length and the fields of m, which is taken to hold no messages: its size is not computed
// before, but its length is put in front of it afterwards.
func (e *Encoder) AppendLeaf(b []byte, m Message) []byte {
	at := len(b)
	b = e.appendLeaf(append(b, 0), m)
	n := len(b) - at - 1
	if n < 0x80 {
		b[at] = byte(n)
		return b
	}
	return widen(b, at, n)
}

// widen makes room at position at, which has one byte, for the length n of the bytes behind it.
func widen(b []byte, at, n int) []byte {
	var length [10]byte
	l := appendVarint(length[:0], uint64(n))
	b = append(b, l[1:]...)
	copy(b[at+len(l):], b[at+1:at+1+n])
	copy(b[at:], l)
	return b
}

// AppendLeafGroup appends the fields of m, which is taken to hold no messages, and the end tag.
func (e *Encoder) AppendLeafGroup(b []byte, m Message, end uint64) []byte {
	return AppendVarint(e.appendLeaf(b, m), end)
}

// appendLeaf lets m encode itself, which is right whatever m holds by now: it may have been generated anew when the
// message around it was not.
func (e *Encoder) appendLeaf(b []byte, m Message) []byte {
	b, err := m.MarshalAppend(b)
	if err != nil {
		e.fail(err)
	}
	return b
}

// fail keeps the first error.
func (e *Encoder) fail(err error) {
	if e.err != nil {
		return
	}
	if known, ok := err.(*Error); ok {
		e.err = known
		return
	}
	e.err = &Error{Offset: -1, Reason: err.Error()}
}
