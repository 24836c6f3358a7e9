package golang_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/ipcgen/ipcgen/idl/load"
	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/testdata/editions/go/current"
	"github.com/ipcgen/ipcgen/testdata/messages/go/nested"
	"github.com/ipcgen/ipcgen/testdata/messages/go/scalars"
	"github.com/ipcgen/ipcgen/testdata/names/go/clashes"
	"github.com/ipcgen/ipcgen/testdata/proto2/go/old"
)

// A subject is a generated message beside its descriptor, on which protobuf's own library does the same.
type subject struct {
	name string
	make func() codec.Message
	desc protoreflect.MessageDescriptor
}

// subjects are messages of the golden packages.
func subjects(t testing.TB) []*subject {
	t.Helper()
	var all []*subject
	for file, made := range map[string]map[string]func() codec.Message{
		"messages/scalars/scalars.proto": {
			"Singular": func() codec.Message { return new(scalars.Singular) },
			"Optional": func() codec.Message { return new(scalars.Optional) },
			"Repeated": func() codec.Message { return new(scalars.Repeated) },
		},
		"messages/nested/nested.proto": {
			"Tree":      func() codec.Message { return new(nested.Tree) },
			"Maps":      func() codec.Message { return new(nested.Maps) },
			"Choice":    func() codec.Message { return new(nested.Choice) },
			"WellKnown": func() codec.Message { return new(nested.WellKnown) },
		},
		"names/clashes/clashes.proto":    {"type": func() codec.Message { return new(clashes.Type) }},
		"proto2/old/old.proto":           {"Old": func() codec.Message { return new(old.Old) }},
		"editions/current/current.proto": {"New": func() codec.Message { return new(current.New) }},
	} {
		fd := descriptorOf(t, file)
		for name, f := range made {
			all = append(all, &subject{string(fd.Package()) + "." + name, f, fd.Messages().ByName(protoreflect.Name(name))})
		}
	}
	return all
}

func descriptorOf(t testing.TB, file string) protoreflect.FileDescriptor {
	t.Helper()
	root, name, _ := strings.Cut(file, "/")
	l := load.Loader{ImportPaths: []string{filepath.Join(testdata, root)}}
	schema, err := l.Load(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	set := new(descriptorpb.FileDescriptorSet)
	for _, f := range schema.Files {
		fd := new(descriptorpb.FileDescriptorProto)
		if err := proto.Unmarshal(f.Descriptor, fd); err != nil {
			t.Fatal(err)
		}
		for _, m := range fd.MessageType {
			if m.GetOptions().GetMessageSetWireFormat() {
				m.Options, m.ExtensionRange[0].End = nil, proto.Int32(1<<29) // this library has given them up
			}
		}
		set.File = append(set.File, fd)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := files.FindFileByPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// fill sets about half of the fields of m, and all that are required.
func fill(r *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Cardinality() != protoreflect.Required && (r.IntN(2) == 0 || (fd.Message() != nil && depth == 0)) {
			continue
		}
		value := func(fd protoreflect.FieldDescriptor, fresh protoreflect.Value) protoreflect.Value {
			if fd.Message() != nil {
				fill(r, fresh.Message(), max(depth-1, 0))
				return fresh
			}
			return scalar(r, fd)
		}
		switch {
		case fd.IsMap():
			mp := m.Mutable(fd).Map()
			for range r.IntN(4) {
				fresh := protoreflect.Value{}
				if fd.MapValue().Message() != nil {
					fresh = mp.NewValue()
				}
				mp.Set(scalar(r, fd.MapKey()).MapKey(), value(fd.MapValue(), fresh))
			}
		case fd.IsList():
			l := m.Mutable(fd).List()
			for range r.IntN(20) {
				l.Append(value(fd, l.NewElement()))
			}
		default:
			m.Set(fd, value(fd, m.NewField(fd)))
		}
	}
}

// scalar returns a value that is small, large or extreme.
func scalar(r *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	n := []uint64{0, 1, 127, 128, 1 << 31, math.MaxUint32, math.MaxUint64, r.Uint64(), r.Uint64() >> r.IntN(64)}[r.IntN(9)]
	text := strings.Repeat("é", int(n%50))
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n%2 == 1)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(fd.Enum().Values().Get(int(n % uint64(fd.Enum().Values().Len()))).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(n)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text)
	default:
		return protoreflect.ValueOfBytes([]byte(text))
	}
}

// TestSameBytes takes random messages through the generated code: the bytes are those of protobuf's own library, and
// so is what they mean.
func TestSameBytes(t *testing.T) {
	for _, s := range subjects(t) {
		t.Run(s.name, func(t *testing.T) {
			for seed := range uint64(300) {
				want := dynamicpb.NewMessage(s.desc)
				fill(rand.New(rand.NewPCG(seed, 1)), want, 3)
				in, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				m := s.make()
				if err := m.Unmarshal(in); err != nil {
					t.Fatalf("seed %d: Unmarshal: %v", seed, err)
				}
				out, err := m.MarshalAppend(nil)
				if err != nil {
					t.Fatalf("seed %d: MarshalAppend: %v", seed, err)
				}
				if !bytes.Equal(in, out) {
					t.Fatalf("seed %d: got\n%x\nwant\n%x", seed, out, in)
				}
				if m.Size() != len(out) {
					t.Fatalf("seed %d: Size is %d, want %d", seed, m.Size(), len(out))
				}
			}
		})
	}
}

