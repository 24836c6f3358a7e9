package codec_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/wkt"
	"github.com/ipcgen/ipcgen/testdata/conformance/go/proto3"
	"github.com/ipcgen/ipcgen/testdata/messages/go/scalars"
)

// TestStringPlaces writes and reads strings with a letter that is not ASCII, and with half of one, in every place.
func TestStringPlaces(t *testing.T) {
	inPlace := codec.Options{Alias: true}
	for n := range 110 {
		for at := range n + 1 {
			text := strings.Repeat("a", at) + "é" + strings.Repeat("b", n-at)
			b, err := (&scalars.Singular{AString: text}).MarshalAppend(nil)
			if err != nil || !bytes.Equal(b, field(14, []byte(text)...)) {
				t.Fatalf("writing %q: got %x, %v", text, b, err)
			}
			var got scalars.Singular
			if err := got.Unmarshal(b); err != nil || got.AString != text {
				t.Fatalf("reading %q: got %q, %v", text, got.AString, err)
			}
			if err := inPlace.Unmarshal(b, &got); err != nil || got.AString != text {
				t.Fatalf("reading %q in place: got %q, %v", text, got.AString, err)
			}
			half := text[:at+1] + text[at+2:]
			if _, err := (&scalars.Singular{AString: half}).MarshalAppend(make([]byte, 0, 128)); err == nil {
				t.Fatalf("writing %q: no error", half)
			}
			b = field(14, []byte(half)...)
			if err := got.Unmarshal(b); err == nil {
				t.Fatalf("reading %q: no error", half)
			}
			if err := inPlace.Unmarshal(b, &got); err == nil {
				t.Fatalf("reading %q in place: no error", half)
			}
		}
	}
}

// TestStringLists reads lists of strings of all lengths one behind the other, so that the memory they share ends in all
// places of a list, and lists that other fields interrupt.
func TestStringLists(t *testing.T) {
	const masks, paths, unknown = 313, 1, 2
	var in []byte
	want := new(proto3.TestAllTypesProto3)
	for i := range 500 {
		m := new(wkt.FieldMask)
		var content []byte
		for k := range i % 12 {
			s := strings.Repeat("é"[:k%2*2]+"x", k*i%40)
			m.Paths = append(m.Paths, s)
			content = append(content, field(paths, []byte(s)...)...)
			if i%5 == k {
				content = append(content, varint(unknown, 1)...)
			}
		}
		in = append(in, field(masks, content...)...)
		want.RepeatedFieldmask = append(want.RepeatedFieldmask, m)
	}
	got := new(proto3.TestAllTypesProto3)
	if err := (codec.Options{DiscardUnknown: true}).Unmarshal(in, got); err != nil {
		t.Fatal(err)
	}
	for i := range want.RepeatedFieldmask { // which must change no other list
		want.RepeatedFieldmask[i].Paths = append(want.RepeatedFieldmask[i].Paths, "more")
		got.RepeatedFieldmask[i].Paths = append(got.RepeatedFieldmask[i].Paths, "more")
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	broken := join(field(masks, field(paths, 'a')...), field(masks, field(paths, 0xff)...))
	checkError(t, "a list in memory of the list before", got.Unmarshal(broken), fmt.Sprintf("cannot decode proto3.TestAllTypesProto3."+
		"repeated_fieldmask[1].paths[0] at offset %d: the string is not valid UTF-8", len(broken)-3))
}

// TestLarge writes bytes and strings that are copied in parts.
func TestLarge(t *testing.T) {
	var e codec.Encoder
	for _, n := range []int{1<<16 - 1, 1 << 16, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 5} {
		content := make([]byte, n)
		for i := range content {
			content[i] = byte(i%251) & 0x7f
		}
		want := append(codec.AppendVarint(nil, 1<<3|codec.WireBytes, uint64(n)), content...)
		for _, b := range [][]byte{nil, make([]byte, 0, n+8)} {
			if got := e.AppendBytes(b, 1<<3|codec.WireBytes, content); !bytes.Equal(got, want) {
				t.Errorf("%d bytes into %d: they differ", n, cap(b))
			}
			if got := e.AppendRawString(b, 1<<3|codec.WireBytes, string(content)); !bytes.Equal(got, want) {
				t.Errorf("a string of %d bytes into %d: it differs", n, cap(b))
			}
		}
	}
}
