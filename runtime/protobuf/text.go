package protobuf

import (
	"fmt"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/ipcgen/ipcgen/runtime/codec"
)

// Text is how messages are written in protobuf's text format and read from it: for files that people write. To print a
// message there is its String method.
type Text struct {
	// Types are what Any fields may hold, and the extensions; see JSON.Types.
	Types *Types
	// IgnoreUnknown passes over fields that the schema does not have; else they are errors.
	IgnoreUnknown bool
}

// Marshal returns m in the text format, a line for each field. How many spaces are between a name and its value is not
// the same in every program. It fails where m cannot be encoded.
func (o Text) Marshal(m codec.Message) ([]byte, error) {
	v, types, err := view(m, o.Types)
	if err == nil {
		var b []byte
		if b, err = (prototext.MarshalOptions{Multiline: true, Resolver: types.known}).Marshal(v); err == nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%T to text: %w", m, err)
}

// Unmarshal replaces m's content by what b says. The error names the line and the column. What m holds after an error
// is unspecified.
func (o Text) Unmarshal(b []byte, m codec.Message) error {
	err := replace(m, o.Types, func(v *dynamicpb.Message, types *Types) error {
		if err := checkDepth(b); err != nil {
			return err
		}
		return prototext.UnmarshalOptions{DiscardUnknown: o.IgnoreUnknown, Resolver: types.known}.Unmarshal(b, v)
	})
	if err != nil {
		return fmt.Errorf("%T from text: %w", m, err)
	}
	return nil
}

// checkDepth refuses a text in which too many messages stand inside each other: the library has no bound for them and
// uses up the stack, which no program survives.
func checkDepth(b []byte) error {
	depth, line := 0, 1
	quote := byte(0) // what ends the string or comment
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\n':
			line++
			quote = 0 // strings end with their line too
		case quote == '\n':
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#':
			quote = '\n'
		case c == '{' || c == '<':
			if depth++; depth > maxDepth {
				return fmt.Errorf("line %d: more than %d messages inside each other", line, maxDepth)
			}
		case c == '}' || c == '>':
			depth--
		}
	}
	return nil
}
