package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/testdata/editions/go/current"
	"github.com/ipcgen/ipcgen/testdata/messages/go/nested"
	"github.com/ipcgen/ipcgen/testdata/messages/go/scalars"
	"github.com/ipcgen/ipcgen/testdata/proto2/go/old"
)

// encode returns the messages' bytes one behind the other, which is how messages are merged.
func encode(t testing.TB, messages ...codec.Message) []byte {
	t.Helper()
	var b []byte
	for _, m := range messages {
		var err error
		if b, err = m.MarshalAppend(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// field returns a field with a length.
func field(number int, content ...byte) []byte {
	var e codec.Encoder
	return e.AppendBytes(nil, uint64(number)<<3|codec.WireBytes, content)
}

// varint returns a field with a number.
func varint(number int, v uint64) []byte {
	return codec.AppendVarint(nil, uint64(number)<<3|codec.WireVarint, v)
}

// group returns a field that is a group.
func group(number int, content ...byte) []byte {
	b := codec.AppendTag(nil, uint64(number)<<3|codec.WireStartGroup)
	return codec.AppendTag(append(b, content...), uint64(number)<<3|codec.WireEndGroup)
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// TestMerge decodes what says a field more than once.
func TestMerge(t *testing.T) {
	for name, c := range map[string]struct {
		in        []byte
		got, want codec.Message
	}{
		"the last scalar counts": {
			encode(t, &nested.Tree{Name: "a"}, &nested.Tree{Name: "b"}),
			new(nested.Tree), &nested.Tree{Name: "b"},
		},
		"a message is merged": {
			encode(t, &nested.Tree{Left: &nested.Tree{Name: "a"}}, &nested.Tree{Left: &nested.Tree{Children: []*nested.Tree{{}}}}),
			new(nested.Tree), &nested.Tree{Left: &nested.Tree{Name: "a", Children: []*nested.Tree{{}}}},
		},
		"a list goes on": {
			encode(t, &nested.Tree{Children: []*nested.Tree{{Name: "a"}}}, &nested.Tree{Name: "x"}, &nested.Tree{Children: []*nested.Tree{{Name: "b"}}}),
			new(nested.Tree), &nested.Tree{Name: "x", Children: []*nested.Tree{{Name: "a"}, {Name: "b"}}},
		},
		"the last entry of a key counts": {
			encode(t, &nested.Tree{Named: map[string]*nested.Tree{"k": {Name: "a"}}}, &nested.Tree{Named: map[string]*nested.Tree{"k": {Left: &nested.Tree{}}}}),
			new(nested.Tree), &nested.Tree{Named: map[string]*nested.Tree{"k": {Left: &nested.Tree{}}}},
		},
		"an entry without a key or value has zero ones": {
			join(field(11), field(1)),
			new(nested.Maps), &nested.Maps{Bools: map[bool]int32{false: 0}, Int32S: map[int32]string{0: ""}},
		},
		"an entry with its value first, and one field more": {
			field(11, join(varint(2, 7), varint(3, 1), varint(1, 1))...),
			new(nested.Maps), &nested.Maps{Bools: map[bool]int32{true: 7}},
		},
		"the last member of a oneof counts": {
			encode(t, &nested.Choice{Kind: &nested.Choice_Text{Text: "a"}}, &nested.Choice{Kind: &nested.Choice_Number{Number: 1}}),
			new(nested.Choice), &nested.Choice{Kind: &nested.Choice_Number{Number: 1}},
		},
		"a message in a oneof is merged": {
			encode(t, &nested.Choice{Kind: &nested.Choice_Tree{Tree: &nested.Tree{Name: "a"}}},
				&nested.Choice{Kind: &nested.Choice_Tree{Tree: &nested.Tree{Left: &nested.Tree{}}}}),
			new(nested.Choice), &nested.Choice{Kind: &nested.Choice_Tree{Tree: &nested.Tree{Name: "a", Left: &nested.Tree{}}}},
		},
		"a message in a oneof is new behind another member": {
			encode(t, &nested.Choice{Kind: &nested.Choice_Tree{Tree: &nested.Tree{Name: "a"}}},
				&nested.Choice{Kind: &nested.Choice_Flag{}}, &nested.Choice{Kind: &nested.Choice_Tree{Tree: &nested.Tree{}}}),
			new(nested.Choice), &nested.Choice{Kind: &nested.Choice_Tree{Tree: &nested.Tree{}}},
		},
		"a group is merged": {
			join(field(1), group(13, field(1, field(1)...)...), group(13, field(1, varint(2, 5)...)...)),
			new(old.Old), &old.Old{Name: new(""), Single: &old.Old_Single{Old: &old.Old{Name: new(""), Age: new(int32(5))}}},
		},
		"a packed list of one field in pieces, packed and not": {
			join(field(3, 1, 2), varint(3, 3), field(3), varint(3, 4), varint(3, 5)),
			new(scalars.Repeated), &scalars.Repeated{Int32S: []int32{1, 2, 3, 4, 5}},
		},
		"an unpacked list that is packed": {
			join(varint(17, 1), field(17, 2, 3)),
			new(scalars.Repeated), &scalars.Repeated{Unpacked: []int32{1, 2, 3}},
		},
		"a number of too many bits is cut": {
			join(varint(3, 1<<40|5), varint(5, math.MaxUint64), varint(13, 1<<63)),
			new(scalars.Singular), &scalars.Singular{AnInt32: 5, AUint32: math.MaxUint32, ABool: true},
		},
		"an enum's number that has no name is kept": {
			varint(16, 1000),
			new(scalars.Singular), &scalars.Singular{Color: 1000},
		},
	} {
		if err := c.got.Unmarshal(c.in); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !equal(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
}

// equal compares two messages by their own method.
func equal(a, b codec.Message) bool {
	switch a := a.(type) {
	case *nested.Tree:
		return a.Equal(b.(*nested.Tree))
	case *nested.Maps:
		return a.Equal(b.(*nested.Maps))
	case *nested.Choice:
		return a.Equal(b.(*nested.Choice))
	case *old.Old:
		return a.Equal(b.(*old.Old))
	case *scalars.Singular:
		return a.Equal(b.(*scalars.Singular))
	case *scalars.Repeated:
		return a.Equal(b.(*scalars.Repeated))
	default:
		panic(fmt.Sprintf("%T", a))
	}
}

// TestDecodeErrors wants each error to say where it is, by fields and in the input, and why.
func TestDecodeErrors(t *testing.T) {
	long := bytes.Repeat([]byte{0x80}, 10)
	for name, c := range map[string]struct {
		m    codec.Message
		in   []byte
		want string
	}{
		"an empty tag":           {new(nested.Tree), []byte{0x80}, "nested.Tree at offset 0: the input ends inside the field"},
		"number 0":               {new(nested.Tree), []byte{0x02, 0}, "nested.Tree at offset 0: the field number is outside 1 to 536870911"},
		"number 2^29":            {new(nested.Tree), varint(1<<29, 1), "nested.Tree at offset 0: the field number is outside 1 to 536870911"},
		"wire type 6":            {new(nested.Tree), []byte{0x0e}, "nested.Tree.name at offset 0: the wire type does not exist"},
		"an end without a group": {new(nested.Tree), []byte{0x0c}, "nested.Tree.name at offset 0: a group ends that did not start"},
		"a tag of 11 bytes":      {new(nested.Tree), append(long, 1), "nested.Tree at offset 0: a varint takes more than 64 bits"},
		"a number of 65 bits":    {new(scalars.Singular), join([]byte{0x20}, long[:9], []byte{2}), "scalars.Singular.an_int64 at offset 0: a varint takes more than 64 bits"},
		"a string cut short":     {new(nested.Tree), join(field(1, 'a'), []byte{0x0a, 5, 'x'}), "nested.Tree.name at offset 3: the input ends inside the field"},
		"a length of 2^63":       {new(nested.Tree), join([]byte{0x0a}, long[:9], []byte{1}), "nested.Tree.name at offset 0: the input ends inside the field"},
		"a fixed32 cut short":    {new(scalars.Singular), []byte{0x15, 0, 0, 0}, "scalars.Singular.a_float at offset 0: the input ends inside the field"},
		"a fixed64 cut short":    {new(scalars.Singular), []byte{0x09, 0, 0, 0, 0, 0, 0, 0}, "scalars.Singular.a_double at offset 0: the input ends inside the field"},
		"a string not UTF-8":     {new(nested.Tree), field(1, 0xff), "nested.Tree.name at offset 0: the string is not valid UTF-8"},
		"inside a message":       {new(nested.Tree), field(2, field(1, 0xff)...), "nested.Tree.left.name at offset 2: the string is not valid UTF-8"},
		"behind its message":     {new(nested.Tree), join(field(2, 0x0a, 1), []byte{'x'}), "nested.Tree.left.name at offset 2: the input ends inside the field"},
		"in a list":              {new(nested.Tree), join(field(3), field(3, field(1, 0xff)...)), "nested.Tree.children[1].name at offset 4: the string is not valid UTF-8"},
		"in a map":               {new(nested.Tree), field(4, join(field(1, 'k'), field(2, field(1, 0xff)...))...), `nested.Tree.named["k"].name at offset 7: the string is not valid UTF-8`},
		"in a key":               {new(nested.Tree), field(4, field(1, 0xff)...), "nested.Tree.named at offset 0: the string is not valid UTF-8"},
		"in a oneof":             {new(nested.Choice), field(5, field(1, 0xff)...), "nested.Choice.tree.name at offset 2: the string is not valid UTF-8"},
		"in a list of strings":   {new(scalars.Repeated), join(field(14), field(14, 0xff)), "scalars.Repeated.strings[1] at offset 2: the string is not valid UTF-8"},
		"in a list of numbers":   {new(scalars.Repeated), join(varint(17, 1), varint(17, 1), []byte{0x88, 0x01, 0x80}), "scalars.Repeated.unpacked[2] at offset 6: the input ends inside the field"},
		"a message in a list":    {new(nested.Tree), join(field(3), []byte{0x1a, 1}), "nested.Tree.children[1] at offset 2: the input ends inside the field"},
		"a packed list cut":      {new(scalars.Repeated), field(3, 0x80), "scalars.Repeated.int32s at offset 0: the packed list ends inside an element"},
		"a packed fixed cut":     {new(scalars.Repeated), field(9, 1, 2, 3), "scalars.Repeated.fixed32s at offset 0: the packed list ends inside an element"},
		"a group without an end": {new(old.Old), join(field(1), []byte{0x63, 0x08, 0x01}), "old.Old.part[0] at offset 2: the group does not end"},
		"only a group's start":   {new(old.Old), join(field(1), []byte{0x63}), "old.Old.part at offset 2: the group does not end"},
		"in a group":             {new(old.Old), join(field(1), group(12), group(12, 0x08)), "old.Old.part[1] at offset 4: the group does not end"},
		"an unknown group":       {new(nested.Tree), []byte{0xa3, 0x06}, "nested.Tree at offset 0: the group does not end"},
		"another group's end":    {new(nested.Tree), []byte{0xa3, 0x06, 0x0c}, "nested.Tree at offset 0: a group ends that did not start"},
		"a group that its message ends": {new(old.Old), join(field(1), field(17, join(varint(1, 1), field(2, 0x24))...)),
			"old.Old.inners[1] at offset 9: a group ends that did not start"},
		"nothing required":       {new(old.Old), nil, "old.Old.name at offset 0: the field is required and missing"},
		"required in a message":  {new(old.Old), join(field(1), group(12)), "old.Old.part[0].n at offset 4: the field is required and missing"},
		"required in a map":      {new(old.Old), join(field(1), field(17)), "old.Old.inners[0].id at offset 5: the field is required and missing"},
		"required by an edition": {new(current.New), nil, "current.New.needed at offset 0: the field is required and missing"},
	} {
		checkError(t, name, c.m.Unmarshal(c.in), "cannot decode "+c.want)
	}
}

func checkError(t *testing.T, name string, err error, want string) {
	t.Helper()
	var known *codec.Error
	if !errors.As(err, &known) {
		t.Errorf("%s: got %v, want a *codec.Error", name, err)
	} else if err.Error() != want {
		t.Errorf("%s:\ngot  %s\nwant %s", name, err, want)
	}
}

func TestEncodeErrors(t *testing.T) {
	bad := "\xff"
	for name, c := range map[string]struct {
		m    codec.Message
		want string
	}{
		"a string":               {&nested.Tree{Name: bad}, "nested.Tree.name: the string is not valid UTF-8"},
		"in a message":           {&nested.Tree{Left: &nested.Tree{Name: bad}}, "nested.Tree.left.name: the string is not valid UTF-8"},
		"in a list":              {&nested.Tree{Children: []*nested.Tree{{}, {Name: bad}}}, "nested.Tree.children[1].name: the string is not valid UTF-8"},
		"in a map":               {&nested.Tree{Named: map[string]*nested.Tree{"k": {Name: bad}}}, `nested.Tree.named["k"].name: the string is not valid UTF-8`},
		"a key":                  {&nested.Maps{Strings: map[string]uint64{bad: 1}}, `nested.Maps.strings["\xff"]: the string is not valid UTF-8`},
		"a member of a oneof":    {&nested.Choice{Kind: &nested.Choice_Text{Text: bad}}, "nested.Choice.text: the string is not valid UTF-8"},
		"an optional":            {&scalars.Optional{AString: &bad}, "scalars.Optional.a_string: the string is not valid UTF-8"},
		"an element":             {&scalars.Repeated{Strings: []string{"a", bad}}, "scalars.Repeated.strings[1]: the string is not valid UTF-8"},
		"nothing required":       {new(old.Old), "old.Old.name: the field is required and missing"},
		"required in a group":    {&old.Old{Name: new(""), Part: []*old.Old_Part{{}}}, "old.Old.part[0].n: the field is required and missing"},
		"required in a map":      {&old.Old{Name: new(""), Inners: map[int32]*old.Old_Inner{3: {}}}, "old.Old.inners[3].id: the field is required and missing"},
		"required by an edition": {new(current.New), "current.New.needed: the field is required and missing"},
	} {
		_, err := c.m.MarshalAppend(nil)
		checkError(t, name, err, "cannot encode "+c.want)
	}
}

// TestStringsThatAreNot: where the schema does not insist on UTF-8, any bytes pass.
func TestStringsThatAreNot(t *testing.T) {
	m := &old.Old{Name: new("\xff")}
	var again old.Old
	if err := again.Unmarshal(encode(t, m)); err != nil || !again.Equal(m) {
		t.Errorf("got %v, %v, want %v", &again, err, m)
	}
}

// TestDepth wants messages in each other to the limit and no further, whatever holds them.
func TestDepth(t *testing.T) {
	inMap := func(b []byte) []byte { return field(4, field(2, b...)...) }
	for name, c := range map[string]struct {
		m    codec.Message
		last []byte
		wrap func([]byte) []byte
	}{
		"fields":         {new(nested.Tree), nil, func(b []byte) []byte { return field(2, b...) }},
		"lists":          {new(nested.Tree), nil, func(b []byte) []byte { return field(3, b...) }},
		"maps":           {new(nested.Tree), nil, inMap},
		"groups":         {new(current.New), varint(4, 1), func(b []byte) []byte { return join(group(6, b...), varint(4, 1)) }},
		"unknown groups": {new(nested.Empty), nil, func(b []byte) []byte { return group(9, b...) }},
	} {
		for limit, o := range map[int]codec.Options{100: {}, 7: {MaxDepth: 7}} {
			b := c.last
			for range limit - 1 {
				b = c.wrap(b)
			}
			if err := o.Unmarshal(b, c.m); err != nil {
				t.Errorf("%s: %d levels, which is the limit: %v", name, limit, err)
			}
			err := o.Unmarshal(c.wrap(b), c.m)
			if want := fmt.Sprintf("nested deeper than the limit allows, which is %d", limit); err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%s: one level more than %d: got %v, want an error that ends in %q", name, limit, err, want)
			}
		}
	}
}

// TestMemory wants elements of few bytes to be refused where together they take more memory than is allowed.
func TestMemory(t *testing.T) {
	const limit = 4096
	for name, c := range map[string]struct {
		m  codec.Message
		in []byte
	}{
		"messages":          {new(nested.Tree), bytes.Repeat(field(3), 1000)},
		"strings":           {new(scalars.Repeated), bytes.Repeat(field(14), 1000)},
		"bytes":             {new(scalars.Repeated), bytes.Repeat(field(15), 1000)},
		"packed varints":    {new(scalars.Repeated), field(6, make([]byte, 1000)...)},
		"packed fixed":      {new(scalars.Repeated), field(10, make([]byte, 8000)...)},
		"unpacked numbers":  {new(scalars.Repeated), bytes.Repeat(varint(6, 1), 1000)},
		"groups":            {new(current.New), bytes.Repeat(group(7, varint(4, 1)...), 1000)},
		"one in another":    {new(nested.Tree), field(2, field(2, field(2, bytes.Repeat(field(3), 100)...)...)...)},
		"a map":             {new(nested.Maps), bytes.Repeat(field(1), 1000)},
		"a oneof's members": {new(nested.Choice), bytes.Repeat(field(2, 'x'), 1000)},
		"one in a oneof":    {new(nested.Choice), field(5, field(2, field(2, bytes.Repeat(field(3), 100)...)...)...)},
		"optionals":         {new(scalars.Optional), bytes.Repeat(varint(3, 1), 1000)},
	} {
		err := codec.Options{MaxMemory: limit}.Unmarshal(c.in, c.m)
		if want := "more memory than the limit allows, which is 4096 bytes"; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got %v, want an error that ends in %q", name, err, want)
		}
		if err := (codec.Options{MaxMemory: 1 << 20}).Unmarshal(c.in, c.m); err != nil && !strings.Contains(err.Error(), "required") {
			t.Errorf("%s, with enough memory: %v", name, err)
		}
	}
	large := bytes.Repeat(field(3), 1<<20) // two bytes an element, for which 64 are allowed
	if err := new(nested.Tree).Unmarshal(large); unsafe.Sizeof(nested.Tree{}) <= 64 {
		t.Logf("a list of empty messages, each of %d bytes: %v", unsafe.Sizeof(nested.Tree{}), err)
	} else if err == nil || !strings.Contains(err.Error(), "67108864 bytes") {
		t.Errorf("a list of 2^20 empty messages in 2 MiB: got %v, want an error that has the limit", err)
	}
}

func TestDiscardUnknown(t *testing.T) {
	in := join(field(1, 'n'), varint(99, 7), group(98, varint(1, 1)...), field(2, varint(97, 1)...))
	var kept, dropped nested.Tree
	if err := kept.Unmarshal(in); err != nil {
		t.Fatal(err)
	}
	if out, want := encode(t, &kept), join(field(1, 'n'), field(2, varint(97, 1)...), varint(99, 7), group(98, varint(1, 1)...)); !bytes.Equal(out, want) {
		t.Errorf("unknown fields: got %x, want %x", out, want)
	}
	if err := (codec.Options{DiscardUnknown: true}).Unmarshal(in, &dropped); err != nil {
		t.Fatal(err)
	}
	if want := (&nested.Tree{Name: "n", Left: &nested.Tree{}}); !dropped.Equal(want) {
		t.Errorf("with DiscardUnknown: got %v, want %v", &dropped, want)
	}
}

// TestAlias changes the input behind the decoder's back: a message keeps to what it was unless it was told to alias.
func TestAlias(t *testing.T) {
	want := &nested.Choice{Before: "before", Kind: &nested.Choice_Data{Data: []byte("data")}}
	for _, alias := range []bool{false, true} {
		in := encode(t, want)
		var got nested.Choice
		if err := (codec.Options{Alias: alias}).Unmarshal(in, &got); err != nil || !got.Equal(want) {
			t.Fatalf("alias %t: got %v, %v, want %v", alias, &got, err, want)
		}
		clear(in)
		if changed := got.Before == strings.Repeat("\x00", 6); changed != alias {
			t.Errorf("alias %t: the string is now %q", alias, got.Before)
		}
		if changed := got.GetData()[0] == 0; changed != alias {
			t.Errorf("alias %t: the bytes are now %q", alias, got.GetData())
		}
	}
}

// TestNeighbours: values that share memory do not run into each other.
func TestNeighbours(t *testing.T) {
	want := &scalars.Repeated{Blobs: [][]byte{[]byte("one"), []byte("two")}, Int32S: []int32{1, 2}}
	var got scalars.Repeated
	if err := got.Unmarshal(encode(t, want)); err != nil {
		t.Fatal(err)
	}
	_ = append(got.Blobs[0], "xyz"...)
	got.Blobs[0][0] = 'O'
	if string(got.Blobs[1]) != "two" {
		t.Errorf("the second is now %q", got.Blobs[1])
	}
	var trees nested.Tree
	if err := trees.Unmarshal(encode(t, &nested.Tree{Children: []*nested.Tree{{Name: "a"}, {Name: "b"}}})); err != nil {
		t.Fatal(err)
	}
	*trees.Children[0] = nested.Tree{Name: "c"}
	if trees.Children[1].Name != "b" {
		t.Errorf("the second is now %v", trees.Children[1])
	}
}

// TestReuse decodes into a message that holds something.
func TestReuse(t *testing.T) {
	m := &nested.Tree{Name: "old", Children: []*nested.Tree{{}}, Named: map[string]*nested.Tree{"k": nil}}
	if err := m.Unmarshal(field(1, 'n')); err != nil {
		t.Fatal(err)
	}
	if want := (&nested.Tree{Name: "n"}); !m.Equal(want) {
		t.Errorf("got %v, want %v", m, want)
	}
}

// raceEnabled says that the race detector is built in.
var raceEnabled bool

// shared is what an encoder and a decoder take on processors for which it is not known that they may stay on the stack.
const shared = 1

// allocations returns how many allocations more than that f makes.
func allocations(f func()) float64 {
	n := testing.AllocsPerRun(50, f)
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		n -= shared
	}
	return n
}

// TestAppend: MarshalAppend keeps what is there, and grows the slice once at most.
func TestAppend(t *testing.T) {
	m := &nested.Tree{Name: strings.Repeat("x", 300), Left: &nested.Tree{Children: []*nested.Tree{{Inner: &nested.Tree_Inner{Kind: 1}}}}}
	b, err := m.MarshalAppend([]byte("head"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, []byte("head")) || len(b) != 4+m.Size() {
		t.Errorf("got %d bytes that start %q, want %d behind the head", len(b), b[:4], m.Size())
	}
	if raceEnabled {
		return // its sync.Pool forgets at random
	}
	b = make([]byte, 0, m.Size())
	if n := allocations(func() { b, _ = m.MarshalAppend(b[:0]) }); n != 0 {
		t.Errorf("into a buffer that is large enough: %v allocations, want none", n)
	}
}

// TestAllocations wants decoding to take memory for many values at once, and little for a few.
func TestAllocations(t *testing.T) {
	batch := new(nested.Tree)
	for i := range 1000 {
		batch.Children = append(batch.Children, &nested.Tree{
			Name:     fmt.Sprint("child ", i),
			Left:     &nested.Tree{Name: "left"},
			Children: []*nested.Tree{{}, {Name: "a child's child"}},
		})
	}
	optional := &scalars.Optional{AnInt32: new(int32(1)), ABool: new(true), ADouble: new(2.0), AUint64: new(uint64(3))}
	for name, c := range map[string]struct {
		from, into codec.Message
		most       float64
	}{
		"a batch":   {batch, new(nested.Tree), 40},
		"strings":   {&nested.Tree{Name: "a", Left: &nested.Tree{Name: "b"}}, new(nested.Tree), 2},
		"optionals": {optional, new(scalars.Optional), 1},
		"numbers":   {&scalars.Singular{ADouble: 1, AnInt64: 2, ABool: true}, new(scalars.Singular), 0},
	} {
		in := encode(t, c.from)
		got := allocations(func() {
			if err := c.into.Unmarshal(in); err != nil {
				t.Fatal(err)
			}
		})
		if got > c.most && !raceEnabled {
			t.Errorf("%s: %v allocations, want at most %v", name, got, c.most)
		}
	}
}

// TestNil encodes what has no message where one could be.
func TestNil(t *testing.T) {
	m := &nested.Tree{Children: []*nested.Tree{nil, {}}, Named: map[string]*nested.Tree{"k": nil}}
	var got nested.Tree
	if err := got.Unmarshal(encode(t, m)); err != nil {
		t.Fatal(err)
	}
	if want := (&nested.Tree{Children: []*nested.Tree{{}, {}}, Named: map[string]*nested.Tree{"k": {}}}); !got.Equal(want) {
		t.Errorf("got %v, want %v", &got, want)
	}
	if got.Equal(m) {
		t.Error("an empty message equals one that is absent")
	}
}

func TestEqual(t *testing.T) {
	nan := math.NaN()
	float := float32(math.NaN())
	for name, c := range map[string]struct {
		equal bool
		a, b  interface{ String() string }
	}{
		"NaN":                          {true, &scalars.Singular{ADouble: nan, AFloat: float}, &scalars.Singular{ADouble: nan, AFloat: float}},
		"numbers":                      {false, &scalars.Singular{ADouble: nan}, &scalars.Singular{ADouble: 1}},
		"optional NaN":                 {true, &scalars.Optional{ADouble: &nan}, &scalars.Optional{ADouble: new(nan)}},
		"absent and zero":              {false, &scalars.Optional{}, &scalars.Optional{AnInt32: new(int32(0))}},
		"absent and empty bytes":       {false, &scalars.Optional{}, &scalars.Optional{SomeBytes: []byte{}}},
		"no bytes and empty bytes":     {true, &scalars.Singular{}, &scalars.Singular{SomeBytes: []byte{}}},
		"no list and an empty one":     {true, &scalars.Repeated{}, &scalars.Repeated{Doubles: []float64{}, Blobs: [][]byte{}}},
		"lists of NaN":                 {true, &scalars.Repeated{Doubles: []float64{nan}}, &scalars.Repeated{Doubles: []float64{nan}}},
		"lists of bytes":               {false, &scalars.Repeated{Blobs: [][]byte{{1}}}, &scalars.Repeated{Blobs: [][]byte{{2}}}},
		"no map and an empty one":      {true, &nested.Maps{}, &nested.Maps{Int64S: map[int64][]byte{}}},
		"maps of bytes":                {false, &nested.Maps{Int64S: map[int64][]byte{1: {1}}}, &nested.Maps{Int64S: map[int64][]byte{1: {2}}}},
		"maps with other keys":         {false, &nested.Maps{Bools: map[bool]int32{true: 0}}, &nested.Maps{Bools: map[bool]int32{false: 0}}},
		"members of a oneof":           {false, &nested.Choice{Kind: &nested.Choice_Text{}}, &nested.Choice{Kind: &nested.Choice_Data{}}},
		"a member and none":            {false, &nested.Choice{}, &nested.Choice{Kind: &nested.Choice_Text{}}},
		"a member that is a message":   {true, &nested.Choice{Kind: &nested.Choice_Tree{Tree: &nested.Tree{}}}, &nested.Choice{Kind: &nested.Choice_Tree{Tree: &nested.Tree{}}}},
		"a member's content":           {false, &nested.Choice{Kind: &nested.Choice_Number{Number: 1}}, &nested.Choice{Kind: &nested.Choice_Number{Number: 2}}},
		"an absent message and no one": {false, &nested.Tree{}, &nested.Tree{Left: &nested.Tree{}}},
	} {
		got := false
		switch a := c.a.(type) {
		case *scalars.Optional:
			got = a.Equal(c.b.(*scalars.Optional)) && c.b.(*scalars.Optional).Equal(a)
		case codec.Message:
			got = equal(a, c.b.(codec.Message)) && equal(c.b.(codec.Message), a)
		}
		if got != c.equal {
			t.Errorf("%s: Equal of %v and %v is %t", name, c.a, c.b, got)
		}
	}
}

func TestString(t *testing.T) {
	for want, m := range map[string]fmt.Stringer{
		"":                                &nested.Tree{},
		"<nil>":                           (*nested.Tree)(nil),
		`name:"a\n" left:{children:[{}]}`: &nested.Tree{Name: "a\n", Left: &nested.Tree{Children: []*nested.Tree{{}}}},
		`named:{"a":{}, "b":{name:"x"}}`:  &nested.Tree{Named: map[string]*nested.Tree{"b": {Name: "x"}, "a": {}}},
		`text:""`:                         &nested.Choice{Kind: &nested.Choice_Text{}},
		`a_bool:false color:COLOR_RED`:    &scalars.Optional{ABool: new(false), Color: new(scalars.Color_COLOR_RED)},
		`int32s:[1, 2] blobs:["\xff"]`:    &scalars.Repeated{Int32S: []int32{1, 2}, Blobs: [][]byte{{0xff}}},
	} {
		if got := m.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	var m nested.Empty
	if err := m.Unmarshal(varint(9, 1)); err != nil || m.String() != "(2 bytes of unknown fields)" {
		t.Errorf("with unknown fields: got %q, %v", m.String(), err)
	}
}

func TestExtensions(t *testing.T) {
	m := &old.Old{Name: new("n")}
	if old.E_Number.Has(m) || old.E_Number.Has(nil) {
		t.Error("has an extension that nobody has set")
	}
	set := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	set(old.E_Number.Set(m, 1))
	set(old.E_Number.Set(m, -5))
	set(old.E_Old_Nested.Set(m, "text"))
	set(old.E_Shades.Set(m, []old.Color{old.Color_GREEN, old.Color_BLUE}))
	set(old.E_PackedNumbers.Set(m, []int32{1, -1, 300}))
	set(old.E_Inner.Set(m, &old.Old_Inner{Id: new(int64(7))}))
	set(old.E_Grouped.Set(m, []*old.Grouped{{Text: new("g")}, {}}))

	var again old.Old
	if err := again.Unmarshal(encode(t, m)); err != nil {
		t.Fatal(err)
	}
	check := func(name string, got any, err error, want any) {
		t.Helper()
		if err != nil || !cmp.Equal(got, want, cmp.Comparer((*old.Old_Inner).Equal), cmp.Comparer((*old.Grouped).Equal)) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
	number, err := old.E_Number.Get(&again)
	check("number", number, err, int32(-5))
	text, err := old.E_Old_Nested.Get(&again)
	check("nested", text, err, "text")
	shades, err := old.E_Shades.Get(&again)
	check("shades", shades, err, []old.Color{old.Color_GREEN, old.Color_BLUE})
	packed, err := old.E_PackedNumbers.Get(&again)
	check("packed_numbers", packed, err, []int32{1, -1, 300})
	inner, err := old.E_Inner.Get(&again)
	check("inner", inner, err, &old.Old_Inner{Id: new(int64(7))})
	grouped, err := old.E_Grouped.Get(&again)
	check("grouped", grouped, err, []*old.Grouped{{Text: new("g")}, {}})

	old.E_Number.Clear(m)
	old.E_Shades.Clear(m)
	number, err = old.E_Number.Get(m)
	check("number after Clear", number, err, int32(0))
	shades, err = old.E_Shades.Get(m)
	check("shades after Clear", shades, err, []old.Color(nil))
	if inner, err := old.E_Inner.Get(m); err != nil || inner.GetId() != 7 {
		t.Errorf("inner after others were cleared: got %v, %v", inner, err)
	}
}

func TestExtensionErrors(t *testing.T) {
	decode := func(in []byte) *old.Old {
		t.Helper()
		var m old.Old
		if err := m.Unmarshal(join(field(1), in)); err != nil {
			t.Fatal(err)
		}
		return &m
	}
	_, err := old.E_Inner.Get(decode(field(104, 0x08)))
	checkError(t, "Get", err, "cannot decode old.Old.[104].id at offset 3: the input ends inside the field")
	_, err = old.E_PackedNumbers.Get(decode(field(103, 0x80)))
	checkError(t, "Get of a list", err, "cannot decode old.Old.[103] at offset 0: the packed list ends inside an element")
	if number, err := old.E_Number.Get(decode(field(101, 1))); number != 0 || err != nil {
		t.Errorf("of another type: got %d, %v, want it to be left among the unknown fields", number, err)
	}
}
