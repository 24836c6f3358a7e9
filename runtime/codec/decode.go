package codec

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// A Decoder is what the messages of one Unmarshal share.
type Decoder struct {
	input []byte
	// text is a copy of input[textAt:] as far as it reaches; strings and byte slices point into it.
	text   string
	textAt int

	depth    int    // how many more messages may stand inside the present one
	memory   int    // how many more bytes elements may take
	group    uint64 // the end tag that the present message waits for; 0 if it has a length
	groupEnd int    // the position behind the end tag that was met
	options  Options
	optional optionals
	required bool // a message with required fields was met

	path string // from the message that failed last
	err  *Error
}

var decoders = sync.Pool{New: func() any { return new(Decoder) }}

// decode merges b into m, which is empty.
func (o Options) decode(b []byte, m Fields) error {
	d := decoders.Get().(*Decoder)
	if o.MaxDepth == 0 {
		o.MaxDepth = defaultDepth
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = max(defaultMemory, memoryFactor*len(b))
	}
	d.input, d.options, d.depth, d.memory = b, o, o.MaxDepth-1, o.MaxMemory
	err := d.finish(m, m.DecodeFields(d, 0, len(b)))
	*d = Decoder{}
	decoders.Put(d)
	return err
}

// finish returns the error of a message whose fields have been read up to pos.
func (d *Decoder) finish(m Fields, pos int) error {
	if pos < 0 {
		d.err.Message, d.err.Field = typeName(m), d.path
		return d.err
	}
	if d.required {
		return missing(m, len(d.input))
	}
	return nil
}

// Input returns the input up to end.
func (d *Decoder) Input(end int) []byte { return d.input[:end] }

// reason returns what a code means, with the limit that was passed.
func (d *Decoder) reason(code int) string {
	switch code {
	case tooDeep:
		return fmt.Sprintf("%s, which is %d", reasons[-code], d.options.MaxDepth)
	case tooLarge:
		return fmt.Sprintf("%s, which is %d bytes", reasons[-code], d.options.MaxMemory)
	}
	return reasons[min(-code, len(reasons)-1)]
}

// Fail notes that reading the field of m that starts at start has failed, with the code that its reader returned,
// and returns what DecodeFields is to return.
func (d *Decoder) Fail(m Fields, tag uint64, start, code int) int {
	if code != failed {
		d.err = &Error{Offset: start, Reason: d.reason(code)}
	}
	if name := fieldName(m, tag); name != "" {
		d.path = joinPath(name, d.path)
	}
	return failed
}

func joinPath(first, rest string) string {
	if rest == "" || strings.HasPrefix(rest, "[") {
		return first + rest
	}
	return first + "." + rest
}

// textChunk is how much of the input is copied at once for the strings in it. One string in use keeps that much in
// memory; a larger one makes a chunk of its own.
const textChunk = 32 << 10

// ReadString reads a string, which must be UTF-8.
func (d *Decoder) ReadString(b []byte, pos int) (string, int) {
	start, end := readSpan(b, pos)
	if start < 0 {
		return "", start
	}
	if !utf8.Valid(b[start:end]) {
		return "", badUTF8
	}
	return d.string(start, end), end
}

// ReadRawString reads a string, whatever its bytes are.
func (d *Decoder) ReadRawString(b []byte, pos int) (string, int) {
	start, end := readSpan(b, pos)
	if start < 0 {
		return "", start
	}
	return d.string(start, end), end
}

// string returns the input from start to end.
func (d *Decoder) string(start, end int) string {
	if end-d.textAt > len(d.text) || start < d.textAt {
		d.chunk(start, end)
	}
	return d.text[start-d.textAt : end-d.textAt]
}

// chunk makes text hold the input from start to end, and what follows as far as a chunk reaches.
func (d *Decoder) chunk(start, end int) {
	rest := d.input[start:]
	if d.options.Alias {
		d.text = unsafe.String(unsafe.SliceData(rest), len(rest))
	} else {
		d.text = string(rest[:min(len(rest), max(end-start, textChunk))])
	}
	d.textAt = start
}

// ReadBytes reads a field of bytes whose absence is the same as being empty: it returns nil for no bytes.
func (d *Decoder) ReadBytes(b []byte, pos int) ([]byte, int) {
	start, end := readSpan(b, pos)
	if start < 0 || start == end {
		return nil, start
	}
	return d.bytes(start, end), end
}

// ReadPresentBytes reads bytes that are there even if there are none: it never returns nil.
func (d *Decoder) ReadPresentBytes(b []byte, pos int) ([]byte, int) {
	start, end := readSpan(b, pos)
	if start < 0 || start == end {
		return []byte{}, start
	}
	return d.bytes(start, end), end
}

