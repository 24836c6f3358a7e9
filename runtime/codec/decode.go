package codec

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"
)

// A Decoder is what the messages of one Unmarshal share.
type Decoder struct {
	input []byte
	// text is memory for strings and byte slices, of which the first textUsed bytes are taken.
	text     []byte
	textUsed int
	inWords  uint // up to how many bytes a string is copied in words

	depth    int    // how many more messages may stand inside the present one
	memory   int    // how many more bytes elements may take; less than 0 if some have taken more
	group    uint64 // the end tag that the present message waits for; 0 if it has a length
	groupEnd int    // the position behind the end tag that was met
	options  Options
	parts    *partReader // of a message whose blobs stand apart; nil of any other
	required bool        // a message with required fields was met
	pieces

	path string // from the message that failed last
	err  *Error
}

// decode merges b, whose blobs may be parts, into m, which is empty.
func (o Options) decode(b []byte, parts *partReader, m Fields) error {
	if o.MaxDepth == 0 {
		o.MaxDepth = defaultDepth
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = max(defaultMemory, memoryFactor*len(b))
	}
	var d Decoder // a literal would be made elsewhere and copied
	d.input, d.options, d.parts, d.depth, d.memory, d.ahead = b, o, parts, o.MaxDepth-1, o.MaxMemory, 1
	if !o.Alias && wordsAnywhere {
		d.inWords = shortText
	}
	end := m.DecodeFields(onStack(&d), b, 0)
	if d.slabs != nil {
		d.slabs.put()
	}
	if end < 0 || d.required || d.memory < 0 {
		return d.finish(m, end)
	}
	return nil
}

// onStack returns p in such a way that what it points to may stay on the stack, though it is given to methods that the
// compiler does not know. These are those of generated messages and of kinds: they use it during the call and keep it nowhere.
// To hide p in a number would be wrong, though shorter: where the stack moves, pointers are corrected and numbers are not.
func onStack[T any](p *T) *T { return (*T)(same(unsafe.Pointer(p))) }

// finish returns the error of a message whose fields have been read up to pos.
func (d *Decoder) finish(m Fields, pos int) error {
	if pos < 0 {
		d.err.Message, d.err.Field = typeName(m), d.path
		return d.err
	}
	if d.memory < 0 {
		return &Error{Message: typeName(m), Offset: len(d.input), Reason: d.reason(tooLarge)}
	}
	return missing(m, len(d.input))
}

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

// fail notes that reading the field of m that starts at start has failed, with the code that its reader returned, and
// returns what DecodeFields is to return.
func (d *Decoder) fail(m Fields, b []byte, start, code int) int {
	if code != failed {
		d.err = &Error{Offset: start, Reason: d.reason(code)}
	}
	tag, _ := readVarint(b, start)
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

// ReadString reads a string, which must be UTF-8.
func (d *Decoder) ReadString(b []byte, pos int) (string, int) {
	if uint(pos) >= uint(len(b)) {
		return "", short(pos)
	}
	n, start := int(b[pos]), pos+1
	if uint(n-1) >= d.inWords || n > len(b)-start {
		return d.readString(b, pos)
	}
	if n > len(d.text)-d.textUsed {
		d.moreText(start)
	}
	// There are n bytes in both: nothing is read or written beyond them.
	to := unsafe.Add(unsafe.Pointer(unsafe.SliceData(d.text)), d.textUsed)
	from := unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), start)
	var bits uint64
	switch {
	case n >= 8:
		// The last word may share bytes with the one before.
		bits = copyWord(to, from, 0) | copyWord(to, from, n-8)
		if n > 16 {
			for i := 8; i < n-8; i += 8 {
				bits |= copyWord(to, from, i)
			}
		}
	case n >= 4:
		bits = copyHalf(to, from, 0) | copyHalf(to, from, n-4)
	default:
		bits = uint64(copyByte(to, from, 0) | copyByte(to, from, n/2) | copyByte(to, from, n-1))
	}
	if bits&notASCII != 0 {
		return d.readString(b, pos)
	}
	d.textUsed += n
	return unsafe.String((*byte)(to), n), start + n
}

// readString is ReadString for what is empty, long or not ASCII.
func (d *Decoder) readString(b []byte, pos int) (string, int) {
	start, end := readSpan(b, pos)
	if start < 0 {
		return "", start
	}
	s := d.longString(b, start, end)
	if !validText(s) {
		return "", badUTF8
	}
	return s, end
}

// ReadRawString reads a string, whatever its bytes are.
func (d *Decoder) ReadRawString(b []byte, pos int) (string, int) {
	start, end := readSpan(b, pos)
	if start < 0 {
		return "", start
	}
	return d.longString(b, start, end), end
}

// textChunk is how much memory is taken at once for strings and byte slices. Whoever keeps one keeps all of it, so larger
// ones than ownText have memory of their own.
const (
	textChunk = 32 << 10
	ownText   = textChunk / 8
)

