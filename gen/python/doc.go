package python

import (
	"strings"
	"unicode"

	"github.com/ipcgen/ipcgen/idl"
)

// A doc is what stands between the quotes of a docstring: lines in which nothing has a meaning to Python.
type doc []string

// In returns the text as it stands in a block of an indentation. Behind several lines the quotes have a line of their own.
func (d doc) In(indent string) string {
	if len(d) < 2 {
		return strings.Join(d, "")
	}
	var b strings.Builder
	for i, line := range d {
		if i > 0 {
			b.WriteByte('\n')
			if line != "" {
				b.WriteString(indent)
			}
		}
		b.WriteString(line)
	}
	return b.String() + "\n" + indent
}

// String returns the text as it stands at the top of a module.
func (d doc) String() string { return d.In("") }

// newDoc returns our own first paragraph, what the user wrote, and whether it is deprecated; deprecated names what.
func newDoc(intro string, c idl.Comment, deprecated string) doc {
	text := c.Leading
	if strings.TrimSpace(text) == "" {
		text = c.Trailing
	}
	var lines doc
	add := func(paragraph ...string) {
		if len(lines) > 0 && len(paragraph) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, paragraph...)
	}
	if intro != "" {
		add(intro)
	}
	add(userLines(text)...)
	if deprecated != "" && !strings.Contains("\n"+text, "\nDeprecated:") {
		add("Deprecated: the schema marks this " + deprecated + " as deprecated.")
	}
	if n := len(lines); n == 1 && strings.HasSuffix(lines[0], `"`) {
		lines[0] = lines[0][:len(lines[0])-1] + `\"` // else it would belong to the quotes that follow
	}
	return lines
}

// userLines splits what a user wrote into lines of a docstring. Backslashes and quotes are escaped, so that it cannot end
// the docstring early; characters that Python does not allow in source, or that editors do not show, are dropped.
func userLines(text string) []string {
	text = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || r == '\ufeff') {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	if strings.TrimSpace(text) == "" {
		return nil
	}
	text = strings.NewReplacer(`\`, `\\`, `"""`, `\"\"\"`).Replace(strings.Trim(text, "\n"))
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRightFunc(line, unicode.IsSpace)
	}
	lines[0] = strings.TrimLeftFunc(lines[0], unicode.IsSpace)
	return lines
}
