package golang

import (
	"cmp"
	"fmt"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/gen/names"
	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
)

// A goPackage is a package that generated code is in.
type goPackage struct {
	path  string
	name  string
	scope names.Scope
	files []*idl.File
	asked bool // code is generated for one of the files
}

// A program is all that one run generates, with every name decided.
type program struct {
	packages map[*idl.File]*goPackage
	messages map[*idl.Message]*message
	enums    map[*idl.Enum]string  // their Go names
	errors   map[*idl.Message]bool // that methods list among theirs
}

// newProgram decides where each file's code is and what everything in it is called.
func newProgram(req *gen.Request, wrong *diag.List) *program {
	p := &program{
		packages: make(map[*idl.File]*goPackage),
		messages: make(map[*idl.Message]*message),
		enums:    make(map[*idl.Enum]string),
		errors:   make(map[*idl.Message]bool),
	}
	byPath := make(map[string]*goPackage)
	for _, f := range req.Schema.Files {
		p.place(f, goPackageOf(f, req.ImportPath), byPath, wrong)
	}
	p.checkPlaces(req.Schema, wrong)
	checkFolders(p, req.Schema, wrong)
	p.findErrors(req.Schema, wrong)
	p.name(req.Schema, wrong)
	p.checkCycles(req.Schema, wrong)
	return p
}

// goPackageOf returns what says where the code of f is; "" if nothing does.
func goPackageOf(f *idl.File, mapping map[string]string) string {
	if mapped, ok := mapping[f.Path]; ok {
		return mapped
	}
	switch {
	case f.Path == "google/protobuf/descriptor.proto":
		return wktPath + "/descriptor" // large, and hardly ever a field's type
	case path.Dir(f.Path) == "google/protobuf":
		return wktPath
	}
	return cmp.Or(folderPackage(f.Path, mapping), f.GoPackage)
}

// folderPackage returns what the mapping says of the innermost folder around a file; "" if nothing.
func folderPackage(file string, mapping map[string]string) string {
	innermost, found := "", ""
	for folder, importPath := range mapping {
		if !strings.HasSuffix(folder, "/") {
			continue
		}
		prefix := strings.TrimPrefix(folder, "./")
		if rest, ok := strings.CutPrefix(file, prefix); ok && len(prefix) >= len(innermost) {
			innermost, found = prefix, path.Join(importPath, path.Dir(rest))
		}
	}
	return found
}

// place finds the package of a file. A file that nothing places gets one without a path.
func (p *program) place(f *idl.File, spec string, byPath map[string]*goPackage, wrong *diag.List) {
	p.packages[f] = &goPackage{files: []*idl.File{f}}
	if spec == "" {
		return
	}
	importPath, name, named := strings.Cut(spec, ";")
	if !named {
		name = packageName(importPath)
	}
	if !validImportPath(importPath) || !token.IsIdentifier(name) || name == "_" {
		wrong.Add(f.Pos, "write it as \"example.com/project/echo\" or \"example.com/project/echo;echov1\"",
			"the Go package %q is not an import path, with or without a package name behind a semicolon", spec)
		p.packages[f].path = spec // said once
		return
	}
	pkg := byPath[importPath]
	if pkg == nil {
		pkg = &goPackage{path: importPath, name: name}
		byPath[importPath] = pkg
	}
	pkg.files = append(pkg.files, f)
	pkg.asked = pkg.asked || f.Asked
	p.packages[f] = pkg
	if pkg.name != name {
		first := pkg.files[0]
		d := wrong.Add(f.Pos, "give both the same name behind the semicolon of go_package",
			"the Go package %s is called %s here and %s in %s", importPath, name, pkg.name, first.Path)
		d.See = append(d.See, diag.Note{Pos: first.Pos, Text: "called " + pkg.name + " here"})
	}
}

// checkPlaces wants a package for each file asked for, and for each file whose types their code refers to.
func (p *program) checkPlaces(schema *idl.Schema, wrong *diag.List) {
	reported := make(map[*goPackage]bool)
	report := func(pkg *goPackage) *diag.Diagnostic {
		if pkg.path != "" || reported[pkg] {
			return nil
		}
		reported[pkg] = true
		f := pkg.files[0]
		example := path.Join("example.com/project", path.Dir(f.Path))
		return wrong.Add(f.Pos, fmt.Sprintf("add `option go_package = %q;` to the file, or map it: --go-package %s=%[1]s",
			example, f.Path), "%s does not say which Go package its code belongs to", f.Path)
	}
	for _, f := range schema.Files {
		if !f.Asked {
			continue
		}
		report(p.packages[f])
		p.usesOf(f, func(u use) {
			if d := report(u.to); d != nil {
				d.See = append(d.See, diag.Note{Pos: u.pos, Text: "its code is needed here"})
			}
		})
	}
}

