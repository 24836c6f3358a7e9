package codec

import (
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

// AppendPackedVarint appends the length and the elements of a packed list of int32, int64, uint32, uint64 or enums.
func AppendPackedVarint[T integer](b []byte, list []T) []byte {
	n := SizePackedVarint(list)
	b = slices.Grow(AppendVarint(b, uint64(n)), n)
	for _, v := range list {
		b = AppendVarint(b, uint64(v))
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
		return T(int32(uint32(v)>>1) ^ -int32(v&1))
	}
	return T(int64(v>>1) ^ -int64(v&1))
}

// SizePackedZigzag returns the size of a packed list of sint32 or sint64 without its length.
func SizePackedZigzag[T ~int32 | ~int64](list []T) int {
	n := 0
	for _, v := range list {
		n += SizeVarint(zigzag(v))
	}
	return n
}

// AppendPackedZigzag appends the length and the elements of a packed list of sint32 or sint64.
func AppendPackedZigzag[T ~int32 | ~int64](b []byte, list []T) []byte {
	n := SizePackedZigzag(list)
	b = slices.Grow(AppendVarint(b, uint64(n)), n)
	for _, v := range list {
		b = AppendVarint(b, zigzag(v))
	}
	return b
}

// AppendPackedBool appends the length and the elements of a packed list.
func AppendPackedBool(b []byte, list []bool) []byte {
	b = slices.Grow(AppendVarint(b, uint64(len(list))), len(list))
	for _, v := range list {
		b = AppendBool(b, v)
	}
	return b
}

// AppendPackedFixed appends the length and the elements of a packed list of numbers of a fixed width.
func AppendPackedFixed[T fixed](b []byte, list []T) []byte {
	width := int(unsafe.Sizeof(*new(T)))
	b = AppendVarint(b, uint64(width*len(list)))
	if littleEndian {
		return append(b, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(list))), width*len(list))...)
	}
	b = slices.Grow(b, width*len(list))
	for _, v := range list {
		b = appendFixed(b, v)
	}
	return b
}

func appendFixed[T fixed](b []byte, v T) []byte {
	if unsafe.Sizeof(v) == 4 {
		return AppendFixed32(b, *(*uint32)(unsafe.Pointer(&v)))
	}
	return AppendFixed64(b, *(*uint64)(unsafe.Pointer(&v)))
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

// readPacked reads a packed list of varints, each of which convert makes an element, and appends them to list.
func readPacked[T any](d *Decoder, b []byte, pos int, list []T, convert func(uint64) T) ([]T, int) {
	start, end := readSpan(b, pos)
	if start < 0 {
		return list, start
	}
	n := countVarints(b[start:end])
	if !d.claim(n * int(unsafe.Sizeof(*new(T)))) {
		return list, tooLarge
	}
	list = slices.Grow(list, n)
	b = b[:end]
	for pos = start; pos < end; {
		var v uint64
		if v, pos = ReadVarint(b, pos); pos < 0 {
			return list, inPacked(pos)
		}
		list = append(list, convert(v))
	}
	return list, pos
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
	for _, c := range b {
		if c < 0x80 {
			n++
		}
	}
	return n
}

// ReadPackedVarint reads a packed list of int32, int64, uint32, uint64 or enums and appends it to list.
func ReadPackedVarint[T integer](d *Decoder, b []byte, pos int, list []T) ([]T, int) {
	return readPacked(d, b, pos, list, func(v uint64) T { return T(v) })
}

// ReadPackedZigzag reads a packed list of sint32 or sint64 and appends it to list.
func ReadPackedZigzag[T ~int32 | ~int64](d *Decoder, b []byte, pos int, list []T) ([]T, int) {
	return readPacked(d, b, pos, list, unzigzag[T])
}

// ReadPackedBool reads a packed list and appends it to list.
func ReadPackedBool(d *Decoder, b []byte, pos int, list []bool) ([]bool, int) {
	return readPacked(d, b, pos, list, func(v uint64) bool { return v != 0 })
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
	if !d.claim(end - start) {
		return list, tooLarge
	}
	before := len(list)
	list = slices.Grow(list, n)[:before+n]
	added := list[before:]
	if littleEndian {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&added[0])), end-start), b[start:end])
		return list, end
	}
	for i := range added {
		added[i], start = readFixed[T](b, start)
	}
	return list, end
}

// ReadUnpacked reads the numbers at pos and in the fields of the same tag that follow it directly, and appends them
// to list.
func ReadUnpacked[T any](d *Decoder, tag uint64, b []byte, pos int, list []T,
	read func(b []byte, pos int) (T, int)) ([]T, int) {
	for {
		v, end := read(b, pos)
		if end < 0 {
			return list, d.failElement(end, len(list), tag, pos)
		}
		if !d.claim(int(unsafe.Sizeof(v))) {
			return list, tooLarge
		}
		list = append(list, v)
		next, after := ReadVarint(b, end)
		if after < 0 || next != tag {
			return list, end
		}
		pos = after
	}
}
