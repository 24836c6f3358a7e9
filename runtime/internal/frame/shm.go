package frame

import (
	"encoding/binary"
	"fmt"
)

// Bits of the features in HELLO.
const (
	FeatureShm   = 1 << 0 // the side would move the session into shared memory
	FeatureBlobs = 1 << 1 // and there send blobs apart from their messages, and take them
)

// The frames by which two sides that have set FeatureShm agree on it, right behind HELLO (PROTOCOL.md, section 13.1).
// They come at no other time, so Parse refuses them.
const (
	ShmOffer  Type = 0x20
	ShmAccept Type = 0x21
	ShmReject Type = 0x22
)

// maxShm is how many bytes the payload of such a frame has at most.
const maxShm = 1024

var shmNames = [...]string{"SHM_OFFER", "SHM_ACCEPT", "SHM_REJECT", "SHM_FREE"}

// AppendShm appends a frame of such a type, with which descriptors travel.
func AppendShm(b []byte, t Type, descriptors uint8, payload []byte) []byte {
	start := len(b)
	b = Header{Type: t, Length: uint32(len(payload))}.Append(b)
	b[start+2] = descriptors
	return append(b, payload...)
}

// ParseShm reads a header where one of these frames is due. A GOAWAY may come in its place.
func ParseShm(b []byte) (h Header, descriptors int, err error) {
	if Type(b[0]) == GoAway {
		h, err = Parse(b, MaxGoAwayText)
		return h, 0, err
	}
	_ = b[HeaderSize-1]
	h = Header{Type: Type(b[0]), Length: binary.LittleEndian.Uint32(b[4:])}
	most := 0
	switch h.Type {
	case ShmOffer:
		most = 1
	case ShmAccept, ShmReject:
	default:
		return h, 0, fmt.Errorf("a %s frame where %s is due", h.Type, shmNames[0])
	}
	switch descriptors = int(b[2]); {
	case descriptors > most:
		return h, 0, fmt.Errorf("%s frame with %d descriptors, of which it may have %d", h.Type, descriptors, most)
	case h.Length > maxShm, h.Type == ShmAccept && h.Length > 0:
		return h, 0, fmt.Errorf("%s frame of %d bytes, over its limit", h.Type, h.Length)
	case b[1] != 0 || b[3] != 0 || binary.LittleEndian.Uint64(b[8:]) != 0:
		return h, 0, fmt.Errorf("%s frame with something in its header that must be 0: % x", h.Type, b[:HeaderSize])
	}
	return h, descriptors, nil
}

// AppendOffer appends the payload of a SHM_OFFER: the bytes of the segment with its header, and where there is none,
// 0 and why.
func AppendOffer(b []byte, size int, why string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(size)), why...)
}

// ParseOffer reads the payload of a SHM_OFFER.
func ParseOffer(b []byte) (size uint32, why []byte, err error) {
	r := reader{b: b}
	size = r.u32()
	return size, r.b, r.err
}
