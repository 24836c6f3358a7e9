package wkt_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/wkt"
	"github.com/ipcgen/ipcgen/runtime/wkt/descriptor"
)

func ExampleTimestamp() {
	at := wkt.NewTimestamp(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
	fmt.Println(at.AsTime())
	// Output: 2026-01-02 03:04:05.000000006 +0000 UTC
}

func ExampleStruct() {
	s, err := wkt.NewStruct(map[string]any{"name": "Ada", "born": 1815, "known": []any{"numbers", true, nil}})
	if err != nil {
		panic(err)
	}
	fmt.Println(s.AsMap())
	// Output: map[born:1815 known:[numbers true <nil>] name:Ada]
}

func ExampleAny() {
	packed, err := wkt.NewAny(wkt.NewDuration(90 * time.Second))
	if err != nil {
		panic(err)
	}
	var d wkt.Duration
	if err := packed.UnpackTo(&d); err != nil {
		panic(err)
	}
	fmt.Println(packed.MessageName(), d.AsDuration())
	fmt.Println(packed.UnpackTo(&wkt.Empty{}))
	// Output:
	// google.protobuf.Duration 1m30s
	// unpacking google.protobuf.Empty: "google.protobuf.Duration" is inside
}

func ExampleFieldMask() {
	mask, err := wkt.NewFieldMask(&wkt.Type{}, "source_context.file_name", "name", "source_context")
	if err != nil {
		panic(err)
	}
	mask.Normalize()
	fmt.Println(mask.Paths)
	_, err = wkt.NewFieldMask(&wkt.Type{}, "fields.name")
	fmt.Println(err)
	// Output:
	// [name source_context]
	// field mask: "fields.name" is not a field of google.protobuf.Type
}

func ExampleStringValue() {
	for _, name := range []*wkt.StringValue{nil, wkt.NewStringValue("")} {
		fmt.Printf("%t %q\n", name != nil, name.GetValue())
	}
	// Output:
	// false ""
	// true ""
}

func TestDuration(t *testing.T) {
	for _, d := range []time.Duration{0, 1, -1, time.Second, -1500 * time.Millisecond, math.MaxInt64, math.MinInt64} {
		m := wkt.NewDuration(d)
		if got := m.AsDuration(); got != d || m.CheckValid() != nil {
			t.Errorf("%v became %v, %v", d, got, m.CheckValid())
		}
	}
	for _, c := range []struct {
		m    *wkt.Duration
		want time.Duration
	}{
		{nil, 0},
		{&wkt.Duration{Seconds: math.MaxInt64}, math.MaxInt64},
		{&wkt.Duration{Seconds: math.MinInt64}, math.MinInt64},
		{&wkt.Duration{Seconds: math.MaxInt64 / int64(time.Second), Nanos: 999999999}, math.MaxInt64},
	} {
		if got := c.m.AsDuration(); got != c.want {
			t.Errorf("%v: got %v, want %v", c.m, got, c.want)
		}
	}
}

func TestCheckValid(t *testing.T) {
	for want, m := range map[string]interface{ CheckValid() error }{
		"timestamp: nil":                    (*wkt.Timestamp)(nil),
		"-62135596801 seconds":              &wkt.Timestamp{Seconds: -62135596801},
		"-1 nanoseconds":                    &wkt.Timestamp{Nanos: -1},
		"duration: nil":                     (*wkt.Duration)(nil),
		"315576000001 seconds":              &wkt.Duration{Seconds: 315576000001},
		"1000000000 nanoseconds":            &wkt.Duration{Nanos: 1000000000},
		"1 seconds and -1 nanoseconds have": &wkt.Duration{Seconds: 1, Nanos: -1},
	} {
		if err := m.CheckValid(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that has %q", err, want)
		}
	}
	if err := wkt.NewTimestamp(time.Unix(0, 0)).CheckValid(); err != nil {
		t.Error(err)
	}
}

func TestValue(t *testing.T) {
	in := map[string]any{"a": nil, "b": true, "c": 1.5, "d": "x", "e": []any{1.0, "y"}, "f": map[string]any{"g": false}}
	s, err := wkt.NewStruct(in)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.MarshalAppend(nil)
	if err != nil {
		t.Fatal(err)
	}
	var again wkt.Struct
	if err := again.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	if got := again.AsMap(); !reflect.DeepEqual(got, in) {
		t.Errorf("got %v, want %v", got, in)
	}
	for want, v := range map[string]any{
		"a struct {} cannot be a Value":     struct{}{},
		"NaN: JSON has no such number":      math.NaN(),
		"not UTF-8":                         "\xff",
		"element 1: a chan int cannot":      []any{1, make(chan int)},
		"k: a complex128 cannot be a Value": map[string]any{"k": 1i},
	} {
		if _, err := wkt.NewValue(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that has %q", err, want)
		}
	}
}

func TestAny(t *testing.T) {
	full, err := wkt.NewAny(&wkt.Any{TypeUrl: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if full.TypeUrl != "type.googleapis.com/google.protobuf.Any" || !full.MessageIs(&wkt.Any{}) || full.MessageIs(&wkt.Empty{}) {
		t.Errorf("got %v", full)
	}
	if full.TypeUrl = "google.protobuf.Any"; full.UnpackTo(&wkt.Any{}) != nil {
		t.Error("a type URL without a slash is not understood")
	}
	if nested, err := wkt.NewAny(&descriptor.DescriptorProto_ExtensionRange{}); err != nil || nested.MessageName() != "google.protobuf.DescriptorProto.ExtensionRange" {
		t.Errorf("got %v, %v", nested, err)
	}
	var none *wkt.Any
	if err := none.UnpackTo(&wkt.Any{}); err == nil || none.MessageIs(foreign{}) {
		t.Errorf("nil holds a message: %v", err)
	}
	if _, err := wkt.NewAny(foreign{}); err == nil || !strings.Contains(err.Error(), "wkt_test.foreign") {
		t.Errorf("a message that ipcgen has not generated: got %v, want an error that names its type", err)
	}
	if err := (&wkt.Any{TypeUrl: "/google.protobuf.Empty", Value: []byte{0x80}}).UnpackTo(&wkt.Empty{}); err == nil || !strings.Contains(err.Error(), "offset 0") {
		t.Errorf("bytes that are none: got %v, want an error that says where", err)
	}
	bad := &wkt.StringValue{Value: "\xff"}
	if _, err := wkt.NewAny(bad); err == nil || !strings.Contains(err.Error(), "packing google.protobuf.StringValue") {
		t.Errorf("what cannot be encoded: got %v, want an error that names it", err)
	}
}

// foreign is a message of somebody else's.
type foreign struct{ codec.Message }

func TestFieldMask(t *testing.T) {
	for path, want := range map[string]bool{
		"name": true, "syntax": true, "fields": true, "source_context": true, "source_context.file_name": true,
		"": false, ".": false, "name.": false, "Name": false, "fields.name": false, "name.x": false, "source_context.x": false,
	} {
		if err := (&wkt.FieldMask{Paths: []string{path}}).CheckValid((*wkt.Type)(nil)); (err == nil) != want {
			t.Errorf("%q: got %v, want valid %t", path, err, want)
		}
	}
	if err := (&wkt.FieldMask{Paths: []string{"null_value", "struct_value.fields"}}).CheckValid(&wkt.Value{}); err != nil {
		t.Errorf("members of a oneof: %v", err)
	}
	m := &wkt.FieldMask{Paths: []string{"b.c", "a", "b", "bb", "a", "b.c.d"}}
	if m.Normalize(); !slices.Equal(m.Paths, []string{"a", "b", "bb"}) {
		t.Errorf("Normalize leaves %q", m.Paths)
	}
}
