// Package python generates Python: for each .proto file a module, which holds its messages, enums, extensions and services,
// and a stub with their types. "echo/v1/echo.proto" is the module echo.v1.echo_ipc: echo_ipc.py and echo_ipc.pyi.
//
// Messages are those of Google's protobuf package, made from the file's descriptor when the module is imported; services
// stand on the package ipcgen. What users wrote is data here: comments go out as docstrings in which nothing has a meaning,
// names through a names.Scope.
package python

import (
	"bytes"
	"path"
	"strings"
	"text/template"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
	"github.com/ipcgen/ipcgen/templates"
)

// Generator generates Python. It has no settings: there is one shape.
type Generator struct{}

var _ gen.Generator = Generator{}

// Generate returns a module and its stub for each .proto file asked for, and for each folder below the output directory
// what makes it a typed package.
//
// Modules import each other relatively, so that they work wherever the output directory stands, as long as it is in a
// package or on the path. A file whose code is elsewhere is imported from the package that req.ImportPath names.
func (Generator) Generate(req *gen.Request) ([]gen.File, error) {
	var wrong diag.List
	p := newProgram(req, &wrong)
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	var files []gen.File
	for _, f := range req.Schema.Files {
		if f.Asked {
			files = append(files, p.emit(f)...)
		}
	}
	return append(files, packages(files)...), nil
}

// emit returns the module of a file, and its stub.
func (p *program) emit(f *idl.File) []gen.File {
	view := p.view(f)
	at := path.Join(path.Dir(p.modules[f].path), path.Base(p.modules[f].path))
	return []gen.File{
		{Path: at + ".py", Content: execute("module.py", view)},
		{Path: at + ".pyi", Content: execute("module.pyi", view)},
	}
}

// packages returns what makes packages of the folders that files are in. The output directory itself is the user's: whether
// it is a package is not ours to say.
func packages(files []gen.File) []gen.File {
	var markers []gen.File
	done := map[string]bool{".": true}
	for _, f := range files {
		for folder := path.Dir(f.Path); !done[folder]; folder = path.Dir(folder) {
			done[folder] = true
			for _, name := range []string{"__init__.py", "py.typed"} {
				markers = append(markers, gen.File{Path: path.Join(folder, name), Content: execute("package.py", gen.Header), Yields: true})
			}
		}
	}
	return markers
}

var parsed = func() *set {
	s := new(set)
	t := template.New("python").Funcs(template.FuncMap{"render": s.render, "indent": indent})
	s.t = template.Must(t.ParseFS(templates.Python, "python/*.tmpl"))
	return s
}()

func execute(name string, view any) []byte {
	text, err := parsed.render(name, view)
	if err != nil {
		panic(err) // the template does not fit the view
	}
	return []byte(strings.TrimRight(text, "\n") + "\n")
}

// A set is templates that can render each other, so that what is nested can be indented.
type set struct{ t *template.Template }

func (s *set) render(name string, view any) (string, error) {
	var b bytes.Buffer
	err := s.t.ExecuteTemplate(&b, name, view)
	return b.String(), err
}

// indent moves lines one level to the right.
func indent(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = "    " + line
		}
	}
	return strings.Join(lines, "\n")
}
