package typescript

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

func docOf(c idl.Comment) doc { return doc{comment: c} }

// lines returns the comment, one line an element, without markers.
func (d doc) lines() []string {
	var lines []string
	add := func(paragraph ...string) {
		if len(lines) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, paragraph...)
	}
	if d.intro != "" {
		add(d.intro)
	}
	text := d.comment.Leading
	if strings.TrimSpace(text) == "" {
		text = d.comment.Trailing
	}
	if user := userLines(text); len(user) > 0 {
		add(user...)
	}
	if d.deprecated != "" && !strings.Contains(text, "@deprecated") {
		add("@deprecated The schema marks this " + d.deprecated + " as deprecated.")
	}
	return lines
}

// userLines splits what a user wrote into lines that cannot end the comment that they are put in, or mean something to
// the compiler: it looks for @ts- even in there. Characters that end lines, or are none, are dropped.
func userLines(text string) []string {
	text = strings.Map(func(r rune) rune {
		switch r {
		case 0, '\r', '\ufeff', '\u2028', '\u2029':
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\ufffd"))
	text = strings.Trim(strings.ReplaceAll(text, "*/", `*\/`), "\n")
	if strings.TrimSpace(text) == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, " \t")
		if rest := strings.TrimLeft(line, " \t/*"); strings.HasPrefix(rest, "@ts-") {
			line = strings.Replace(line, "@ts-", `\@ts-`, 1)
		}
		lines[i] = line
	}
	return lines
}
