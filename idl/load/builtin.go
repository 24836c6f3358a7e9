package load

import (
	"embed"
	"io/fs"
	"slices"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// optionsFile is the name by which ipcgen's own options are imported.
const optionsFile = "ipcgen/v1/options.proto"

// builtinNames are what can be imported without a file on disk.
var builtinNames = []string{
	optionsFile,
	"google/protobuf/any.proto", "google/protobuf/api.proto", "google/protobuf/compiler/plugin.proto",
	"google/protobuf/descriptor.proto", "google/protobuf/duration.proto", "google/protobuf/empty.proto",
	"google/protobuf/field_mask.proto", "google/protobuf/source_context.proto", "google/protobuf/struct.proto",
	"google/protobuf/timestamp.proto", "google/protobuf/type.proto", "google/protobuf/wrappers.proto",
}

// Builtin returns the names of the files that can be imported without being on disk.
func Builtin() []string { return slices.Clone(builtinNames) }

//go:embed include
var include embed.FS

// Include returns the .proto files that come with ipcgen, for users of protoc and buf, which need them on disk. Paths in
// it are the names by which they are imported.
func Include() fs.FS {
	sub, err := fs.Sub(include, "include")
	if err != nil {
		panic(err) // the name is valid
	}
	return sub
}

// builtin returns the standard file of a name as protobuf's own libraries carry it, or nil.
func builtin(name string) protoreflect.FileDescriptor {
	none := protocompile.ResolverFunc(func(string) (protocompile.SearchResult, error) {
		return protocompile.SearchResult{}, protoregistry.NotFound
	})
	found, err := protocompile.WithStandardImports(none).FindFileByPath(name)
	if err != nil {
		return nil
	}
	return found.Desc
}
