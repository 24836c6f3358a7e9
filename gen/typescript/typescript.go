// Package typescript generates TypeScript: for each .proto file one module that holds its enums, messages, extensions and
// services.
//
// Messages are those of @bufbuild/protobuf 2: a type, and a description that is made of the file's descriptor when the
// module is loaded. Services stand on the package ipcgen, which is runtime/typescript. What users wrote is data here:
// comments go out between our own markers, names through a names.Scope, imports through the table of imports.
package typescript

import (
	"bytes"
	"encoding/base64"
	"path"
	"strings"
	"text/template"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
	"github.com/ipcgen/ipcgen/templates"
)

// The modules that generated code is built on.
const (
	protobufModule = "@bufbuild/protobuf"
	codegenModule  = "@bufbuild/protobuf/codegenv2"
	wktModule      = "@bufbuild/protobuf/wkt"
	runtimeModule  = "ipcgen"
)

// Generator generates TypeScript. It has no settings: there is one shape.
type Generator struct{}

var _ gen.Generator = Generator{}

var layout = template.Must(template.ParseFS(templates.TypeScript, "typescript/*.tmpl"))

// Generate returns one module for each .proto file asked for: "echo/v1/echo.proto" gives "echo/v1/echo.ipc.ts".
//
// A module imports those of other .proto files by paths relative to its own, so that all of them belong below one
// directory; files of google/protobuf are in @bufbuild/protobuf. Request.ImportPath means nothing here.
func (Generator) Generate(req *gen.Request) ([]gen.File, error) {
	var wrong diag.List
	n := nameSchema(req.Schema, &wrong)
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	var files []gen.File
	for _, f := range req.Schema.Files {
		if !f.Asked {
			continue
		}
		m := &module{file: f, naming: n, imports: newImports(n.scopes[f])}
		var text bytes.Buffer
		if err := layout.ExecuteTemplate(&text, "file.ts.tmpl", m.view()); err != nil {
			return nil, err
		}
		files = append(files, gen.File{Path: modulePath(f, ".ipc.ts"), Content: append(bytes.TrimSpace(text.Bytes()), '\n')})
	}
	return files, nil
}

// modulePath returns the path of f's module below the output directory, with the ending that says what it is.
func modulePath(f *idl.File, ending string) string {
	return strings.TrimSuffix(f.Path, ".proto") + ending
}

// A module is one file that is being generated.
type module struct {
	*naming
	file    *idl.File
	imports *imports
}

// A fileView is what the template file.ts.tmpl lays out.
type fileView struct {
	Header, Source string
	Comment        []string
	Imports        []importView
	// Desc is the name of the file's description, Descriptor the file's descriptor in base64, and Dependencies are the
	// descriptions of the files whose types it uses.
	Desc, Descriptor  string
	GenFile, FileDesc string
	Dependencies      []string
	Enums             []enumView
	Messages          []messageView
	Extensions        []extensionView
	Services          []serviceView
}

func (m *module) view() *fileView {
	v := &fileView{
		Header: gen.Header, Source: m.file.Path, Comment: docOf(m.file.Comment).lines(),
		Desc: descName(m.file), Descriptor: base64.RawStdEncoding.EncodeToString(m.file.Descriptor),
		GenFile: m.imports.typ(codegenModule, "GenFile"), FileDesc: m.imports.value(codegenModule, "fileDesc"),
	}
	for _, f := range usedFiles(m.file) {
		v.Dependencies = append(v.Dependencies, m.imports.value(m.moduleOf(f), descName(f)))
	}
	for i, e := range m.file.Enums {
		v.Enums = append(v.Enums, m.enum(e, []int{i}))
	}
	for i, msg := range declared(m.file.Messages) {
		m.messageTree(v, msg, []int{i})
	}
	for i, x := range m.file.Extensions {
		v.Extensions = append(v.Extensions, m.extension(x, []int{i}))
	}
	for _, s := range m.file.Services {
		v.Services = append(v.Services, m.service(s))
	}
	v.Imports = m.imports.view() // last: the others have put in what they need
	return v
}

// messageTree adds a message and what is declared in it. At is the path to it from the file's description.
func (m *module) messageTree(v *fileView, msg *idl.Message, at []int) {
	v.Messages = append(v.Messages, m.message(msg, at))
	inner := func(i int) []int { return append(at[:len(at):len(at)], i) }
	for i, e := range msg.Enums {
		v.Enums = append(v.Enums, m.enum(e, inner(i)))
	}
	for i, nested := range declared(msg.Messages) {
		m.messageTree(v, nested, inner(i))
	}
	for i, x := range msg.Extensions {
		v.Extensions = append(v.Extensions, m.extension(x, inner(i)))
	}
}

// moduleOf returns where the code of f is imported from; "" is the module itself.
func (m *module) moduleOf(f *idl.File) string {
	switch {
	case f == m.file:
		return ""
	case isWellKnown(f):
		return wktModule
	}
	return relative(path.Dir(m.file.Path), modulePath(f, ".ipc.js"))
}

// isWellKnown says that the code of f comes with @bufbuild/protobuf.
func isWellKnown(f *idl.File) bool { return path.Dir(f.Path) == "google/protobuf" }

// relative returns the path of target as a module in dir imports it.
func relative(dir, target string) string {
	var up []string
	for dir != "." && !strings.HasPrefix(target, dir+"/") {
		dir = path.Dir(dir)
		up = append(up, "..")
	}
	if dir != "." {
		target = strings.TrimPrefix(target, dir+"/")
	}
	if len(up) == 0 {
		return "./" + target
	}
	return strings.Join(up, "/") + "/" + target
}

// declared returns the messages without those that the compiler makes up for maps, which @bufbuild/protobuf does not count.
func declared(list []*idl.Message) []*idl.Message {
	var all []*idl.Message
	for _, m := range list {
		if !m.MapEntry {
			all = append(all, m)
		}
	}
	return all
}
