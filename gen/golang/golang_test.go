package golang_test

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/wellknownimports"
	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/gen/gentest"
	"github.com/ipcgen/ipcgen/gen/golang"
	"github.com/ipcgen/ipcgen/idl/load"
)

// language has the folders go of testdata.
var language = gentest.Language{Generator: golang.Generator{}, Folder: "go", Endings: []string{".ipc.go"}, ImportPath: mapped}

// mapped are the Go packages of files that do not say theirs.
var mapped = map[string]string{
	"conformance/conformance.proto":                     conformance + "conformance",
	"proto2/test_messages_proto2.proto":                 conformance + "proto2",
	"proto3/test_messages_proto3.proto":                 conformance + "proto3",
	"edition2023/test_messages_edition2023.proto":       conformance + "edition2023",
	"editionproto2/test_messages_proto2_editions.proto": conformance + "editionproto2",
	"editionproto3/test_messages_proto3_editions.proto": conformance + "editionproto3",
}

const conformance = "github.com/ipcgen/ipcgen/testdata/conformance/go/"

func TestGolden(t *testing.T) { language.TestGolden(t) }

func TestErrors(t *testing.T) { language.TestErrors(t) }

// TestGoldenVet compiles and vets what is in the folders: patterns such as ./... leave testdata out.
func TestGoldenVet(t *testing.T) {
	var packages []string
	err := filepath.WalkDir(gentest.Testdata, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".ipc.go") {
			packages = append(packages, "./"+filepath.ToSlash(filepath.Dir(p)))
		}
		return err
	})
	if err != nil || len(packages) == 0 {
		t.Fatal("no packages: ", err)
	}
	out, err := exec.Command("go", append([]string{"vet"}, packages...)...).CombinedOutput()
	if err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

// TestWellKnown compares the well-known types of the runtime, whose .proto files come with the compiler.
func TestWellKnown(t *testing.T) {
	none := protocompile.ResolverFunc(func(string) (protocompile.SearchResult, error) {
		return protocompile.SearchResult{}, fs.ErrNotExist
	})
	read := func(path string) ([]byte, error) {
		found, err := wellknownimports.WithStandardImports(none).FindFileByPath(filepath.ToSlash(path))
		if err != nil {
			return nil, fs.ErrNotExist
		}
		return io.ReadAll(found.Source)
	}
	for dir, names := range map[string][]string{
		"../../runtime/wkt":            {"any", "api", "duration", "empty", "field_mask", "source_context", "struct", "timestamp", "type", "wrappers"},
		"../../runtime/wkt/descriptor": {"descriptor"},
	} {
		var paths []string
		for _, name := range names {
			paths = append(paths, "google/protobuf/"+name+".proto")
		}
		files, err := language.Generate(t, &load.Loader{ReadFile: read}, paths...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range files {
			files[i].Path = filepath.Base(files[i].Path)
		}
		language.Compare(t, dir, files, func(string) bool { return true })
	}
}

// TestLineEndings wants the same of files whose lines end as on Windows.
func TestLineEndings(t *testing.T) {
	root := gentest.Testdata + "/comments"
	want, err := language.Generate(t, &load.Loader{ImportPaths: []string{root}}, gentest.Find(t, root, ".proto")...)
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) ([]byte, error) {
		text, err := os.ReadFile(path)
		return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), err
	}
	got, err := language.Generate(t, &load.Loader{ImportPaths: []string{root}, ReadFile: read}, gentest.Find(t, root, ".proto")...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with CR LF (-want +got):\n%s", diff)
	}
}
