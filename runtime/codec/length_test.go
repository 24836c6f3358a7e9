package codec_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/wkt"
	"github.com/ipcgen/ipcgen/testdata/messages/go/nested"
)

// sizes are those on both sides of where a length takes one byte more.
var sizes = []int{0, 1, 100, 126, 127, 128, 129, 16381, 16382, 16383, 16384, 16385, 1 << 16, 1<<21 - 5, 1 << 21}

// expected returns the bytes of t, made from the inside out.
func expected(t *nested.Tree) []byte {
	var b []byte
	if t.Name != "" {
		b = append(b, field(1, []byte(t.Name)...)...)
	}
	if t.Left != nil {
		b = append(b, field(2, expected(t.Left)...)...)
	}
	for _, c := range t.Children {
		b = append(b, field(3, expected(c)...)...)
	}
	for k, v := range t.Named { // at most one
		b = append(b, field(4, join(field(1, []byte(k)...), field(2, expected(v)...))...)...)
	}
	return b
}

func checkBytes(t *testing.T, name string, m codec.Message, want []byte) {
	t.Helper()
	got, err := m.MarshalAppend([]byte("head"))
	if err != nil || !bytes.Equal(got[4:], want) {
		t.Errorf("%s: got %d bytes that are not the %d expected, %v", name, len(got)-4, len(want), err)
	}
	if m.Size() != len(want) {
		t.Errorf("%s: Size is %d, want %d", name, m.Size(), len(want))
	}
}

// TestLengths writes messages in messages whose lengths take one to four bytes, where those around are as short as can be,
// or have others in front and behind.
func TestLengths(t *testing.T) {
	for _, n := range sizes {
		m := &nested.Tree{Name: strings.Repeat("x", n)}
		for depth := range 5 {
			checkBytes(t, fmt.Sprintf("%d bytes %d deep", n, depth), m, expected(m))
			around := &nested.Tree{
				Name:     "around",
				Left:     &nested.Tree{},
				Children: []*nested.Tree{m, {Name: strings.Repeat("y", 200)}, m, {}},
				Named:    map[string]*nested.Tree{"key": m},
			}
			if n < 1<<20 {
				checkBytes(t, fmt.Sprintf("%d bytes %d deep among others", n, depth), around, expected(around))
			}
			m = &nested.Tree{Left: m}
		}
		leaf := &nested.WellKnown{Text: &wkt.StringValue{Value: strings.Repeat("x", n)}, Numbers: []*wkt.Int64Value{{Value: 1}}}
		want := field(7)
		if n > 0 {
			want = field(7, field(1, []byte(leaf.Text.Value)...)...)
		}
		checkBytes(t, fmt.Sprintf("a leaf of %d bytes", n), leaf, join(want, field(8, varint(1, 1)...)))
	}
}

// TestLengthsAtRandom writes trees of all forms, in which short and long messages follow each other.
func TestLengthsAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var tree func(depth int) *nested.Tree
	tree = func(depth int) *nested.Tree {
		m := &nested.Tree{Name: strings.Repeat("n", r.IntN(1<<r.IntN(16)))}
		if depth == 0 {
			return m
		}
		if r.IntN(2) == 0 {
			m.Left = tree(depth - 1)
		}
		for range r.IntN(4) {
			m.Children = append(m.Children, tree(depth-1))
		}
		if r.IntN(3) == 0 {
			m.Named = map[string]*nested.Tree{"k": tree(depth - 1)}
		}
		return m
	}
	for i := range 200 {
		m := tree(1 + i%5)
		checkBytes(t, fmt.Sprint("tree ", i), m, expected(m))
	}
}

// TestDeep writes messages far deeper than anybody reads them.
func TestDeep(t *testing.T) {
	m, want := &nested.Tree{}, 0
	for range 20000 {
		m = &nested.Tree{Left: m}
		want += 1 + len(codec.AppendTag(nil, uint64(want)))
	}
	if b := encode(t, m); len(b) != want || m.Size() != want {
		t.Errorf("got %d bytes, and Size %d, want %d", len(b), m.Size(), want)
	}
}

// TestStackMoves writes and reads, in goroutines whose stacks are small at first, messages so deep that the stack moves while
// the Encoder and the Decoder are on it.
func TestStackMoves(t *testing.T) {
	deep := &nested.Tree{Name: strings.Repeat("x", 1<<14)}
	for range 90 {
		deep = &nested.Tree{Left: deep}
	}
	m := &nested.Tree{Named: map[string]*nested.Tree{"key": deep}}
	want := expected(m)
	for range 20 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			checkBytes(t, "deep in a map", m, want)
		}()
		<-done
		done = make(chan struct{})
		go func() {
			defer close(done)
			var got nested.Tree
			if err := got.Unmarshal(want); err != nil || !got.Equal(m) {
				t.Errorf("what is read differs from what was written: %v", err)
			}
			err := codec.Options{MaxDepth: 91}.Unmarshal(want, &got)
			if path := strings.Repeat(".left", 90); err == nil || !strings.Contains(err.Error(), `named["key"]`+path) {
				t.Errorf("got %v, want an error that says the way", err)
			}
		}()
		<-done
	}
}

// TestEmptyString writes an empty string where its tag and length take the last bytes that there are: no pointer to behind
// them may be made, which the race detector's build finds.
func TestEmptyString(t *testing.T) {
	for size := range 4 {
		var e codec.Encoder
		if got := e.AppendString(make([]byte, 0, size), 1<<3|codec.WireBytes, ""); !bytes.Equal(got, []byte{0x0a, 0}) {
			t.Errorf("in %d bytes: got %x", size, got)
		}
	}
}
