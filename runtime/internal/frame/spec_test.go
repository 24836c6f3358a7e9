package frame

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// specPath is where the specification stands, whose tables and example are checked here.
const specPath = "../../PROTOCOL.md"

func spec(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(specPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// specBytes returns the bytes of each hex block of the specification.
func specBytes(t *testing.T) [][]byte {
	t.Helper()
	var blocks [][]byte
	for _, block := range regexp.MustCompile("(?s)```hex\n(.*?)```").FindAllStringSubmatch(spec(t), -1) {
		var all []byte
		for line := range strings.Lines(block[1]) {
			digits, _, commented := strings.Cut(line, ";")
			b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(digits), " ", ""))
			if err != nil || !commented {
				t.Fatalf("%s: the line %q: want hex bytes; and what they are: %v", specPath, line, err)
			}
			all = append(all, b...)
		}
		blocks = append(blocks, all)
	}
	return blocks
}

// hash64 is how methods and services become numbers.
func hash64(s string) uint64 {
	sum := sha256.Sum256([]byte(s))
	return binary.LittleEndian.Uint64(sum[:])
}

// echoHash is the hash of echo.v1.Echo as the specification says it is made.
func echoHash() uint64 {
	var lines []string
	for shape, method := range []string{"Say", "Repeat", "Join", "Chat", "Note"} {
		lines = append(lines, fmt.Sprintf("echo.v1.Echo/%s %d\n", method, shape))
	}
	slices.Sort(lines)
	return hash64(strings.Join(lines, ""))
}

// A specFrame is a frame of the example, its payload parsed.
type specFrame struct {
	Header  Header
	Payload any
	Message []byte
}

// encode appends f to b by the functions that sessions use.
func (f *specFrame) encode(b []byte) []byte {
	var body []byte
	switch p := f.Payload.(type) {
	case *HelloPayload:
		body = p.Append(nil)
	case CallPayload:
		body = p.Append(nil)
	case StatusPayload:
		body = p.Append(nil)
	case string:
		body = []byte(p)
	}
	body = append(body, f.Message...)
	f.Header.Length = uint32(len(body))
	return append(f.Header.Append(b), body...)
}

// decode reads the one frame of b.
func decode(b []byte, maxFrame uint32, limit MetadataLimit) (f specFrame, err error) {
	if f.Header, err = Parse(b, maxFrame); err != nil {
		return f, err
	}
	if b = b[HeaderSize:]; len(b) != int(f.Header.Length) {
		return f, fmt.Errorf("the header says %d bytes of payload, there are %d", f.Header.Length, len(b))
	}
	switch f.Header.Type {
	case Hello:
		f.Payload, err = ParseHello(b)
	case Call:
		f.Payload, f.Message, err = ParseCall(b, limit)
	case Status:
		f.Payload, f.Message, err = ParseStatus(b, limit)
	default:
		f.Payload = string(b)
	}
	return f, err
}

