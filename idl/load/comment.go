package load

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ipcgen/ipcgen/idl"
)

// comment returns the comments at a location.
func comment(loc protoreflect.SourceLocation) idl.Comment {
	return idl.Comment{Leading: tidy(loc.LeadingComments), Trailing: tidy(loc.TrailingComments)}
}

// tidy removes the space that stands between marker and text, and empty lines around the block.
func tidy(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(strings.TrimPrefix(line, " "), " \t\r")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}
