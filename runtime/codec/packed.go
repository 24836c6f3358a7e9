package codec

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"
)

// integer is what varints are made of. A signed one is written with its sign extended to 64 bits.
type integer interface {
	~int32 | ~int64 | ~uint32 | ~uint64
}

// fixed is what is always written in as many bytes as it has in memory.
type fixed interface {
	~int32 | ~int64 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// SizePackedVarint returns the size of a packed list without its length.
func SizePackedVarint[T integer](list []T) int {
	n := 0
	for _, v := range list {
		n += SizeVarint(uint64(v))
	}
	return n
}

// AppendPackedVarint appends a tag, the length and the elements of a packed list of int32, int64, uint32, uint64 or enums.
func AppendPackedVarint[T integer](b []byte, tag uint64, list []T) []byte {
	n := SizePackedVarint(list)
	b = slices.Grow(AppendVarint(b, tag, uint64(n)), n)
	return appendVarints(b, list)
}

// mostVarint is how many bytes a varint has at most.
const mostVarint = 10

// appendVarints appends the elements of list. It does not branch on what they are: numbers of many sizes would have the
// processor guess wrong at every other.
func appendVarints[T integer](b []byte, list []T) []byte {
	room := b[len(b):cap(b)]
	for len(room) >= mostVarint && len(list) > 0 {
		v := uint64(list[0])
		list = list[1:]
		n := SizeVarint(v)
		// All ten bytes are written, of which n count.
		binary.LittleEndian.PutUint64(room, scatter(v, min(n, 9)))
		binary.LittleEndian.PutUint16(room[8:], uint16(v>>56&0x7f|v>>63*0x180))
		room = room[n:]
	}
	b = b[:cap(b)-len(room)]
	for _, v := range list {
		b = appendVarint(b, uint64(v))
	}
	return b
}

// zigzag returns the number that v is written as.
func zigzag[T ~int32 | ~int64](v T) uint64 {
	if unsafe.Sizeof(v) == 4 {
		return Zigzag32(int32(v))
	}
	return Zigzag64(int64(v))
}

// unzigzag returns what was written as v.
func unzigzag[T ~int32 | ~int64](v uint64) T {
	if unsafe.Sizeof(*new(T)) == 4 {
		return T(Unzigzag32(v))
	}
	return T(Unzigzag64(v))
}

// SizePackedZigzag returns the size of a packed list of sint32 or sint64 without its length.
func SizePackedZigzag[T ~int32 | ~int64](list []T) int {
	n := 0
	for _, v := range list {
		n += SizeVarint(zigzag(v))
	}
	return n
}

// AppendPackedZigzag appends a tag, the length and the elements of a packed list of sint32 or sint64.
func AppendPackedZigzag[T ~int32 | ~int64](b []byte, tag uint64, list []T) []byte {
	n := SizePackedZigzag(list)
	b = slices.Grow(AppendVarint(b, tag, uint64(n)), n)
	for _, v := range list {
		b = appendVarint(b, zigzag(v))
	}
	return b
}

// AppendPackedBool appends a tag, the length and the elements of a packed list.
func AppendPackedBool(b []byte, tag uint64, list []bool) []byte {
	b = slices.Grow(AppendVarint(b, tag, uint64(len(list))), len(list))
	for _, v := range list {
		n := byte(0)
		if v {
			n = 1
		}
		b = append(b, n)
	}
	return b
}

// AppendPackedFixed appends a tag, the length and the elements of a packed list of numbers of a fixed width.
func AppendPackedFixed[T fixed](b []byte, tag uint64, list []T) []byte {
	width := int(unsafe.Sizeof(*new(T)))
	b = AppendVarint(b, tag, uint64(width*len(list)))
	if littleEndian {
		return append(b, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(list))), width*len(list))...)
	}
	for _, v := range list {
		if width == 4 {
			b = binary.LittleEndian.AppendUint32(b, uint32(bitsOf(v)))
		} else {
			b = binary.LittleEndian.AppendUint64(b, bitsOf(v))
		}
	}
	return b
}

