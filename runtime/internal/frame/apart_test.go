package frame

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestApartRoundTrip(t *testing.T) {
	for _, h := range []Header{
		{Type: ShmFree, Arg: 1<<32 - 4096},
		{Type: Call, Flags: Msg | End | Apart, Length: 50, Stream: NewStreamID(0, 0, 1)},
		{Type: Data, Flags: Msg | Apart, Length: 1, Stream: NewStreamID(0x7fff, 1, 0xffff)},
		{Type: Status, Flags: Msg | End | Apart, Length: 6, Stream: NewStreamID(2, 1, 7)},
		{Type: Ping, Flags: Ack},
	} {
		if got, err := ParseApart(h.Append(nil), 1<<16); err != nil || got != h {
			t.Errorf("ParseApart(Append(%+v)) = %+v, %v", h, got, err)
		}
		if _, err := Parse(h.Append(nil), 1<<16); (err == nil) != (h.Type == Ping) {
			t.Errorf("Parse(Append(%+v)): %v", h, err)
		}
	}
}

func TestParseApartRefuses(t *testing.T) {
	stream := NewStreamID(1, 0, 1)
	for _, c := range []struct {
		h    Header
		want string
	}{
		{Header{Type: Data, Flags: Apart, Stream: stream}, "DATA frame with the flags 0x20: APART goes with MSG and without MORE"},
		{Header{Type: Data, Flags: Apart | Msg | More, Stream: stream}, "DATA frame with the flags 0x26: APART goes with MSG"},
		{Header{Type: Data, Flags: Apart | Msg | Ack, Stream: stream}, "DATA frame with the flags"},
		{Header{Type: Credit, Flags: Apart, Stream: stream}, "CREDIT frame with the flags 0x20"},
		{Header{Type: ShmOffer, Flags: Apart}, "unknown type 0x20"},
		{Header{Type: ShmFree, Flags: Ack}, "SHM_FREE frame with something in its header that must be 0"},
		{Header{Type: ShmFree, Stream: stream}, "SHM_FREE frame with something"},
		{Header{Type: ShmFree, Length: 1}, "SHM_FREE frame with something"},
		{Header{Type: Data, Flags: Apart | Msg, Stream: stream, Length: 1 << 20}, "over the limit"},
	} {
		if _, err := ParseApart(c.h.Append(nil), 1<<16); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.h, err, c.want)
		}
	}
}

func TestParts(t *testing.T) {
	parts := []Part{{0, 1, 0}, {4096, 1<<32 - 1, 3}, {1<<32 - 4096, 9, 4}}
	b := AppendParts([]byte("rest"), parts)
	if len(b) != 4+TableSize(len(parts)) {
		t.Errorf("%d bytes", len(b))
	}
	rest, got, err := ParseParts(b)
	if err != nil || string(rest) != "rest" || !slices.Equal(got, parts) {
		t.Errorf("got %q, %v, %v", rest, got, err)
	}
	for n := range len(b) - len("rest") { // cut off at the front
		if _, _, err := ParseParts(b[len("rest")+1+n:]); err == nil {
			t.Errorf("without %d bytes: no error", n+1)
		}
	}
	for want, b := range map[string][]byte{
		"payload ends in the middle":          {1},
		"APART without a blob":                []byte("rest\x00\x00"),
		"blob 1 is empty":                     AppendParts([]byte("rest"), []Part{{0, 1, 0}, {0, 0, 1}}),
		"blob 0 belongs at 5 of a message of": AppendParts([]byte("rest"), []Part{{0, 1, 5}}),
		"belongs at 2, the one before at 2":   AppendParts([]byte("rest"), []Part{{0, 1, 2}, {0, 1, 2}}),
		"belongs at 1, the one before at 2":   AppendParts([]byte("rest"), []Part{{0, 1, 2}, {0, 1, 1}}),
	} {
		if _, _, err := ParseParts(bytes.Clone(b)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("% x: got %v, want %q", b, err, want)
		}
	}
}
