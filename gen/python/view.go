package python

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/idl"
)

// A view is what the templates are given of a file. It is complete: they decide nothing.
type view struct {
	Header         string
	Source         string
	Doc            doc
	Imports        [][]string // of the module, in groups
	StubImports    [][]string
	Descriptor     []string // lines of the bytes
	FileDescriptor string   // its type
	Aliases        []string // of classes whose names mean something else within classes
	Names          []name
	Reexports      []reexport
	Enums          []*enum
	Messages       []*message
	Extensions     []*extension
	Services       []*service
}

// A name is what the module calls something of the file.
type name struct{ Python, Schema string }

// A reexport is what a file that is imported publicly declares.
type reexport struct{ Name, Module string }

// A writer makes the view of a file.
type writer struct {
	*program
	file    *idl.File
	scope   *scope
	aliases map[string]string // of modules, by their paths
	// What the module and its stub import, in the form of statements without names, and the names.
	code, stub map[*idl.File]bool
	typing     map[string][]string // names that the stub imports, by module
	classes    map[string]string   // aliases of classes
	public     []imported          // what the stub imports for others to find there
}

// view makes the view of a file.
func (p *program) view(f *idl.File) *view {
	w := &writer{program: p, file: f, scope: p.scopes[f], aliases: make(map[string]string), code: make(map[*idl.File]bool),
		stub: make(map[*idl.File]bool), typing: make(map[string][]string), classes: make(map[string]string)}
	v := &view{Header: gen.Header, Source: f.Path, Doc: newDoc("", f.Comment, ""), Descriptor: literal(f.Descriptor), Names: topNames(f),
		FileDescriptor: w.use("google.protobuf.descriptor", "FileDescriptor")}
	for _, e := range f.Enums {
		v.Enums = append(v.Enums, w.enum(e))
	}
	for _, m := range f.Messages {
		v.Messages = append(v.Messages, w.message(m))
	}
	for _, x := range f.Extensions {
		v.Extensions = append(v.Extensions, w.extension(x))
	}
	for _, s := range f.Services {
		v.Services = append(v.Services, w.service(s))
	}
	v.Reexports = w.reexports()
	for _, class := range sorted(w.classes) {
		v.Aliases = append(v.Aliases, fmt.Sprintf("%s: %s = %s", w.classes[class], w.use("typing", "TypeAlias"), class))
	}
	v.Imports, v.StubImports = w.codeImports(), w.stubImports()
	return v
}

// reexports returns what the files declare that the file imports publicly, except where it has the name itself.
func (w *writer) reexports() []reexport {
	var all []reexport
	taken := make(map[string]bool)
	var of func(f *idl.File)
	of = func(f *idl.File) {
		for _, i := range f.Imports {
			if !i.Public {
				continue
			}
			for _, n := range topNames(i.File) {
				if taken[n.Python] || w.scope.top.Taken(n.Python) {
					continue
				}
				taken[n.Python] = true
				w.code[i.File] = true
				all = append(all, reexport{n.Python, w.alias(i.File)})
				w.public = append(w.public, imported{module: w.moduleOf(i.File), names: []string{n.Python}, alias: n.Python})
			}
			of(i.File)
		}
	}
	of(w.file)
	return all
}

// topNames returns what the module declares.
func topNames(f *idl.File) []name {
	var all []name
	add := func(s string) { all = append(all, name{safe(s), s}) }
	for _, e := range f.Enums {
		add(e.Name)
		for _, v := range e.Values {
			add(v.Name)
		}
	}
	for _, m := range f.Messages {
		add(m.Name)
	}
	for _, x := range f.Extensions {
		add(x.Name)
	}
	return all
}

