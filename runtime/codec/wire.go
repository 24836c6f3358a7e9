package codec

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// The wire types: the low three bits of a tag. The rest of a tag is the field's number.
const (
	WireVarint     = 0
	WireFixed64    = 1
	WireBytes      = 2
	WireStartGroup = 3
	WireEndGroup   = 4
	WireFixed32    = 5

	noWire = 7 // does not exist, so that no message has a case for it
)

// The functions that read return the value and the position behind it, or one of these instead of the position.
// They are numbers because the functions must be small enough to be inlined; Decoder.fail makes an Error of them.
const (
	failed = -1 - iota // the Decoder knows why
	truncated
	overflow
	badUTF8
	badNumber
	badWireType
	badEndGroup
	openGroup
	tooDeep
	tooLarge
	badPacked
)

var reasons = [...]string{
	-truncated:   "the input ends inside the field",
	-overflow:    "a varint takes more than 64 bits",
	-badUTF8:     "the string is not valid UTF-8",
	-badNumber:   "the field number is outside 1 to 536870911",
	-badWireType: "the wire type does not exist",
	-badEndGroup: "a group ends that did not start",
	-openGroup:   "the group does not end",
	-tooDeep:     "messages are nested deeper than the limit allows",
	-tooLarge:    "the elements take more memory than the limit allows",
	-badPacked:   "the packed list ends inside an element",
}

const maxNumber = 1<<29 - 1

// maxSkipped is the largest field number inside a group that is skipped: what protobuf's own library allows, for MessageSets.
const maxSkipped = 1<<31 - 1

// ReadVarint reads a varint at pos, where there is at least one byte. The compiler inlines it as it is, and not if it did
// more: code that may be at the end of the input has readVarint.
func ReadVarint(b []byte, pos int) (v uint64, end int) {
	if v = uint64(b[pos]); v > 0x7f {
		v, pos = longVarint(b, pos)
	}
	return v, pos + 1
}

// longVarint is ReadVarint for more than one byte. It returns one less than the position. Inlined into ReadVarint, it would
// make that too large to be inlined itself.
//
//go:noinline
func longVarint(b []byte, pos int) (uint64, int) {
	if last := pos + 1; last < len(b) && b[last] < 0x80 {
		return uint64(b[pos]&0x7f) | uint64(b[last])<<7, last
	}
	if len(b)-pos >= 8 {
		// Eight bytes at once: the lowest clear high bit is that of the last byte.
		word := getWord(b, pos)
		if ends := ^word & notASCII; ends != 0 {
			return gather(word & (ends ^ (ends - 1))), pos + bits.TrailingZeros64(ends)/8
		}
	}
	v, pos := readVarintSlowly(b, pos)
	return v, pos - 1
}

// ReadTag reads a tag at pos, where there are at least two bytes. Behind the tag of a varint, or of what has a length, is at
// least one.
func ReadTag(b []byte, pos int) (tag uint64, end int) {
	if tag = uint64(b[pos]); tag > 0x7f {
		tag, pos = longTag(b, pos)
	}
	return tag, pos + 1
}

// longTag is ReadTag for more than one byte. It returns one less than the position.
func longTag(b []byte, pos int) (uint64, int) {
	tag, end := uint64(b[pos]&0x7f)|uint64(b[pos+1])<<7, pos+2
	if b[pos+1] >= 0x80 {
		tag, end = readVarint(b, pos)
	}
	if end == len(b) && (tag&7 == WireVarint || tag&7 == WireBytes) {
		return tag | noWire, truncated - 1
	}
	return tag, end - 1
}

// readVarint reads a varint at pos, which may be the end of b, or the failure of a reader before.
func readVarint(b []byte, pos int) (uint64, int) {
	if uint(pos) >= uint(len(b)) {
		return 0, short(pos)
	}
	return ReadVarint(b, pos)
}

// gather joins the low seven bits of each byte.
func gather(v uint64) uint64 {
	v &= 0x7f7f7f7f7f7f7f7f
	v = v&0x007f007f007f007f | v&0x7f007f007f007f00>>1
	v = v&0x00003fff00003fff | v&0x3fff00003fff0000>>2
	return v&0x000000000fffffff | v&0x0fffffff00000000>>4
}

