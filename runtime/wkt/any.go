package wkt

import (
	"fmt"
	"strings"

	"github.com/ipcgen/ipcgen/runtime/codec"
)

// typePrefix stands before a message's name in a type URL where nothing else is asked for.
const typePrefix = "type.googleapis.com/"

// NewAny packs a generated message. It fails where the message cannot be encoded.
func NewAny(message codec.Message) (*Any, error) {
	name := codec.FullName(message)
	if name == "" {
		return nil, fmt.Errorf("packing a %T, which ipcgen has not generated: its name is unknown", message)
	}
	value, err := message.MarshalAppend(nil)
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", name, err)
	}
	return &Any{TypeUrl: typePrefix + name, Value: value}, nil
}

// MessageName returns the full name of the message inside: what stands behind the last slash of the type URL; "" if
// there is none.
func (m *Any) MessageName() string {
	url := m.GetTypeUrl()
	return url[strings.LastIndexByte(url, '/')+1:]
}

// MessageIs says that the message inside is of the type of message, whose content does not matter.
func (m *Any) MessageIs(message codec.Message) bool {
	name := m.MessageName()
	return name != "" && name == codec.FullName(message)
}

// UnpackTo replaces the content of message by the message inside. It fails where one of another type is inside.
func (m *Any) UnpackTo(message codec.Message) error {
	name := codec.FullName(message)
	if !m.MessageIs(message) {
		return fmt.Errorf("unpacking %s: %q is inside", name, m.MessageName())
	}
	if err := message.Unmarshal(m.GetValue()); err != nil {
		return fmt.Errorf("unpacking %s: %w", name, err)
	}
	return nil
}
