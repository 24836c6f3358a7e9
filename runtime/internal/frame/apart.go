package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What comes in sessions with blobs alone, which both sides have agreed on by FeatureBlobs (PROTOCOL.md, section 13.6).
const (
	ShmFree Type  = 0x23 // gives the range at arg back to its owner
	Apart   Flags = 0x20 // of CALL, DATA and STATUS: blobs of the message are in the sender's arena
)

// ParseApart is Parse in such a session.
func ParseApart(b []byte, maxFrame uint32) (Header, error) {
	if !IsApart(b) {
		return Parse(b, maxFrame)
	}
	return parseApart([HeaderSize]byte(b), maxFrame)
}

// IsApart says whether the header at the start of b is one that only ParseApart takes.
func IsApart(b []byte) bool { return Flags(b[1])&Apart != 0 || Type(b[0]) == ShmFree }

func parseApart(b [HeaderSize]byte, maxFrame uint32) (Header, error) {
	t := Type(b[0])
	if t == ShmFree {
		h := Header{Type: t, Arg: binary.LittleEndian.Uint32(b[12:])}
		if b[1] != 0 || b[2] != 0 || b[3] != 0 || binary.LittleEndian.Uint64(b[4:]) != 0 {
			return h, fmt.Errorf("%s frame with something in its header that must be 0: % x", t, b)
		}
		return h, nil
	}
	if t != Call && t != Data && t != Status {
		return Parse(b[:], maxFrame) // which refuses it
	}
	b[1] &^= byte(Apart)
	h, err := Parse(b[:], maxFrame)
	h.Flags |= Apart
	if err == nil && h.Flags&(More|Msg) != Msg {
		err = fmt.Errorf("%s frame with the flags 0x%02x: APART goes with MSG and without MORE", t, uint8(h.Flags))
	}
	return h, err
}

// A Part is a blob of a message in a frame with APART: a range of the sender's arena.
type Part struct {
	Offset uint32 // of the range in the arena
	Length uint32 // bytes
	At     uint32 // where in the rest of the message they belong
}

// partSize is how many bytes a part takes in the table of them, which ends with their number.
const (
	partSize  = 12
	countSize = 2
)

// TableSize is how many bytes AppendParts appends for so many parts.
func TableSize(parts int) int { return parts*partSize + countSize }

// MaxParts is how many parts a message may have.
const MaxParts = 1<<16 - 1

// AppendParts appends the table of parts to the rest of the message.
func AppendParts(b []byte, parts []Part) []byte {
	for _, p := range parts {
		b = binary.LittleEndian.AppendUint32(b, p.Offset)
		b = binary.LittleEndian.AppendUint32(b, p.Length)
		b = binary.LittleEndian.AppendUint32(b, p.At)
	}
	return binary.LittleEndian.AppendUint16(b, uint16(len(parts)))
}

// ParseParts reads the table at the end of what a frame with APART has of a message, and returns what is before it.
func ParseParts(message []byte) (rest []byte, parts []Part, err error) {
	if len(message) < TableSize(0) {
		return nil, nil, errShort
	}
	count := int(binary.LittleEndian.Uint16(message[len(message)-countSize:]))
	if count == 0 {
		return nil, nil, errors.New("APART without a blob")
	}
	if len(message) < TableSize(count) {
		return nil, nil, errShort
	}
	rest = message[:len(message)-TableSize(count)]
	parts = make([]Part, count)
	r := reader{b: message[len(rest):]}
	for i := range parts {
		p := Part{r.u32(), r.u32(), r.u32()}
		switch {
		case p.Length == 0:
			return nil, nil, fmt.Errorf("blob %d is empty", i)
		case uint64(p.At) > uint64(len(rest)):
			return nil, nil, fmt.Errorf("blob %d belongs at %d of a message of %d bytes", i, p.At, len(rest))
		case i > 0 && p.At <= parts[i-1].At:
			return nil, nil, fmt.Errorf("blob %d belongs at %d, the one before at %d", i, p.At, parts[i-1].At)
		}
		parts[i] = p
	}
	return rest, parts, nil
}
