//go:build unix

package interop

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/runtime/wkt"
	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

type everything = interopv1.Everything

// messageCases send messages through two languages and back. Each is decoded and encoded by both.
var messageCases = []testCase{
	message("an empty message", &everything{}),
	message("the largest numbers", &everything{FInt32: math.MaxInt32, FInt64: math.MaxInt64, FUint32: math.MaxUint32, FUint64: math.MaxUint64,
		FSint32: math.MaxInt32, FSint64: math.MaxInt64, FFixed32: math.MaxUint32, FFixed64: math.MaxUint64, FSfixed32: math.MaxInt32,
		FSfixed64: math.MaxInt64, FBool: true, FDouble: math.MaxFloat64, FFloat: math.MaxFloat32}),
	message("the smallest numbers", &everything{FInt32: math.MinInt32, FInt64: math.MinInt64, FSint32: math.MinInt32, FSint64: math.MinInt64,
		FSfixed32: math.MinInt32, FSfixed64: math.MinInt64, FDouble: math.SmallestNonzeroFloat64, FFloat: math.SmallestNonzeroFloat32}),
	message("integers that a double cannot hold", &everything{FInt64: 1<<53 + 1, FUint64: 1<<63 + 1, FSint64: -1<<53 - 1, RSint64: []int64{1<<60 + 1, -1<<60 - 1},
		MMessage: map[int64]*everything{1<<53 + 1: {FInt32: 1}, -1<<53 - 1: {FInt32: 2}}}),
	message("NaN and infinities", &everything{FDouble: math.NaN(), FFloat: float32(math.Inf(-1)), RDouble: []float64{math.Inf(1), math.NaN(), 0, math.Inf(-1)}}),
	{feature: "messages", name: "a negative zero", run: func(t *testing.T, v *visit) {
		got := v.mirror(t, &everything{FDouble: math.Copysign(0, -1)})
		if !math.Signbit(got.FDouble) {
			t.Error("the zero lost its sign")
		}
	}},
	message("texts", &everything{FString: "a\x00b", OString: new(""), RString: []string{"", "\u00fc", "\u8a9e", "\U0001f642", "\u202e", "\ufeff", "\r\n\t"}}),
	message("bytes", &everything{FBytes: allBytes(), OBytes: []byte{}, RBytes: [][]byte{{}, {0}, {0xff, 0xfe}, allBytes()}}),
	message("enumerations", &everything{FColor: interopv1.Color_COLOR_BELOW, OColor: new(interopv1.Color_COLOR_UNSPECIFIED),
		RColor: []interopv1.Color{interopv1.Color_COLOR_CRIMSON, interopv1.Color_COLOR_BELOW, interopv1.Color_COLOR_UNSPECIFIED}}),
	message("numbers that an enumeration does not have", &everything{FColor: 7, OColor: new(interopv1.Color(math.MaxInt32)),
		RColor: []interopv1.Color{math.MinInt32, 1, 99}, MColor: map[bool]interopv1.Color{true: 1000}}),
	message("optional fields that are there and zero", &everything{OInt32: new(int32(0)), OString: new(""), OBytes: []byte{}, OColor: new(interopv1.Color_COLOR_UNSPECIFIED)}),
	message("repeated fields", &everything{RDouble: []float64{0, 1.5, -1}, RSint64: []int64{0, -1, 1, -64, 64}, RUnpacked: []int32{0, -1, 300},
		RBool: []bool{true, false, true}, RMessage: []*everything{{}, {FInt32: 1}, {RMessage: []*everything{{}}}}}),
	message("maps", &everything{MString: map[string]string{"": "", "k": "v", "\u00fc": "\U0001f642", "__proto__": "x", "constructor": "y"},
		MMessage: map[int64]*everything{0: {}, -1: {FString: "x"}, math.MaxInt64: {}, math.MinInt64: {}},
		MColor:   map[bool]interopv1.Color{true: 0, false: -1}, MDouble: map[uint32]float64{0: 0, math.MaxUint32: math.Inf(1)}}),
	message("a map of 1000", &everything{MDouble: manyEntries(1000)}),
	message("a oneof that is zero", &everything{Choice: &interopv1.Everything_CUint32{}}),
	message("a oneof that is an empty text", &everything{Choice: &interopv1.Everything_CString{}}),
	message("a oneof that is a message", &everything{Choice: &interopv1.Everything_CMessage{CMessage: &everything{Choice: &interopv1.Everything_CUint32{CUint32: 5}}}}),
	message("a oneof that is a message without fields", &everything{Choice: &interopv1.Everything_CEmpty{CEmpty: &wkt.Empty{}}}),
	message("30 messages in each other", nested(29)), // of 32 that are allowed: the request is around them
	message("an empty message in a field", &everything{FMessage: &everything{}}),
	message("times", &everything{WTimestamp: wkt.NewTimestamp(time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)), WDuration: &wkt.Duration{Seconds: -5, Nanos: -1}}),
	message("the first time there is", &everything{WTimestamp: &wkt.Timestamp{Seconds: -62135596800}, WDuration: &wkt.Duration{Seconds: 315576000000}}),
	message("any message", &everything{WAny: &wkt.Any{TypeUrl: "type.googleapis.com/interop.v1.Refused", Value: []byte{0x0a, 0x01, 'x'}}}),
	message("any message of a type that nobody knows", &everything{WAny: &wkt.Any{TypeUrl: "example.com/not.there", Value: allBytes()}}),
	message("values of JSON", &everything{WStruct: jsonValues(), WString: wkt.NewStringValue("")}),
	{feature: "messages", name: "fields of a newer schema are kept", run: func(t *testing.T, v *visit) {
		b, err := (&everything{FInt32: 5, FMessage: &everything{}}).MarshalAppend(nil)
		if err != nil {
			t.Fatal(err)
		}
		// Number 999, of each wire type, also in the field f_message that comes again.
		unknown := []byte{0xb8, 0x3e, 0x96, 0x01, 0xb9, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8, 0xba, 0x3e, 2, 'h', 'i', 0xbd, 0x3e, 1, 2, 3, 4}
		b = append(append(b, unknown...), append([]byte{0x8a, 0x01, byte(len(unknown))}, unknown...)...)
		sent := &everything{}
		if err := sent.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		if got := v.mirror(t, sent); !got.Equal(sent) || got.Size() != len(b)-3 { // the field f_message stood there twice
			t.Errorf("sent %v of %d bytes, got back %v of %d", sent, len(b), got, got.Size())
		}
	}},
}

