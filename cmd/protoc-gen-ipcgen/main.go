// Protoc-gen-ipcgen is ipcgen as a plugin of protoc and buf: the same generators, the same files.
//
//	protoc --ipcgen_out=. --ipcgen_opt=lang=go,Mecho/v1/echo.proto=example.com/echo/v1 echo/v1/echo.proto
//
// Its parameters, separated by commas:
//
//	lang=LANGUAGE              what to generate; go where it is not given
//	MFILE=IMPORTPATH[;NAME]    the Go package of a .proto file, in place of its go_package
//	MFOLDER/=IMPORTPATH        each folder in FOLDER is a Go package below IMPORTPATH
//	MFILE=PACKAGE              with lang=python, the package that has the code of a .proto file which is generated elsewhere
//	MFOLDER/=PACKAGE           the same of each folder in FOLDER, below PACKAGE
//
// A file lands below the output directory at its .proto file's path relative to its import path. Buf starts the plugin for
// each folder apart, unless buf.gen.yaml says "strategy: all": an error of a method that another folder declares needs that.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/ipcgen/ipcgen/cmd/internal/language"
	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/idl/load"
)

// help is for somebody who starts the program by hand.
const help = `protoc-gen-ipcgen is a plugin of protoc and buf, which start it; it takes no arguments. To use it:

   protoc --ipcgen_out=DIR --ipcgen_opt=lang=go FILE...

Its parameters, separated by commas:

   lang=LANGUAGE              what to generate; go where it is not given
   MFILE=IMPORTPATH[;NAME]    the Go package of a .proto file, in place of its go_package
   MFOLDER/=IMPORTPATH        each folder in FOLDER is a Go package below IMPORTPATH
   MFILE=PACKAGE              with lang=python, the package that has the code of a .proto file which is generated elsewhere
   MFOLDER/=PACKAGE           the same of each folder in FOLDER, below PACKAGE

With buf, which starts it for each folder apart, an error of a method that is declared in another folder needs
"strategy: all" in buf.gen.yaml.

To generate without protoc, see ipcgen help generate.
`

func main() {
	if len(os.Args) > 1 {
		if a := os.Args[1]; a == "--help" || a == "-h" || a == "help" {
			fmt.Print(help)
			return
		}
		fmt.Fprintf(os.Stderr, "protoc-gen-ipcgen: %q is one argument too many\n\n%s", os.Args[1], help)
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "protoc-gen-ipcgen:", err)
		os.Exit(1)
	}
}

// run answers one request. What is wrong with the user's files is in the answer; an error is one of the protocol with
// the compiler.
func run(in io.Reader, out io.Writer) error {
	b, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	req := new(pluginpb.CodeGeneratorRequest)
	if err := proto.Unmarshal(b, req); err != nil {
		return fmt.Errorf("stdin is not a request of protoc or buf, which start this program: %w", err)
	}
	res := &pluginpb.CodeGeneratorResponse{
		SupportedFeatures: proto.Uint64(uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL | pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS)),
		MinimumEdition:    proto.Int32(int32(descriptorpb.Edition_EDITION_PROTO2)),
		MaximumEdition:    proto.Int32(int32(descriptorpb.Edition_EDITION_2023)),
	}
	files, err := generate(req)
	if err != nil {
		res.Error = proto.String(err.Error())
	}
	for _, f := range files {
		res.File = append(res.File, &pluginpb.CodeGeneratorResponse_File{Name: proto.String(f.Path), Content: proto.String(string(f.Content))})
	}
	if b, err = proto.Marshal(res); err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

func generate(req *pluginpb.CodeGeneratorRequest) ([]gen.File, error) {
	lang, packages, err := parse(req.GetParameter())
	if err != nil {
		return nil, err
	}
	schema, err := load.FromDescriptors(context.Background(), req.GetProtoFile(), req.GetFileToGenerate()...)
	if err != nil {
		return nil, err
	}
	return lang.Generator.Generate(&gen.Request{Schema: schema, ImportPath: packages})
}

// parse reads the parameters.
func parse(parameter string) (lang language.Language, packages map[string]string, err error) {
	name := ""
	packages = make(map[string]string)
	for p := range strings.SplitSeq(parameter, ",") {
		key, value, ok := strings.Cut(p, "=")
		switch {
		case p == "":
		case ok && key == "lang" && name != "":
			return lang, nil, fmt.Errorf("lang=%s: lang=%s is given, too: start the plugin once for each language", value, name)
		case ok && key == "lang" && value != "":
			name = value
		case ok && len(key) > 1 && key[0] == 'M' && value != "":
			packages[key[1:]] = value
		default:
			return lang, nil, fmt.Errorf("unknown parameter %q; there is: lang=LANGUAGE, MFILE=IMPORTPATH, MFILE=PACKAGE", p)
		}
	}
	lang, err = language.Find(cmp.Or(name, "go"))
	return lang, packages, err
}
