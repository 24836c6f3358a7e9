package frame

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Limits of payloads, in bytes unless said otherwise. They are the same for every peer; those that depend on who the
// peer is are the session's.
const (
	MaxHello      = 4096
	MaxStatusText = 1024
	MaxDetails    = 16 << 10 // all details of a STATUS together
	MaxGoAwayText = 1024
	maxName       = 512 // a service's or a message type's full name
)

// Metadata is a set of named values. Names are 1 to 255 bytes of lower-case ASCII letters, digits, '-', '_' and '.';
// values are any bytes.
type Metadata map[string]string

// MetadataLimit bounds metadata.
type MetadataLimit struct {
	Entries int
	Bytes   int // names and values together
}

// Check says why md may not be sent.
func (l MetadataLimit) Check(md Metadata) error {
	if len(md) > l.Entries {
		return fmt.Errorf("metadata has %d entries, over the limit of %d", len(md), l.Entries)
	}
	n := 0
	for k, v := range md {
		if !validKey(k) {
			return fmt.Errorf("metadata name %q: want 1 to 255 characters of a-z, 0-9, '-', '_', '.'", k)
		}
		n += len(k) + len(v)
	}
	if n > l.Bytes {
		return fmt.Errorf("metadata has %d bytes, over the limit of %d", n, l.Bytes)
	}
	return nil
}

func validKey[T string | []byte](k T) bool {
	if len(k) == 0 || len(k) > 255 {
		return false
	}
	for i := range len(k) {
		c := k[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func appendMetadata(b []byte, md Metadata) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(md)))
	if len(md) == 0 {
		return b
	}
	for _, k := range slices.Sorted(maps.Keys(md)) {
		b = append(b, byte(len(k)))
		b = append(b, k...)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(md[k])))
		b = append(b, md[k]...)
	}
	return b
}

func (r *reader) metadata(limit MetadataLimit) Metadata {
	n := int(r.u16())
	if n == 0 || r.err != nil {
		return nil
	}
	if n > limit.Entries {
		r.err = fmt.Errorf("metadata of %d entries, over the limit of %d", n, limit.Entries)
		return nil
	}
	md := make(Metadata, n)
	size := 0
	for range n {
		k := r.take(int(r.u8()))
		v := r.take(int(r.u16()))
		if r.err != nil {
			return nil
		}
		if size += len(k) + len(v); size > limit.Bytes {
			r.err = fmt.Errorf("metadata over the limit of %d bytes", limit.Bytes)
			return nil
		}
		if !validKey(k) {
			r.err = fmt.Errorf("metadata with the name %q", k)
			return nil
		}
		if _, twice := md[string(k)]; twice {
			r.err = fmt.Errorf("metadata with the name %q twice", k)
			return nil
		}
		md[string(k)] = string(v)
	}
	return md
}

// HelloPayload is what a side says of itself.
type HelloPayload struct {
	MinVersion, MaxVersion uint16
	Features               uint32
	MaxFrame               uint32 // bytes of payload that it takes in one frame
	MaxMessage             uint32 // bytes of a message that it takes
	MaxSlots               uint32 // calls that it takes at a time
	Window                 uint32 // bytes of messages that it takes on a new stream
	Session                uint64 // its half of the session's id
	Agent                  string // what it runs on, for people: "ipcgen-go"
	Services               []ServiceHash
}

// ServiceHash names a service and what it looks like.
type ServiceHash struct {
	Name string
	Hash uint64
}

// Append appends the payload to b.
func (p *HelloPayload) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, p.MinVersion)
	b = binary.LittleEndian.AppendUint16(b, p.MaxVersion)
	for _, v := range []uint32{p.Features, p.MaxFrame, p.MaxMessage, p.MaxSlots, p.Window} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint64(b, p.Session)
	b = append(b, byte(len(p.Agent)))
	b = append(b, p.Agent...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p.Services)))
	for _, s := range p.Services {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s.Name)))
		b = append(b, s.Name...)
		b = binary.LittleEndian.AppendUint64(b, s.Hash)
	}
	return b
}

