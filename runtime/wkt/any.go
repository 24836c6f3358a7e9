package wkt

import (
	"fmt"
	"strings"

	"github.com/ipcgen/ipcgen/runtime/codec"
)

// typePrefix stands before a message's name in a type URL where nothing else is asked for.
const typePrefix = "type.googleapis.com/"

// NewAny packs message, whose full name in its schema is name: "echo.v1.SayRequest".
func NewAny(name string, message codec.Message) (*Any, error) {
	value, err := message.MarshalAppend(nil)
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", name, err)
	}
	return &Any{TypeUrl: typePrefix + name, Value: value}, nil
}

// MessageName returns the full name of the message inside: what stands behind the last slash of the type URL.
func (m *Any) MessageName() string {
	url := m.GetTypeUrl()
	return url[strings.LastIndexByte(url, '/')+1:]
}

// UnpackTo decodes the message inside into message, whose full name is name. It fails where another one is inside.
func (m *Any) UnpackTo(name string, message codec.Message) error {
	if inside := m.MessageName(); inside != name {
		return fmt.Errorf("unpacking %s: %q is inside", name, inside)
	}
	if err := message.Unmarshal(m.GetValue()); err != nil {
		return fmt.Errorf("unpacking %s: %w", name, err)
	}
	return nil
}
