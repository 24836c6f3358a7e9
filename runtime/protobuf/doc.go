// Package protobuf takes generated messages to where google.golang.org/protobuf is at home: JSON, the text format, messages
// of any type in an Any, and registries.
//
//	b, err := protobuf.JSON{}.Marshal(req)   // {"text":"hello","times":3}
//	err = protobuf.JSON{}.Unmarshal(b, req)
//
// The formats are protobuf's own. Here a message passes through its wire format into that library's view of it, and back,
// so that everything which has bytes has JSON and text, extensions and enums of other files too. That takes about three
// times as long as the library's own protojson.Marshal(protoadapt.MessageV2Of(m)), which knows neither of them unless they
// are registered. Programs that do not import this package do not link google.golang.org/protobuf.
//
// No type is registered by being linked in. What an Any may hold, and which extensions there are, is said by a value:
//
//	types, err := protobuf.NewTypes(&ordersv1.Placed{}, &ordersv1.Cancelled{})
//	m, err := types.Unpack(event.Detail)
//	b, err := protobuf.JSON{Types: types}.Marshal(event)
//
// Libraries that want a proto.Message take protoadapt.MessageV2Of(m), with which they read and change m itself. They find
// enums of other files and what is in an Any where they always do, in protobuf's global registries: see Types.Register.
//
// All of this may be used by several goroutines at once, except for the messages themselves.
package protobuf