// bitsOf returns what stands in memory for v.
func bitsOf[T fixed](v T) uint64 {
	if unsafe.Sizeof(v) == 4 {
		return uint64(*(*uint32)(unsafe.Pointer(&v)))
	}
	return *(*uint64)(unsafe.Pointer(&v))
}

func readFixed[T fixed](b []byte, pos int) (v T, end int) {
	if unsafe.Sizeof(v) == 4 {
		*(*uint32)(unsafe.Pointer(&v)), end = ReadFixed32(b, pos)
	} else {
		*(*uint64)(unsafe.Pointer(&v)), end = ReadFixed64(b, pos)
	}
	return v, end
}

// littleEndian says that numbers stand in memory as they do on the wire.
var littleEndian = func() bool {
	one := uint16(1)
	return *(*byte)(unsafe.Pointer(&one)) == 1
}()

// ReadPackedVarint reads a packed list of int32, int64, uint32, uint64 or enums and appends it to list.
func ReadPackedVarint[T integer](d *Decoder, b []byte, pos int, list []T) ([]T, int) {
	start, end := readSpan(b, pos)
	if start < 0 {
		return list, start
	}
	if start == end {
		return list, end
	}
	b = b[start:end]
	n := countVarints(b)
	if n == 0 {
		return list, badPacked
	}
	list, added := roomForNumbers(d, list, n)
	if added == nil {
		return list, tooLarge
	}
	if code := readVarints(added, b); code < 0 {
		return list, code
	}
	return list[:len(list)+n], end
}

// roomForNumbers returns list with room for n more, of which there is at least one, and these. They are nil if they take
// more memory than is allowed.
func roomForNumbers[T fixed | bool](d *Decoder, list []T, n int) (with, added []T) {
	switch {
	case list == nil:
		list = newNumbers[T](d, n)
	case d.claim(n * int(unsafe.Sizeof(list[0]))):
		list = slices.Grow(list, n)
	default:
		return list, nil
	}
	if list == nil {
		return nil, nil
	}
	return list, list[len(list):][:n]
}

// readVarints reads the varints of b, of which there are as many as list has elements. It branches no more than
// appendVarints does.
func readVarints[T integer](list []T, b []byte) int {
	for len(list) > 0 && len(b) >= mostVarint {
		word := binary.LittleEndian.Uint64(b)
		if word&notASCII == 0 && len(list) >= 8 {
			spread(list[:8], word)
			list, b = list[8:], b[8:]
			continue
		}
		ends := ^word & notASCII
		v := gather(word & (ends ^ (ends - 1)))
		// A varint that goes on behind eight bytes has no end among them, and all bits of long set.
		long := uint64(int64((ends-1)&^ends) >> 63)
		rest := uint64(binary.LittleEndian.Uint16(b[8:])) & long
		if rest > 0x1ff && rest&0x80 != 0 {
			return overflow
		}
		more := rest >> 7 & 1
		list[0] = T(v | rest&0x7f<<56 | rest>>8&more<<63)
		list, b = list[1:], b[bits.TrailingZeros64(ends)/8+1+int(more):]
	}
	return readFewVarints(list, b)
}

// spread makes each byte of word an element.
func spread[T integer](list []T, word uint64) {
	for i := range list {
		list[i] = T(word & 0xff)
		word >>= 8
	}
}

// readFewVarints is readVarints for the last bytes of a list.
func readFewVarints[T integer](list []T, b []byte) int {
	pos := 0
	for i := range list {
		var v uint64
		if v, pos = readVarint(b, pos); pos < 0 {
			return inPacked(pos)
		}
		list[i] = T(v)
	}
	if pos < len(b) {
		_, pos = readVarint(b, pos)
	}
	return inPacked(pos)
}

// inPacked tells the end of the list from the end of the input.
func inPacked(code int) int {
	if code == truncated {
		return badPacked
	}
	return code
}

// countVarints returns how many varints end in b.
func countVarints(b []byte) int {
	n := 0
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(^binary.LittleEndian.Uint64(b) & notASCII)
	}
	for _, c := range b {
		if c < 0x80 {
			n++
		}
	}
	return n
}