// TestTruncated cuts a message at each byte: nothing panics, and what is accepted is what the library accepts.
func TestTruncated(t *testing.T) {
	for _, s := range subjects(t) {
		t.Run(s.name, func(t *testing.T) {
			full := dynamicpb.NewMessage(s.desc)
			fill(rand.New(rand.NewPCG(7, 1)), full, 2)
			in, err := proto.Marshal(full)
			if err != nil {
				t.Fatal(err)
			}
			for n := range in {
				checkDecoding(t, s, in[:n])
			}
		})
	}
}

// checkDecoding decodes b both ways.
func checkDecoding(t *testing.T, s *subject, b []byte) {
	t.Helper()
	m, theirs := s.make(), dynamicpb.NewMessage(s.desc)
	err, want := m.Unmarshal(b), proto.UnmarshalOptions{RecursionLimit: 100}.Unmarshal(b, theirs)
	if (err == nil) != (want == nil) {
		t.Fatalf("%x: got %v, protobuf says %v", b, err, want)
	}
	if err != nil {
		return
	}
	out, err := m.MarshalAppend(nil)
	if err != nil {
		t.Fatalf("%x: decodes, and then MarshalAppend: %v", b, err)
	}
	again := dynamicpb.NewMessage(s.desc)
	if err := proto.Unmarshal(out, again); err != nil {
		t.Fatalf("%x became %x: %v", b, out, err)
	}
	if got, want := canonical(t, again), canonical(t, theirs); !bytes.Equal(got, want) {
		t.Fatalf("%x became\n%x, want\n%x", b, got, want)
	}
}

func canonical(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzDecode: whatever comes in is accepted or refused as protobuf's own library does, and means the same after a round
// trip.
func FuzzDecode(f *testing.F) {
	all := subjects(f)
	for i, s := range all {
		for seed := range uint64(3) {
			m := dynamicpb.NewMessage(s.desc)
			fill(rand.New(rand.NewPCG(seed, 1)), m, 2)
			b, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(s.name, b)
		}
		_ = i
	}
	byName := map[string]*subject{}
	for _, s := range all {
		byName[s.name] = s
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		if s := byName[name]; s != nil && len(b) < 1<<16 {
			checkDecoding(t, s, b)
		}
	})
}

// TestErrorsNameThePlace: the field's path and the offset.
func TestErrorsNameThePlace(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		want []string
	}{
		"truncated string": {[]byte{0x0a, 5, 'x'}, []string{"name", "0"}},
		"nested":           {[]byte{0x12, 3, 0x0a, 5, 'x'}, []string{"left.name", "2"}},
		"UTF-8":            {[]byte{0x0a, 1, 0xff}, []string{"name", "UTF-8"}},
		"wire type 7":      {[]byte{0x0f}, []string{"0"}},
		"too deep":         {deep(200), []string{"left.left", "100"}},
	} {
		err := new(nested.Tree).Unmarshal(c.in)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want an error that has %q", name, err, want)
			}
		}
	}
}

// deep returns a tree of so many levels.
func deep(levels int) []byte {
	var b []byte
	for range levels {
		b = append(append([]byte{0x12}, codec.AppendVarint(nil, uint64(len(b)))...), b...)
	}
	return b
}

func TestMessageMethods(t *testing.T) {
	a := &nested.Tree{Name: "root", Left: &nested.Tree{Name: "left"}, Children: []*nested.Tree{{Name: "c"}}, Named: map[string]*nested.Tree{"x": {Name: "x"}}}
	b := a.Clone()
	if !a.Equal(b) {
		t.Error("a clone is not equal")
	}
	b.Named["x"].Name = "y"
	if a.Equal(b) || a.Named["x"].Name != "x" {
		t.Error("a clone shares what is in it")
	}
	var none *nested.Tree
	if none.GetLeft().GetLeft().GetName() != "" || none.Size() != 0 || !none.Equal(nil) {
		t.Error("nil is not an empty message")
	}
	if text := a.String(); !strings.Contains(text, "root") || !strings.Contains(text, "left") {
		t.Errorf("String returns %q", text)
	}
	if a.Reset(); a.Name != "" || a.Left != nil {
		t.Error("Reset left something")
	}
	unknown := []byte{0xfa, 0x3f, 1, 'x'}
	if err := a.Unmarshal(unknown); err != nil {
		t.Fatal(err)
	}
	if out, err := a.MarshalAppend(nil); err != nil || !bytes.Equal(out, unknown) {
		t.Errorf("unknown fields: got %x, %v, want %x", out, err, unknown)
	}
	if err := new(old.Old).Unmarshal(nil); err == nil || !strings.Contains(fmt.Sprint(err), "name") {
		t.Errorf("a required field is missing: got %v, want an error that names it", err)
	}
}
