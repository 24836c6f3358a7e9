package load_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
	"github.com/ipcgen/ipcgen/idl/load"
)

var update = flag.Bool("update", false, "rewrite the expected files, and fail where that changed one")

// compare holds got against a file.
func compare(t *testing.T, path, got string) {
	t.Helper()
	want, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("%s differs (-want +got):\n%s", path, cmp.Diff(string(want), got))
}

// TestErrors loads each folder of testdata/errors and compares what a user would see with the file want in it. All
// .proto files of a folder are asked for, except those in a folder of it.
func TestErrors(t *testing.T) {
	t.Chdir("../../testdata/errors")
	cases, err := filepath.Glob("*")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases: ", err)
	}
	for _, dir := range cases {
		t.Run(dir, func(t *testing.T) {
			t.Chdir(dir)
			files, err := filepath.Glob("*.proto")
			if err != nil || len(files) == 0 {
				t.Fatal("no .proto files: ", err)
			}
			var l load.Loader
			_, err = l.Load(t.Context(), files...)
			var list diag.List
			if !errors.As(err, &list) {
				t.Fatalf("Load returned %v, want a diag.List", err)
			}
			compare(t, "want", list.Render(l.Source))
		})
	}
}

func mustLoad(t *testing.T, l *load.Loader, files ...string) *idl.Schema {
	t.Helper()
	schema, err := l.Load(t.Context(), files...)
	if err != nil {
		var list diag.List
		if errors.As(err, &list) {
			t.Fatal(list.Render(l.Source))
		}
		t.Fatal(err)
	}
	return schema
}

// TestModel compares the model of each file in testdata/model with a dump beside it.
func TestModel(t *testing.T) {
	t.Chdir("../../testdata/model")
	files, err := filepath.Glob("*.proto")
	if err != nil || len(files) == 0 {
		t.Fatal("no files: ", err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			compare(t, strings.TrimSuffix(file, ".proto")+".want", dump(mustLoad(t, &load.Loader{}, file)))
		})
	}
}

// TestFromDescriptors takes the descriptors of the files in testdata/model the way of a plugin: the model is the same.
func TestFromDescriptors(t *testing.T) {
	t.Chdir("../../testdata/model")
	files, err := filepath.Glob("*.proto")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		schema := mustLoad(t, &load.Loader{}, file)
		var set []*descriptorpb.FileDescriptorProto
		for _, f := range schema.Files {
			fd := new(descriptorpb.FileDescriptorProto)
			if err := proto.Unmarshal(f.Descriptor, fd); err != nil {
				t.Fatal(err)
			}
			set = append(set, fd)
		}
		slices.Reverse(set) // any order will do
		again, err := load.FromDescriptors(t.Context(), set, file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		// The descriptors in a model have no source information, hence neither comments nor lines.
		if diff := cmp.Diff(withoutSource(dump(schema)), withoutSource(dump(again))); diff != "" {
			t.Errorf("%s (-Load +FromDescriptors):\n%s", file, diff)
		}
	}
}

func TestFromDescriptorsMissing(t *testing.T) {
	a := &descriptorpb.FileDescriptorProto{Name: proto.String("a.proto"), Dependency: []string{"b.proto"}}
	_, err := load.FromDescriptors(t.Context(), []*descriptorpb.FileDescriptorProto{a}, "a.proto")
	if err == nil || !strings.Contains(err.Error(), "b.proto") {
		t.Errorf("got %v, want an error that names b.proto", err)
	}
	_, err = load.FromDescriptors(t.Context(), nil, "c.proto")
	if err == nil || !strings.Contains(err.Error(), "c.proto: there is no descriptor") {
		t.Errorf("got %v, want an error that names c.proto", err)
	}
}

// TestOptionsOfAnotherType wants what has the number of ipcgen's options but is no message to be left alone: here a
// number, 2, that is not the length of what stands behind it, which would be oneway: true.
func TestOptionsOfAnotherType(t *testing.T) {
	options := new(descriptorpb.MethodOptions)
	options.ProtoReflect().SetUnknown(append(protowire.AppendVarint(protowire.AppendTag(nil, 50860, protowire.VarintType), 2), 1<<3, 1))
	fd := &descriptorpb.FileDescriptorProto{
		Name: proto.String("a.proto"), Syntax: proto.String("proto3"), Dependency: []string{"google/protobuf/empty.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("M"), InputType: proto.String(".google.protobuf.Empty"), OutputType: proto.String(".google.protobuf.Empty"),
			Options: options}}}},
	}
	empty := protodesc.ToFileDescriptorProto(emptypb.File_google_protobuf_empty_proto)
	schema, err := load.FromDescriptors(t.Context(), []*descriptorpb.FileDescriptorProto{empty, fd}, "a.proto")
	if err != nil {
		t.Fatal(err)
	}
	services := schema.Files[len(schema.Files)-1].Services
	if got := services[0].Methods[0].Shape; got != idl.Unary {
		t.Errorf("the method is %s, want %s", got, idl.Unary)
	}
}