// bytes returns the input from start to end, of which there is at least one byte. It may be written to: no string
// and no other slice has the same bytes, because no two fields do.
func (d *Decoder) bytes(start, end int) []byte {
	s := d.string(start, end)
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// Unknown keeps in fields the field that starts at start and has the given tag, whose value is at pos, or ends the
// message if it is the end of its group. It returns the position to go on from.
func (d *Decoder) Unknown(fields *[]byte, tag uint64, start, pos, end int) int {
	switch {
	case pos < 0:
		return pos
	case tag>>3 == 0 || tag>>3 > maxNumber:
		return badNumber
	case tag == d.group && tag != 0:
		d.groupEnd = pos
		return end
	}
	b := d.input[:end]
	if pos = skip(b, tag, pos, d.depth); pos < 0 || d.options.DiscardUnknown {
		return pos
	}
	*fields = append(*fields, b[start:pos]...)
	return pos
}

// ReadMessage reads the message at pos into m, which is made if it is nil.
func ReadMessage[M any, P interface {
	*M
	Fields
}](d *Decoder, b []byte, pos int, m P) (P, int) {
	if m == nil {
		if !d.claim(int(unsafe.Sizeof(*m))) {
			return nil, tooLarge
		}
		m = new(M)
	}
	start, end := readSpan(b, pos)
	if start < 0 {
		return m, start
	}
	return m, d.nested(m, start, end)
}

// nested merges the input from start to end into m.
func (d *Decoder) nested(m Fields, start, end int) int {
	if d.depth == 0 {
		return tooDeep
	}
	group := d.group
	d.group = 0
	d.depth--
	end = m.DecodeFields(d, start, end)
	d.depth++
	d.group = group
	return end
}

// ReadGroup reads the group at pos, whose start tag has been read, into m, which is made if it is nil.
func ReadGroup[M any, P interface {
	*M
	Fields
}](d *Decoder, tag uint64, b []byte, pos int, m P) (P, int) {
	if m == nil {
		if !d.claim(int(unsafe.Sizeof(*m))) {
			return nil, tooLarge
		}
		m = new(M)
	}
	return m, d.inGroup(m, tag, pos, len(b))
}

func (d *Decoder) inGroup(m Fields, tag uint64, pos, end int) int {
	if d.depth == 0 {
		return tooDeep
	}
	group := d.group
	d.group, d.groupEnd = tag+WireEndGroup-WireStartGroup, openGroup
	d.depth--
	pos = m.DecodeFields(d, pos, end)
	d.depth++
	d.group = group
	if pos < 0 {
		return pos
	}
	pos, d.groupEnd = d.groupEnd, openGroup
	return pos
}

// claim takes n bytes of what elements may take.
func (d *Decoder) claim(n int) bool {
	d.memory -= n
	return d.memory >= 0
}

// ReadMessages reads the messages at pos and in the fields of the same tag that follow it directly, and appends them
// to list. They are counted first and stand in one piece of memory.
func ReadMessages[M any, P interface {
	*M
	Fields
}](d *Decoder, tag uint64, b []byte, pos int, list []P) ([]P, int) {
	n := countSpans(b, tag, pos)
	var m P
	if !d.claim(n * int(unsafe.Sizeof(*m)+unsafe.Sizeof(m))) {
		return list, tooLarge
	}
	slab := make([]M, n)
	list = slices.Grow(list, n)
	for i := range slab {
		if i > 0 {
			_, pos = ReadVarint(b, pos)
		}
		m = &slab[i]
		start, end := readSpan(b, pos)
		if start >= 0 {
			start = d.nested(m, start, end)
		}
		if start < 0 {
			return list, d.failElement(start, len(list), tag, pos)
		}
		pos = start
		list = append(list, m)
	}
	return list, pos
}

// failElement notes that element i of a list has failed, whose value is at pos behind its tag.
func (d *Decoder) failElement(code, i int, tag uint64, pos int) int {
	if code != failed {
		d.err = &Error{Offset: pos - SizeVarint(tag), Reason: d.reason(code)}
	}
	d.path = joinPath(index(i), d.path)
	return failed
}

// countSpans returns how many fields of one tag, each with a length, stand one behind the other; pos is behind the
// tag of the first. It is at least 1. What is malformed ends the count and is found when it is read.
func countSpans(b []byte, tag uint64, pos int) int {
	for n := 1; ; n++ {
		_, end := readSpan(b, pos)
		if end < 0 || end == len(b) {
			return n
		}
		var next uint64
		if next, pos = ReadVarint(b, end); pos < 0 || next != tag {
			return n
		}
	}
}

// ReadGroups is ReadMessages for groups, one at a time.
func ReadGroups[M any, P interface {
	*M
	Fields
}](d *Decoder, tag uint64, b []byte, pos int, list []P) ([]P, int) {
	m, end := ReadGroup(d, tag, b, pos, P(nil))
	if end < 0 {
		return list, d.failElement(end, len(list), tag, pos)
	}
	return append(list, m), end
}

// ReadStrings reads the strings at pos and in the fields of the same tag that follow it directly, which must be
// UTF-8, and appends them to list.
func (d *Decoder) ReadStrings(tag uint64, b []byte, pos int, list []string) ([]string, int) {
	return readSpans(d, tag, b, pos, list, (*Decoder).ReadString)
}

// ReadRawStrings is ReadStrings for strings that may hold any bytes.
func (d *Decoder) ReadRawStrings(tag uint64, b []byte, pos int, list []string) ([]string, int) {
	return readSpans(d, tag, b, pos, list, (*Decoder).ReadRawString)
}

// ReadBytesList is ReadStrings for bytes.
func (d *Decoder) ReadBytesList(tag uint64, b []byte, pos int, list [][]byte) ([][]byte, int) {
	return readSpans(d, tag, b, pos, list, (*Decoder).ReadPresentBytes)
}

func readSpans[T any](d *Decoder, tag uint64, b []byte, pos int, list []T,
	read func(d *Decoder, b []byte, pos int) (T, int)) ([]T, int) {
	n := countSpans(b, tag, pos)
	if !d.claim(n * int(unsafe.Sizeof(*new(T)))) {
		return list, tooLarge
	}
	list = slices.Grow(list, n)
	for i := range n {
		if i > 0 {
			_, pos = ReadVarint(b, pos)
		}
		v, end := read(d, b, pos)
		if end < 0 {
			return list, d.failElement(end, len(list), tag, pos)
		}
		pos = end
		list = append(list, v)
	}
	return list, pos
}

// Require notes that a message with required fields is being read, so that they are looked for at the end.
func (d *Decoder) Require() { d.required = true }
