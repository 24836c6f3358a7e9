// Package frame turns the bytes of the wire into frames and back: the 16-byte header and the payloads that have a
// form of their own (PROTOCOL.md, sections 1 and 2). It has no state, and it checks everything that can be said of one
// frame by itself; what depends on the frames before it is the session's to check.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderSize is the length of a header in bytes.
const HeaderSize = 16

// Preface is what each side sends before its first frame.
const Preface = "IPCGEN\r\n"

// A Type says what a frame is.
type Type uint8

// The types of frames.
const (
	Hello  Type = 0x01
	GoAway Type = 0x02
	Ping   Type = 0x03
	Call   Type = 0x10
	Data   Type = 0x11
	Status Type = 0x12
	Cancel Type = 0x13
	Credit Type = 0x14
)

// Flags qualify a frame.
type Flags uint8

// The flags of a header.
const (
	End         Flags = 1 << iota // no more messages this way
	More                          // the message goes on in the next DATA frame of the stream
	Msg                           // carries message bytes
	Ack                           // answers a PING
	NotExecuted                   // the call's handler has not run
)

// A Header is the fixed part of a frame.
type Header struct {
	Type   Type
	Flags  Flags
	Length uint32 // payload bytes that follow
	Stream StreamID
	Arg    uint32 // STATUS: code; CREDIT: bytes; CANCEL, GOAWAY: reason
}

// rule is what the header of one type may say.
type rule struct {
	name    string
	flags   Flags
	session bool // the stream is 0; every other type names one
	arg     bool
	payload bool
}

var rules = [256]rule{
	Hello:  {name: "HELLO", session: true, payload: true},
	GoAway: {name: "GOAWAY", session: true, arg: true, payload: true},
	Ping:   {name: "PING", session: true, flags: Ack},
	Call:   {name: "CALL", flags: End | Msg, payload: true},
	Data:   {name: "DATA", flags: End | More | Msg, payload: true},
	Status: {name: "STATUS", flags: End | Msg | NotExecuted, arg: true, payload: true},
	Cancel: {name: "CANCEL", arg: true},
	Credit: {name: "CREDIT", arg: true},
}

// String returns the name that the specification uses.
func (t Type) String() string {
	if n := rules[t].name; n != "" {
		return n
	}
	if t >= ShmOffer && t <= ShmFree {
		return shmNames[t-ShmOffer]
	}
	return fmt.Sprintf("type 0x%02x", uint8(t))
}

// Append appends the header to b.
func (h Header) Append(b []byte) []byte {
	b = append(b, byte(h.Type), byte(h.Flags), 0, 0)
	b = binary.LittleEndian.AppendUint32(b, h.Length)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.Stream))
	return binary.LittleEndian.AppendUint32(b, h.Arg)
}

// Put writes the header over the first HeaderSize bytes of b.
func (h Header) Put(b []byte) { h.Append(b[:0:HeaderSize]) }

// Parse reads a header from the first HeaderSize bytes of b. MaxFrame bounds the payload's length.
func Parse(b []byte, maxFrame uint32) (Header, error) {
	_ = b[HeaderSize-1]
	h := Header{
		Type:   Type(b[0]),
		Flags:  Flags(b[1]),
		Length: binary.LittleEndian.Uint32(b[4:]),
		Stream: StreamID(binary.LittleEndian.Uint32(b[8:])),
		Arg:    binary.LittleEndian.Uint32(b[12:]),
	}
	r := &rules[h.Type]
	switch {
	case r.name == "":
		return h, fmt.Errorf("frame of unknown type 0x%02x", b[0])
	case h.Flags&^r.flags != 0:
		return h, fmt.Errorf("%s frame with the flags 0x%02x, of which it may have 0x%02x", r.name, b[1], uint8(r.flags))
	case b[2] != 0:
		return h, fmt.Errorf("%s frame with %d file descriptors, which were not negotiated", r.name, b[2])
	case b[3] != 0:
		return h, fmt.Errorf("%s frame whose reserved byte is 0x%02x, not 0", r.name, b[3])
	case h.Length > maxFrame:
		return h, fmt.Errorf("%s frame of %d bytes, over the limit of %d", r.name, h.Length, maxFrame)
	case r.session != (h.Stream == 0):
		return h, fmt.Errorf("%s frame on stream %#x", r.name, uint32(h.Stream))
	case !r.session && h.Stream.Generation() == 0:
		return h, fmt.Errorf("%s frame on stream %#x, whose generation is 0", r.name, uint32(h.Stream))
	case !r.arg && h.Arg != 0:
		return h, fmt.Errorf("%s frame whose last word is %d, not 0", r.name, h.Arg)
	case !r.payload && h.Length != 0:
		return h, fmt.Errorf("%s frame with %d bytes of payload, which has none", r.name, h.Length)
	case h.Flags&More != 0 && h.Flags&(End|Msg) != Msg:
		return h, fmt.Errorf("%s frame with the flags 0x%02x: MORE goes with MSG and without END", r.name, b[1])
	}
	return h, nil
}

// Again says whether the header at the front of b, which may be cut short, is h but for its length: then what Parse has
// said of h is true of it, too, where the length is not over the limit.
func (h Header) Again(b []byte) (length uint32, again bool) {
	if len(b) < HeaderSize {
		return 0, false
	}
	first, last := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	return uint32(first >> 32), uint32(first) == uint32(h.Type)|uint32(h.Flags)<<8 && last == uint64(h.Stream)|uint64(h.Arg)<<32
}

// A StreamID names a stream of a session: slot, the opener's side, generation.
type StreamID uint32

// NewStreamID returns the id of a slot's generation. Side is 0 for calls of the side that dialed, 1 for those of the
// side that listened.
func NewStreamID(slot int, side uint8, generation uint16) StreamID {
	return StreamID(uint32(slot) | uint32(side)<<15 | uint32(generation)<<16)
}

// Slot returns the index among the opener's slots.
func (id StreamID) Slot() int { return int(id & 0x7fff) }

// Side returns the side that opened the stream.
func (id StreamID) Side() uint8 { return uint8(id >> 15 & 1) }

// Generation returns how often the slot had been used, from 1, skipping 0.
func (id StreamID) Generation() uint16 { return uint16(id >> 16) }

// NextGeneration returns the generation after g.
func NextGeneration(g uint16) uint16 {
	if g++; g == 0 {
		return 1
	}
	return g
}

var errShort = errors.New("payload ends in the middle")

// A reader takes values off the front of a payload. After the first failure all it returns is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.err, r.b = errShort, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if v := r.take(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if v := r.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}
