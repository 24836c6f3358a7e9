package codec

import "slices"

// Whoever sends a message with large contents need not have them copied before: it can be written with room in their place,
// to be sent from where they are.

// spreadLeast is from how many bytes on contents are left where they are. It is no less than wideLimit: Close moves shorter
// messages, and would not tell the parts in them.
const spreadLeast = wideLimit

// MarshalSpread is m.MarshalAppend without the contents of large fields. There is room for them in the result, which holds
// nothing that means anything; they are added to parts, in ascending order of their positions, which count from the start
// of b. Fill puts them in. After an error the parts mean nothing.
func MarshalSpread(b []byte, m Message, parts []Part) ([]byte, []Part, error) {
	fields, ok := m.(NestedMessage)
	if !ok {
		b, err := m.MarshalAppend(b)
		return b, parts, err
	}
	if r, ok := m.(interface{ HasRequired() bool }); ok && !r.HasRequired() {
		return b, parts, Missing(m)
	}
	e := Encoder{spread: &parts}
	b = fields.AppendFields(&e, b)
	if e.late != nil { // lengths that are to be put in move what is behind them
		Fill(b, parts)
		clear(parts) // they are the program's
		parts = parts[:0]
	}
	b, err := e.Finish(b, m)
	return b, parts, err
}

// Fill puts parts into the room that MarshalSpread has left for them in b.
func Fill(b []byte, parts []Part) {
	for _, p := range parts {
		CopyLarge(b[p.At:p.At+len(p.Bytes)], p.Bytes)
	}
}

// appendLarge appends the bytes of v, or leaves room for them.
func (e *Encoder) appendLarge(b, v []byte) []byte {
	at := len(b)
	b = slices.Grow(b, len(v))[:at+len(v)]
	if e.spread != nil {
		*e.spread = append(*e.spread, Part{at, v})
		return b
	}
	CopyLarge(b[at:], v)
	return b
}

// CopyLarge copies from, which is as long as to, so that what was copied stays in the processor's caches. From a megabyte on
// copy writes past them, which takes half as long again where memory is used again, and leaves to memory what is soon read.
func CopyLarge(to, from []byte) {
	const part = 16 << 10
	for len(from) > 0 {
		n := copy(to[:min(len(to), part)], from)
		to, from = to[n:], from[n:]
	}
}
