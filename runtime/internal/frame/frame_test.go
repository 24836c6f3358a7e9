package frame

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestHeaderRoundTrip(t *testing.T) {
	for _, h := range []Header{
		{Type: Hello, Length: 100},
		{Type: GoAway, Arg: 3, Length: 7},
		{Type: Ping}, {Type: Ping, Flags: Ack},
		{Type: Call, Flags: Msg | End, Length: 50, Stream: NewStreamID(0, 0, 1)},
		{Type: Data, Flags: Msg | More, Length: 1, Stream: NewStreamID(0x7fff, 1, 0xffff)},
		{Type: Status, Flags: End | NotExecuted, Arg: 14, Length: 6, Stream: NewStreamID(2, 1, 7)},
		{Type: Cancel, Arg: 1, Stream: NewStreamID(2, 0, 7)},
		{Type: Credit, Arg: 1 << 20, Stream: NewStreamID(2, 0, 7)},
	} {
		b := h.Append(nil)
		got, err := Parse(b, 1<<16)
		if err != nil || got != h || len(b) != HeaderSize {
			t.Errorf("Parse(Append(%+v)) = %+v, %v over %d bytes", h, got, err, len(b))
		}
	}
}

// TestAgain: only the length may differ.
func TestAgain(t *testing.T) {
	h := Header{Type: Data, Flags: Msg, Length: 7, Stream: NewStreamID(3, 1, 9)}
	other := h
	other.Length = 1 << 31
	b := other.Append(nil)
	if length, again := h.Again(b); !again || length != other.Length {
		t.Errorf("with another length: %d, %v", length, again)
	}
	if _, again := h.Again(b[:HeaderSize-1]); again {
		t.Error("cut short it is a header")
	}
	for i := range b {
		if i >= 4 && i < 8 {
			continue
		}
		b[i] ^= 0x40
		if _, again := h.Again(b); again {
			t.Errorf("with another byte %d it is the same", i)
		}
		b[i] ^= 0x40
	}
}

func TestParseRefuses(t *testing.T) {
	stream := NewStreamID(1, 0, 1)
	raw := func(h Header, at int, v byte) []byte {
		b := h.Append(nil)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		name, want string
		b          []byte
	}{
		{"zeroed memory", "unknown type 0x00", make([]byte, HeaderSize)},
		{"unknown type", "unknown type 0x7f", Header{Type: 0x7f}.Append(nil)},
		{"unknown flag", "flags 0x80", raw(Header{Type: Call, Stream: stream}, 1, 0x80)},
		{"flag of another type", "flags 0x08", raw(Header{Type: Call, Stream: stream}, 1, 8)},
		{"descriptors", "2 file descriptors", raw(Header{Type: Data, Stream: stream}, 2, 2)},
		{"reserved byte", "reserved byte", raw(Header{Type: Data, Stream: stream}, 3, 1)},
		{"too long", "over the limit of 65536", Header{Type: Data, Stream: stream, Length: 1 << 20}.Append(nil)},
		{"CALL on the session", "CALL frame on stream 0x0", Header{Type: Call}.Append(nil)},
		{"HELLO on a stream", "HELLO frame on stream", Header{Type: Hello, Stream: stream}.Append(nil)},
		{"generation 0", "generation is 0", Header{Type: Data, Stream: NewStreamID(3, 0, 0)}.Append(nil)},
		{"argument where none is", "last word", Header{Type: Data, Stream: stream, Arg: 1}.Append(nil)},
		{"payload where none is", "payload", Header{Type: Cancel, Stream: stream, Length: 1}.Append(nil)},
		{"MORE with END", "MORE", Header{Type: Data, Stream: stream, Flags: Msg | More | End}.Append(nil)},
	} {
		if _, err := Parse(c.b, 1<<16); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", c.name, err, c.want)
		}
	}
}

var limit = MetadataLimit{Entries: 4, Bytes: 64}

func TestPayloadRoundTrips(t *testing.T) {
	hello := &HelloPayload{MinVersion: 1, MaxVersion: 2, Features: 3, MaxFrame: 4, MaxMessage: 5, MaxSlots: 6, Window: 7,
		Session: 8, Agent: "ipcgen-go", Services: []ServiceHash{{"echo.v1.Echo", 9}}}
	if got, err := ParseHello(append(hello.Append(nil), "from the future"...)); err != nil || !reflect.DeepEqual(got, hello) {
		t.Errorf("HELLO: got %+v, %v", got, err)
	}
	call := CallPayload{Method: 1, Timeout: 2, Metadata: Metadata{"a": "1", "b": ""}}
	if got, msg, err := ParseCall(append(call.Append(nil), "message"...), limit); err != nil || !reflect.DeepEqual(got, call) || string(msg) != "message" {
		t.Errorf("CALL: got %+v, %q, %v", got, msg, err)
	}
	status := StatusPayload{Text: "no", Details: []Detail{{"a.B", []byte{1, 2}}}, Trailers: Metadata{"k": "v"}}
	if got, msg, err := ParseStatus(append(status.Append(nil), "m"...), limit); err != nil || !reflect.DeepEqual(got, status) || string(msg) != "m" {
		t.Errorf("STATUS: got %+v, %q, %v", got, msg, err)
	}
}