// readVarintSlowly reads a varint byte by byte: at the end of the input, and where more than eight bytes belong together.
func readVarintSlowly(b []byte, pos int) (uint64, int) {
	var v uint64
	for shift := uint(0); shift < 64; shift += 7 {
		if pos >= len(b) {
			return 0, truncated
		}
		c := b[pos]
		pos++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			if shift == 63 && c > 1 {
				return 0, overflow
			}
			return v, pos
		}
	}
	return 0, overflow
}

// Unzigzag32 returns the sint32 that was written as v.
func Unzigzag32(v uint64) int32 { return int32(uint32(v)>>1) ^ -int32(v&1) }

// Unzigzag64 returns the sint64 that was written as v.
func Unzigzag64(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// ReadFixed32 reads a fixed32.
func ReadFixed32(b []byte, pos int) (uint32, int) {
	if uint(pos) > uint(len(b)) || len(b)-pos < 4 {
		return 0, short(pos)
	}
	return getHalf(b, pos), pos + 4
}

// ReadFixed64 reads a fixed64.
func ReadFixed64(b []byte, pos int) (uint64, int) {
	if uint(pos) > uint(len(b)) || len(b)-pos < 8 {
		return 0, short(pos)
	}
	return getWord(b, pos), pos + 8
}

// short keeps the failure that a reader before has left in pos, or says that the input ends.
func short(pos int) int { return min(pos, truncated) }

// ReadSfixed32 reads an sfixed32.
func ReadSfixed32(b []byte, pos int) (int32, int) {
	v, pos := ReadFixed32(b, pos)
	return int32(v), pos
}

// ReadSfixed64 reads an sfixed64.
func ReadSfixed64(b []byte, pos int) (int64, int) {
	v, pos := ReadFixed64(b, pos)
	return int64(v), pos
}

// ReadFloat reads a float.
func ReadFloat(b []byte, pos int) (float32, int) {
	v, pos := ReadFixed32(b, pos)
	return math.Float32frombits(v), pos
}

// ReadDouble reads a double.
func ReadDouble(b []byte, pos int) (float64, int) {
	v, pos := ReadFixed64(b, pos)
	return math.Float64frombits(v), pos
}

// readSpan reads a length and returns where the bytes that it counts start and end. Start is negative on failure.
func readSpan(b []byte, pos int) (start, end int) {
	if uint(pos) >= uint(len(b)) {
		return short(pos), short(pos)
	}
	n, pos := ReadVarint(b, pos)
	if n > uint64(len(b)-pos) || pos < 0 {
		return short(pos), short(pos)
	}
	return pos, pos + int(n)
}

// skip returns the position behind the value at pos, whose tag is given. A group is left out with all it holds;
// depth is how many more may be inside it.
func skip(b []byte, tag uint64, pos, depth int) int {
	switch tag & 7 {
	case WireVarint:
		_, pos = readVarint(b, pos)
	case WireFixed64:
		_, pos = ReadFixed64(b, pos)
	case WireBytes:
		_, pos = readSpan(b, pos)
	case WireFixed32:
		_, pos = ReadFixed32(b, pos)
	case WireStartGroup:
		pos = skipGroup(b, tag>>3, pos, depth)
	case WireEndGroup:
		pos = badEndGroup
	default:
		pos = badWireType
	}
	return pos
}

func skipGroup(b []byte, number uint64, pos, depth int) int {
	if depth <= 0 {
		return tooDeep
	}
	for {
		if pos >= len(b) {
			return openGroup
		}
		var tag uint64
		tag, pos = readVarint(b, pos)
		switch {
		case pos < 0:
			return pos
		case tag>>3 == 0 || tag>>3 > maxSkipped:
			return badNumber
		case tag == number<<3|WireEndGroup:
			return pos
		}
		if pos = skip(b, tag, pos, depth-1); pos < 0 {
			return pos
		}
	}
}

// AppendTag appends a tag that nothing follows at once: the start or the end of a group.
func AppendTag(b []byte, tag uint64) []byte {
	if tag < 0x80 {
		return append(b, byte(tag))
	}
	return appendVarint(b, tag)
}

// AppendVarint appends a tag and v as a varint: a number, an enum's value, a length.
func AppendVarint(b []byte, tag, v uint64) []byte {
	if tag < 0x80 && v < 0x80 {
		return append(b, byte(tag), byte(v))
	}
	return appendTagged(b, tag, v)
}

// appendTagged is AppendVarint for more than two bytes. Few sizes that the processor can guess are faster than none that it
// cannot.
func appendTagged(b []byte, tag, v uint64) []byte {
	at := len(b)
	switch {
	case tag >= 0x80:
		return appendVarint(appendVarint(b, tag), v)
	case v < 1<<14:
		return append(b, byte(tag), byte(v)|0x80, byte(v>>7))
	case v < 1<<21:
		return append(b, byte(tag), byte(v)|0x80, byte(v>>7)|0x80, byte(v>>14))
	case v < 1<<56 && cap(b)-at >= 9:
		// Eight bytes at once, of which the first n count.
		n := SizeVarint(v)
		to := b[at : at+9]
		to[0] = byte(tag)
		binary.LittleEndian.PutUint64(to[1:], scatter(v, n))
		return b[:at+1+n]
	}
	return appendVarint(append(b, byte(tag)), v)
}

// appendVarint appends a varint.
func appendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, byte(v)|0x80, byte(v>>7))
	}
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// scatter is the reverse of gather: it parts v, which takes n bytes and no more than eight, into bytes of seven bits, all
// but the last with the high bit set.
func scatter(v uint64, n int) uint64 {
	v = v&0x000000000fffffff | v&0x00fffffff0000000<<4
	v = v&0x00003fff00003fff | v&0x0fffc0000fffc000<<2
	v = v&0x007f007f007f007f | v&0x3f803f803f803f80<<1
	return v | notASCII>>(72-8*uint(n))
}

