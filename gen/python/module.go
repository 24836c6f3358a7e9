package python

import (
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/gen/names"
	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
)

// A module is where the code of a .proto file is.
type module struct {
	path string // with slashes, without an ending: "echo/v1/echo_ipc"
	// elsewhere is the package that it is imported from: "acme.echo.v1". It is empty where the path says so.
	elsewhere string
}

// A program is all that one run generates.
type program struct {
	modules map[*idl.File]module
	scopes  map[*idl.File]*scope
}

// newProgram decides where each file's code is and what everything in it is called.
func newProgram(req *gen.Request, wrong *diag.List) *program {
	p := &program{modules: make(map[*idl.File]module), scopes: make(map[*idl.File]*scope)}
	var paths names.Scope
	for _, f := range req.Schema.Files {
		p.modules[f] = place(f, req.ImportPath, wrong)
		if f.Asked {
			paths.Claim(p.modules[f].path, names.Owner{What: "the module of " + f.Path, Pos: f.Pos}, wrong)
			p.scopes[f] = newScope(f, wrong)
		}
	}
	return p
}

// place decides where the code of a file is.
func place(f *idl.File, mapping map[string]string, wrong *diag.List) module {
	base := moduleName(strings.TrimSuffix(path.Base(f.Path), ".proto"))
	folder := path.Dir(f.Path)
	if !f.Asked {
		switch {
		case strings.HasPrefix(f.Path, "google/protobuf/"): // of the package protobuf
			return module{path: folder + "/" + base + "_pb2", elsewhere: strings.ReplaceAll(folder, "/", ".")}
		case f.Path == "ipcgen/v1/options.proto": // of the runtime
			return module{path: "ipcgen/v1/options_ipc", elsewhere: "ipcgen.v1"}
		}
	}
	m := module{path: base + "_ipc"}
	if folders := parts(folder); len(folders) > 0 {
		for i, name := range folders {
			folders[i] = moduleName(name)
			if f.Asked && (!identifier(folders[i]) || keyword(folders[i])) {
				wrong.Add(f.Pos, "rename the folder", "%s is in the folder %q, which cannot be a Python package: nothing could import it",
					f.Path, name)
			}
		}
		m.path = strings.Join(folders, "/") + "/" + m.path
	}
	if f.Asked && !identifier(base+"_ipc") {
		wrong.Add(f.Pos, "rename the file", "%s cannot be a Python module: nothing could import it", f.Path)
	}
	if mapped, ok := mappedPackage(f.Path, mapping); ok {
		m.elsewhere = mapped
		if slices.ContainsFunc(strings.Split(mapped, "."), func(part string) bool { return !identifier(part) || keyword(part) }) {
			wrong.Add(f.Pos, "write it as \"acme.echo.v1\"", "the Python package %q is not a dotted name", mapped)
		}
	}
	return m
}

// mappedPackage returns the package that the user says a file's code is in: for the file, or for the nearest folder around it.
func mappedPackage(file string, mapping map[string]string) (string, bool) {
	if mapped, ok := mapping[file]; ok {
		return mapped, true
	}
	for folder := path.Dir(file); ; folder = path.Dir(folder) {
		if mapped, ok := mapping[folder+"/"]; ok {
			for _, below := range parts(strings.TrimPrefix(strings.TrimPrefix(path.Dir(file), folder), "/")) {
				mapped += "." + moduleName(below)
			}
			return mapped, true
		}
		if folder == "." {
			return "", false
		}
	}
}

// packageOf returns where a module is imported from, by one in the folder of from.
func packageOf(from, to module) string {
	if to.elsewhere != "" {
		return to.elsewhere
	}
	here, there := parts(path.Dir(from.path)), parts(path.Dir(to.path))
	common := 0
	for common < len(here) && common < len(there) && here[common] == there[common] {
		common++
	}
	return strings.Repeat(".", len(here)-common+1) + strings.Join(there[common:], ".")
}

func parts(folder string) []string {
	if folder == "." || folder == "" {
		return nil
	}
	return strings.Split(folder, "/")
}

// identifier says that Python takes s for a name.
func identifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return s != ""
}

// keywords are what Python keeps for itself. Those that are keywords only in some places (match, type) may be names.
var keywords = []string{
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
	"else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or",
	"pass", "raise", "return", "try", "while", "with", "yield",
}

func keyword(s string) bool { return slices.Contains(keywords, s) }

// moduleName returns the name of a folder or file as a module's: what Python does not allow there becomes an underscore.
func moduleName(s string) string { return strings.NewReplacer("-", "_", ".", "_").Replace(s) }
