package golang

import (
	"bytes"
	"go/format"
	"strings"
)

// layout returns source as gofmt has it. Functions, which are most of what is generated, are printed as gofmt has them but
// for the tabs before their lines; to put these there takes a small part of the time that go/format takes for it.
func layout(source []byte) ([]byte, error) {
	const standIn = "\nfunc _()\n"
	var rest bytes.Buffer
	var functions []string
	var lines []string // of the function that is being read
	depth := 0
	for line := range strings.Lines(string(source)) {
		if depth == 0 && (!strings.HasPrefix(line, "func ") || nesting(line) == 0) {
			rest.WriteString(line)
			continue
		}
		lines = append(lines, line)
		if depth += nesting(line); depth == 0 {
			functions = append(functions, indent(lines))
			rest.WriteString(standIn[1:])
			lines = nil
		}
	}
	formatted, err := format.Source(rest.Bytes())
	if err != nil {
		return nil, err
	}
	parts := strings.Split(string(formatted), standIn)
	var b bytes.Buffer
	b.Grow(len(source) * 3 / 2)
	for i, part := range parts {
		b.WriteString(part)
		if i < len(functions) && i < len(parts)-1 {
			b.WriteByte('\n')
			b.WriteString(functions[i])
		}
	}
	return b.Bytes(), nil
}

// indent puts tabs before the lines of a function.
func indent(lines []string) string {
	var b strings.Builder
	depth := 0
	continued := false // the line before is not the end of its statement
	for _, line := range lines {
		line = strings.TrimLeft(line, "\t ")
		tabs := depth
		switch {
		case strings.HasPrefix(line, "}"), strings.HasPrefix(line, ")"), strings.HasPrefix(line, "case "), strings.HasPrefix(line, "default:"):
			tabs--
		case continued:
			tabs++
		}
		if line != "\n" {
			b.WriteString(strings.Repeat("\t", max(tabs, 0)))
		}
		b.WriteString(line)
		depth += nesting(line)
		continued = strings.HasSuffix(line, "&&\n") || strings.HasSuffix(line, "||\n") || strings.HasSuffix(line, "+\n")
	}
	return b.String()
}

// nesting returns how many brackets more a line opens than it closes, those in strings and comments left out.
func nesting(line string) int {
	n := 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '{', '(', '[':
			n++
		case '}', ')', ']':
			n--
		case '/':
			if strings.HasPrefix(line[i:], "//") {
				return n
			}
		case '"', '\'', '`':
			i = closing(line, i)
		}
	}
	return n
}

// closing returns where the literal ends that starts at i.
func closing(line string, i int) int {
	quote := line[i]
	for i++; i < len(line) && line[i] != quote; i++ {
		if line[i] == '\\' && quote != '`' {
			i++
		}
	}
	return i
}