// message is the case of a message that comes back as it was sent.
func message(name string, m *everything) testCase {
	return testCase{feature: "messages", name: name, run: func(t *testing.T, v *visit) {
		if got := v.mirror(t, m); !got.Equal(m) {
			t.Errorf("got back (-want +got):\n%s", cmp.Diff(codec.Format(m), codec.Format(got)))
		}
	}}
}

// mirror sends a message and returns what comes back.
func (v *visit) mirror(t *testing.T, m *everything) *everything {
	t.Helper()
	res := v.unary(t, &interopv1.Request{Everything: m})
	wantCode(t, res, ipc.OK)
	if len(res.Responses) != 1 || res.Responses[0].Everything == nil {
		t.Fatalf("got %v", res)
	}
	return res.Responses[0].Everything
}

func allBytes() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func manyEntries(n int) map[uint32]float64 {
	m := map[uint32]float64{}
	for i := range n {
		m[uint32(i)] = float64(i) / 3
	}
	return m
}

func nested(depth int) *everything {
	m := &everything{FString: "the innermost"}
	for range depth {
		m = &everything{FMessage: m}
	}
	return m
}

func jsonValues() *wkt.Struct {
	s, err := wkt.NewStruct(map[string]any{"null": nil, "number": 1.5, "text": "x", "bool": false, "list": []any{1.0, "a", nil},
		"struct": map[string]any{"": true}})
	if err != nil {
		panic(err) // the values are no others
	}
	return s
}
