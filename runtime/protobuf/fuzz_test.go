package protobuf_test

import (
	"testing"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/protobuf"
	"github.com/ipcgen/ipcgen/testdata/messages/go/nested"
	"github.com/ipcgen/ipcgen/testdata/proto2/go/old"
)

// FuzzRead: no JSON and no text does harm, and what is read comes back the same when it is written and read again.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.5s"},"data":{"a":[null,1e3]}}`,
		`{"at":"2026-01-02T03:04:05.6+01:00","span":"-3s","mask":"aB.c","numbers":["1",2]}`,
		`{"name":"n","[old.number]":7,"color":"BLUE","part":[{"n":1}]}`,
		`name: "n" [old.shades]: [RED, 5] part { n: 1 } part < n: 2 > # note`,
		`any { [type.googleapis.com/nested.WellKnown] { span { seconds: 1 } } } at: { nanos: 1 }`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []codec.Message{&nested.WellKnown{}, &old.Old{}} {
			if (protobuf.JSON{}).Unmarshal(b, m) == nil {
				again := fresh(m)
				text, err := protobuf.JSON{}.Marshal(m)
				if err == nil {
					err = protobuf.JSON{}.Unmarshal(text, again)
				}
				if err != nil || encoded(t, again) != encoded(t, m) {
					t.Errorf("JSON %s became %v, then %s, %v, %v", b, m, text, again, err)
				}
			}
			if (protobuf.Text{}).Unmarshal(b, m) == nil {
				again := fresh(m)
				text, err := protobuf.Text{}.Marshal(m)
				if err == nil {
					err = protobuf.Text{}.Unmarshal(text, again)
				}
				if err != nil || encoded(t, again) != encoded(t, m) {
					t.Errorf("text %s became %v, then %s, %v, %v", b, m, text, again, err)
				}
			}
		}
	})
}
