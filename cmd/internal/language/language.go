// Package language is the table of generators: one entry a language, shared by the commands.
package language

import (
	"fmt"
	"strings"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/gen/golang"
	"github.com/ipcgen/ipcgen/gen/python"
	"github.com/ipcgen/ipcgen/gen/typescript"
)

// A Language is what code can be generated for.
type Language struct {
	Name      string   // as users write it
	Endings   []string // of its files, in place of ".proto"
	Generator gen.Generator
}

var all = []Language{
	{"go", []string{".ipc.go"}, golang.Generator{}},
	{"python", []string{"_ipc.py", "_ipc.pyi"}, python.Generator{}},
	{"typescript", []string{".ipc.ts"}, typescript.Generator{}},
}

// Find returns the language of a name.
func Find(name string) (Language, error) {
	for _, l := range all {
		if l.Name == name {
			return l, nil
		}
	}
	return Language{}, fmt.Errorf("unknown language %q; there is: %s", name, Names())
}

// Names returns the names of all languages, for people.
func Names() string {
	names := make([]string, len(all))
	for i, l := range all {
		names[i] = l.Name
	}
	return strings.Join(names, ", ")
}
