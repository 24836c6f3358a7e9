package ipc

import (
	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/session"
)

// Release gives the contents of a blob that came in place, as Endpoint.BlobsInPlace says, back to the peer. They must not
// be used afterwards, nor be released again. P begins where the field of the message did; of any other bytes nothing is
// done, so a program may release what it gets by every transport.
func Release(p []byte) { session.Release(p) }

// ReleaseAll releases all blobs of a message, and of the messages inside it. It takes as long as encoding the message
// without them.
func ReleaseAll(m Message) {
	h, ok := m.(codec.Holder)
	if !ok {
		return
	}
	parts := codec.Parts{All: true}
	h.AppendApart(nil, &parts) // the parts are there also where that fails
	for _, p := range parts.List {
		session.Release(p.Bytes)
	}
}

// discard releases a message that the program does not get to see, where that may have blobs in place.
func (b *built) discard(m Message) {
	if b.memory.InPlace && m != nil {
		ReleaseAll(m)
	}
}
