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
)

// The functions that read return the value and the position behind it, or one of these instead of the position.
// They are numbers because the functions must be small enough to be inlined; Decoder.Fail makes an Error of them.
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

// ReadVarint reads a varint at pos.
func ReadVarint(b []byte, pos int) (uint64, int) {
	if uint(pos) < uint(len(b)) && b[pos] < 0x80 {
		return uint64(b[pos]), pos + 1
	}
	return readVarint(b, pos)
}

func readVarint(b []byte, pos int) (uint64, int) {
	if pos < 0 {
		return 0, pos
	}
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

// ReadInt32 reads an int32, or the number of an enum.
func ReadInt32(b []byte, pos int) (int32, int) {
	v, pos := ReadVarint(b, pos)
	return int32(v), pos
}

// ReadInt64 reads an int64.
func ReadInt64(b []byte, pos int) (int64, int) {
	v, pos := ReadVarint(b, pos)
	return int64(v), pos
}

// ReadUint32 reads a uint32.
func ReadUint32(b []byte, pos int) (uint32, int) {
	v, pos := ReadVarint(b, pos)
	return uint32(v), pos
}

// ReadUint64 reads a uint64.
func ReadUint64(b []byte, pos int) (uint64, int) { return ReadVarint(b, pos) }

// ReadSint32 reads a sint32.
func ReadSint32(b []byte, pos int) (int32, int) {
	v, pos := ReadVarint(b, pos)
	return int32(uint32(v)>>1) ^ -int32(v&1), pos
}

// ReadSint64 reads a sint64.
func ReadSint64(b []byte, pos int) (int64, int) {
	v, pos := ReadVarint(b, pos)
	return int64(v>>1) ^ -int64(v&1), pos
}

// ReadBool reads a bool: any number but 0 is true.
func ReadBool(b []byte, pos int) (bool, int) {
	v, pos := ReadVarint(b, pos)
	return v != 0, pos
}

// ReadEnum reads a value of the enum E. Numbers that E does not name are kept.
func ReadEnum[E ~int32](b []byte, pos int) (E, int) {
	v, pos := ReadVarint(b, pos)
	return E(v), pos
}

// ReadFixed32 reads a fixed32.
func ReadFixed32(b []byte, pos int) (uint32, int) {
	if uint(pos) > uint(len(b)) || len(b)-pos < 4 {
		return 0, short(pos)
	}
	return binary.LittleEndian.Uint32(b[pos:]), pos + 4
}

// ReadFixed64 reads a fixed64.
func ReadFixed64(b []byte, pos int) (uint64, int) {
	if uint(pos) > uint(len(b)) || len(b)-pos < 8 {
		return 0, short(pos)
	}
	return binary.LittleEndian.Uint64(b[pos:]), pos + 8
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
	n, pos := ReadVarint(b, pos)
	if pos < 0 {
		return pos, pos
	}
	if n > uint64(len(b)-pos) {
		return truncated, truncated
	}
	return pos, pos + int(n)
}

// skip returns the position behind the value at pos, whose tag is given. A group is left out with all it holds;
// depth is how many more may be inside it.
func skip(b []byte, tag uint64, pos, depth int) int {
	switch tag & 7 {
	case WireVarint:
		_, pos = ReadVarint(b, pos)
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
		tag, pos = ReadVarint(b, pos)
		switch {
		case pos < 0:
			return pos
		case tag>>3 == 0 || tag>>3 > maxNumber:
			return badNumber
		case tag == number<<3|WireEndGroup:
			return pos
		}
		if pos = skip(b, tag, pos, depth-1); pos < 0 {
			return pos
		}
	}
}

// AppendVarint appends v as a varint: a number, an enum's value, a bool's 0 or 1, a length.
func AppendVarint(b []byte, v uint64) []byte {
	if v < 0x80 {
		return append(b, byte(v))
	}
	return appendVarint(b, v)
}

func appendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// AppendBool appends a bool.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendFixed32 appends a fixed32 or sfixed32.
func AppendFixed32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

// AppendFixed64 appends a fixed64 or sfixed64.
func AppendFixed64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

// AppendFloat appends a float.
func AppendFloat(b []byte, v float32) []byte { return AppendFixed32(b, math.Float32bits(v)) }

// AppendDouble appends a double.
func AppendDouble(b []byte, v float64) []byte { return AppendFixed64(b, math.Float64bits(v)) }

// AppendBytes appends a length and the bytes of v.
func AppendBytes(b []byte, v []byte) []byte {
	return append(AppendVarint(b, uint64(len(v))), v...)
}

// Zigzag32 is how a sint32 is written: small absolute values get small numbers.
func Zigzag32(v int32) uint64 { return uint64(uint32(v<<1) ^ uint32(v>>31)) }

// Zigzag64 is how a sint64 is written.
func Zigzag64(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// SizeVarint returns how many bytes v takes as a varint.
func SizeVarint(v uint64) int { return int(9*uint(bits.Len64(v|1))+64) / 64 }

// SizeBytes returns how many bytes n bytes take behind a tag: their length and they themselves.
func SizeBytes(n int) int { return SizeVarint(uint64(n)) + n }
