package diag_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ipcgen/ipcgen/idl/diag"
)

// TestRenderLongLine wants the place, and the caret under it, of lines that no terminal holds.
func TestRenderLongLine(t *testing.T) {
	for name, c := range map[string]struct {
		before, after int // how many characters
		filler        string
	}{
		"start":      {0, 1 << 20, "a"},
		"end":        {1 << 20, 0, "a"},
		"middle":     {1 << 20, 1 << 20, "a"},
		"characters": {1 << 20, 1 << 20, "é"},
		"wide":       {999, 1001, "語"},
		"short":      {3, 4, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			line := strings.Repeat(c.filler, c.before) + "X" + strings.Repeat(c.filler, c.after)
			var list diag.List
			list.Add(diag.Position{File: "f", Line: 1, Column: c.before*len(c.filler) + 1}, "", "wrong")
			got := list.Render(func(string) ([]byte, bool) { return []byte(line), true })
			if len(got) > 1500 || !utf8.ValidString(got) {
				t.Fatalf("%d bytes, want what fits on a screen: %.200q", len(got), got)
			}
			lines := strings.Split(got, "\n")
			shown, caret := []rune(lines[1]), []rune(lines[2])
			at := len(caret) - 1
			if caret[at] != '^' || at >= len(shown) || shown[at] != 'X' {
				t.Errorf("the caret is not under the X:\n%s", got)
			}
		})
	}
}
