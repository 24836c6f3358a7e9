package protobuf

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/ipcgen/ipcgen/runtime/codec"
)

// JSON is how messages are written as JSON and read from it, as protobuf defines that for all its languages. The zero
// value does what most programs want.
type JSON struct {
	// Types are what Any fields may hold, and the extensions. Without it these are the types of package wkt, those that
	// the message's own fields have, and the extensions that are declared beside any of them.
	Types *Types
	// Indent writes each field on a line of its own, behind as many copies of Indent as it is deep.
	Indent string
	// SchemaNames names fields as the schema does, user_id, in place of userId. Both are understood when reading.
	SchemaNames bool
	// EnumNumbers writes enums as numbers in place of names. Both are understood when reading.
	EnumNumbers bool
	// Zeros writes the fields too that are zero or empty. Those that can be absent are left out where they are.
	Zeros bool
	// IgnoreUnknown passes over fields and names of enums that the schema does not have; else they are errors.
	IgnoreUnknown bool
}

// Marshal returns m as JSON; the same content always gives the same bytes. It fails where m cannot be encoded, has a
// well-known type without JSON in it, such as a Timestamp of year 10000, or an Any whose type is unknown.
func (o JSON) Marshal(m codec.Message) ([]byte, error) {
	v, types, err := view(m, o.Types)
	if err != nil {
		return nil, fmt.Errorf("%T to JSON: %w", m, err)
	}
	b, err := protojson.MarshalOptions{
		UseProtoNames: o.SchemaNames, UseEnumNumbers: o.EnumNumbers, EmitDefaultValues: o.Zeros, Resolver: types.known,
	}.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%T to JSON: %w", m, err)
	}
	// The library adds spaces, not the same in every program, so that nobody relies on its bytes.
	var tidy bytes.Buffer
	if o.Indent != "" {
		err = json.Indent(&tidy, b, "", o.Indent)
	} else {
		err = json.Compact(&tidy, b)
	}
	return tidy.Bytes(), err
}

// Unmarshal replaces m's content by what b says. The error names the line and the column. What m holds after an error
// is unspecified.
func (o JSON) Unmarshal(b []byte, m codec.Message) error {
	err := replace(m, o.Types, func(v *dynamicpb.Message, types *Types) error {
		return protojson.UnmarshalOptions{
			DiscardUnknown: o.IgnoreUnknown, RecursionLimit: maxDepth, Resolver: types.known,
		}.Unmarshal(b, v)
	})
	if err != nil {
		return fmt.Errorf("%T from JSON: %w", m, err)
	}
	return nil
}
