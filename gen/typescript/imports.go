package typescript

import (
	"slices"
	"strings"

	"github.com/ipcgen/ipcgen/gen/names"
	"github.com/ipcgen/ipcgen/idl"
)

// imports are the names that a module has from others.
type imports struct {
	scope   *names.Scope // what the module declares itself
	aliases map[symbol]string
	used    map[string]bool // names that are in use already
	values  map[symbol]bool // needed at run time, not only as types
}

// A symbol is a name that a module exports.
type symbol struct{ module, name string }

// An importView is one line of imports.
type importView struct {
	Module  string
	Symbols []string
}

func newImports(scope *names.Scope) *imports {
	return &imports{scope: scope, aliases: make(map[symbol]string), used: make(map[string]bool), values: make(map[symbol]bool)}
}

// typ returns what the module calls a type of another one, or of itself where module is "".
func (i *imports) typ(module, name string) string {
	if module == "" {
		return name
	}
	s := symbol{module, name}
	if alias, ok := i.aliases[s]; ok {
		return alias
	}
	alias := name
	for i.scope.Taken(alias) || i.used[alias] || reserved[alias] {
		alias += "$"
	}
	i.aliases[s], i.used[alias] = alias, true
	return alias
}

// value returns what the module calls a value of another one, or of itself where module is "".
func (i *imports) value(module, name string) string {
	if module != "" {
		i.values[symbol{module, name}] = true
	}
	return i.typ(module, name)
}

// view returns the imports, other packages' first, all in the order of their names.
func (i *imports) view() []importView {
	byModule := make(map[string]*importView)
	var views []*importView
	symbols := make([]symbol, 0, len(i.aliases))
	for s := range i.aliases {
		symbols = append(symbols, s)
	}
	slices.SortFunc(symbols, func(a, b symbol) int {
		if c := strings.Compare(rank(a.module)+a.module, rank(b.module)+b.module); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	for _, s := range symbols {
		v := byModule[s.module]
		if v == nil {
			v = &importView{Module: s.module}
			byModule[s.module] = v
			views = append(views, v)
		}
		text := s.name
		if alias := i.aliases[s]; alias != s.name {
			text += " as " + alias
		}
		if !i.values[s] {
			text = "type " + text
		}
		v.Symbols = append(v.Symbols, text)
	}
	all := make([]importView, len(views))
	for n, v := range views {
		all[n] = *v
	}
	return all
}

// rank parts packages from relative paths.
func rank(module string) string {
	if strings.HasPrefix(module, ".") {
		return "1"
	}
	return "0"
}

// usedFiles returns the files whose types f uses, in the order in which it does.
func usedFiles(f *idl.File) []*idl.File {
	seen := map[*idl.File]bool{f: true}
	var files []*idl.File
	add := func(other *idl.File) {
		if !seen[other] {
			seen[other] = true
			files = append(files, other)
		}
	}
	var fields func(list []*idl.Field)
	fields = func(list []*idl.Field) {
		for _, fd := range list {
			switch {
			case fd.Map != nil:
				fields([]*idl.Field{fd.Map.Value})
			case fd.Message != nil:
				add(fd.Message.File)
			case fd.Enum != nil:
				add(fd.Enum.File)
			}
		}
	}
	extensions := func(list []*idl.Extension) {
		for _, x := range list {
			add(x.Parent.File)
			fields([]*idl.Field{x.Field})
		}
	}
	var messages func(list []*idl.Message)
	messages = func(list []*idl.Message) {
		for _, m := range declared(list) {
			fields(m.Fields)
			messages(m.Messages)
			extensions(m.Extensions)
		}
	}
	messages(f.Messages)
	extensions(f.Extensions)
	for _, s := range f.Services {
		for _, m := range s.Methods {
			add(m.Request.File)
			add(m.Response.File)
		}
	}
	return files
}
