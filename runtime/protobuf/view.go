package protobuf

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/ipcgen/ipcgen/runtime/codec"
)

// maxDepth is how many messages may stand inside each other in JSON and text: as many as their wire format permits.
const maxDepth = 100

// view returns m as protobuf's library sees it, and the types that are known in it.
func view(m codec.Message, types *Types) (*dynamicpb.Message, *Types, error) {
	v, types, err := emptyView(m, types)
	if err != nil {
		return nil, nil, err
	}
	b, err := m.MarshalAppend(nil)
	if err != nil {
		return nil, nil, err
	}
	return v, types, proto.UnmarshalOptions{Resolver: types.known}.Unmarshal(b, v)
}

// replace gives m what read puts into its view.
func replace(m codec.Message, types *Types, read func(*dynamicpb.Message, *Types) error) error {
	v, types, err := emptyView(m, types)
	if err != nil {
		return err
	}
	if err := read(v, types); err != nil {
		return err
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(v) // its extensions in the order of their numbers
	if err != nil {
		return err
	}
	return m.Unmarshal(b)
}

func emptyView(m codec.Message, types *Types) (*dynamicpb.Message, *Types, error) {
	own, err := typesOf(m)
	if err != nil {
		return nil, nil, err
	}
	desc, err := own.descriptor(m)
	if err != nil {
		return nil, nil, err
	}
	if types == nil {
		types = own
	}
	return dynamicpb.NewMessage(desc), types, nil
}