// literal returns bytes as Python writes them, in lines of literals that Python joins.
func literal(b []byte) []string {
	const perLine = 100
	var lines []string
	var line strings.Builder
	flush := func() {
		lines = append(lines, `b"`+line.String()+`"`)
		line.Reset()
	}
	for _, c := range b {
		switch {
		case c == '\\' || c == '"':
			line.WriteString(`\` + string(rune(c)))
		case c == '\n':
			line.WriteString(`\n`)
		case c < ' ' || c > '~':
			fmt.Fprintf(&line, `\x%02x`, c)
		default:
			line.WriteByte(c)
		}
		if line.Len() >= perLine {
			flush()
		}
	}
	if line.Len() > 0 || len(lines) == 0 {
		flush()
	}
	return lines
}

// use returns the name by which the stub knows a name of a module of Python's or protobuf's.
func (w *writer) use(module, what string) string {
	local := w.scope.free(what)
	if module == "builtins" && local == what {
		return what
	}
	imported := what
	if local != what {
		imported += " as " + local
	}
	if !slices.Contains(w.typing[module], imported) {
		w.typing[module] = append(w.typing[module], imported)
	}
	return local
}

// alias returns the name by which the module of another file is known.
func (w *writer) alias(f *idl.File) string {
	at := w.modules[f].path
	if a, ok := w.aliases[at]; ok {
		return a
	}
	base := strings.TrimSuffix(strings.TrimSuffix(at, "_ipc"), "_pb2")
	a := "_" + strings.ReplaceAll(base, "/", "_")
	for w.scope.words[a] || slices.Contains(own, a) || taken(w.aliases, a) {
		a += "_"
	}
	w.aliases[at] = a
	return a
}

func taken(aliases map[string]string, name string) bool {
	for _, a := range aliases {
		if a == name {
			return true
		}
	}
	return false
}

// codeImports returns what the module imports: all that the file does, since importing registers it.
func (w *writer) codeImports() [][]string {
	list := []imported{{module: "ipcgen.generated", alias: "_ipcgen"}}
	done := make(map[*idl.File]bool)
	for _, i := range w.file.Imports {
		done[i.File] = true
		list = append(list, w.importOf(i.File, !w.code[i.File]))
	}
	for f := range w.code {
		if !done[f] {
			list = append(list, w.importOf(f, false))
		}
	}
	return groups(list)
}

// stubImports returns what the stub imports: what it uses.
func (w *writer) stubImports() [][]string {
	var list []imported
	for module, names := range w.typing {
		var plain []string
		for _, n := range names {
			if name, alias, renamed := strings.Cut(n, " as "); renamed {
				list = append(list, imported{module: module, names: []string{name}, alias: alias})
			} else {
				plain = append(plain, n)
			}
		}
		if slices.Sort(plain); len(plain) > 0 {
			list = append(list, imported{module: module, names: plain})
		}
	}
	if len(w.file.Services) > 0 {
		list = append(list, imported{module: "ipcgen", alias: "_ipcgen"})
	}
	for f := range w.stub {
		list = append(list, w.importOf(f, false))
	}
	return groups(append(list, w.public...))
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// class returns how code refers to a class; in the stub, where members of classes hide what is outside, perhaps by an alias.
func (w *writer) class(f *idl.File, qualified []string, stub bool) string {
	uses := w.code
	if stub {
		uses = w.stub
	}
	if f != w.file {
		uses[f] = true
		return w.alias(f) + "." + safe(qualified[0]) + joined(qualified[1:])
	}
	first := safe(qualified[0])
	if stub && w.scope.members[first] {
		if w.classes[first] == "" {
			w.classes[first] = w.scope.free("_" + strings.ToUpper(first[:1]) + first[1:])
		}
		first = w.classes[first]
	}
	return first + joined(qualified[1:])
}

func joined(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "." + strings.Join(names, ".")
}

// qualified returns the names of a type from the outermost message inwards.
func qualified(parent *idl.Message, name string) []string {
	names := []string{name}
	for ; parent != nil; parent = parent.Parent {
		names = append([]string{parent.Name}, names...)
	}
	return names
}

func (w *writer) messageType(m *idl.Message) string {
	return w.class(m.File, qualified(m.Parent, m.Name), true)
}

func (w *writer) enumType(e *idl.Enum) string {
	return w.class(e.File, qualified(e.Parent, e.Name), true)
}
