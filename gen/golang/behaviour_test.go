package golang_test

import (
	"bytes"
	"cmp"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/ipcgen/ipcgen/gen/gentest"
	"github.com/ipcgen/ipcgen/idl/load"
	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/testdata/conformance/go/edition2023"
	"github.com/ipcgen/ipcgen/testdata/conformance/go/proto2"
	"github.com/ipcgen/ipcgen/testdata/conformance/go/proto3"
	"github.com/ipcgen/ipcgen/testdata/editions/go/current"
	"github.com/ipcgen/ipcgen/testdata/editions/go/features"
	maps "github.com/ipcgen/ipcgen/testdata/messages/go/maps"
	"github.com/ipcgen/ipcgen/testdata/messages/go/nested"
	"github.com/ipcgen/ipcgen/testdata/messages/go/scalars"
	"github.com/ipcgen/ipcgen/testdata/names/go/clashes"
	"github.com/ipcgen/ipcgen/testdata/oneofs/go/choice"
	"github.com/ipcgen/ipcgen/testdata/proto2/go/extended"
	"github.com/ipcgen/ipcgen/testdata/proto2/go/old"
)

// A subject is a generated message beside its descriptor, on which protobuf's own library does the same.
type subject struct {
	message
	desc protoreflect.MessageDescriptor
}

// A message is what is generated: a message of the runtime, and what protobuf's own library can take for one of its.
type message interface {
	codec.Message
	protoadapt.MessageV1
}

// fresh returns another message of the type.
func (s *subject) fresh() message {
	return reflect.New(reflect.TypeOf(s.message).Elem()).Interface().(message)
}

// subjects are messages of the golden packages, in the order of their names.
func subjects(t testing.TB) []*subject {
	t.Helper()
	return described(t, map[string]map[string]message{
		"messages/scalars/scalars.proto": {
			"Singular": new(scalars.Singular), "Optional": new(scalars.Optional), "Repeated": new(scalars.Repeated),
		},
		"messages/nested/nested.proto": {
			"Tree": new(nested.Tree), "Maps": new(nested.Maps), "Choice": new(nested.Choice), "WellKnown": new(nested.WellKnown),
		},
		"names/clashes/clashes.proto":      {"type": new(clashes.Type)},
		"oneofs/choice/choice.proto":       {"Fixed": new(choice.Fixed), "Single": new(choice.Single)},
		"proto2/old/old.proto":             {"Old": new(old.Old)},
		"proto2/extended/extended.proto":   {"Base": new(extended.Base), "Needy": new(extended.Needy)},
		"messages/maps/maps.proto":         {"Values": new(maps.Values)},
		"editions/features/features.proto": {"All": new(features.All)},
		"editions/current/current.proto":   {"New": new(current.New)},
	})
}

// largeSubjects are subjects and the messages of protobuf's conformance suite, which have fields of every type. The library
// writes the members of their oneofs behind the other fields, so that its bytes are not those of the generated code.
func largeSubjects(t testing.TB) []*subject {
	t.Helper()
	return append(subjects(t), described(t, map[string]map[string]message{
		"conformance/proto2/test_messages_proto2.proto": {"TestAllTypesProto2": new(proto2.TestAllTypesProto2)},
		"conformance/proto3/test_messages_proto3.proto": {"TestAllTypesProto3": new(proto3.TestAllTypesProto3)},
		"conformance/edition2023/test_messages_edition2023.proto": {
			"TestAllTypesEdition2023": new(edition2023.TestAllTypesEdition2023),
		},
	})...)
}

// described returns the messages of each file with their descriptors.
func described(t testing.TB, files map[string]map[string]message) []*subject {
	t.Helper()
	var all []*subject
	for file, messages := range files {
		fd := descriptorOf(t, file)
		for name, m := range messages {
			all = append(all, &subject{m, fd.Messages().ByName(protoreflect.Name(name))})
		}
	}
	slices.SortFunc(all, func(a, b *subject) int { return cmp.Compare(a.desc.FullName(), b.desc.FullName()) })
	return all
}

// each runs test for each of the subjects.
func each(t *testing.T, test func(t *testing.T, s *subject)) { eachOf(t, subjects(t), test) }

func eachOf(t *testing.T, list []*subject, test func(t *testing.T, s *subject)) {
	for _, s := range list {
		t.Run(string(s.desc.FullName()), func(t *testing.T) { test(t, s) })
	}
}