// findErrors finds the messages that methods fail with.
func (p *program) findErrors(schema *idl.Schema, wrong *diag.List) {
	for _, f := range schema.Files { // a file comes behind those that it imports
		for _, s := range f.Services {
			for _, m := range s.Methods {
				for _, e := range m.Errors {
					p.findError(f, m, e, wrong)
				}
			}
		}
	}
}

// findError notes that e is an error. Its type has a method more for that, so that the code of f, if that is asked for,
// needs it to be in a file that is asked for too or whose own services have it as an error.
func (p *program) findError(f *idl.File, m *idl.Method, e *idl.Message, wrong *diag.List) {
	if f.Asked && !e.File.Asked && !p.errors[e] {
		d := wrong.Add(m.Pos, "generate both files in one run, or declare the message in this one",
			"method %s fails with %s, but %s is not generated in this run and does not say that it is an error",
			m.FullName, e.FullName, e.File.Path)
		d.See = append(d.See, diag.Note{Pos: e.Pos, Text: "the message"})
		return
	}
	p.errors[e] = true
}

// packageName returns the package name that an import path suggests.
func packageName(importPath string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, path.Base(importPath))
	if token.IsKeyword(name) || name != "" && unicode.IsDigit(rune(name[0])) {
		name = "_" + name
	}
	return name
}

func validImportPath(s string) bool {
	if s == "" || path.Clean(s) != s || strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsGraphic(r) || unicode.IsSpace(r) || strings.ContainsRune("!\"#$%&'()*,:;<=>?[\\]^`{|}\ufffd", r)
	})
}

// checkFolders refuses what the go command would: two packages in one folder, one package in two.
func checkFolders(p *program, schema *idl.Schema, wrong *diag.List) {
	byFolder := make(map[string]*idl.File)
	byPackage := make(map[*goPackage]*idl.File)
	for _, f := range schema.Files {
		if !f.Asked || p.packages[f].path == "" {
			continue
		}
		pkg, folder := p.packages[f], path.Dir(f.Path)
		if first, ok := byFolder[folder]; !ok {
			byFolder[folder] = f
		} else if p.packages[first] != pkg {
			d := wrong.Add(f.Pos, "give both the same go_package, or map their folder: --go-package "+folderExample(folder),
				"%s and %s stand in one folder, but belong to the Go packages %s and %s",
				f.Path, first.Path, pkg.path, p.packages[first].path)
			d.See = append(d.See, diag.Note{Pos: first.Pos, Text: "the other file"})
		}
		if first, ok := byPackage[pkg]; !ok {
			byPackage[pkg] = f
		} else if path.Dir(first.Path) != folder {
			d := wrong.Add(f.Pos, "give each folder a go_package of its own, or map them: --go-package "+folderExample(folder),
				"%s and %s belong to the Go package %s, but stand in two folders", f.Path, first.Path, pkg.path)
			d.See = append(d.See, diag.Note{Pos: first.Pos, Text: "the other file"})
		}
	}
}

// folderExample returns how a folder is mapped on the command line.
func folderExample(folder string) string {
	return fmt.Sprintf("%s/=%s", folder, path.Join("example.com/project", folder))
}

// A use is a place in the schema at which one package needs another.
type use struct {
	from, to *goPackage
	pos      diag.Position
}

// checkCycles refuses packages that would import each other.
func (p *program) checkCycles(schema *idl.Schema, wrong *diag.List) {
	uses := make(map[*goPackage][]use)
	for _, f := range schema.Files {
		p.usesOf(f, func(u use) {
			if u.from != u.to && !slices.ContainsFunc(uses[u.from], func(v use) bool { return v.to == u.to }) {
				uses[u.from] = append(uses[u.from], u)
			}
		})
	}
	done := make(map[*goPackage]bool)
	for _, f := range schema.Files {
		if pkg := p.packages[f]; pkg.asked {
			findCycle(pkg, uses, done, nil, wrong)
		}
	}
}

