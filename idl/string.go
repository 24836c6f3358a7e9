package idl

import "fmt"

var (
	shapes    = [...]string{"unary", "server stream", "client stream", "bidi", "oneway"}
	presences = [...]string{"implicit", "explicit", "required"}
	kinds     = [...]string{
		KindDouble: "double", KindFloat: "float", KindInt64: "int64", KindUint64: "uint64", KindInt32: "int32",
		KindFixed64: "fixed64", KindFixed32: "fixed32", KindBool: "bool", KindString: "string",
		KindMessage: "message", KindBytes: "bytes", KindUint32: "uint32", KindEnum: "enum",
		KindSfixed32: "sfixed32", KindSfixed64: "sfixed64", KindSint32: "sint32", KindSint64: "sint64",
	}
)

// String returns the shape in words: "server stream".
func (s Shape) String() string { return word(shapes[:], s) }

// String returns the presence in a word: "explicit".
func (p Presence) String() string { return word(presences[:], p) }

// String returns the kind as a .proto file writes it, and "message" and "enum" for those that it names.
func (k Kind) String() string { return word(kinds[:], k) }

func word[T ~uint8](words []string, i T) string {
	if int(i) >= len(words) || words[i] == "" {
		return fmt.Sprintf("%T(%d)", i, uint8(i))
	}
	return words[i]
}