// ReadPackedZigzag reads a packed list of sint32 or sint64 and appends it to list.
func ReadPackedZigzag[T ~int32 | ~int64](d *Decoder, b []byte, pos int, list []T) ([]T, int) {
	before := len(list)
	list, pos = ReadPackedVarint(d, b, pos, list)
	for i, v := range list[before:] {
		list[before+i] = unzigzag[T](uint64(v))
	}
	return list, pos
}

// ReadPackedBool reads a packed list and appends it to list.
func ReadPackedBool(d *Decoder, b []byte, pos int, list []bool) ([]bool, int) {
	start, end := readSpan(b, pos)
	if start < 0 || start == end {
		return list, end
	}
	b = b[:end]
	n := countVarints(b[start:])
	if n == 0 {
		return list, badPacked
	}
	list, added := roomForNumbers(d, list, n)
	if added == nil {
		return list, tooLarge
	}
	for pos = start; pos < end; {
		var v uint64
		if v, pos = readVarint(b, pos); pos < 0 {
			return list, inPacked(pos)
		}
		list = append(list, v != 0)
	}
	return list, pos
}

// ReadPackedFixed reads a packed list of numbers of a fixed width and appends it to list.
func ReadPackedFixed[T fixed](d *Decoder, b []byte, pos int, list []T) ([]T, int) {
	start, end := readSpan(b, pos)
	if start < 0 {
		return list, start
	}
	width := int(unsafe.Sizeof(*new(T)))
	if (end-start)%width != 0 {
		return list, badPacked
	}
	n := (end - start) / width
	if n == 0 {
		return list, end
	}
	if littleEndian && list == nil && end-start > maxShared {
		if !d.claim(end - start) {
			return nil, tooLarge
		}
		// Appended bytes are not cleared before they are written, and stand where numbers of their length may.
		raw := append([]byte(nil), b[start:end]...)
		return unsafe.Slice((*T)(unsafe.Pointer(&raw[0])), n), end
	}
	list, added := roomForNumbers(d, list, n)
	if added == nil {
		return list, tooLarge
	}
	list = list[:len(list)+n]
	if littleEndian {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&added[0])), end-start), b[start:end])
		return list, end
	}
	for i := range added {
		added[i], start = readFixed[T](b, start)
	}
	return list, end
}

// ReadUnpackedVarint reads the int32s, int64s, uint32s, uint64s or enums at pos and in the fields of the same tag that
// follow it directly, and appends them to list.
func ReadUnpackedVarint[T integer](d *Decoder, tag uint64, b []byte, pos int, list []T) ([]T, int) {
	return readUnpacked(d, tag, b, pos, list, varint[T]{})
}

// ReadUnpackedZigzag is ReadUnpackedVarint for sint32 and sint64.
func ReadUnpackedZigzag[T ~int32 | ~int64](d *Decoder, tag uint64, b []byte, pos int, list []T) ([]T, int) {
	return readUnpacked(d, tag, b, pos, list, zigzagged[T]{})
}

// ReadUnpackedBool is ReadUnpackedVarint for bools.
func ReadUnpackedBool(d *Decoder, tag uint64, b []byte, pos int, list []bool) ([]bool, int) {
	return readUnpacked(d, tag, b, pos, list, Bool{})
}

// ReadUnpackedFixed is ReadUnpackedVarint for numbers of a fixed width.
func ReadUnpackedFixed[T fixed](d *Decoder, tag uint64, b []byte, pos int, list []T) ([]T, int) {
	return readUnpacked(d, tag, b, pos, list, fixedWidth[T]{})
}

func readUnpacked[K Kind[T], T any](d *Decoder, tag uint64, b []byte, pos int, list []T, kind K) ([]T, int) {
	for {
		v, end := kind.read(d, tag, b, pos, *new(T))
		if end < 0 {
			return list, d.failElement(end, len(list), tag, pos)
		}
		if !d.claim(int(unsafe.Sizeof(v))) {
			return list, tooLarge
		}
		list = append(list, v)
		next, after := readVarint(b, end)
		if after < 0 || next != tag {
			return list, end
		}
		pos = after
	}
}
