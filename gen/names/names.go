// Package names holds what generators know about names whatever the language: which words an identifier is made of,
// and scopes, in which a name belongs to one thing.
package names

import (
	"strings"
	"unicode"

	"github.com/ipcgen/ipcgen/idl/diag"
)

// Words returns the words of an identifier, as written: "HTTPServer_v2Name" is HTTP, Server, v2, Name. Underscores
// and dots part words, and so do capitals: the last of several belongs to the word that follows. Digits belong to the
// word before them.
func Words(s string) []string {
	var words []string
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '_' || r == '.' || r == '-' }) {
		runes := []rune(part)
		start := 0
		for i := 1; i < len(runes); i++ {
			if wordStarts(runes, i) {
				words = append(words, string(runes[start:i]))
				start = i
			}
		}
		words = append(words, string(runes[start:]))
	}
	return words
}

func wordStarts(r []rune, i int) bool {
	if !unicode.IsUpper(r[i]) {
		return false
	}
	return !unicode.IsUpper(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])
}

// LowerFirst returns s with its first word in lower case: "HTTPServer" is "httpServer".
func LowerFirst(s string) string {
	words := Words(s)
	if len(words) == 0 {
		return s
	}
	return strings.Replace(s, words[0], strings.ToLower(words[0]), 1)
}

// A Scope is where a name may stand for one thing only: a package, a message. Its zero value is empty and ready to
// use.
type Scope struct{ owners map[string]Owner }

// An Owner is what a name stands for.
type Owner struct {
	What string // as a diagnostic should call it: "message echo.v1.SayRequest"
	Pos  diag.Position
}

// Taken says that something has the name.
func (s *Scope) Taken(name string) bool {
	_, ok := s.owners[name]
	return ok
}

// Claim gives the name to the owner. If another has it already, it keeps it, and Claim adds to wrong a diagnostic
// that names both.
func (s *Scope) Claim(name string, o Owner, wrong *diag.List) {
	first, taken := s.owners[name]
	if !taken {
		if s.owners == nil {
			s.owners = make(map[string]Owner)
		}
		s.owners[name] = o
		return
	}
	d := wrong.Add(o.Pos, "rename one of the two", "%s and %s would both be called %s", o.What, first.What, name)
	d.See = append(d.See, diag.Note{Pos: first.Pos, Text: first.What + " has the name already"})
}