func descriptorOf(t testing.TB, file string) protoreflect.FileDescriptor {
	t.Helper()
	root, name, _ := strings.Cut(file, "/")
	files, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: descriptors(t, filepath.Join(gentest.Testdata, root), name)})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := files.FindFileByPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// descriptors returns the descriptors of a file below root and of what it imports.
func descriptors(t testing.TB, root, name string) []*descriptorpb.FileDescriptorProto {
	t.Helper()
	l := load.Loader{ImportPaths: []string{root}}
	schema, err := l.Load(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var list []*descriptorpb.FileDescriptorProto
	for _, f := range schema.Files {
		fd := new(descriptorpb.FileDescriptorProto)
		if err := proto.Unmarshal(f.Descriptor, fd); err != nil {
			t.Fatal(err)
		}
		dropMessageSets(fd.MessageType)
		list = append(list, fd)
	}
	return list
}

// dropMessageSets makes ordinary messages of message sets: this library has given them up.
func dropMessageSets(list []*descriptorpb.DescriptorProto) {
	for _, m := range list {
		if m.GetOptions().GetMessageSetWireFormat() {
			m.Options, m.ExtensionRange[0].End = nil, proto.Int32(1<<29)
		}
		dropMessageSets(m.NestedType)
	}
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
			for range length(r, fd) {
				l.Append(value(fd, l.NewElement()))
			}
		default:
			m.Set(fd, value(fd, m.NewField(fd)))
		}
	}
}

