package protobuf_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/protobuf"
	"github.com/ipcgen/ipcgen/runtime/wkt"
	"github.com/ipcgen/ipcgen/testdata/editions/go/current"
	av1 "github.com/ipcgen/ipcgen/testdata/imports/go/a/v1"
	bv1 "github.com/ipcgen/ipcgen/testdata/imports/go/b/v1"
	context "github.com/ipcgen/ipcgen/testdata/imports/go/c"
	"github.com/ipcgen/ipcgen/testdata/imports/go/d"
	"github.com/ipcgen/ipcgen/testdata/messages/go/nested"
	"github.com/ipcgen/ipcgen/testdata/messages/go/scalars"
	"github.com/ipcgen/ipcgen/testdata/proto2/go/old"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
)

// must returns v where there is no error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// fresh returns another message of m's type.
func fresh(m codec.Message) codec.Message {
	return reflect.New(reflect.TypeOf(m).Elem()).Interface().(codec.Message)
}

// encoded returns the bytes of m, which are equal for equal messages.
func encoded(t *testing.T, m codec.Message) string {
	t.Helper()
	b, err := m.MarshalAppend(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// extended returns a message with extensions.
func extended() *old.Old {
	m := &old.Old{Name: new("n"), Part: []*old.Old_Part{{N: new(int32(1))}}}
	for _, err := range []error{
		old.E_Old_Nested.Set(m, "text"),
		old.E_Number.Set(m, 7),
		old.E_Shades.Set(m, []old.Color{old.Color_BLUE}),
		old.E_Inner.Set(m, &old.Old_Inner{Id: new(int64(8))}),
	} {
		if err != nil {
			panic(err)
		}
	}
	return m
}

// TestJSON wants JSON as protobuf's documentation of it has it, there and back.
func TestJSON(t *testing.T) {
	second := wkt.NewTimestamp(time.Unix(1, 0))
	for _, c := range []struct {
		name string
		m    codec.Message
		want string
	}{
		{"empty", &echov1.SayRequest{}, `{}`},
		{"numbers", &scalars.Singular{ADouble: math.Inf(-1), AnInt64: math.MinInt64, AUint32: 7, AUint64: math.MaxUint64, ABool: true},
			`{"aDouble":"-Infinity","anInt64":"-9223372036854775808","aUint32":7,"aUint64":"18446744073709551615","aBool":true}`},
		{"text", &scalars.Singular{AString: "a \"b\"\n<é>", SomeBytes: []byte{0xfb, 0xff}}, `{"aString":"a \"b\"\n<é>","someBytes":"+/8="}`},
		{"optional", &scalars.Optional{AnInt32: new(int32(0)), AString: new("")}, `{"anInt32":0,"aString":""}`},
		{"maps", &nested.Maps{Bools: map[bool]int32{true: 1, false: 2}, Int32S: map[int32]string{-1: "x"},
			Sfixed32S: map[int32]nested.Tree_Inner_Kind{3: nested.Tree_Inner_KIND_LEAF}},
			`{"int32s":{"-1":"x"},"sfixed32s":{"3":"KIND_LEAF"},"bools":{"false":2,"true":1}}`},
		{"recursive", &nested.Tree{Children: []*nested.Tree{{Name: "a"}, {}}, Named: map[string]*nested.Tree{"b": {Left: &nested.Tree{}}}},
			`{"children":[{"name":"a"},{}],"named":{"b":{"left":{}}}}`},
		{"oneof", &nested.Choice{Kind: &nested.Choice_Number{Number: 0}}, `{"number":"0"}`},
		{"unknown enum number", &nested.Tree_Inner{Kind: 99}, `{"kind":99}`},
		{"enum of another file", &av1.A{Level: bv1.Level_LEVEL_HIGH, Kinds: []context.Kind{1, 0}, More: map[string]*bv1.B{"k": {Level: 1}}},
			`{"level":"LEVEL_HIGH","more":{"k":{"level":"LEVEL_HIGH"}},"kinds":[1,"KIND_UNSPECIFIED"]}`},
		{"enum of a file behind one that is not there", &d.D{Level: bv1.Level_LEVEL_HIGH}, `{"level":"LEVEL_HIGH"}`},
		{"proto2", extended(), `{"name":"n","part":[{"n":1}],"[old.Old.nested]":"text","[old.inner]":{"id":"8"},"[old.number]":7,"[old.shades]":["BLUE"]}`},
		{"message set", &old.Set{}, `{}`},
		{"edition", &current.New{Needed: new(int32(0))}, `{"needed":0}`},
		{"timestamp", &nested.WellKnown{At: wkt.NewTimestamp(time.Unix(-1, 5e8))}, `{"at":"1969-12-31T23:59:59.500Z"}`},
		{"duration", &nested.WellKnown{Span: wkt.NewDuration(-time.Nanosecond)}, `{"span":"-0.000000001s"}`},
		{"struct", &nested.WellKnown{Data: must(wkt.NewStruct(map[string]any{"a": []any{nil, 1.5, "x"}, "b": map[string]any{}}))},
			`{"data":{"a":[null,1.5,"x"],"b":{}}}`},
		{"null value", &nested.WellKnown{Value: must(wkt.NewValue(nil))}, `{"value":null}`},
		{"mask", &nested.WellKnown{Mask: &wkt.FieldMask{Paths: []string{"a_b.c", "d"}}}, `{"mask":"aB.c,d"}`},
		{"wrappers", &nested.WellKnown{Text: &wkt.StringValue{}, Numbers: []*wkt.Int64Value{{Value: 5}}}, `{"text":"","numbers":["5"]}`},
		{"empty", &nested.Choice{Kind: &nested.Choice_Nothing{Nothing: &wkt.Empty{}}}, `{"nothing":{}}`},
		{"any of a well-known type", &nested.WellKnown{Any: must(wkt.NewAny(second))},
			`{"any":{"@type":"type.googleapis.com/google.protobuf.Timestamp","value":"1970-01-01T00:00:01Z"}}`},
		{"any of the message's own types", &nested.WellKnown{Any: must(wkt.NewAny(&nested.WellKnown{At: second}))},
			`{"any":{"@type":"type.googleapis.com/nested.WellKnown","at":"1970-01-01T00:00:01Z"}}`},
		{"well-known itself", second, `"1970-01-01T00:00:01Z"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := protobuf.JSON{}.Marshal(c.m)
			if err != nil {
				t.Fatal(err)
			}
			if string(b) != c.want {
				t.Errorf("got  %s\nwant %s", b, c.want)
			}
			again := fresh(c.m)
			if err := (protobuf.JSON{}).Unmarshal(b, again); err != nil {
				t.Fatal(err)
			}
			if encoded(t, again) != encoded(t, c.m) {
				t.Errorf("came back as %v, want %v", again, c.m)
			}
			text, err := protobuf.Text{}.Marshal(c.m)
			if err != nil {
				t.Fatal(err)
			}
			if err := (protobuf.Text{}).Unmarshal(text, again); err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if encoded(t, again) != encoded(t, c.m) {
				t.Errorf("text came back as %v, want %v", again, c.m)
			}
		})
	}
}

func TestJSONOptions(t *testing.T) {
	m := &old.Old{Name: new("n"), Color: new(old.Color_RED), Packed: []int32{1}}
	for _, c := range []struct {
		o    protobuf.JSON
		m    codec.Message
		want string
	}{
		{protobuf.JSON{EnumNumbers: true}, m, `{"name":"n","color":1,"packed":[1]}`},
		{protobuf.JSON{Indent: "\t"}, &echov1.SayRequest{Times: 1}, "{\n\t\"times\": 1\n}"},
		{protobuf.JSON{Zeros: true}, &echov1.SayRequest{}, `{"text":"","times":0}`},
		{protobuf.JSON{SchemaNames: true}, &old.Old{Name: new("n"), Kind: &old.Old_Inoneof{Inoneof: &old.Old_InOneof{}}}, `{"name":"n","InOneof":{}}`},
	} {
		b, err := c.o.Marshal(c.m)
		if string(b) != c.want || err != nil {
			t.Errorf("%+v: got %s, %v, want %s", c.o, b, err, c.want)
		}
	}
	var got echov1.SayRequest
	const unknown = `{"text":"t","more":[1,{}]}`
	if err := (protobuf.JSON{IgnoreUnknown: true}).Unmarshal([]byte(unknown), &got); err != nil || got.Text != "t" {
		t.Errorf("ignoring: got %v, %v", &got, err)
	}
	if err := (protobuf.Text{IgnoreUnknown: true}).Unmarshal([]byte(`text: "u" more { x: 1 }`), &got); err != nil || got.Text != "u" {
		t.Errorf("ignoring in text: got %v, %v", &got, err)
	}
}

// A stranger is a codec.Message that ipcgen has not made.
type stranger struct{ codec.Message }

// A double is another Go type for the message echo.v1.SayRequest.
type double struct{ echov1.SayRequest }

func TestErrors(t *testing.T) {
	marshal := func(m codec.Message) error {
		_, err := protobuf.JSON{}.Marshal(m)
		return err
	}
	unmarshal := func(m codec.Message, text string) error { return protobuf.JSON{}.Unmarshal([]byte(text), m) }
	types := func(messages ...codec.Message) error {
		_, err := protobuf.NewTypes(messages...)
		return err
	}
	_, unpacked := must(protobuf.NewTypes()).Unpack(must(wkt.NewAny(&echov1.SayRequest{})))
	_, damaged := must(protobuf.NewTypes(&echov1.SayRequest{})).Unpack(&wkt.Any{TypeUrl: "x/echo.v1.SayRequest", Value: []byte{0x0a, 5}})
	for _, c := range []struct {
		what string
		err  error
		want string
	}{
		{"any of an unknown type", marshal(&nested.WellKnown{Any: must(wkt.NewAny(&echov1.SayRequest{}))}), `*nested.WellKnown to JSON: proto: google.protobuf.Any: unable to resolve "type.googleapis.com/echo.v1.SayRequest"`},
		{"required", marshal(&old.Old{}), "*old.Old to JSON: cannot encode old.Old.name: the field is required and missing"},
		{"required", unmarshal(&old.Old{}, `{}`), "*old.Old from JSON: proto: required field old.Old.name not set"},
		{"year 10000", marshal(&wkt.Timestamp{Seconds: 253402300800}), "out of range"},
		{"UTF-8", marshal(&echov1.SayRequest{Text: "\xff"}), "UTF-8"},
		{"unknown field", unmarshal(&echov1.SayRequest{}, "{\n \"txet\": 1}"), `*echov1.SayRequest from JSON: proto: (line 2:2): unknown field "txet"`},
		{"wrong type", unmarshal(&echov1.SayRequest{}, `{"times": -1}`), "(line 1:11): invalid value for uint32 field times: -1"},
		{"twice", unmarshal(&echov1.SayRequest{}, `{"times": 1, "times": 2}`), "duplicate field"},
		{"truncated", unmarshal(&echov1.SayRequest{}, `{"times": 1`), "unexpected EOF"},
		{"behind", unmarshal(&echov1.SayRequest{}, `{} x`), "(line 1:4)"},
		{"too deep", unmarshal(&nested.Tree{}, strings.Repeat(`{"left":`, 1<<20)), "exceeded max recursion depth"},
		{"text", protobuf.Text{}.Unmarshal([]byte(`times: "x"`), &echov1.SayRequest{}), "*echov1.SayRequest from text: proto: (line 1:8)"},
		{"too deep in text", protobuf.Text{}.Unmarshal([]byte("name: '\\'{' # {\n"+strings.Repeat("left{", 1<<20)), &nested.Tree{}), "line 2: more than 100 messages inside each other"},
		{"stranger", marshal(&stranger{}), "a *protobuf_test.stranger is not a message that ipcgen has generated"},
		{"nil", types(nil), "is not a message that ipcgen has generated"},
		{"double", types(&echov1.SayRequest{}, &double{}), "the message echo.v1.SayRequest is a *echov1.SayRequest in github.com/ipcgen/ipcgen/testdata/services/go/echo/v1 and a *protobuf_test.double in github.com/ipcgen/ipcgen/runtime/protobuf_test: only one can be among the types"},
		{"unpack", unpacked, `unpacking "type.googleapis.com/echo.v1.SayRequest": no such message among the types: give it to NewTypes`},
		{"unpack damaged", damaged, "unpacking echo.v1.SayRequest: cannot decode echov1.SayRequest.text at offset 0"},
	} {
		if c.err == nil {
			t.Errorf("%s: no error, want %s", c.what, c.want)
			continue
		}
		got := strings.ReplaceAll(c.err.Error(), "\u00a0", " ") // the library's errors have one or the other
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got  %s\nwant %s", c.what, got, c.want)
		}
	}
}

// TestRegister gives messages to the library as other libraries do: they look into its global registries.
func TestRegister(t *testing.T) {
	types := must(protobuf.NewTypes(&av1.A{}, &nested.WellKnown{}))
	for range 2 { // the second finds everything there
		if err := types.Register(protoregistry.GlobalFiles, protoregistry.GlobalTypes); err != nil {
			t.Fatal(err)
		}
	}
	b := must(protojson.Marshal(protoadapt.MessageV2Of(&av1.A{Level: bv1.Level_LEVEL_HIGH})))
	if want := `{"level":"LEVEL_HIGH"}`; strings.ReplaceAll(string(b), " ", "") != want {
		t.Errorf("got %s, want %s", b, want)
	}
	packed := must(anypb.New(protoadapt.MessageV2Of(&av1.A{Level: bv1.Level_LEVEL_HIGH})))
	m := protoadapt.MessageV1Of(must(packed.UnmarshalNew()))
	if a, ok := m.(*av1.A); !ok || a.Level != bv1.Level_LEVEL_HIGH {
		t.Errorf("got the %T %v", m, m)
	}
	if err := types.Register(conflicting(t), new(protoregistry.Types)); err == nil ||
		!strings.Contains(err.Error(), "a/v1/a.proto: another file has this path in the registry") {
		t.Errorf("a file with the same path: got %v", err)
	}
}

// conflicting returns a registry with another a/v1/a.proto.
func conflicting(t *testing.T) *protoregistry.Files {
	t.Helper()
	files := new(protoregistry.Files)
	fd := must(protodesc.NewFile(&descriptorpb.FileDescriptorProto{Name: new("a/v1/a.proto")}, nil))
	if err := files.RegisterFile(fd); err != nil {
		t.Fatal(err)
	}
	return files
}

// TestConcurrent is for the race detector: the types of a message are made when it is first seen.
func TestConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = protobuf.JSON{}.Marshal(&scalars.Repeated{}) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}