func TestMetadataLimits(t *testing.T) {
	for _, c := range []struct {
		md   Metadata
		want string
	}{
		{Metadata{"a": "", "b": "", "c": "", "d": "", "e": ""}, "5 entries"},
		{Metadata{"a": strings.Repeat("x", 64)}, "bytes"},
		{Metadata{"Upper": ""}, "metadata"},
		{Metadata{"": ""}, "metadata"},
	} {
		if err := limit.Check(c.md); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Check(%v) = %v, want an error with %q", c.md, err, c.want)
		}
		p := CallPayload{Metadata: c.md}
		if _, _, err := ParseCall(p.Append(nil), limit); err == nil {
			t.Errorf("ParseCall took %v", c.md)
		}
	}
}

// fuzzFrame is the longest payload of FuzzParse, and of its corpus.
const fuzzFrame = 1 << 16

// FuzzParse: whatever parses is written back as the same bytes.
func FuzzParse(f *testing.F) {
	accepted, refused := corpus(f)
	for _, b := range slices.Concat(accepted, refused) {
		f.Add(b)
	}
	call := CallPayload{Method: 1, Metadata: Metadata{"a": "b"}}
	payload := call.Append(nil)
	f.Add(append(Header{Type: Call, Flags: Msg, Length: uint32(len(payload)), Stream: NewStreamID(0, 0, 1)}.Append(nil), payload...))
	status := StatusPayload{Text: "x", Details: []Detail{{"a", nil}}}
	payload = status.Append(nil)
	f.Add(append(Header{Type: Status, Length: uint32(len(payload)), Stream: NewStreamID(0, 0, 1)}.Append(nil), payload...))
	f.Add(append(Header{Type: Data, Flags: Msg | Apart, Length: 15, Stream: NewStreamID(0, 0, 1)}.Append(nil), AppendParts([]byte("a"), []Part{{4096, 9, 1}})...))
	f.Add(Header{Type: ShmFree, Arg: 4096}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < HeaderSize {
			return
		}
		h, err := ParseApart(b, fuzzFrame)
		if plain, perr := Parse(b, fuzzFrame); perr == nil && (plain != h || err != nil) || perr != nil && err == nil && h.Flags&Apart == 0 && h.Type != ShmFree {
			t.Fatalf("%x: %+v, %v with blobs, %+v, %v without", b[:HeaderSize], h, err, plain, perr)
		}
		if err != nil {
			return
		}
		if back := h.Append(nil); !bytes.Equal(back, b[:HeaderSize]) {
			t.Fatalf("header %x came back as %x", b[:HeaderSize], back)
		}
		if length, again := h.Again(b); !again || length != h.Length {
			t.Fatalf("header %x is not %+v again", b[:HeaderSize], h)
		}
		if rest, parts, err := ParseParts(b[HeaderSize:]); err == nil {
			if again := AppendParts(bytes.Clone(rest), parts); !bytes.Equal(again, b[HeaderSize:]) {
				t.Fatalf("%x of parts came back as %x", b[HeaderSize:], again)
			}
		}
		switch body := b[HeaderSize:]; h.Type {
		case Call:
			if p, msg, err := ParseCall(body, limit); err == nil {
				again, _, err := ParseCall(append(p.Append(nil), msg...), limit)
				if err != nil || !reflect.DeepEqual(p, again) {
					t.Fatalf("CALL %+v came back as %+v, %v", p, again, err)
				}
			}
		case Status:
			if p, msg, err := ParseStatus(body, limit); err == nil {
				again, _, err := ParseStatus(append(p.Append(nil), msg...), limit)
				if err != nil || again.Text != p.Text || len(again.Details) != len(p.Details) {
					t.Fatalf("STATUS %+v came back as %+v, %v", p, again, err)
				}
			}
		case Hello:
			if p, err := ParseHello(body); err == nil {
				again, err := ParseHello(p.Append(nil))
				if err != nil || !reflect.DeepEqual(p, again) {
					t.Fatalf("HELLO %+v came back as %+v, %v", p, again, err)
				}
			}
		}
	})
}
