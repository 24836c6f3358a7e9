package codec

import (
	"bytes"
	"cmp"
	"unsafe"
)

// A Kind knows how the values of one of protobuf's types are written. Maps and extensions are made of kinds, and only
// this package has any: the types named after protobuf's, Enum, and Sub and Group for messages.
type Kind[T any] interface {
	wire() uint64
	// size returns the size of v without its first tag.
	size(v T) int
	append(e *Encoder, b []byte, tag uint64, v T) []byte
	// read reads a value; a message is merged into before.
	read(d *Decoder, tag uint64, b []byte, pos int, before T) (T, int)
	compare(a, b T) int
	// zero returns what a value that is not written is.
	zero(d *Decoder) (T, bool)
}

// number is what the kinds of numbers have in common.
type number[T cmp.Ordered] struct{}

func (number[T]) compare(a, b T) int      { return cmp.Compare(a, b) }
func (number[T]) zero(*Decoder) (T, bool) { return *new(T), true }

type varint[T integer] struct{ number[T] }

func (varint[T]) wire() uint64 { return WireVarint }
func (varint[T]) size(v T) int { return SizeVarint(uint64(v)) }
func (varint[T]) append(_ *Encoder, b []byte, tag uint64, v T) []byte {
	return AppendVarint(b, tag, uint64(v))
}
func (varint[T]) read(_ *Decoder, _ uint64, b []byte, pos int, _ T) (T, int) {
	v, pos := readVarint(b, pos)
	return T(v), pos
}

type zigzagged[T ~int32 | ~int64] struct{ number[T] }

func (zigzagged[T]) wire() uint64 { return WireVarint }
func (zigzagged[T]) size(v T) int { return SizeVarint(zigzag(v)) }
func (zigzagged[T]) append(_ *Encoder, b []byte, tag uint64, v T) []byte {
	return AppendVarint(b, tag, zigzag(v))
}
func (zigzagged[T]) read(_ *Decoder, _ uint64, b []byte, pos int, _ T) (T, int) {
	v, pos := readVarint(b, pos)
	return unzigzag[T](v), pos
}

type fixedWidth[T fixed] struct{ number[T] }

func (fixedWidth[T]) wire() uint64 {
	if unsafe.Sizeof(*new(T)) == 4 {
		return WireFixed32
	}
	return WireFixed64
}
func (fixedWidth[T]) size(v T) int { return int(unsafe.Sizeof(v)) }
func (fixedWidth[T]) append(_ *Encoder, b []byte, tag uint64, v T) []byte {
	if unsafe.Sizeof(v) == 4 {
		return AppendFixed32(b, tag, uint32(bitsOf(v)))
	}
	return AppendFixed64(b, tag, bitsOf(v))
}
func (fixedWidth[T]) read(_ *Decoder, _ uint64, b []byte, pos int, _ T) (T, int) {
	return readFixed[T](b, pos)
}

// The kinds of numbers.
type (
	Int32    struct{ varint[int32] }
	Int64    struct{ varint[int64] }
	Uint32   struct{ varint[uint32] }
	Uint64   struct{ varint[uint64] }
	Sint32   struct{ zigzagged[int32] }
	Sint64   struct{ zigzagged[int64] }
	Fixed32  struct{ fixedWidth[uint32] }
	Fixed64  struct{ fixedWidth[uint64] }
	Sfixed32 struct{ fixedWidth[int32] }
	Sfixed64 struct{ fixedWidth[int64] }
	Float    struct{ fixedWidth[float32] }
	Double   struct{ fixedWidth[float64] }
)

// Enum is the kind of the enum E.
type Enum[E ~int32] struct{ varint[E] }

// Bool is the kind of bool.
type Bool struct{}

func (Bool) wire() uint64                                           { return WireVarint }
func (Bool) size(bool) int                                          { return 1 }
func (Bool) append(_ *Encoder, b []byte, tag uint64, v bool) []byte { return AppendBool(b, tag, v) }
func (Bool) zero(*Decoder) (bool, bool)                             { return false, true }
func (Bool) read(_ *Decoder, _ uint64, b []byte, pos int, _ bool) (bool, int) {
	v, pos := readVarint(b, pos)
	return v != 0, pos
}
func (Bool) compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

type text struct{ number[string] }

func (text) wire() uint64      { return WireBytes }
func (text) size(v string) int { return SizeBytes(len(v)) }

// String is the kind of a string that must be UTF-8.
type String struct{ text }

func (String) append(e *Encoder, b []byte, tag uint64, v string) []byte {
	return e.AppendString(b, tag, v)
}
func (String) read(d *Decoder, _ uint64, b []byte, pos int, _ string) (string, int) {
	return d.ReadString(b, pos)
}

// RawString is the kind of a string that may hold any bytes.
type RawString struct{ text }

func (RawString) append(e *Encoder, b []byte, tag uint64, v string) []byte {
	return e.AppendRawString(b, tag, v)
}
func (RawString) read(d *Decoder, _ uint64, b []byte, pos int, _ string) (string, int) {
	return d.ReadRawString(b, pos)
}

// Bytes is the kind of bytes.
type Bytes struct{}

func (Bytes) wire() uint64                 { return WireBytes }
func (Bytes) size(v []byte) int            { return SizeBytes(len(v)) }
func (Bytes) compare(a, b []byte) int      { return bytes.Compare(a, b) }
func (Bytes) zero(*Decoder) ([]byte, bool) { return []byte{}, true }
func (Bytes) append(e *Encoder, b []byte, tag uint64, v []byte) []byte {
	return e.AppendBytes(b, tag, v)
}
func (Bytes) read(d *Decoder, _ uint64, b []byte, pos int, _ []byte) ([]byte, int) {
	return d.ReadPresentBytes(b, pos)
}

// nestedPointer is what *M is for a generated message M.
type nestedPointer[M any] interface {
	*M
	Fields
	NestedMessage
}

// Sub is the kind of the message M, written with its length.
type Sub[M any, P nestedPointer[M]] struct{}

func (Sub[M, P]) wire() uint64 { return WireBytes }
func (Sub[M, P]) size(v P) int { return SizeBytes(v.Size()) }
func (Sub[M, P]) append(e *Encoder, b []byte, tag uint64, v P) []byte {
	at := len(b) + SizeVarint(tag)
	return e.Close(v.AppendFields(e, e.Open(b, tag)), at)
}
func (Sub[M, P]) compare(P, P) int          { return 0 }
func (Sub[M, P]) zero(d *Decoder) (P, bool) { return New[M](d), d.memory >= 0 }
func (Sub[M, P]) read(d *Decoder, _ uint64, b []byte, pos int, before P) (P, int) {
	if before == nil {
		before = New[M](d)
	}
	return before, d.ReadMessage(before, b, pos)
}

// Group is the kind of the message M, written as a group.
type Group[M any, P nestedPointer[M]] struct{}

func (Group[M, P]) wire() uint64              { return WireStartGroup }
func (Group[M, P]) size(v P) int              { return v.Size() }
func (Group[M, P]) compare(P, P) int          { return 0 }
func (Group[M, P]) zero(d *Decoder) (P, bool) { return New[M](d), d.memory >= 0 }
func (Group[M, P]) append(e *Encoder, b []byte, tag uint64, v P) []byte {
	return AppendTag(v.AppendFields(e, AppendTag(b, tag)), tag+WireEndGroup-WireStartGroup)
}
func (Group[M, P]) read(d *Decoder, tag uint64, b []byte, pos int, before P) (P, int) {
	if before == nil {
		before = New[M](d)
	}
	return before, d.ReadGroup(before, tag, b, pos)
}
