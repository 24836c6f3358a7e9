package codec_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/codec"
	blobsv0 "github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/v0"
	blobsv1 "github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/v1"
)

// randomBytes are sometimes nil, sometimes few, sometimes many.
func randomBytes(rng *rand.Rand) []byte {
	n := []int{0, 1, 99, 100, 999, 1000, 65535, 65536, 100_000}[rng.IntN(9)]
	if n == 0 && rng.IntN(2) == 0 {
		return nil
	}
	b := make([]byte, n)
	for i := 0; i < n; i += 97 {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func randomPicture(rng *rand.Rand) *blobsv1.Picture {
	if rng.IntN(4) == 0 {
		return &blobsv1.Picture{}
	}
	return &blobsv1.Picture{Name: strings.Repeat("n", rng.IntN(200)), Data: randomBytes(rng), Digest: randomBytes(rng)}
}

// randomAlbum has other albums inside to a depth.
func randomAlbum(rng *rand.Rand, depth int) *blobsv1.Album {
	m := &blobsv1.Album{Title: strings.Repeat("t", rng.IntN(20)), Cover: randomBytes(rng)}
	for range rng.IntN(3) {
		m.Pages = append(m.Pages, append([]byte{}, randomBytes(rng)...))
	}
	switch rng.IntN(4) {
	case 0:
		m.Back = &blobsv1.Album_Print{Print: append([]byte{}, randomBytes(rng)...)}
	case 1:
		m.Back = &blobsv1.Album_Picture{Picture: randomPicture(rng)}
	case 2:
		m.Back = &blobsv1.Album_Text{Text: "text"}
	}
	if rng.IntN(2) == 0 {
		m.First = randomPicture(rng)
	}
	for range rng.IntN(3) {
		m.More = append(m.More, randomPicture(rng))
	}
	if depth > 0 {
		m.Inner = randomAlbum(rng, depth-1)
	}
	if rng.IntN(3) == 0 {
		m.Named = map[string]*blobsv1.Picture{"a": randomPicture(rng), "b": randomPicture(rng)}
	}
	if rng.IntN(3) == 0 {
		m.Area = &blobsv1.Area{Width: 7, Inner: make([]*blobsv1.Area, rng.IntN(20_000))}
		for i := range m.Area.Inner {
			m.Area.Inner[i] = &blobsv1.Area{Height: uint32(i)}
		}
		m.Last = randomPicture(rng)
	}
	return m
}

func randomOld(rng *rand.Rand, depth int) *blobsv1.Old {
	m := &blobsv1.Old{Data: append([]byte{}, randomBytes(rng)...), Part: &blobsv1.Old_Part{Data: randomBytes(rng)}}
	for range rng.IntN(3) {
		m.Others = append(m.Others, &blobsv1.Old_Others{Data: randomBytes(rng)})
	}
	if depth > 0 {
		m.Part.Old = randomOld(rng, depth-1)
	}
	return m
}

type holder interface {
	codec.Holder
	codec.Message
}

// A message is what the tests need of a generated one.
type message[M any] interface {
	holder
	Equal(M) bool
}

// apart encodes m with its blobs apart, behind some bytes, and holds that against its wire format.
func apart(t *testing.T, m holder) (rest []byte, parts []codec.Part) {
	t.Helper()
	whole, err := m.MarshalAppend(nil)
	if err != nil {
		t.Fatal(err)
	}
	var cut codec.Parts
	rest, err = m.AppendApart([]byte("before"), &cut)
	if err != nil {
		t.Fatal(err)
	}
	rest, parts = rest[len("before"):], cut.List
	for i := range parts {
		parts[i].At -= len("before")
	}
	if joined := codec.Join(rest, parts); !bytes.Equal(joined, whole) {
		t.Fatalf("%d bytes and %d parts make %d bytes that are not the %d of the message", len(rest), len(parts), len(joined), len(whole))
	}
	return rest, parts
}

// testApart encodes m with its blobs apart and decodes it again, in place and not.
func testApart[M message[M]](t *testing.T, m, got M) int {
	t.Helper()
	rest, parts := apart(t, m)
	for _, inPlace := range []bool{false, true} {
		if !(codec.Options{}).UnmarshalApart(rest, parts, inPlace, got) {
			t.Fatalf("in place %v: %d bytes and %d parts were not decoded", inPlace, len(rest), len(parts))
		}
		if !m.Equal(got) {
			t.Fatalf("in place %v: got %.1000v, want %.1000v", inPlace, got, m)
		}
	}
	return len(parts)
}

func TestApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := 0
	for range 200 {
		parts += testApart(t, randomAlbum(rng, rng.IntN(4)), new(blobsv1.Album))
		parts += testApart(t, randomOld(rng, rng.IntN(4)), new(blobsv1.Old))
		parts += testApart(t, randomPicture(rng), new(blobsv1.Picture))
	}
	if parts < 1000 {
		t.Errorf("only %d blobs were apart", parts)
	}
}

// TestApartFrom: what stays in the message is what the schema says.
func TestApartFrom(t *testing.T) {
	for name, c := range map[string]struct {
		m     holder
		parts int
	}{
		"by default, below":   {&blobsv1.Picture{Data: make([]byte, 65535)}, 0},
		"by default":          {&blobsv1.Picture{Data: make([]byte, 65536), Digest: make([]byte, 65536)}, 1},
		"1000, below":         {&blobsv1.Album{Cover: make([]byte, 999)}, 0},
		"1000":                {&blobsv1.Album{Cover: make([]byte, 1000)}, 1},
		"1":                   {&blobsv1.Album{Pages: [][]byte{{}, {1}, {}, {2, 3}}}, 2},
		"in maps":             {&blobsv1.Album{Named: map[string]*blobsv1.Picture{"": {Data: make([]byte, 100_000)}}}, 0},
		"behind maps":         {&blobsv1.Album{Named: map[string]*blobsv1.Picture{"": {}}, Last: &blobsv1.Picture{Data: make([]byte, 100_000)}}, 1},
		"behind long lengths": {&blobsv1.Album{Area: longArea(), Last: &blobsv1.Picture{Data: make([]byte, 100_000)}}, 1},
	} {
		if _, parts := apart(t, c.m); len(parts) != c.parts {
			t.Errorf("%s: %d parts, want %d", name, len(parts), c.parts)
		}
	}
}

// longArea needs lengths of three bytes, which get their room when all is written.
func longArea() *blobsv1.Area {
	m := &blobsv1.Area{Inner: []*blobsv1.Area{{}}}
	for range 20_000 {
		m.Inner[0].Inner = append(m.Inner[0].Inner, &blobsv1.Area{})
	}
	return m
}

// TestApartAll: all blobs can be cut out, except those in maps, and none that are empty.
func TestApartAll(t *testing.T) {
	m := &blobsv1.Album{Cover: []byte("c"), Pages: [][]byte{{}, {1}}, First: &blobsv1.Picture{Data: []byte("data"), Digest: []byte("no blob")},
		Inner: &blobsv1.Album{Back: &blobsv1.Album_Print{Print: []byte("p")}}, Named: map[string]*blobsv1.Picture{"": {Data: []byte("in a map")}}}
	parts := codec.Parts{All: true}
	rest, err := m.AppendApart(nil, &parts)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range parts.List {
		got = append(got, string(p.Bytes))
	}
	if want := []string{"c", "\x01", "data", "p"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if again := new(blobsv1.Album); again.Unmarshal(codec.Join(rest, parts.List)) != nil || !again.Equal(m) {
		t.Errorf("put together: %v", again)
	}
}

// TestApartNear: what lies in some memory is cut out, however little it is.
func TestApartNear(t *testing.T) {
	memory := []byte("some memory")
	for name, c := range map[string]struct {
		data []byte
		want int
	}{
		"all of it": {memory, 1}, "its end": {memory[10:], 1}, "its first byte": {memory[:1:1], 1}, "elsewhere": {[]byte("some memory"), 0},
		"nothing of it": {memory[:0], 0}, "none": {nil, 0},
	} {
		parts := codec.Parts{Near: memory}
		if _, err := (&blobsv1.Picture{Data: c.data}).AppendApart(nil, &parts); err != nil || len(parts.List) != c.want {
			t.Errorf("%s: %d parts, %v, want %d", name, len(parts.List), err, c.want)
		}
	}
}

// TestApartCopies: only blobs that are to stay in place are the parts themselves.
func TestApartCopies(t *testing.T) {
	rest, parts := apart(t, &blobsv1.Picture{Data: make([]byte, 100_000)})
	for _, inPlace := range []bool{false, true} {
		var m blobsv1.Picture
		if !(codec.Options{}).UnmarshalApart(rest, parts, inPlace, &m) {
			t.Fatal("not decoded")
		}
		if (&m.Data[0] == &parts[0].Bytes[0]) != inPlace {
			t.Errorf("in place %v: the bytes are the part's: %v", inPlace, !inPlace)
		}
	}
}

// TestApartUnknown: a message of which some field is unknown, or no blob, is decoded when it has been put together.
func TestApartUnknown(t *testing.T) {
	data := make([]byte, 100_000)
	sent := &blobsv1.Album{Title: "t", First: &blobsv1.Picture{Name: "n", Data: data}, More: []*blobsv1.Picture{{Data: data}}}
	rest, parts := apart(t, sent)
	for name, m := range map[string]codec.Message{
		"no blobs": new(blobsv0.Album), "other fields": new(blobsv1.Picture), "a group": new(blobsv1.Old)} {
		if (codec.Options{}).UnmarshalApart(rest, parts, false, m) {
			t.Errorf("%s: decoded %.100v", name, m)
		}
	}
	old := new(blobsv0.Album)
	if err := old.Unmarshal(codec.Join(rest, parts)); err != nil || old.Title != "t" || !bytes.Equal(old.First.Data, data) {
		t.Errorf("put together: %.100v, %v", old, err)
	}
	again := new(blobsv1.Album)
	b, err := old.MarshalAppend(nil)
	if err == nil {
		err = again.Unmarshal(b)
	}
	if err != nil || !again.Equal(sent) {
		t.Errorf("through the older schema: %.100v, %v", again, err)
	}
}

// TestApartRequired: a required field is missed here as elsewhere.
func TestApartRequired(t *testing.T) {
	m := &blobsv1.Old{Part: &blobsv1.Old_Part{Data: make([]byte, 1000)}}
	if _, err := m.AppendApart(nil, new(codec.Parts)); err == nil || !strings.Contains(err.Error(), "blobsv1.Old.data: the field is required and missing") {
		t.Error(err)
	}
	b := []byte{2<<3 | 3, 3<<3 | 2, 200, 1, 2<<3 | 4}
	if (codec.Options{}).UnmarshalApart(b, []codec.Part{{At: 4, Bytes: make([]byte, 200)}}, false, m) {
		t.Errorf("decoded %v", m)
	}
}

// FuzzApart: what can be decoded with parts is what it would be if it were put together first.
func FuzzApart(f *testing.F) {
	page := []byte("page")
	for _, m := range []holder{
		&blobsv1.Album{Title: "title", Pages: [][]byte{page, {}, page}},
		&blobsv1.Album{Pages: [][]byte{page}, Inner: &blobsv1.Album{Pages: [][]byte{page, page}, Inner: &blobsv1.Album{Pages: [][]byte{page}}}},
		&blobsv1.Album{Cover: make([]byte, 1000), Inner: &blobsv1.Album{First: &blobsv1.Picture{Name: "name"}, Pages: [][]byte{page}}},
		&blobsv1.Old{Data: make([]byte, 100), Part: &blobsv1.Old_Part{Data: make([]byte, 100), Old: &blobsv1.Old{Data: make([]byte, 200)}}},
		&blobsv1.Old{Data: make([]byte, 1), Others: []*blobsv1.Old_Others{{Data: make([]byte, 100)}, {Data: make([]byte, 100)}}},
	} {
		var parts codec.Parts
		rest, err := m.AppendApart(nil, &parts)
		if err != nil {
			f.Fatal(err)
		}
		var table []byte
		for _, p := range parts.List {
			table = binary.LittleEndian.AppendUint16(table, uint16(p.At))
			table = binary.LittleEndian.AppendUint16(table, uint16(len(p.Bytes)))
		}
		f.Add(rest, table)
	}
	// The second part begins inside a message that is too short for it.
	f.Add([]byte("\x1a\x04J\x04\x1a\x04\x1a\x04J\x06\x1a\x04"), []byte("\x02\x00\x04\x00\x06\x00\x04\x00\b\x00\x04\x00\f\x00\x04\x00"))
	f.Fuzz(func(t *testing.T, rest, table []byte) {
		var parts []codec.Part
		at := 0
		for ; len(table) >= 4; table = table[4:] {
			next, n := int(binary.LittleEndian.Uint16(table)), binary.LittleEndian.Uint16(table[2:])
			if next < at || next > len(rest) {
				return
			}
			at = next
			parts = append(parts, codec.Part{At: at, Bytes: bytes.Repeat([]byte{0x12}, int(n))})
		}
		compareApart(t, rest, parts, new(blobsv1.Album), new(blobsv1.Album))
		compareApart(t, rest, parts, new(blobsv1.Old), new(blobsv1.Old))
		compareApart(t, rest, parts, new(blobsv1.Picture), new(blobsv1.Picture))
	})
}

func compareApart[M message[M]](t *testing.T, rest []byte, parts []codec.Part, got, want M) {
	t.Helper()
	if !(codec.Options{}).UnmarshalApart(rest, parts, true, got) {
		return
	}
	if err := (codec.Options{}).Unmarshal(codec.Join(rest, parts), want); err != nil || !got.Equal(want) {
		t.Errorf("%T: got %v, want %v, %v", got, got, want, err)
	}
}

// TestApartOutside: a message does not reach to parts behind the end of the one that it is in, however long it says it is.
func TestApartOutside(t *testing.T) {
	for _, n := range []uint64{7, 8, 100, 1 << 20, 1 << 62, 1<<63 - 8, 1 << 63, 1<<64 - 2} {
		inner := binary.AppendUvarint([]byte{9<<3 | 2}, n)
		rest := append([]byte{9<<3 | 2, byte(len(inner))}, inner...)
		rest = append(rest, 1<<3|2, 1, 'x')
		for at := len(inner) + 2; at <= len(rest); at++ {
			parts := []codec.Part{{At: at, Bytes: []byte("apart")}}
			if m := new(blobsv1.Album); (codec.Options{}).UnmarshalApart(rest, parts, false, m) {
				t.Errorf("%d bytes inside %d, with a part at %d: decoded %v", n, len(inner), at, m)
			}
		}
	}
}
