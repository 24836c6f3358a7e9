package codec_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/wkt"
	blobsv1 "github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/v1"
	"github.com/ipcgen/ipcgen/testdata/messages/go/scalars"
)

// TestSpread: with the parts put in, a message is what MarshalAppend writes.
func TestSpread(t *testing.T) {
	spread, copied := 0, 0
	check := func(m codec.Message) {
		t.Helper()
		const before = "before"
		want, err := m.MarshalAppend([]byte(before))
		if err != nil {
			t.Fatal(err)
		}
		got, parts, err := codec.MarshalSpread(append(make([]byte, 0, 16), before...), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		at := len(before)
		for _, p := range parts {
			if p.At < at || len(p.Bytes) < 16<<10 || !bytes.Equal(want[p.At:p.At+len(p.Bytes)], p.Bytes) {
				t.Fatalf("a part of %d bytes at %d, behind %d", len(p.Bytes), p.At, at)
			}
			clear(got[p.At : p.At+len(p.Bytes)])
			at = p.At + len(p.Bytes)
		}
		if spread += len(parts); len(parts) == 0 && len(want) > 64<<10 {
			copied++
		}
		codec.Fill(got, parts)
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes with %d parts differ from the %d of MarshalAppend", len(got), len(parts), len(want))
		}
	}
	for seed := range uint64(300) {
		m := randomAlbum(rand.New(rand.NewPCG(seed, 0)), int(seed%3))
		check(m)
		m.Inner, m.First, m.More, m.Last, m.Named, m.Back = nil, nil, nil, nil, nil, nil
		check(m) // without messages inside
	}
	check(&scalars.Singular{AString: strings.Repeat("é", 1<<20), SomeBytes: make([]byte, 1<<16), Color: 1})
	if spread < 100 || copied < 100 {
		t.Errorf("%d parts, and %d large messages without any: too few for a test", spread, copied)
	}
}

// TestSpreadInside: contents of all sizes around the least that are spread stand where they belong inside messages, whatever room
// the lengths of these were given.
func TestSpreadInside(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	content := func() []byte {
		b := make([]byte, []int{0, 100, 127, 300, 7 << 10, 10 << 10, 16<<10 - 20, 16<<10 - 1, 16 << 10, 17 << 10, 70 << 10}[rng.IntN(11)])
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	picture := func() *blobsv1.Picture { return &blobsv1.Picture{Name: "a", Data: content(), Digest: content()} }
	for range 300 {
		album := &blobsv1.Album{Cover: content(), First: picture(), Named: map[string]*blobsv1.Picture{"a": picture()}}
		for range rng.IntN(4) {
			album.More = append(album.More, picture())
		}
		if rng.IntN(2) == 0 {
			album.Inner = &blobsv1.Album{First: picture(), More: []*blobsv1.Picture{picture()}}
		}
		for _, m := range []codec.Message{album, &wkt.Option{Name: "x", Value: &wkt.Any{TypeUrl: "u", Value: content()}}} {
			want, err := m.MarshalAppend(nil)
			if err != nil {
				t.Fatal(err)
			}
			got, parts, err := codec.MarshalSpread(nil, m, nil)
			if err != nil {
				t.Fatal(err)
			}
			codec.Fill(got, parts)
			if !bytes.Equal(got, want) {
				t.Fatalf("%T of %d bytes with %d parts is not what MarshalAppend writes", m, len(want), len(parts))
			}
		}
	}
}

// TestSpreadFails: what MarshalAppend refuses, MarshalSpread does.
func TestSpreadFails(t *testing.T) {
	for want, m := range map[string]codec.Message{
		"blobsv1.Old.data: the field is required and missing": &blobsv1.Old{Part: &blobsv1.Old_Part{Data: make([]byte, 1<<16)}},
		"the string is not valid UTF-8":                       &scalars.Singular{SomeBytes: make([]byte, 1<<16), AString: strings.Repeat("a", 1<<16) + "\xff"},
	} {
		if _, _, err := codec.MarshalSpread(nil, m, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
