package load

import (
	"slices"
	"unicode/utf8"

	"github.com/bufbuild/protocompile/ast"

	"github.com/ipcgen/ipcgen/idl/diag"
)

// setText sets the unit's text, from which positions are told.
func (u *unit) setText(text []byte) {
	u.text = text
	u.lines = []int{0}
	for i, c := range text {
		if c == '\n' {
			u.lines = append(u.lines, i+1)
		}
	}
}

// at returns the position of an offset in the text.
func (u *unit) at(offset int) diag.Position {
	line, found := slices.BinarySearch(u.lines, offset)
	if !found {
		line--
	}
	return diag.Position{File: u.path, Line: line + 1, Column: offset - u.lines[line] + 1}
}

// pos returns the position of a place that the compiler speaks of. Its columns count characters, with tab stops every
// eight; ours count bytes.
func (u *unit) pos(p ast.SourcePos) diag.Position { return u.place(p.Line, p.Col) }

// place returns a position from the compiler's way of counting, both from 1. Where there is no text to count in, the
// column stays as it is.
func (u *unit) place(line, col int) diag.Position {
	if line <= 0 || col <= 0 {
		return diag.Position{File: u.path}
	}
	if line > len(u.lines) {
		return diag.Position{File: u.path, Line: line, Column: col}
	}
	text := u.text[u.lines[line-1]:]
	seen := 0
	for i, c := range text {
		if seen >= col-1 && utf8.RuneStart(c) || c == '\n' {
			return diag.Position{File: u.path, Line: line, Column: i + 1}
		}
		switch {
		case c == '\t':
			seen += 8 - seen%8
		case utf8.RuneStart(c):
			seen++
		}
	}
	return diag.Position{File: u.path, Line: line, Column: len(text) + 1}
}
