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

// appendVarints appends the elements of list. It writes eight bytes at once, of which those of a varint count, so that the
// processor need not guess how many they are.
func appendVarints[T integer](b []byte, list []T) []byte {
	at := len(b)
	b = b[:cap(b)]
	i := 0
	for ; i < len(list) && len(b)-at >= mostVarint; i++ {
		v := uint64(list[i])
		n := SizeVarint(v)
		putWord(b, at, scatter(v, min(n, 9)))
		if n > 8 {
			b[at+8] = byte(v>>56)&0x7f | byte(v>>63<<7)
			b[at+9] = byte(v >> 63)
		}
		at += n
	}
	b = b[:at]
	for _, v := range list[i:] {
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

// readVarints reads the varints of b, of which there are as many as list has elements. Where a varint starts is known when
// the one before has been found to end, which takes longer than all else; so both halves of a long list are read side by side.
func readVarints[T integer](list []T, b []byte) int {
	if len(list) < 32 || len(b) < 2*len(list) {
		return readInRow(list, b)
	}
	half := len(b) / 2
	for b[half] >= 0x80 && half < len(b)-1 {
		half++
	}
	half++
	n := countVarints(b[:half])
	first, second := list[:n], list[n:]
	i, j, at, from := 0, 0, 0, half
	for i < len(first) && j < len(second) && half-at >= mostVarint && len(b)-from >= mostVarint {
		v, next := stepVarint(b, at)
		w, after := stepVarint(b, from)
		if next-at > 8 {
			if v, next = lastBytes(v, b, at); next < 0 {
				return next
			}
		}
		if after-from > 8 {
			if w, after = lastBytes(w, b, from); after < 0 {
				return after
			}
		}
		first[i], second[j] = T(v), T(w)
		i, j, at, from = i+1, j+1, next, after
	}
	if code := readInRow(first[i:], b[at:half]); code < 0 {
		return code
	}
	return readInRow(second[j:], b[from:])
}

// readInRow is readVarints one varint behind the other, or eight where they have one byte each.
func readInRow[T integer](list []T, b []byte) int {
	pos, i := 0, 0
	for i < len(list) && len(b)-pos >= mostVarint {
		if word := getWord(b, pos); word&notASCII == 0 && len(list)-i >= 8 {
			spread(list[i:i+8], word)
			i, pos = i+8, pos+8
			continue
		}
		v, next := stepVarint(b, pos)
		if next-pos > 8 {
			if v, next = lastBytes(v, b, pos); next < 0 {
				return next
			}
		}
		list[i] = T(v)
		i, pos = i+1, next
	}
	return readFewVarints(list[i:], b[pos:])
}

// stepVarint returns the varint at pos, where there are ten bytes, and the position behind it; of one of more than eight
// bytes those eight, and the ninth position. It does not branch, so that the processor need not guess.
func stepVarint(b []byte, pos int) (uint64, int) {
	word := getWord(b, pos)
	ends := ^word & notASCII
	return gather(word & (ends ^ (ends - 1))), pos + bits.TrailingZeros64(ends)/8 + 1
}

// lastBytes returns the varint at pos, of whose first eight bytes v is made, and the position behind it.
func lastBytes(v uint64, b []byte, pos int) (uint64, int) {
	ninth, tenth := b[pos+8], b[pos+9]
	switch {
	case ninth < 0x80:
		return v | uint64(ninth)<<56, pos + 9
	case tenth > 1:
		return 0, overflow
	}
	return v | uint64(ninth&0x7f)<<56 | uint64(tenth)<<63, pos + 10
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