// ParseHello reads the payload of a HELLO. What follows the last service belongs to later versions and is passed over.
func ParseHello(b []byte) (*HelloPayload, error) {
	r := reader{b: b}
	p := &HelloPayload{MinVersion: r.u16(), MaxVersion: r.u16(), Features: r.u32(), MaxFrame: r.u32(),
		MaxMessage: r.u32(), MaxSlots: r.u32(), Window: r.u32(), Session: r.u64()}
	p.Agent = string(r.take(int(r.u8())))
	for n := r.u16(); n > 0 && r.err == nil; n-- {
		p.Services = append(p.Services, ServiceHash{string(r.take(int(r.u16()))), r.u64()})
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case p.MinVersion > p.MaxVersion || p.MinVersion == 0:
		return nil, fmt.Errorf("versions from %d to %d", p.MinVersion, p.MaxVersion)
	case !utf8.ValidString(p.Agent):
		return nil, fmt.Errorf("agent %q is not UTF-8", p.Agent)
	}
	for _, s := range p.Services {
		if len(s.Name) > maxName || !utf8.ValidString(s.Name) {
			return nil, fmt.Errorf("service with the name %.40q", s.Name)
		}
	}
	return p, nil
}

// CallPayload is the head of a CALL; message bytes follow it.
type CallPayload struct {
	Method   uint64
	Timeout  uint64 // nanoseconds from now; 0 is none
	Metadata Metadata
}

// Append appends the head to b.
func (p *CallPayload) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, p.Method)
	b = binary.LittleEndian.AppendUint64(b, p.Timeout)
	return appendMetadata(b, p.Metadata)
}

// ParseCall reads the head of a CALL and returns the message bytes behind it.
func ParseCall(b []byte, limit MetadataLimit) (p CallPayload, message []byte, err error) {
	if len(b) >= 18 && b[16] == 0 && b[17] == 0 { // no metadata, as most
		return CallPayload{Method: binary.LittleEndian.Uint64(b), Timeout: binary.LittleEndian.Uint64(b[8:])}, b[18:], nil
	}
	r := reader{b: b}
	p = CallPayload{Method: r.u64(), Timeout: r.u64(), Metadata: r.metadata(limit)}
	return p, r.b, r.err
}

// StatusPayload is the head of a STATUS; message bytes follow it.
type StatusPayload struct {
	Text     string
	Details  []Detail
	Trailers Metadata
}

// A Detail is a message that says more about an error.
type Detail struct {
	Type  string // the full name of the message
	Value []byte // its wire format
}

// Append appends the head to b.
func (p *StatusPayload) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p.Text)))
	b = append(b, p.Text...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p.Details)))
	for _, d := range p.Details {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(d.Type)))
		b = append(b, d.Type...)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(d.Value)))
		b = append(b, d.Value...)
	}
	return appendMetadata(b, p.Trailers)
}

// ParseStatus reads the head of a STATUS and returns the message bytes behind it. The payload keeps no reference to b.
func ParseStatus(b []byte, limit MetadataLimit) (p StatusPayload, message []byte, err error) {
	if len(b) >= 6 && binary.LittleEndian.Uint32(b) == 0 && b[4] == 0 && b[5] == 0 { // nothing but a message, as most
		return p, b[6:], nil
	}
	r := reader{b: b}
	p.Text = string(r.take(int(r.u16())))
	size := 0
	for n := r.u16(); n > 0 && r.err == nil; n-- {
		d := Detail{Type: string(r.take(int(r.u16()))), Value: slices.Clone(r.take(int(r.u16())))}
		if size += len(d.Type) + len(d.Value); size > MaxDetails {
			return p, nil, fmt.Errorf("error details over the limit of %d bytes", MaxDetails)
		}
		if len(d.Type) > maxName || !utf8.ValidString(d.Type) {
			return p, nil, fmt.Errorf("error detail with the type %.40q", d.Type)
		}
		p.Details = append(p.Details, d)
	}
	p.Trailers = r.metadata(limit)
	if r.err == nil && (len(p.Text) > MaxStatusText || !utf8.ValidString(p.Text)) {
		r.err = fmt.Errorf("status text of %d bytes is not UTF-8 of at most %d", len(p.Text), MaxStatusText)
	}
	return p, r.b, r.err
}
