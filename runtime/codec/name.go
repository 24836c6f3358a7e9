package codec

import (
	"encoding/binary"
	"strings"
)

// FullName returns what the schema calls a message: "echo.v1.SayRequest". It returns "" for a Message that ipcgen did
// not generate.
func FullName(m Message) string {
	described, ok := m.(interface{ Descriptor() ([]byte, []int) })
	if !ok {
		return ""
	}
	// The numbers are those of descriptor.proto's fields.
	const filePackage, fileMessages, messageName, messageMessages = 2, 4, 1, 3
	packed, path := described.Descriptor()
	b := unpack(packed)
	name := string(nthField(b, filePackage, 0))
	number := uint64(fileMessages)
	for _, i := range path {
		b = nthField(b, number, i)
		name += "." + string(nthField(b, messageName, 0))
		number = messageMessages
	}
	return strings.TrimPrefix(name, ".")
}

// unpack returns what stands in a file's descriptor, which is in the form of gzip and not compressed: blocks behind a
// header of ten bytes, each with a byte that is 1 for the last, its length, and that again inverted.
func unpack(b []byte) []byte {
	var data []byte
	b = b[10:]
	for last := false; !last; {
		last = b[0] == 1
		n := int(binary.LittleEndian.Uint16(b[1:]))
		if last && data == nil {
			return b[5 : 5+n]
		}
		data = append(data, b[5:5+n]...)
		b = b[5+n:]
	}
	return data
}

// nthField returns the content of the field of b that has the number, the nth of them, which has a length; nil if there
// is none.
func nthField(b []byte, number uint64, n int) []byte {
	for pos := 0; pos >= 0 && pos < len(b); {
		tag, value := readVarint(b, pos)
		if tag == number<<3|WireBytes {
			start, end := readSpan(b, value)
			if n == 0 {
				return b[start:end]
			}
			n--
		}
		pos = skip(b, tag, value, defaultDepth)
	}
	return nil
}
