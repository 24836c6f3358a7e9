package golang

import (
	"strings"

	"github.com/ipcgen/ipcgen/idl"
)

// A doc is the comment of a declaration.
type doc struct {
	intro      string // our own first sentence; may be empty
	comment    idl.Comment
	deprecated string // what is deprecated: "message"; "" if it is not
}

// lines returns the comment with its markers, one line an element.
func (d doc) lines() []string {
	var paragraphs [][]string
	if d.intro != "" {
		paragraphs = append(paragraphs, strings.Split(d.intro, "\n"))
	}
	text := d.comment.Leading
	if strings.TrimSpace(text) == "" {
		text = d.comment.Trailing
	}
	if user := userLines(text); len(user) > 0 {
		paragraphs = append(paragraphs, user)
	}
	if d.deprecated != "" && !strings.Contains("\n"+text, "\nDeprecated:") {
		paragraphs = append(paragraphs, []string{"Deprecated: the schema marks this " + d.deprecated + " as deprecated."})
	}
	var lines []string
	for i, p := range paragraphs {
		if i > 0 {
			lines = append(lines, "//")
		}
		for _, line := range p {
			lines = append(lines, strings.TrimRight("// "+line, " \t"))
		}
	}
	return lines
}

// userLines splits what a user wrote into lines that cannot be more than text behind our marker: the space after
// the marker takes their meaning from directives; "+build" has one even then, and "go:" looks to readers and linters as
// if it should. Characters that Go does not allow in source are dropped.
func userLines(text string) []string {
	text = strings.Map(func(r rune) rune {
		if r == 0 || r == '\r' || r == '\ufeff' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		if rest := strings.TrimSpace(line); strings.HasPrefix(rest, "+build") || strings.HasPrefix(rest, "go:") {
			lines[i] = `\` + rest
		}
	}
	if len(lines) == 1 && strings.TrimSpace(lines[0]) == "" {
		return nil
	}
	return lines
}

// member prints one line of a list of declarations, whose comment stands behind it if the user wrote it there.
func (w *printer) member(d doc, line string) {
	trailing := userLines(d.comment.Trailing)
	if len(trailing) == 1 && len(userLines(d.comment.Leading)) == 0 {
		line += " // " + strings.TrimSpace(trailing[0])
		d.comment.Trailing = ""
	}
	w.comment(d)
	w.p("%s", line)
}

// comment prints the lines.
func (w *printer) comment(d doc) {
	for _, line := range d.lines() {
		w.text.WriteString(line)
		w.text.WriteByte('\n')
	}
}

// packageComment returns the comment that stands above the package statement of the .proto file.
func (w *printer) packageComment() []string {
	return doc{comment: w.file.Comment}.lines()
}
