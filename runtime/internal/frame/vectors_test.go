package frame

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/testdata/vectors"
)

// vectorFile is a file of frames that every language reads; its README.md says what the keys mean.
type vectorFile struct {
	About    string
	MaxFrame uint32 `json:"max_frame"`
	Entries  int    `json:"metadata_entries"`
	Bytes    int    `json:"metadata_bytes"`
	Cases    []vectorCase
}

type vectorCase struct {
	Name    string
	Hex     vectors.Hex
	Unique  bool
	Refused string
	Want    *vectorWant
}

type vectorWant struct {
	Type    string
	Flags   []string
	Stream  StreamID
	Arg     uint32
	Payload *vectors.Hex
	Hello   *vectorHello
	Call    *struct {
		Method   vectors.Hex
		Timeout  string
		Metadata map[string]vectors.Hex
		Message  vectors.Hex
	}
	Status *struct {
		Text    string
		Details []struct {
			Type  string
			Value vectors.Hex
		}
		Trailers map[string]vectors.Hex
		Message  vectors.Hex
	}
}

type vectorHello struct {
	MinVersion uint16 `json:"min_version"`
	MaxVersion uint16 `json:"max_version"`
	Features   uint32
	MaxFrame   uint32 `json:"max_frame"`
	MaxMessage uint32 `json:"max_message"`
	MaxSlots   uint32 `json:"max_slots"`
	Window     uint32
	Session    string
	Agent      string
	Services   []struct{ Name, Hash string }
}

// frame makes of what a vector says what decode returns.
func (w *vectorWant) frame(t *testing.T, length int) specFrame {
	t.Helper()
	f := specFrame{Header: Header{Length: uint32(length), Stream: w.Stream, Arg: w.Arg}}
	for i := range rules {
		if rules[i].name == w.Type {
			f.Header.Type = Type(i)
		}
	}
	for _, name := range w.Flags {
		f.Header.Flags |= flagNames[name]
	}
	switch {
	case w.Hello != nil:
		f.Payload = w.Hello.payload(t)
	case w.Call != nil:
		f.Payload = CallPayload{Method: binary.LittleEndian.Uint64(w.Call.Method), Timeout: number(t, w.Call.Timeout), Metadata: metadataOf(w.Call.Metadata)}
		f.Message = w.Call.Message
	case w.Status != nil:
		p := StatusPayload{Text: w.Status.Text, Trailers: metadataOf(w.Status.Trailers)}
		for _, d := range w.Status.Details {
			p.Details = append(p.Details, Detail{d.Type, d.Value})
		}
		f.Payload, f.Message = p, w.Status.Message
	case w.Payload != nil:
		f.Payload = string(*w.Payload)
	default:
		f.Payload = ""
	}
	return f
}

func (h *vectorHello) payload(t *testing.T) *HelloPayload {
	p := &HelloPayload{MinVersion: h.MinVersion, MaxVersion: h.MaxVersion, Features: h.Features, MaxFrame: h.MaxFrame,
		MaxMessage: h.MaxMessage, MaxSlots: h.MaxSlots, Window: h.Window, Session: number(t, h.Session), Agent: h.Agent}
	for _, s := range h.Services {
		p.Services = append(p.Services, ServiceHash{s.Name, number(t, s.Hash)})
	}
	return p
}

// number reads 64 bits, which the files have as strings: JSON's numbers do not hold them.
func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func metadataOf(m map[string]vectors.Hex) Metadata {
	if len(m) == 0 {
		return nil
	}
	md := Metadata{}
	for k, v := range m {
		md[k] = string(v)
	}
	return md
}

// TestVectors: every frame of the vectors is decoded to what they say, or refused, and encoded to the same bytes again
// where there is one way to do so.
func TestVectors(t *testing.T) {
	for _, name := range []string{"frames.json", "handshakes.json", "calls.json", "statuses.json"} {
		var file vectorFile
		vectors.Load(t, name, &file)
		for _, c := range file.Cases {
			t.Run(strings.TrimSuffix(name, ".json")+"/"+c.Name, func(t *testing.T) { testVector(t, &file, c) })
		}
	}
}

func testVector(t *testing.T, file *vectorFile, c vectorCase) {
	if (c.Refused == "") != (c.Want != nil) {
		t.Fatal("want either refused or want")
	}
	got, err := decode(c.Hex, file.MaxFrame, MetadataLimit{Entries: file.Entries, Bytes: file.Bytes})
	if c.Refused != "" {
		if err == nil {
			t.Errorf("got %+v, want it refused: %s", got, c.Refused)
		}
		return
	}
	want := c.Want.frame(t, len(c.Hex)-HeaderSize)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if again := want.encode(nil); bytes.Equal(again, c.Hex) != c.Unique {
		t.Errorf("encoded to\n% x\nfrom\n% x\nwant the same: %v", again, c.Hex, c.Unique)
	}
}

// corpus returns what FuzzParse has found, as a file that other languages run through their parsers.
func corpus(t testing.TB) (accepted, refused [][]byte) {
	t.Helper()
	for line := range strings.Lines(string(vectors.Read(t, "corpus.txt"))) {
		verdict, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, err := hex.DecodeString(digits)
		switch {
		case strings.HasPrefix(verdict, "#"):
		case verdict == "accept" && err == nil:
			accepted = append(accepted, b)
		case verdict == "refuse" && err == nil:
			refused = append(refused, b)
		default:
			t.Fatalf("corpus.txt: %q: %v", line, err)
		}
	}
	return accepted, refused
}

// TestCorpus: what the corpus says is accepted is, and nothing else.
func TestCorpus(t *testing.T) {
	accepted, refused := corpus(t)
	if len(accepted) < 50 || len(refused) < 50 {
		t.Errorf("the corpus has %d frames that are accepted and %d that are refused", len(accepted), len(refused))
	}
	for _, b := range slices.Concat(accepted, refused) {
		_, err := decode(b, fuzzFrame, limit)
		if want := slices.ContainsFunc(accepted, func(a []byte) bool { return bytes.Equal(a, b) }); (err == nil) != want {
			t.Errorf("%x: got %v, want it accepted: %v", b, err, want)
		}
	}
}
