// Package codec is what generated message code is made of: the protobuf wire format, and nothing that knows calls or
// sessions. User code needs Message, Options and Error; everything else is called by generated code alone.
//
// All positions and sizes are in bytes. Messages, and the functions that read and write them, may be used by one
// goroutine at a time, as any Go value; several goroutines may read one message at once.
package codec

import (
	"fmt"
	"reflect"
)

// A Message is what ipcgen generates for a message of a schema.
type Message interface {
	// Size returns the number of bytes that MarshalAppend will append.
	Size() int
	// MarshalAppend appends the message's wire format to b. Equal messages give equal bytes: map entries are sorted
	// by key. It fails where a required field is missing, or where a string is not UTF-8 whose readers insist on it. What
	// is in b's capacity behind the message is unspecified afterwards.
	MarshalAppend(b []byte) ([]byte, error)
	// Unmarshal replaces the message's content by what b holds. The message keeps no reference to b.
	Unmarshal(b []byte) error
}

// Options bound what decoding may cost and say how it is done. The zero value has the default of each.
type Options struct {
	// MaxDepth is how many messages and groups may stand inside each other, the outermost one included; 0 is 100.
	MaxDepth int
	// MaxMemory is how many bytes the structs, list elements and map entries of a message may take. It bounds what a
	// hostile message of a few bytes an element can claim; the bytes of strings and byte fields are those of the
	// input and do not count. 0 is 64 MiB, or 32 times the input where that is more.
	MaxMemory int
	// DiscardUnknown drops the fields that the schema does not know instead of keeping them.
	DiscardUnknown bool
	// Alias lets strings and byte slices of the message point into the input, which must then stay unchanged for
	// as long as any of them is in use.
	Alias bool
}

const (
	defaultDepth  = 100
	defaultMemory = 64 << 20
	memoryFactor  = 32
)

// Merge decodes b into m, which is empty, within the default limits. It is what the method Unmarshal of generated messages
// does when it has emptied them.
func Merge(b []byte, m Fields) error { return Options{}.decode(b, nil, m) }

// Unmarshal replaces m's content by what b holds, within the bounds of o. What m holds after an error is unspecified.
// A Message that ipcgen did not generate decodes itself by its own method, within limits of its own.
func (o Options) Unmarshal(b []byte, m Message) error {
	f, ok := m.(Fields)
	if !ok {
		return m.Unmarshal(b)
	}
	f.Reset()
	return o.decode(b, nil, f)
}

// Merge is Unmarshal into a message that is empty.
func (o Options) Merge(b []byte, m Message) error {
	f, ok := m.(Fields)
	if !ok {
		return m.Unmarshal(b)
	}
	return o.decode(b, nil, f)
}

// Fields is the decoding half of a generated message, for generated code and this package.
type Fields interface {
	Reset()
	// DecodeFields merges the fields of b from pos on into the message and returns the position behind the last one; a
	// group ends before b does. A negative number says that d has failed.
	DecodeFields(d *Decoder, b []byte, pos int) int
}

// NestedMessage is the encoding half of a generated message, for generated code and this package.
type NestedMessage interface {
	Size() int
	// AppendFields appends the message's fields to b.
	AppendFields(e *Encoder, b []byte) []byte
}

// An Error says why a message could not be encoded or decoded.
type Error struct {
	Message string // the Go type of the outermost message: "echov1.SayRequest"
	Field   string // the way to the field, as the schema names it: "items[3].name"; "" is the message itself
	Offset  int    // where the field starts in the input; -1 when encoding
	Reason  string

	invalid string // the string that is not UTF-8, of an error of encoding, by which its field is found
}

// Error returns the reason with the place.
func (e *Error) Error() string {
	what := e.Message
	if e.Field != "" {
		what += "." + e.Field
	}
	if e.Offset < 0 {
		return fmt.Sprintf("cannot encode %s: %s", what, e.Reason)
	}
	return fmt.Sprintf("cannot decode %s at offset %d: %s", what, e.Offset, e.Reason)
}

func typeName(m any) string { return reflect.TypeOf(m).Elem().String() }
