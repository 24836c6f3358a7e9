package codec

import (
	"encoding/binary"
	"runtime"
	"unicode/utf8"
	"unsafe"
)

// notASCII are the bits that ASCII leaves clear in eight bytes.
const notASCII = 0x8080808080808080

// shortText is up to how many bytes a string is taken in words, which is faster than calling what is made for long ones.
const shortText = 64

// wordsAnywhere says that the processor reads and writes words wherever they start, and their low bytes first.
const wordsAnywhere = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

// getWord returns the eight bytes of b at a position, which must be there.
func getWord(b []byte, at int) uint64 {
	if wordsAnywhere {
		return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at))
	}
	return binary.LittleEndian.Uint64(b[at:])
}

// getHalf returns the four bytes of b at a position, which must be there.
func getHalf(b []byte, at int) uint32 {
	if wordsAnywhere {
		return *(*uint32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at))
	}
	return binary.LittleEndian.Uint32(b[at:])
}

// putWord sets the eight bytes of b at a position, which must be there.
func putWord(b []byte, at int, v uint64) {
	if wordsAnywhere {
		*(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at)) = v
		return
	}
	binary.LittleEndian.PutUint64(b[at:], v)
}

// AppendString appends a tag, the length and the bytes of s, which must be UTF-8.
func (e *Encoder) AppendString(b []byte, tag uint64, s string) []byte {
	n, at := len(s), len(b)
	end := at + 2 + n
	if uint(n-1) >= shortText || tag > 0x7f || uint(end) > uint(cap(b)) || !wordsAnywhere {
		return e.appendText(b, tag, s)
	}
	// There is room for the tag, the length and n bytes: nothing is read or written beyond them, and no pointer is made
	// to behind them, which for n = 0 could be another object.
	to, from := unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at), unsafe.Pointer(unsafe.StringData(s))
	*(*byte)(to) = byte(tag)
	*(*byte)(unsafe.Add(to, 1)) = byte(n)
	to = unsafe.Add(to, 2)
	var bits uint64
	switch { // as in ReadString: too much to be inlined, and too little to be called
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
		return e.appendText(b, tag, s)
	}
	return b[:end]
}

// appendText is AppendString for what is empty, long or not ASCII, or has no room.
func (e *Encoder) appendText(b []byte, tag uint64, s string) []byte {
	e.check(s)
	return e.AppendRawString(b, tag, s)
}

// copyWord copies eight bytes, and returns them.
func copyWord(to, from unsafe.Pointer, at int) uint64 {
	word := *(*uint64)(unsafe.Add(from, at))
	*(*uint64)(unsafe.Add(to, at)) = word
	return word
}

// copyHalf copies four bytes, and returns them.
func copyHalf(to, from unsafe.Pointer, at int) uint64 {
	word := *(*uint32)(unsafe.Add(from, at))
	*(*uint32)(unsafe.Add(to, at)) = word
	return uint64(word)
}

func copyByte(to, from unsafe.Pointer, at int) byte {
	c := *(*byte)(unsafe.Add(from, at))
	*(*byte)(unsafe.Add(to, at)) = c
	return c
}

func (e *Encoder) check(s string) {
	if !validText(s) {
		e.fail(s)
	}
}

// validText says whether s is UTF-8. Most texts are ASCII: up to some hundred bytes of that take half of the time of package
// utf8, or less, and more take as long.
func validText(s string) bool {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	rest := b // what is before it is ASCII
	for len(rest) >= 32 {
		if (getWord(rest, 0)|getWord(rest, 8)|getWord(rest, 16)|getWord(rest, 24))&notASCII != 0 {
			return utf8.Valid(rest)
		}
		rest = rest[32:]
	}
	var bits uint64
	switch n := len(b); {
	case len(rest) == 0:
		return true
	case n >= 8:
		for at := n - len(rest); at < n-8; at += 8 {
			bits |= getWord(b, at)
		}
		bits |= getWord(b, n-8) // which may share bytes with the one before
	case n >= 4:
		bits = uint64(getHalf(b, 0) | getHalf(b, n-4))
	default:
		bits = uint64(b[0] | b[n/2] | b[n-1])
	}
	return bits&notASCII == 0 || utf8.Valid(rest)
}

// AppendRawString appends a tag, the length and the bytes of s, whatever they are.
func (e *Encoder) AppendRawString(b []byte, tag uint64, s string) []byte {
	return e.AppendBytes(b, tag, unsafe.Slice(unsafe.StringData(s), len(s)))
}
