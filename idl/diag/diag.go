// Package diag is how ipcgen tells a user what is wrong with their input: a place, a sentence, the source line
// with a caret under it, and how to mend it.
package diag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Position is a place in a file. Lines and columns count from 1, columns in bytes; 0 means unknown.
type Position struct {
	File   string
	Line   int
	Column int
}

// String returns "file:line:col", without the parts that are unknown.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
}

// A Diagnostic is one thing that is wrong.
type Diagnostic struct {
	Pos  Position
	Text string // what is wrong: lower case, no full stop
	Help string // how to mend it; may be empty
	See  []Note // other places that belong to it: the other half of a clash
	// Warning says that it is worth a look but nothing fails for it.
	Warning bool
}

// A Note is another place that a diagnostic speaks of.
type Note struct {
	Pos  Position
	Text string
}

// Error returns "file:line:col: text", without source and help.
func (d *Diagnostic) Error() string {
	text := d.Text
	if d.Warning {
		text = "warning: " + text
	}
	if d.Pos.File == "" {
		return text
	}
	return d.Pos.String() + ": " + text
}

// A List is everything that is wrong with one run's input. Its zero value is empty and ready to use.
type List []*Diagnostic

// Add appends a diagnostic.
func (l *List) Add(pos Position, help, format string, args ...any) *Diagnostic {
	d := &Diagnostic{Pos: pos, Text: fmt.Sprintf(format, args...), Help: help}
	*l = append(*l, d)
	return d
}

// Err returns the list as an error, sorted by place and without repetitions, or nil when it is empty.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	sorted := slices.Clone(l)
	slices.SortStableFunc(sorted, func(a, b *Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	return slices.CompactFunc(sorted, func(a, b *Diagnostic) bool { return a.Pos == b.Pos && a.Text == b.Text })
}

// Error returns one line a diagnostic.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, d := range l {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}

// Render returns the list as a person should see it. Source returns the text of a file as it was read, or false
// where there is none to show.
func (l List) Render(source func(file string) ([]byte, bool)) string {
	var b strings.Builder
	for _, d := range l {
		fmt.Fprintln(&b, d.Error())
		excerpt(&b, d.Pos, source)
		for _, n := range d.See {
			fmt.Fprintf(&b, "  %s: %s\n", n.Pos, n.Text)
			excerpt(&b, n.Pos, source)
		}
		if d.Help != "" {
			fmt.Fprintf(&b, "  help: %s\n", d.Help)
		}
	}
	return b.String()
}

// excerpt writes the line at pos with a caret under its column. Tabs are kept under the line so that the caret
// stands right whatever their width is.
func excerpt(b *strings.Builder, pos Position, source func(string) ([]byte, bool)) {
	text, ok := source(pos.File)
	if !ok || pos.Line == 0 || pos.Column == 0 {
		return
	}
	lines := strings.Split(string(text), "\n")
	if pos.Line > len(lines) {
		return
	}
	line := strings.TrimSuffix(lines[pos.Line-1], "\r")
	if !utf8.ValidString(line) || pos.Column > len(line)+1 {
		return
	}
	line, column := clip(line, pos.Column)
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, line[:column-1])
	fmt.Fprintf(b, "    %s\n    %s^\n", line, indent)
}

// clip returns the part of a long line that is around a column, and the column in it: what a machine wrote into one line
// does not fill the terminal.
func clip(line string, column int) (string, int) {
	const most, around = 240, 100
	if len(line) <= most {
		return line, column
	}
	if end := column + around; end < len(line) {
		for end < len(line) && !utf8.RuneStart(line[end]) {
			end++
		}
		line = line[:end] + "..."
	}
	if start := column - 1 - around; start > 0 {
		for !utf8.RuneStart(line[start]) {
			start--
		}
		line, column = "..."+line[start:], column-start+len("...")
	}
	return line, column
}