// TestSpecExample decodes and encodes the session that the specification writes out.
func TestSpecExample(t *testing.T) {
	say := hash64("echo.v1.Echo/Say")
	hello := []byte("\x0a\x05hello")
	first, second := NewStreamID(0, 0, 1), NewStreamID(0, 0, 2)
	want := []specFrame{
		{Header{Type: Hello}, &HelloPayload{MinVersion: 1, MaxVersion: 1, MaxFrame: 128 << 10, MaxMessage: 4 << 20, MaxSlots: 256,
			Window: 128 << 10, Session: 0x8877665544332211, Agent: "ipcgen-go"}, nil},
		{Header{Type: Hello}, &HelloPayload{MinVersion: 1, MaxVersion: 1, MaxFrame: 16 << 10, MaxMessage: 1 << 20, MaxSlots: 32,
			Window: 32 << 10, Session: 0x0f0e0d0c0b0a0908, Agent: "other", Services: []ServiceHash{{"echo.v1.Echo", echoHash()}}}, nil},
		{Header{Type: Call, Flags: Msg | End, Stream: first}, CallPayload{Method: say, Timeout: 5e9, Metadata: Metadata{"lang": "en"}}, hello},
		{Header{Type: Status, Flags: Msg | End, Stream: first}, StatusPayload{}, hello},
		{Header{Type: Call, Flags: Msg | End, Stream: second}, CallPayload{Method: say}, []byte{}},
		{Header{Type: Status, Flags: End, Stream: second, Arg: 11},
			StatusPayload{Text: "over the limit", Details: []Detail{{"echo.v1.TooLong", []byte{8, 8}}}}, []byte{}},
		{Header{Type: GoAway}, "this side closed it", nil},
	}
	blocks := specBytes(t)
	blocks, blobs := blocks[:len(blocks)-2], blocks[len(blocks)-2:]
	checkBlobExample(t, blobs)
	blocks, shm := blocks[:len(blocks)-3], blocks[len(blocks)-3:]
	for i, want := range [][]byte{
		AppendShm(nil, ShmOffer, 1, AppendOffer(nil, 4096+256<<10, "")),
		AppendShm(nil, ShmOffer, 0, AppendOffer(nil, 0, "no memory for it")),
		AppendShm(nil, ShmReject, 0, []byte("no file")),
	} {
		if h, descriptors, err := ParseShm(shm[i]); !bytes.Equal(shm[i], want) || err != nil || int(h.Length) != len(want)-HeaderSize {
			t.Errorf("example %d of shared memory: got % x with %+v, %d, %v; want % x", i, shm[i], h, descriptors, err, want)
		}
	}
	if len(blocks) != len(want) {
		t.Fatalf("%s has %d hex blocks, want %d", specPath, len(blocks), len(want))
	}
	for i, w := range want {
		b := blocks[i]
		if w.Header.Type == Hello {
			var ok bool
			if b, ok = bytes.CutPrefix(b, []byte(Preface)); !ok {
				t.Errorf("block %d does not begin with the preface", i)
			}
		}
		if again := w.encode(nil); !bytes.Equal(again, b) {
			t.Errorf("block %d: the specification has\n% x, the code makes\n% x", i, b, again)
		}
		if got, err := decode(b, 16384, MetadataLimit{Entries: 32, Bytes: 4096}); err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("block %d: got %+v, %v, want %+v", i, got, err, w)
		}
	}
}

var flagNames = map[string]Flags{"none": 0, "END": End, "MORE": More, "MSG": Msg, "ACK": Ack, "NOT_EXECUTED": NotExecuted}

// TestSpecFrames compares the specification's table of frames with the one that Parse goes by.
func TestSpecFrames(t *testing.T) {
	unseen := maps.Clone(flagNames)
	text := spec(t)
	for _, row := range regexp.MustCompile(`(?m)^\| (\w+) \| (0x[0-9a-f]+) \| [^|]+ \|$`).FindAllStringSubmatch(text, -1) {
		if got := fmt.Sprintf("0x%02x", uint8(flagNames[row[1]])); got != row[2] {
			t.Errorf("flag %s: the code has %s, the specification %s", row[1], got, row[2])
		}
		delete(unseen, row[1])
	}
	if len(unseen) > 1 {
		t.Errorf("flags without a row: %v", unseen)
	}
	var got [256]rule
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z]+) \| 0x([0-9a-f]{2}) \| (session|call) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`).FindAllStringSubmatch(text, -1) {
		number, err := hex.DecodeString(row[2])
		if err != nil {
			t.Fatal(err)
		}
		r := rule{name: row[1], session: row[3] == "session", arg: row[5] != "0", payload: row[6] != "none"}
		for name := range strings.SplitSeq(row[4], ", ") {
			flag, ok := flagNames[name]
			if !ok {
				t.Errorf("%s: no flag %q", row[1], name)
			}
			r.flags |= flag
		}
		got[number[0]] = r
	}
	for i := range got {
		if got[i] != rules[i] {
			t.Errorf("type 0x%02x: the specification says %+v, the code %+v", i, got[i], rules[i])
		}
	}
}

// checkBlobExample compares the two frames by which a blob comes and goes.
func checkBlobExample(t *testing.T, blocks [][]byte) {
	t.Helper()
	rest := []byte("\x0a\x01a\x12\xf0\xa2\x04\x1a\x01d")
	want := []Part{{Offset: 0, Length: 70_000, At: 7}}
	message := AppendParts(bytes.Clone(rest), want)
	h := Header{Type: Data, Flags: Msg | Apart, Length: uint32(len(message)), Stream: NewStreamID(0, 0, 1)}
	if b := append(h.Append(nil), message...); !bytes.Equal(blocks[0], b) {
		t.Errorf("the example of a blob: got % x, want % x", blocks[0], b)
	}
	got, parts, err := ParseParts(blocks[0][HeaderSize:])
	if err != nil || !bytes.Equal(got, rest) || !slices.Equal(parts, want) {
		t.Errorf("the example of a blob: got % x, %v, %v", got, parts, err)
	}
	if b := (Header{Type: ShmFree}).Append(nil); !bytes.Equal(blocks[1], b) {
		t.Errorf("the example of SHM_FREE: got % x, want % x", blocks[1], b)
	}
}
