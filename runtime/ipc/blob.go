package ipc

import (
	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/session"
)

// Release gives the contents of a blob that came in place, as Endpoint.BlobsInPlace says, back to the peer. They must not
// be used afterwards, nor be released again. P begins where the field of the message did. It also frees bytes of NewBlob's that were
// not sent. Of any other bytes nothing is done, so a program may release what it gets by every transport.
func Release(p []byte) { session.Release(p) }

// NewBlob returns n bytes for a field with the option (ipcgen.v1.field).blob, that lie where c's peer can read them, so that
// sending them over c copies nothing. What is in them at first is unspecified. Where c is not in shared memory, or there
// is no room in Limits.Arena, the bytes are ordinary ones.
//
// They are for one message, and must not be touched any more when that has been given to a call or a stream of c, whether
// it succeeds or not: the peer has them now. In the fields of other messages, other connections and in maps they are
// copied like other bytes, and stay the program's. What is not sent by c is to be given back by Release, also after the
// end of the session. NewBlob(n)[:0] in a field does not send them, so they are to be released then, too.
func (c *Conn) NewBlob(n int) []byte { return c.s.NewBlob(n) }

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