// findCycle goes along the uses; way holds those that led to pkg.
func findCycle(pkg *goPackage, uses map[*goPackage][]use, done map[*goPackage]bool, way []use, wrong *diag.List) {
	if i := slices.IndexFunc(way, func(u use) bool { return u.from == pkg }); i >= 0 {
		cycle := way[i:]
		d := wrong.Add(cycle[0].pos, "put the files into one Go package, or move what both need into a third",
			"the Go packages %s and %s would import each other", pkg.path, cycle[0].to.path)
		for _, u := range cycle[1:] {
			d.See = append(d.See, diag.Note{Pos: u.pos, Text: u.from.path + " needs " + u.to.path + " here"})
		}
		return
	}
	if done[pkg] {
		return
	}
	for _, u := range uses[pkg] {
		findCycle(u.to, uses, done, append(slices.Clone(way), u), wrong)
	}
	done[pkg] = true
}

// usesOf calls found for each type that the code of f refers to.
func (p *program) usesOf(f *idl.File, found func(use)) {
	from := p.packages[f]
	message := func(m *idl.Message, pos diag.Position) {
		if m != nil && !m.MapEntry {
			found(use{from: from, to: p.packages[m.File], pos: pos})
		}
	}
	field := func(fd *idl.Field) {
		message(fd.Message, fd.Pos)
		if fd.Map != nil {
			fd = fd.Map.Value
			message(fd.Message, fd.Pos)
		}
		if fd.Enum != nil {
			found(use{from: from, to: p.packages[fd.Enum.File], pos: fd.Pos})
		}
	}
	extensions := func(list []*idl.Extension) {
		for _, x := range list {
			field(x.Field)
			message(x.Parent, x.Pos)
		}
	}
	var messages func(list []*idl.Message)
	messages = func(list []*idl.Message) {
		for _, m := range list {
			for _, fd := range m.Fields {
				field(fd)
			}
			extensions(m.Extensions)
			messages(m.Messages)
		}
	}
	messages(f.Messages)
	extensions(f.Extensions)
	for _, s := range f.Services {
		for _, m := range s.Methods {
			message(m.Request, m.Pos)
			if !shapes[m.Shape].silent {
				message(m.Response, m.Pos)
			}
			for _, e := range m.Errors {
				message(e, m.Pos)
			}
		}
	}
}

// locals are the names of parameters and variables in generated code, which a package must not be imported as.
var locals = []string{
	"b", "c", "conn", "ctx", "d", "e", "end", "err", "i", "impl", "in", "k", "m", "n", "ok", "pos", "req", "res", "send",
	"start", "tag", "v", "x",
}

// runtimeNames are the names by which generated code knows the packages that it is built on.
var runtimeNames = map[string]string{
	codecPath: "codec", ipcPath: "ipc", "bytes": "bytes", "context": "context", "iter": "iter", "maps": "maps",
	"math": "math", "slices": "slices", "strconv": "strconv", "time": "time",
}

// imports decides under which name each package is imported that the file may need.
func (w *printer) imports() {
	w.out.ImportNames(runtimeNames)
	needed := make(map[string]string)
	w.usesOf(w.file, func(u use) {
		if u.to != w.pkg {
			needed[u.to.path] = u.to.name
		}
	})
	taken := make(map[string]bool)
	for _, name := range append(slices.Collect(maps.Values(runtimeNames)), locals...) {
		taken[name] = true
	}
	for _, importPath := range slices.Sorted(maps.Keys(needed)) {
		name := needed[importPath]
		free := func(s string) bool { return !taken[s] && !w.pkg.scope.Taken(s) && !predeclared(s) }
		alias := name
		for !free(alias) {
			alias += "pb"
		}
		taken[alias] = true
		if alias == path.Base(importPath) {
			w.out.ImportName(importPath, alias)
		} else {
			w.out.ImportAlias(importPath, alias)
		}
	}
}

// predeclared says that generated code uses s for what Go itself declares.
func predeclared(s string) bool {
	return slices.Contains([]string{
		"any", "append", "bool", "byte", "error", "false", "float32", "float64", "int", "int32", "int64", "len", "nil",
		"new", "string", "true", "uint32", "uint64",
	}, s)
}