// AppendBool appends a tag and a bool.
func AppendBool(b []byte, tag uint64, v bool) []byte {
	var n uint64
	if v {
		n = 1
	}
	return AppendVarint(b, tag, n)
}

// AppendFixed32 appends a tag and a fixed32, an sfixed32, or the bits of a float.
func AppendFixed32(b []byte, tag uint64, v uint32) []byte {
	return binary.LittleEndian.AppendUint32(AppendTag(b, tag), v)
}

// AppendFixed64 appends a tag and a fixed64, an sfixed64, or the bits of a double.
func AppendFixed64(b []byte, tag uint64, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(AppendTag(b, tag), v)
}

// AppendBytes appends a tag, a length and the bytes of v.
func (e *Encoder) AppendBytes(b []byte, tag uint64, v []byte) []byte {
	b = AppendVarint(b, tag, uint64(len(v)))
	if len(v) >= spreadLeast {
		return e.appendLarge(b, v)
	}
	return append(b, v...)
}

// AppendUnknown appends the fields that a message keeps without knowing them. Most keep none.
func AppendUnknown(b []byte, fields []byte) []byte {
	if len(fields) > 0 {
		return appendUnknown(b, fields)
	}
	return b
}

// appendUnknown is not inlined, as every message would have its code, and hardly one needs it.
//
//go:noinline
func appendUnknown(b []byte, fields []byte) []byte { return append(b, fields...) }

// Zigzag32 is how a sint32 is written: small absolute values get small numbers.
func Zigzag32(v int32) uint64 { return uint64(uint32(v<<1) ^ uint32(v>>31)) }

// Zigzag64 is how a sint64 is written.
func Zigzag64(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// SizeVarint returns how many bytes v takes as a varint.
func SizeVarint(v uint64) int { return int(9*uint(bits.Len64(v|1))+64) / 64 }

// SizeBytes returns how many bytes n bytes take behind a tag: their length and they themselves.
func SizeBytes(n int) int { return SizeVarint(uint64(n)) + n }