// TestHostileFiles are files that cannot stand in a folder of cases, or say nothing there.
func TestHostileFiles(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"empty":          {"  \n", "the file is empty"},
		"not UTF-8":      {"syntax = \"proto3\";\n// \xff\n", "a.proto:2:4: the file is not UTF-8: byte 0xff"},
		"UTF-16":         {"\xff\xfes\x00", "the file is UTF-16"},
		"deep":           {"syntax = \"proto3\"; message M {" + strings.Repeat("message M {", 1<<16), "nested more than 200 deep"},
		"unclosed":       {"syntax = \"proto3\"; /* ", "a.proto:1:"},
		"binary":         {"syntax = \"proto3\";\x00\x01", "a.proto:1:"},
		"with BOM, CRLF": {"\xef\xbb\xbfsyntax = \"proto3\";\r\nmessage M { Nope n = 1; }\r\n", "a.proto:2:13: field M.n: unknown type Nope"},
		"options alone":  {"syntax = \"proto3\";\noption (nope) = 1;", "a.proto:2:"},
	} {
		t.Run(name, func(t *testing.T) {
			l := load.Loader{ReadFile: only("a.proto", c.text)}
			_, err := l.Load(t.Context(), "a.proto")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that has %q", err, c.want)
			}
		})
	}
}

// only is a disk with one file.
func only(name, text string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if filepath.ToSlash(path) == name {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	}
}

func TestPlaces(t *testing.T) {
	t.Chdir(t.TempDir())
	for path, text := range map[string]string{
		"api/a/v1/a.proto":   "syntax = \"proto3\"; package a.v1;\nimport \"b/b.proto\"; message A { b.B b = 1; }",
		"lib/b/b.proto":      "syntax = \"proto3\"; package b; message B {}",
		"other/a/v1/a.proto": "syntax = \"proto3\"; package a.v1;",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		paths []string
		files []string
		names []string // of those asked for
		want  string   // error
	}{
		"by path":           {[]string{"api", "lib"}, []string{"api/a/v1/a.proto"}, []string{"a/v1/a.proto"}, ""},
		"by name":           {[]string{"api", "lib"}, []string{"a/v1/a.proto"}, []string{"a/v1/a.proto"}, ""},
		"twice":             {[]string{"api", "lib"}, []string{"a/v1/a.proto", "api/a/v1/a.proto"}, []string{"a/v1/a.proto"}, ""},
		"several":           {[]string{"api", "lib"}, []string{"api/a/v1/a.proto", "lib/b/b.proto"}, []string{"b/b.proto", "a/v1/a.proto"}, ""},
		"no import path":    {nil, []string{"api/a/v1/a.proto"}, nil, `import "b/b.proto": no such file in the import paths: the current directory`},
		"outside":           {[]string{"lib"}, []string{"api/a/v1/a.proto"}, nil, "api/a/v1/a.proto: is in none of the import paths: lib"},
		"missing":           {[]string{"lib"}, []string{"b/c.proto"}, nil, "b/c.proto: no such file, neither here nor in an import path: lib"},
		"hidden by another": {[]string{"other", "api", "lib"}, []string{"api/a/v1/a.proto"}, nil, `is imported as "a/v1/a.proto", but so is other/a/v1/a.proto`},
		"a directory":       {[]string{"api"}, []string{"api/a"}, nil, "api/a: is a directory, not a file"},
		"no such path":      {[]string{"nope"}, []string{"api/a/v1/a.proto"}, nil, "import path nope: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			l := load.Loader{ImportPaths: c.paths}
			schema, err := l.Load(t.Context(), c.files...)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want an error that has %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range schema.Files {
				if f.Asked {
					names = append(names, f.Path)
				}
			}
			if diff := cmp.Diff(c.names, names); diff != "" {
				t.Errorf("files asked for (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	var got []string
	l := load.Loader{
		ReadFile: only("a.proto", "syntax = \"proto3\";\n\nimport \"google/protobuf/any.proto\";\n"),
		Warn:     func(d *diag.Diagnostic) { got = append(got, d.Error()) },
	}
	mustLoad(t, &l, "a.proto")
	want := []string{`a.proto:3:1: warning: import "google/protobuf/any.proto" not used`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// FuzzLoad: whatever a file holds, there is a model, or diagnostics that point into it.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"../../testdata/model/*.proto", "../../testdata/errors/*/*.proto"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal("no seeds: ", err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := load.Loader{ReadFile: only("a.proto", text)}
		schema, err := l.Load(t.Context(), "a.proto")
		var list diag.List
		switch {
		case err == nil && schema == nil:
			t.Error("neither a model nor an error")
		case err == nil:
		case !errors.As(err, &list) || len(list) == 0:
			t.Errorf("an error that is no list: %v", err)
		}
		for _, d := range list {
			checkPosition(t, d, text)
		}
		if strings.Contains(list.Render(l.Source), "internal error") {
			t.Error(list)
		}
	})
}

func checkPosition(t *testing.T, d *diag.Diagnostic, text string) {
	lines := strings.Split(strings.TrimPrefix(text, "\xef\xbb\xbf"), "\n")
	switch p := d.Pos; {
	case p.Line < 0 || p.Line > len(lines):
		t.Errorf("%v: there are %d lines", d, len(lines))
	case p.Line > 0 && p.Column > len(lines[p.Line-1])+1:
		t.Errorf("%v: the line has %d bytes", d, len(lines[p.Line-1]))
	}
}
