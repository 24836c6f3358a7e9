// Package vectors reads the files of this folder for the tests of Go; README.md says what is in them.
package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Hex is bytes, as the files write them: hexadecimal digits in groups, of which one may be repeated: "0a05 61*5".
type Hex []byte

// UnmarshalText is encoding.TextUnmarshaler's.
func (h *Hex) UnmarshalText(text []byte) error {
	*h = Hex{}
	for group := range strings.FieldsSeq(string(text)) {
		digits, count, repeated := strings.Cut(group, "*")
		b, err := hex.DecodeString(digits)
		if err != nil {
			return fmt.Errorf("%.40q: %w", group, err)
		}
		times := 1
		if repeated {
			if times, err = strconv.Atoi(count); err != nil {
				return fmt.Errorf("%.40q: %w", group, err)
			}
		}
		*h = append(*h, bytes.Repeat(b, times)...)
	}
	return nil
}

// Read returns the content of one of the files.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	b, err := os.ReadFile(filepath.Join(filepath.Dir(here), name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Load decodes one of the files of JSON into file. A key that file has no field for is an error: a test is not to pass
// over what a vector says.
func Load(t testing.TB, name string, file any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(Read(t, name)))
	d.DisallowUnknownFields()
	if err := d.Decode(file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
