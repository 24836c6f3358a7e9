// Package codec is what generated message code is made of: the protobuf wire format, and nothing that knows calls or
// sessions. User code needs it only to pass Options.
package codec

// A Message is what ipcgen generates for a message of a schema.
type Message interface {
	// Size returns the number of bytes that MarshalAppend will append.
	Size() int
	// MarshalAppend appends the message's wire format to b.
	MarshalAppend(b []byte) ([]byte, error)
	// Unmarshal replaces the message's content by what b holds. The message keeps no reference to b.
	Unmarshal(b []byte) error
}

// Options bound what decoding may cost. The zero value has the default of each.
type Options struct {
	MaxDepth int // nested messages and groups; 0 is 100
}

// Unmarshal replaces m's content by what b holds, within the bounds of o.
func (o Options) Unmarshal(b []byte, m Message) error { return m.Unmarshal(b) }