// moreText takes memory for what is at start and behind it.
func (d *Decoder) moreText(start int) {
	d.text, d.textUsed = make([]byte, min(len(d.input)-start, textChunk)), 0
}

// longString returns the bytes of b from start to end as a string.
func (d *Decoder) longString(b []byte, start, end int) string {
	in := b[start:end]
	switch {
	case len(in) == 0:
		return ""
	case d.options.Alias:
		return unsafe.String(unsafe.SliceData(in), len(in))
	case len(in) > ownText:
		return string(in)
	case len(in) > len(d.text)-d.textUsed:
		d.moreText(start)
	}
	to := d.text[d.textUsed:][:len(in)]
	d.textUsed += copy(to, in)
	return unsafe.String(unsafe.SliceData(to), len(to))
}

// ReadBytes reads a field of bytes whose absence is the same as being empty: it returns nil for no bytes.
func (d *Decoder) ReadBytes(b []byte, pos int) ([]byte, int) {
	start, end := readSpan(b, pos)
	if start < 0 || start == end {
		return nil, start
	}
	return d.bytes(b, start, end), end
}

// ReadPresentBytes reads bytes that are there even if there are none: it never returns nil.
func (d *Decoder) ReadPresentBytes(b []byte, pos int) ([]byte, int) {
	start, end := readSpan(b, pos)
	if start < 0 || start == end {
		return []byte{}, start
	}
	return d.bytes(b, start, end), end
}

