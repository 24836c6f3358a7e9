package codec_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/testdata/messages/go/scalars"
)

// packedFields are the numbers of fields of Repeated that are packed lists of varints.
const (
	packedInt32s  = 3
	packedInt64s  = 4
	packedUint64s = 6
	packedBools   = 13
)

// plainVarint appends v byte by byte.
func plainVarint(b []byte, v uint64) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

// TestPackedVarints reads and writes lists of all lengths whose elements take as many bytes as others, and lists of the
// shortest and the longest.
func TestPackedVarints(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, next := range map[string]func() uint64{
		"of all sizes":  func() uint64 { return r.Uint64() >> r.IntN(64) },
		"of one byte":   func() uint64 { return r.Uint64N(128) },
		"nearly so":     func() uint64 { return r.Uint64() >> (64 - 7 - r.IntN(20)/19) },
		"of nine bytes": func() uint64 { return r.Uint64()>>1 | 1<<62 },
		"of ten bytes":  func() uint64 { return r.Uint64() | 1<<63 },
	} {
		for n := range 200 {
			m := new(scalars.Repeated)
			var content []byte
			for range n {
				m.Uint64S = append(m.Uint64S, next())
				content = plainVarint(content, m.Uint64S[len(m.Uint64S)-1])
			}
			want := field(packedUint64s, content...)
			if n == 0 {
				want = nil
			}
			checkBytes(t, fmt.Sprintf("%d %s", n, name), m, want)
			var got scalars.Repeated
			if err := got.Unmarshal(want); err != nil || !slices.Equal(got.Uint64S, m.Uint64S) {
				t.Fatalf("%d %s: got %v, %v, want %v", n, name, got.Uint64S, err, m.Uint64S)
			}
			if err := got.Unmarshal(join(want, want)); err != nil || !slices.Equal(got.Uint64S, slices.Repeat(m.Uint64S, 2)) {
				t.Fatalf("%d %s, twice: got %v, %v", n, name, got.Uint64S, err)
			}
		}
	}
}

// TestPackedBoolsOfManyBytes: any number but 0 is true.
func TestPackedBoolsOfManyBytes(t *testing.T) {
	var got scalars.Repeated
	in := field(packedBools, 0, 1, 0x80, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 5)
	if err := got.Unmarshal(in); err != nil || !cmp.Equal(got.Bools, []bool{false, true, false, true, true}) {
		t.Errorf("got %v, %v", got.Bools, err)
	}
}

// TestPackedErrors breaks an element of a long list: in the first half, the second, where they meet, at the end.
func TestPackedErrors(t *testing.T) {
	const n = 100
	element := plainVarint(nil, 1<<40)
	tooLong := append(bytes.Repeat([]byte{0x80}, 10), 0)
	tooLarge := append(bytes.Repeat([]byte{0xff}, 9), 2)
	for _, number := range []int{packedInt32s, packedInt64s, packedUint64s, packedBools} {
		for at := range n {
			for want, bad := range map[string][]byte{
				"a varint takes more than 64 bits":           tooLong,
				"a varint takes more than 64 bits, by value": tooLarge,
			} {
				content := join(bytes.Repeat(element, at), bad, bytes.Repeat(element, n-at))
				err := new(scalars.Repeated).Unmarshal(field(number, content...))
				reason, _, _ := strings.Cut(want, ",")
				if err == nil || !strings.HasSuffix(err.Error(), "at offset 0: "+reason) {
					t.Fatalf("field %d, element %d: got %v, want %q", number, at, err, reason)
				}
			}
		}
		cut := bytes.Repeat(element, n)
		err := new(scalars.Repeated).Unmarshal(field(number, cut[:len(cut)-1]...))
		if err == nil || !strings.HasSuffix(err.Error(), "the packed list ends inside an element") {
			t.Errorf("field %d, cut: got %v", number, err)
		}
	}
}

// TestVarintsAtTheEnd reads a varint of each size with each number of bytes behind it.
func TestVarintsAtTheEnd(t *testing.T) {
	for size := range 10 {
		v := uint64(1) << (7 * size)
		for behind := range 12 {
			in := join(varint(6, v), bytes.Repeat([]byte{0x68, 1}, behind/2)) // a_bool: true
			if behind%2 == 1 {
				in = append(in, 0x72, 0) // a_string: ""
			}
			var m scalars.Singular
			if err := m.Unmarshal(in); err != nil || m.AUint64 != v {
				t.Errorf("%x: got %d, %v, want %d", in, m.AUint64, err, v)
			}
		}
		for cut := range size {
			in := varint(6, v)[:1+cut]
			var m scalars.Singular
			err := m.Unmarshal(in)
			checkError(t, fmt.Sprintf("%x", in), err, "cannot decode scalars.Singular.a_uint64 at offset 0: the input ends inside the field")
		}
	}
}

// TestStringSizes reads and writes strings of all sizes, ASCII and not, with the last byte broken too.
func TestStringSizes(t *testing.T) {
	for n := range 200 {
		for _, tail := range []string{"", "é", "日本", "\xff", "\xc3"} {
			text := strings.Repeat("a", n) + tail
			valid := tail != "\xff" && tail != "\xc3"
			m := &scalars.Singular{AString: text}
			b, err := m.MarshalAppend(make([]byte, 0, 2+n+len(tail)))
			if (err == nil) != valid {
				t.Fatalf("writing %q: %v", text, err)
			}
			want := field(14, []byte(text)...)
			if text == "" {
				want = nil
			}
			if valid && !bytes.Equal(b, want) {
				t.Fatalf("writing %q: got %x", text, b)
			}
			for _, o := range []codec.Options{{}, {Alias: true}} {
				var got scalars.Singular
				err = o.Unmarshal(join(want, varint(5, math.MaxUint32)), &got)
				if (err == nil) != valid || valid && got.AString != text {
					t.Fatalf("reading %q with %+v: got %q, %v", text, o, got.AString, err)
				}
			}
		}
	}
}
