package codec

import (
	"bytes"
	"unsafe"
)

// A transport may carry the contents of large blobs apart from the message that they belong to. Then the message is
// written without them, as if they had been cut out of its wire format: all lengths count them, and only their bytes are
// not there. What is left is the rest of the message, and what was cut out are its parts.

// A Part is what a blob field holds, apart from its message.
type Part struct {
	At    int // where in the rest of the message the bytes belong
	Bytes []byte
}

// Parts are what is cut out of a message.
type Parts struct {
	List []Part // in the order of their positions
	// All cuts out all blobs that have contents, however few; Near those whose contents begin in it.
	All  bool
	Near []byte
}

// A Holder is a generated message with blobs, its own or those of messages inside it. It is for the runtime.
type Holder interface {
	Fields
	// AppendApart is MarshalAppend without the contents of large blobs, which it adds to parts. The positions of parts
	// count from the start of b. After an error they mean nothing, but all parts are there. Blobs in maps are never cut
	// out.
	AppendApart(b []byte, parts *Parts) ([]byte, error)
}

// Apart returns an Encoder that adds the contents of large blobs to parts in place of writing them.
func Apart(parts *Parts) Encoder { return Encoder{apart: parts} }

// defaultLeast is from how many bytes on a blob travels apart where the schema does not say.
const defaultLeast = 64 << 10

// AppendBlob appends a tag, the length and the bytes of v, of which the Encoder may set the bytes apart if there are at
// least so many; 0 is the default of 64 KiB.
func (e *Encoder) AppendBlob(b []byte, tag uint64, least int, v []byte) []byte {
	if least == 0 {
		least = defaultLeast
	}
	if e.apart == nil || len(v) == 0 || len(v) < least && !e.apart.All && !begins(v, e.apart.Near) {
		return e.AppendBytes(b, tag, v)
	}
	b = AppendVarint(b, tag, uint64(len(v)))
	e.apart.List = append(e.apart.List, Part{len(b), v})
	return b
}

// begins says whether v begins in the memory of near.
func begins(v, near []byte) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(v))) - uintptr(unsafe.Pointer(unsafe.SliceData(near)))
	return at < uintptr(len(near)) // what begins before it is far behind it, modulo 2^64
}

// OpenHolder is Open for a message that may have blobs. Where these are set apart the length is not that of what follows,
// so it is computed now.
func (e *Encoder) OpenHolder(b []byte, tag uint64, m NestedMessage) []byte {
	if e.apart == nil {
		return e.Open(b, tag)
	}
	return AppendVarint(b, tag, uint64(m.Size()))
}

// CloseHolder is Close for what OpenHolder has opened.
func (e *Encoder) CloseHolder(b []byte, at int) []byte {
	if e.apart == nil {
		return e.Close(b, at)
	}
	return b
}

// moveParts corrects the positions of parts behind lengths, which stand in ascending order, for the room that these have
// got.
func (e *Encoder) moveParts(lengths []length) {
	if e.apart == nil {
		return
	}
	grown := 0
	for i := range e.apart.List {
		p := &e.apart.List[i]
		for len(lengths) > 0 && lengths[0].at < p.At {
			grown += SizeVarint(lengths[0].n) - lengths[0].room
			lengths = lengths[1:]
		}
		p.At += grown
	}
}

// Join returns the wire format of a message, put together from its rest and its parts, which stand in ascending order.
func Join(rest []byte, parts []Part) []byte {
	n := len(rest)
	for _, p := range parts {
		n += len(p.Bytes)
	}
	b := make([]byte, 0, n)
	from := 0
	for _, p := range parts {
		b = append(append(b, rest[from:p.At]...), p.Bytes...)
		from = p.At
	}
	return append(b, rest[from:]...)
}

// A partReader is what a Decoder has of a message beside its rest.
type partReader struct {
	list    []Part
	next    int // the first that has not been read
	inPlace bool
}

