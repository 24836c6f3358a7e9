package golang_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/ipcgen/ipcgen/gen/gentest"
)

// renamed are the names that protoc-gen-go gives and that stand for something else here: methods of every message, and
// what comes to clash with them.
var renamed = map[string]string{
	"Type.Size": "Type.Size_", "Type.Clone": "Type.Clone_", "Type.Equal": "Type.Equal_", "Type.Unmarshal": "Type.Unmarshal_",
	"Type.MarshalAppend": "Type.MarshalAppend_", "Failed.Error": "Failed.Error_",
	"Getters.AppendFields": "Getters.AppendFields_", "Getters.DecodeFields": "Getters.DecodeFields_",
	"Getters.ExtensionFields": "Getters.ExtensionFields_", "Getters.HasRequired": "Getters.HasRequired_",
	"Getters.XXX_OneofWrappers": "Getters.XXX_OneofWrappers_", "Getters.Equal": "Getters.Equal_",
}

// TestNames wants the names that protoc-gen-go gives, so that code can change from one to the other.
func TestNames(t *testing.T) {
	dirs, err := filepath.Glob(gentest.Testdata + "/*/go")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no folders: ", err)
	}
	for _, dir := range dirs {
		root := filepath.Dir(dir)
		if filepath.Base(root) == "files" {
			continue // about the names of files, which differ
		}
		for _, file := range gentest.Find(t, root, ".proto") {
			name, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(filepath.ToSlash(name), func(t *testing.T) {
				declared := declarations(t, filepath.Join(dir, strings.TrimSuffix(name, ".proto")+".ipc.go"))
				for _, want := range theirNames(t, root, filepath.ToSlash(name)) {
					if ours, ok := renamed[want]; ok {
						want = ours
					}
					if !declared[want] {
						t.Errorf("%s is not declared", want)
					}
				}
			})
		}
	}
}

// theirNames returns what protoc-gen-go would declare for a file: types, constants, and fields behind their type.
func theirNames(t *testing.T, root, file string) []string {
	t.Helper()
	parameters := []string{"Mipcgen/v1/options.proto=example.com/options"}
	for name, importPath := range mapped {
		parameters = append(parameters, "M"+name+"="+importPath)
	}
	plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{file},
		ProtoFile:      descriptors(t, root, file),
		Parameter:      proto.String(strings.Join(parameters, ",")),
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	enums := func(list []*protogen.Enum) {
		for _, e := range list {
			names = append(names, e.GoIdent.GoName)
			for _, v := range e.Values {
				names = append(names, v.GoIdent.GoName)
			}
		}
	}
	var messages func(list []*protogen.Message)
	messages = func(list []*protogen.Message) {
		for _, m := range list {
			if m.Desc.IsMapEntry() {
				continue
			}
			names = append(names, m.GoIdent.GoName)
			names = append(names, fieldNames(m)...)
			enums(m.Enums)
			messages(m.Messages)
		}
	}
	f := plugin.FilesByPath[file]
	enums(f.Enums)
	messages(f.Messages)
	return names
}

func fieldNames(m *protogen.Message) []string {
	var names []string
	for _, f := range m.Fields {
		if f.Oneof == nil || f.Oneof.Desc.IsSynthetic() {
			names = append(names, m.GoIdent.GoName+"."+f.GoName)
			continue
		}
		names = append(names, m.GoIdent.GoName+"."+f.Oneof.GoName, f.GoIdent.GoName, f.GoIdent.GoName+"."+f.GoName)
	}
	return names
}

// declarations returns what a Go file declares, in the form of theirNames.
func declarations(t *testing.T, file string) map[string]bool {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), path.Base(file), source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	declared := make(map[string]bool)
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			declared[n.Name.Name] = true
			if s, ok := n.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, name := range f.Names {
						declared[n.Name.Name+"."+name.Name] = true
					}
				}
			}
		case *ast.ValueSpec:
			declared[n.Names[0].Name] = true
		}
		return true
	})
	return declared
}