// bytes returns the bytes of b from start to end, of which there is at least one byte. It may be written to: no string
// and no other slice has the same bytes, because no two fields do.
func (d *Decoder) bytes(b []byte, start, end int) []byte {
	s := d.longString(b, start, end)
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// End returns what DecodeFields is to return when pos is negative, as reading the field at start has failed, or when less than
// two bytes are left of b, of which only the end of a group can be one.
func (d *Decoder) End(m Fields, b []byte, start, pos int) int {
	if pos == len(b) {
		return pos
	}
	return d.end(m, b, start, pos)
}

func (d *Decoder) end(m Fields, b []byte, start, pos int) int {
	if pos < 0 {
		return d.fail(m, b, start, pos)
	}
	tag, value := readVarint(b, pos)
	var none []byte
	if value = d.Unknown(&none, tag, b, pos, value); value < 0 {
		return d.fail(m, b, pos, value)
	}
	return value
}

// Unknown keeps in fields the field that starts at start and has the given tag, whose value is at pos, or ends the
// message if it is the end of its group. It returns the position to go on from.
func (d *Decoder) Unknown(fields *[]byte, tag uint64, b []byte, start, pos int) int {
	switch {
	case pos < 0:
		return pos
	case tag>>3 == 0 || tag>>3 > maxNumber:
		return badNumber
	case tag == d.group && tag != 0:
		d.groupEnd = pos
		return len(b)
	}
	if pos = skip(b, tag, pos, d.depth); pos < 0 || d.options.DiscardUnknown {
		return pos
	}
	*fields = append(*fields, b[start:pos]...)
	return pos
}

// fieldsOf is what *M is for a generated message M.
type fieldsOf[M any] interface {
	*M
	Fields
}

// ReadMessage merges the message at pos into m.
func (d *Decoder) ReadMessage(m Fields, b []byte, pos int) int {
	if pos >= len(b) {
		return truncated
	}
	n, start := ReadVarint(b, pos)
	if n > uint64(len(b)-start) || start < 0 {
		return short(start)
	}
	if d.depth == 0 || d.memory < 0 {
		return d.spent()
	}
	if d.group != 0 {
		return d.readMessageInGroup(m, b, pos)
	}
	d.depth--
	pos = m.DecodeFields(d, b[:start+int(n)], start)
	d.depth++
	return pos
}

// readMessageInGroup is ReadMessage for a message inside a group, whose end is not the message's.
func (d *Decoder) readMessageInGroup(m Fields, b []byte, pos int) int {
	group := d.group
	d.group = 0
	pos = d.ReadMessage(m, b, pos)
	d.group = group
	return pos
}

// spent returns which limit has been passed.
func (d *Decoder) spent() int {
	if d.memory < 0 {
		return tooLarge
	}
	return tooDeep
}

// ReadGroup merges the group at pos, whose start tag has been read, into m.
func (d *Decoder) ReadGroup(m Fields, tag uint64, b []byte, pos int) int {
	if d.depth == 0 || d.memory < 0 {
		return d.spent()
	}
	group := d.group
	d.group, d.groupEnd = tag+WireEndGroup-WireStartGroup, openGroup
	d.depth--
	pos = m.DecodeFields(d, b, pos)
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
func ReadMessages[M any, P fieldsOf[M]](d *Decoder, tag uint64, b []byte, pos int, list []P) ([]P, int) {
	n := countSpans(b, tag, pos)
	messages := takeMessages[M](d, n)
	if list = roomForMessages(d, list, n); messages == nil || list == nil {
		return list, tooLarge
	}
	outer, tagSize := d.ahead, SizeVarint(tag)
	for i := range messages {
		if i > 0 {
			pos += tagSize
		}
		d.ahead = n - i + n*(outer-1)
		end := d.ReadMessage(P(&messages[i]), b, pos)
		if end < 0 {
			return list, d.failElement(end, len(list), tag, pos)
		}
		pos = end
		list = append(list, P(&messages[i]))
	}
	d.ahead = outer
	return list, pos
}

// roomForMessages returns list with room for n more. It returns nil if they take more memory than is allowed.
func roomForMessages[M any, P fieldsOf[M]](d *Decoder, list []P, n int) []P {
	if list != nil {
		if !d.claim(n * int(unsafe.Sizeof(list[0]))) {
			return nil
		}
		return slices.Grow(list, n)
	}
	pointers := take(d, &d.pointers, n)[:0]
	return *(*[]P)(unsafe.Pointer(&pointers))
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
// tag of the first. It is at least 1. What is malformed, or has its tag in more bytes than needed, ends the count and is
// found when it is read.
func countSpans(b []byte, tag uint64, pos int) int {
	n, first, tagSize := 1, byte(tag), SizeVarint(tag)
	if tagSize > 1 {
		first |= 0x80
	}
	for ; pos < len(b); n++ {
		size, start := ReadVarint(b, pos)
		if size >= uint64(len(b)-start) || start < 0 {
			break
		}
		if pos = start + int(size); b[pos] != first {
			break
		}
		if tagSize > 1 {
			if next, after := ReadVarint(b, pos); next != tag || after != pos+tagSize {
				break
			}
		}
		pos += tagSize
	}
	return n
}

// ReadGroups is ReadMessages for groups, one at a time.
func ReadGroups[M any, P fieldsOf[M]](d *Decoder, tag uint64, b []byte, pos int, list []P) ([]P, int) {
	m := P(New[M](d))
	end := d.ReadGroup(m, tag, b, pos)
	if end < 0 {
		return list, d.failElement(end, len(list), tag, pos)
	}
	return append(list, m), end
}

// ReadStrings reads the strings at pos and in the fields of the same tag that follow it directly, which must be
// UTF-8, and appends them to list.
func (d *Decoder) ReadStrings(tag uint64, b []byte, pos int, list []string) ([]string, int) {
	p := &d.strings
	if list != nil || tag > 0x7f || p.used == len(p.all) {
		return d.readStrings(tag, b, pos, list, true)
	}
	// While the piece has room, the list grows in it, and need not be counted first.
	from := p.used
	for i := from; i < len(p.all); i++ {
		s, end := d.ReadString(b, pos)
		if end < 0 {
			return p.all[from:i:i], d.failElement(end, i-from, tag, pos)
		}
		p.all[i] = s
		p.used = i + 1
		if end >= len(b) || b[end] != byte(tag) {
			return p.all[from : i+1 : i+1], end
		}
		pos = end + 1
	}
	return d.readStrings(tag, b, pos, p.all[from:], true)
}

// ReadRawStrings is ReadStrings for strings that may hold any bytes.
func (d *Decoder) ReadRawStrings(tag uint64, b []byte, pos int, list []string) ([]string, int) {
	return d.readStrings(tag, b, pos, list, false)
}

func (d *Decoder) readStrings(tag uint64, b []byte, pos int, list []string, checked bool) ([]string, int) {
	n := countSpans(b, tag, pos)
	if list == nil {
		list = take(d, &d.strings, n)[:0]
	} else if list = slices.Grow(list, n); !d.claim(n * int(unsafe.Sizeof(""))) {
		return list, tooLarge
	}
	if list == nil {
		return nil, tooLarge
	}
	tagSize := SizeVarint(tag)
	for i := range n {
		if i > 0 {
			pos += tagSize
		}
		var s string
		var end int
		if checked {
			s, end = d.ReadString(b, pos)
		} else {
			s, end = d.ReadRawString(b, pos)
		}
		if end < 0 {
			return list, d.failElement(end, len(list), tag, pos)
		}
		pos = end
		list = append(list, s)
	}
	return list, pos
}

// ReadBytesList is ReadStrings for bytes.
func (d *Decoder) ReadBytesList(tag uint64, b []byte, pos int, list [][]byte) ([][]byte, int) {
	n := countSpans(b, tag, pos)
	if !d.claim(n * int(unsafe.Sizeof([]byte(nil)))) {
		return list, tooLarge
	}
	list = slices.Grow(list, n)
	tagSize := SizeVarint(tag)
	for i := range n {
		if i > 0 {
			pos += tagSize
		}
		v, end := d.ReadPresentBytes(b, pos)
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