// UnmarshalApart is Unmarshal for a message of which there are the rest, b, and parts in ascending order. Blobs are the parts
// themselves where they are to stay in place, else copies. It says whether the message could be decoded in this way: not,
// if it is malformed, or if its sender had blobs where m has none. Then m's content is unspecified, and what Join makes
// of it is to be decoded.
func (o Options) UnmarshalApart(b []byte, list []Part, inPlace bool, m Message) bool {
	h, ok := m.(Holder)
	if !ok {
		return false
	}
	h.Reset()
	parts := &partReader{list: list, inPlace: inPlace}
	return o.decode(b, parts, h) == nil && parts.next == len(list)
}

// take returns the part that belongs at pos and has n bytes, if there is one.
func (p *partReader) take(pos int, n uint64) (v []byte, ok bool) {
	if p.next == len(p.list) {
		return nil, false
	}
	part := p.list[p.next]
	if part.At != pos || uint64(len(part.Bytes)) != n {
		return nil, false
	}
	p.next++
	if p.inPlace {
		return part.Bytes, true
	}
	return bytes.Clone(part.Bytes), true
}

// end returns where in b the message ends that starts at pos and has n bytes, with the parts inside it; less than 0 is
// nowhere.
func (p *partReader) end(b []byte, pos int, n uint64) int {
	for _, part := range p.list[p.next:] {
		if part.At < pos {
			return truncated // it was passed over
		}
		with := uint64(part.At - pos)
		if with > n {
			break
		}
		if with += uint64(len(part.Bytes)); with > n || part.At > len(b) {
			return truncated // it begins inside and does not end there
		}
		n -= with
		pos = part.At
	}
	if n > uint64(len(b)-pos) {
		return truncated
	}
	return pos + int(n)
}

// part reads the part whose length is at pos, if there is one.
func (d *Decoder) part(b []byte, pos int) (v []byte, end int, ok bool) {
	n, end := readVarint(b, pos)
	if end < 0 {
		return nil, end, false
	}
	v, ok = d.parts.take(end, n)
	return v, end, ok
}

// ReadBlob is ReadBytes for a blob.
func (d *Decoder) ReadBlob(b []byte, pos int) ([]byte, int) {
	if d.parts != nil {
		if v, end, ok := d.part(b, pos); ok {
			return v, end
		}
	}
	return d.ReadBytes(b, pos)
}

// ReadPresentBlob is ReadPresentBytes for a blob.
func (d *Decoder) ReadPresentBlob(b []byte, pos int) ([]byte, int) {
	if d.parts != nil {
		if v, end, ok := d.part(b, pos); ok {
			return v, end
		}
	}
	return d.ReadPresentBytes(b, pos)
}

// ReadBlobs is ReadBytesList for blobs, one at a time where some stand apart.
func (d *Decoder) ReadBlobs(tag uint64, b []byte, pos int, list [][]byte) ([][]byte, int) {
	if d.parts == nil {
		return d.ReadBytesList(tag, b, pos, list)
	}
	v, end := d.ReadPresentBlob(b, pos)
	if end < 0 {
		return list, d.failElement(end, len(list), tag, pos)
	}
	return append(list, v), end
}

// ReadHolder is ReadMessage for a message that may have blobs.
func (d *Decoder) ReadHolder(m Fields, b []byte, pos int) int {
	if d.parts == nil {
		return d.ReadMessage(m, b, pos)
	}
	n, start := readVarint(b, pos)
	if start < 0 {
		return start
	}
	end := d.parts.end(b, start, n)
	if end < 0 {
		return end
	}
	if d.depth == 0 || d.memory < 0 {
		return d.spent()
	}
	group := d.group
	d.group = 0
	d.depth--
	pos = m.DecodeFields(d, b[:end], start)
	d.depth++
	d.group = group
	return pos
}

// ReadHolders is ReadMessages for messages that may have blobs, one at a time where some stand apart.
func ReadHolders[M any, P fieldsOf[M]](d *Decoder, tag uint64, b []byte, pos int, list []P) ([]P, int) {
	if d.parts == nil {
		return ReadMessages(d, tag, b, pos, list)
	}
	m := P(New[M](d))
	end := d.ReadHolder(m, b, pos)
	if end < 0 {
		return list, d.failElement(end, len(list), tag, pos)
	}
	return append(list, m), end
}