// length returns how long a list is to be: short, and now and then, where that is no work, so long that it is packed and
// unpacked in another way.
func length(r *rand.Rand, fd protoreflect.FieldDescriptor) int {
	if fd.Message() == nil && r.IntN(8) == 0 {
		return 30 + r.IntN(150)
	}
	return r.IntN(20)
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

// random returns a message with random content, as protobuf's own library holds it, and its bytes.
func random(t testing.TB, desc protoreflect.MessageDescriptor, seed uint64) (*dynamicpb.Message, []byte) {
	t.Helper()
	m := dynamicpb.NewMessage(desc)
	fill(rand.New(rand.NewPCG(seed, 1)), m, 3)
	return m, canonical(t, m)
}

func canonical(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSameBytes takes random messages through the generated code: the bytes are those of protobuf's own library, and
// so is what they mean.
func TestSameBytes(t *testing.T) {
	each(t, func(t *testing.T, s *subject) {
		for seed := range uint64(300) {
			_, in := random(t, s.desc, seed)
			m := s.fresh()
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

// TestOtherPacking decodes lists that are packed where the schema says they are not, and the other way round.
func TestOtherPacking(t *testing.T) {
	files := descriptors(t, filepath.Join(gentest.Testdata, "messages"), "scalars/scalars.proto")
	flipped := files[len(files)-1]
	for _, m := range flipped.MessageType {
		for _, f := range m.Field {
			if f.Options == nil {
				f.Options = new(descriptorpb.FieldOptions)
			}
			text := f.GetType() == descriptorpb.FieldDescriptorProto_TYPE_STRING || f.GetType() == descriptorpb.FieldDescriptorProto_TYPE_BYTES
			if f.GetLabel() == descriptorpb.FieldDescriptorProto_LABEL_REPEATED && !text {
				f.Options.Packed = proto.Bool(f.Options.Packed != nil)
			}
		}
	}
	fd, err := protodesc.NewFile(flipped, nil)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(100) {
		source, want := random(t, descriptorOf(t, "messages/scalars/scalars.proto").Messages().ByName("Repeated"), seed)
		other := dynamicpb.NewMessage(fd.Messages().ByName("Repeated"))
		if err := proto.Unmarshal(want, other); err != nil {
			t.Fatal(err)
		}
		in := canonical(t, other)
		var m scalars.Repeated
		if err := m.Unmarshal(in); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if out, err := m.MarshalAppend(nil); err != nil || !bytes.Equal(out, want) {
			t.Fatalf("seed %d: %v\nbecame\n%x, %v, want\n%x", seed, source, out, err, want)
		}
	}
}

// TestClone wants a clone to be equal, and to stay what it is when what it was made from changes.
func TestClone(t *testing.T) {
	each(t, func(t *testing.T, s *subject) {
		for seed := range uint64(50) {
			_, in := random(t, s.desc, seed)
			m := s.fresh()
			if err := m.Unmarshal(append(in, 0xfa, 0xff, 0xff, 0x7f, 1, 'x')); err != nil { // and an unknown field
				t.Fatal(err)
			}
			before, err := m.MarshalAppend(nil)
			if err != nil {
				t.Fatal(err)
			}
			value := reflect.ValueOf(m)
			clone := value.MethodByName("Clone").Call(nil)[0]
			if !value.MethodByName("Equal").Call([]reflect.Value{clone})[0].Bool() {
				t.Fatalf("seed %d: %v is not equal to its clone %v", seed, m, clone)
			}
			wipe(value)
			if after, err := clone.Interface().(message).MarshalAppend(nil); err != nil || !bytes.Equal(after, before) {
				t.Fatalf("seed %d: the clone changes when the message does: %x, %v, want %x", seed, after, err, before)
			}
			if empty := s.fresh(); !reflect.ValueOf(empty).MethodByName("Equal").Call([]reflect.Value{reflect.ValueOf(empty)})[0].Bool() {
				t.Fatal("an empty message is not equal to itself")
			}
		}
	})
}

// wipe overwrites all memory that v refers to and that may be set.
func wipe(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			wipe(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			wipe(v.Field(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			wipe(v.MapIndex(key))
		}
		v.Clear()
		return
	case reflect.Slice:
		for i := range v.Len() {
			wipe(v.Index(i))
		}
	}
	if v.CanSet() {
		v.SetZero()
	}
}

// TestTruncated cuts a message at each byte: nothing panics, and what is accepted is what the library accepts.
func TestTruncated(t *testing.T) {
	eachOf(t, largeSubjects(t), func(t *testing.T, s *subject) {
		in := small(t, s.desc, 7)
		for n := range in {
			checkDecoding(t, s, in[:n])
		}
	})
}

// TestDamaged changes some bytes of messages.
func TestDamaged(t *testing.T) {
	eachOf(t, largeSubjects(t), func(t *testing.T, s *subject) {
		for seed := range uint64(200) {
			r := rand.New(rand.NewPCG(seed, 2))
			in := small(t, s.desc, seed)
			for range 1 + r.IntN(3) {
				switch at := r.IntN(len(in) + 1); r.IntN(3) {
				case 0:
					in = slices.Insert(in, at, byte(r.Uint32()))
				case 1:
					in = slices.Delete(in, at, min(at+1, len(in)))
				default:
					in = slices.Replace(in, at, min(at+1, len(in)), byte(r.Uint32()>>r.IntN(8)))
				}
			}
			checkDecoding(t, s, in)
		}
	})
}

// small returns the bytes of a random message that holds few others.
func small(t testing.TB, desc protoreflect.MessageDescriptor, seed uint64) []byte {
	t.Helper()
	m := dynamicpb.NewMessage(desc)
	fill(rand.New(rand.NewPCG(seed, 3)), m, 1)
	return canonical(t, m)
}

// checkDecoding decodes b both ways.
func checkDecoding(t *testing.T, s *subject, b []byte) {
	t.Helper()
	m, theirs := s.fresh(), dynamicpb.NewMessage(s.desc)
	err := m.Unmarshal(b)
	want, panicked := decodeTheirs(b, theirs)
	if panicked {
		return
	}
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
	if m.Size() != len(out) {
		t.Fatalf("%x: Size is %d, but there are %d bytes", b, m.Size(), len(out))
	}
	again := dynamicpb.NewMessage(s.desc)
	if err := proto.Unmarshal(out, again); err != nil {
		t.Fatalf("%x became %x: %v", b, out, err)
	}
	if got, want := canonical(t, again), canonical(t, theirs); !bytes.Equal(got, want) {
		t.Fatalf("%x became\n%x, want\n%x", b, got, want)
	}
	twin, aliased := s.fresh(), s.fresh()
	if err := twin.Unmarshal(out); err != nil {
		t.Fatalf("%x became %x: %v", b, out, err)
	}
	if err := (codec.Options{Alias: true}).Unmarshal(b, aliased); err != nil {
		t.Fatalf("%x decodes, and then not with Alias: %v", b, err)
	}
	for _, same := range []message{twin, aliased} {
		if again, err := same.MarshalAppend(nil); err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%x became %x, and then %x, %v", b, out, again, err)
		}
	}
	if !reflect.ValueOf(m).MethodByName("Equal").Call([]reflect.Value{reflect.ValueOf(twin)})[0].Bool() {
		t.Fatalf("%x: %v is not equal to what its bytes hold, %v", b, m, twin)
	}
}

// decodeTheirs decodes b as protobuf's own library does, which panics where an entry of a map has its key twice, the second
// with another wire type.
func decodeTheirs(b []byte, m *dynamicpb.Message) (err error, panicked bool) {
	defer func() { panicked = recover() != nil }()
	return proto.UnmarshalOptions{RecursionLimit: 100}.Unmarshal(b, m), false
}

// FuzzDecode: whatever comes in is accepted or refused as protobuf's own library does, and means the same after a round
// trip.
func FuzzDecode(f *testing.F) {
	all := largeSubjects(f)
	for i, s := range all {
		for seed := range uint64(3) {
			f.Add(byte(i), small(f, s.desc, seed))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		if len(b) < 1<<16 {
			checkDecoding(t, all[int(which)%len(all)], b)
		}
	})
}

// TestAdapted wants protobuf's own library to take generated types for its own: bytes and text are those of the same
// content in the library's own type.
func TestAdapted(t *testing.T) {
	each(t, func(t *testing.T, s *subject) {
		for seed := range uint64(30) {
			theirs, in := random(t, s.desc, seed)
			m := s.fresh()
			if err := m.Unmarshal(in); err != nil {
				t.Fatal(err)
			}
			adapted := protoadapt.MessageV2Of(m)
			if got := canonical(t, adapted); !bytes.Equal(got, in) {
				t.Fatalf("seed %d: got\n%x\nwant\n%x", seed, got, in)
			}
			if got, want := text(t, adapted), text(t, theirs); got != want {
				t.Fatalf("seed %d: the text is\n%s\nwant\n%s", seed, got, want)
			}
			again := protoadapt.MessageV2Of(s.fresh())
			if err := proto.Unmarshal(in, again); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(adapted, again) {
				t.Fatalf("seed %d: the library decodes %v, want %v", seed, again, adapted)
			}
		}
	})
}

// text returns m in the form that the library promises to be no format, without the spaces that it adds to keep to
// that.
func text(t *testing.T, m proto.Message) string {
	t.Helper()
	b, err := prototext.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// TestExtensions wants the library to see the extensions that were set.
func TestExtensions(t *testing.T) {
	var files protoregistry.Files
	fd := descriptorOf(t, "proto2/old/old.proto")
	if err := files.RegisterFile(fd); err != nil {
		t.Fatal(err)
	}
	m := &old.Old{Name: new("n")}
	for _, err := range []error{
		old.E_Number.Set(m, -5),
		old.E_Old_Nested.Set(m, "text"),
		old.E_Shades.Set(m, []old.Color{old.Color_GREEN, old.Color_BLUE}),
		old.E_PackedNumbers.Set(m, []int32{1, -1, 300}),
		old.E_Inner.Set(m, &old.Old_Inner{Id: new(int64(7))}),
		old.E_Grouped.Set(m, []*old.Grouped{{Text: new("g")}, {}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := m.MarshalAppend(nil)
	if err != nil {
		t.Fatal(err)
	}
	theirs := dynamicpb.NewMessage(fd.Messages().ByName("Old"))
	if err := (proto.UnmarshalOptions{Resolver: dynamicpb.NewTypes(&files)}).Unmarshal(b, theirs); err != nil {
		t.Fatal(err)
	}
	const want = `name:"n" [old.Old.nested]:"text" [old.grouped]:{text:"g"} [old.grouped]:{} [old.inner]:{id:7} ` +
		`[old.number]:-5 [old.packed_numbers]:1 [old.packed_numbers]:-1 [old.packed_numbers]:300 [old.shades]:GREEN [old.shades]:BLUE`
	if got := text(t, theirs); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestExtensionDefaults reads extensions that are not there.
func TestExtensionDefaults(t *testing.T) {
	m := new(extended.Base)
	check := func(name string, got any, err error, want any) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, %v, want %v", name, got, err, want)
		}
	}
	double, err := extended.E_ADouble.Get(m)
	check("a_double", double, err, 1e308)
	float, err := extended.E_AFloat.Get(m)
	check("a_float is NaN", float != float, err, true)
	least, err := extended.E_AnInt64.Get(m)
	check("an_int64", least, err, int64(math.MinInt64))
	on, err := extended.E_ABool.Get(m)
	check("a_bool", on, err, true)
	text, err := extended.E_AString.Get(m)
	check("a_string", text, err, "a\tz\"\\")
	raw, err := extended.E_SomeBytes.Get(m)
	check("some_bytes", raw, err, []byte("\xff\n\x00"))
	level, err := extended.E_Level.Get(m)
	check("level", level, err, extended.Level_MOST)
	color, err := extended.E_Color.Get(m)
	check("color", color, err, extended.Color_RED)
	none, err := extended.E_AUint32.Get(m)
	check("a_uint32", none, err, uint32(0))
	base, err := extended.E_Base.Get(m)
	check("base", base, err, (*extended.Base)(nil))
}
