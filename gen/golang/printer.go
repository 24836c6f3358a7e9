package golang

import (
	"bytes"
	"fmt"
	"go/build"
	"io"
	"path"
	"strings"

	"github.com/dave/jennifer/jen"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/idl"
)

// A printer writes one file: the code as text, in which what another package declares is marked; jennifer names the
// imports.
type printer struct {
	*program
	file *idl.File
	pkg  *goPackage
	out  *jen.File
	text *strings.Builder
}

// file generates the code of one .proto file.
func (p *program) file(f *idl.File) (gen.File, error) {
	pkg := p.packages[f]
	w := &printer{program: p, file: f, pkg: pkg, text: new(strings.Builder), out: jen.NewFilePathName(pkg.path, pkg.name)}
	w.imports()
	w.out.NoFormat = true // done once the imports are grouped
	w.out.HeaderComment("// " + gen.Header)
	w.out.HeaderComment("// source: " + f.Path)
	for _, line := range w.packageComment() {
		w.out.PackageComment(line)
	}
	for _, e := range f.Enums {
		w.enum(e)
	}
	for _, m := range f.Messages {
		w.messageTree(m)
	}
	w.extensions(f.Extensions)
	for _, s := range f.Services {
		w.service(s)
	}
	if len(f.Services) > 0 {
		w.gap()
		w.p("const _ = %s", ipc("Supports1"))
	}
	w.out.Add(resolve(w.text.String()))
	var b bytes.Buffer
	if err := w.out.Render(&b); err != nil {
		return gen.File{}, err
	}
	code := unspace.Replace(b.String())
	source, err := layout(groupImports([]byte(code)))
	if err != nil {
		return gen.File{}, fmt.Errorf("generating Go for %s: %w", f.Path, err)
	}
	return gen.File{Path: fileName(f.Path), Content: append(source, w.descriptor()...)}, nil
}

// fileName returns where the code of a .proto file is. Go would pass over some names, or take them for files of one
// platform, as in "robot_arm": these get an underscore, and those that start with one an x.
func fileName(file string) string {
	base := strings.TrimSuffix(file, ".proto")
	if dir, name := path.Split(base); strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") {
		base = dir + "x" + name
	}
	nowhere := build.Context{GOOS: "none", GOARCH: "none", Compiler: "gc", OpenFile: func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("package p\n")), nil
	}}
	if built, err := nowhere.MatchFile("", path.Base(base)+ending); err == nil && !built {
		base += "_"
	}
	return base + ending
}

const ending = ".ipc.go"

// mark stands on both sides of an import path in the text. It cannot stand in what users wrote.
const mark = "\x00"

// qual returns the name of what another package declares. It is not for use in string literals.
func qual(importPath, name string) string { return mark + importPath + mark + name + mark }

func codec(name string) string { return qual(codecPath, name) }
func ipc(name string) string   { return qual(ipcPath, name) }

// unspace removes the spaces that jennifer has between the names that it knows and the text around them.
var unspace = strings.NewReplacer(")"+mark+" ", "", " "+mark+"(", "", ")"+mark, "", mark+"(", "")

// resolve makes the text code in which jennifer knows the packages. Text is marked at both ends, for unspace.
func resolve(text string) *jen.Statement {
	code := jen.Null()
	for {
		before, rest, found := strings.Cut(text, mark)
		code.Op(mark + "(" + before + ")" + mark)
		if !found {
			return code
		}
		importPath, rest, _ := strings.Cut(rest, mark)
		name, rest, _ := strings.Cut(rest, mark)
		code.Qual(importPath, name)
		text = rest
	}
}

// p prints a line. In functions its inner spaces are those of gofmt: see layout.
func (w *printer) p(format string, args ...any) {
	fmt.Fprintf(w.text, format, args...)
	w.text.WriteByte('\n')
}

// apart returns what print prints, in place of printing it.
func (w *printer) apart(print func()) string {
	before := w.text
	w.text = new(strings.Builder)
	print()
	printed := w.text.String()
	w.text = before
	return printed
}

// gap prints an empty line.
func (w *printer) gap() { w.text.WriteByte('\n') }

// groupImports parts the standard library's imports from the others.
func groupImports(source []byte) []byte {
	const open, end = "\nimport (\n", "\n)\n"
	start := bytes.Index(source, []byte(open))
	if start < 0 {
		return source
	}
	start += len(open)
	length := bytes.Index(source[start:], []byte(end))
	var std, others []string
	for line := range strings.SplitSeq(string(source[start:start+length]), "\n") {
		first, _, _ := strings.Cut(strings.SplitN(line, `"`, 3)[1], "/")
		if strings.Contains(first, ".") {
			others = append(others, line)
		} else {
			std = append(std, line)
		}
	}
	if len(std) == 0 || len(others) == 0 {
		return source
	}
	block := strings.Join(std, "\n") + "\n\n" + strings.Join(others, "\n")
	return append(append(append([]byte(nil), source[:start]...), block...), source[start+length:]...)
}
