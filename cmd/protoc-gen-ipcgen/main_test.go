package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/gen/golang"
	"github.com/ipcgen/ipcgen/idl/load"
)

// ask runs the plugin as protoc does, on descriptors of testdata/services.
func ask(t *testing.T, parameter string, change func(*descriptorpb.FileDescriptorProto)) *pluginpb.CodeGeneratorResponse {
	t.Helper()
	l := load.Loader{ImportPaths: []string{"../../testdata/services"}}
	schema, err := l.Load(t.Context(), "echo/v1/echo.proto")
	if err != nil {
		t.Fatal(err)
	}
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: []string{"echo/v1/echo.proto"}, Parameter: proto.String(parameter)}
	for _, f := range schema.Files {
		fd := new(descriptorpb.FileDescriptorProto)
		if err := proto.Unmarshal(f.Descriptor, fd); err != nil {
			t.Fatal(err)
		}
		if f.Asked && change != nil {
			change(fd)
		}
		req.ProtoFile = append(req.ProtoFile, fd)
	}
	in, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	res := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(out.Bytes(), res); err != nil {
		t.Fatal(err)
	}
	return res
}

// TestSameAsIpcgen: the files are those of ipcgen generate, but for the comments, which these descriptors lack.
func TestSameAsIpcgen(t *testing.T) {
	l := load.Loader{ImportPaths: []string{"../../testdata/services"}}
	schema, err := l.Load(t.Context(), "echo/v1/echo.proto")
	if err != nil {
		t.Fatal(err)
	}
	files, err := golang.Generator{}.Generate(&gen.Request{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	for _, parameter := range []string{"", "lang=go", "lang=go,Mecho/v1/echo.proto=" + schema.Files[len(schema.Files)-1].GoPackage} {
		res := ask(t, parameter, nil)
		if res.Error != nil || len(res.File) != 1 {
			t.Fatalf("%q: %d files and error %q, want 1 and none", parameter, len(res.File), res.GetError())
		}
		if got, want := res.File[0].GetName(), files[0].Path; got != want {
			t.Errorf("%q: name %s, want %s", parameter, got, want)
		}
		if got, want := code(res.File[0].GetContent()), code(string(files[0].Content)); got != want {
			t.Errorf("%q: got\n%s\nwant\n%s", parameter, got, want)
		}
	}
}

// code returns Go source without its comments and blank lines.
func code(source string) string {
	var kept []string
	for line := range strings.Lines(source) {
		line, _, _ = strings.Cut(line, " // ")
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "//") {
			kept = append(kept, strings.Join(strings.Fields(trimmed), " "))
		}
	}
	return strings.Join(kept, "\n")
}

func TestErrorsAreInTheAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		parameter string
		change    func(*descriptorpb.FileDescriptorProto)
		want      string
	}{
		"language":  {"lang=cobol", nil, `unknown language "cobol"`},
		"languages": {"lang=go,lang=python", nil, "lang=python: lang=go is given, too"},
		"parameter": {"paths=source_relative", nil, `unknown parameter "paths=source_relative"`},
		"package":   {"", func(fd *descriptorpb.FileDescriptorProto) { fd.Options = nil }, "echo/v1/echo.proto: echo/v1/echo.proto does not say which Go package"},
	} {
		res := ask(t, c.parameter, c.change)
		if !strings.Contains(res.GetError(), c.want) || len(res.File) > 0 {
			t.Errorf("%s: got error %q and %d files, want %q and none", name, res.GetError(), len(res.File), c.want)
		}
	}
}

func TestNotARequest(t *testing.T) {
	if err := run(strings.NewReader("hello"), os.Stdout); err == nil || !strings.Contains(err.Error(), "not a request") {
		t.Errorf("got %v, want an error that says so", err)
	}
}
