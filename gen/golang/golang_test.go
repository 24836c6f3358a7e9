package golang_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/wellknownimports"
	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/gen/golang"
	"github.com/ipcgen/ipcgen/idl/diag"
	"github.com/ipcgen/ipcgen/idl/load"
)

var update = flag.Bool("update", false, "rewrite the expected files, and fail where that changed one")

// testdata holds, in each folder that has a folder go, .proto files and what is generated of them.
const testdata = "../../testdata"

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

// generate returns what is generated of files.
func generate(t *testing.T, l *load.Loader, files ...string) ([]gen.File, error) {
	t.Helper()
	schema, err := l.Load(t.Context(), files...)
	if err != nil {
		var list diag.List
		if errors.As(err, &list) {
			t.Fatal(list.Render(l.Source))
		}
		t.Fatal(err)
	}
	return golang.Generator{}.Generate(&gen.Request{Schema: schema, ImportPath: mapped})
}

// compare holds what was generated against what is in dir.
func compare(t *testing.T, dir string, files []gen.File, exists func(string) bool) {
	t.Helper()
	changes, err := gen.Compare([]gen.Output{{Dir: dir, Endings: []string{".ipc.go"}, Files: files, Whole: true}}, exists)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		want, err := os.ReadFile(c.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, f := range files {
			if filepath.Join(dir, f.Path) == c.Path {
				t.Errorf("%s %s (-want +got):\n%s", c.Path, c.Kind, cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(f.Content), "\n")))
			}
		}
		if c.Kind == gen.Stale {
			t.Errorf("%s %s", c.Path, c.Kind)
		}
	}
	if *update {
		if err := gen.Apply(changes); err != nil {
			t.Fatal(err)
		}
	}
}

// protos returns the .proto files below dir.
func protos(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(p) == ".proto" {
			files = append(files, p)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatal("no .proto files: ", err)
	}
	return files
}

// TestGolden generates each folder of testdata that has a folder go, and compares.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob(testdata + "/*/go")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no folders: ", err)
	}
	for _, dir := range dirs {
		from := filepath.Dir(dir)
		t.Run(filepath.Base(from), func(t *testing.T) {
			files, err := generate(t, &load.Loader{ImportPaths: []string{from}}, protos(t, from)...)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, dir, files, func(source string) bool {
				_, err := os.Stat(filepath.Join(from, source))
				return err == nil
			})
		})
	}
}

// TestGoldenVet compiles and vets what is in the folders: patterns such as ./... leave testdata out.
func TestGoldenVet(t *testing.T) {
	var packages []string
	err := filepath.WalkDir(testdata, func(p string, d fs.DirEntry, err error) error {
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
		files, err := generate(t, &load.Loader{ReadFile: read}, paths...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range files {
			files[i].Path = filepath.Base(files[i].Path)
		}
		compare(t, dir, files, func(string) bool { return true })
	}
}

// TestErrors generates each folder of testdata/go_errors, of which files named imported.proto are not asked for, and
// compares what a user would see with the file want in it.
func TestErrors(t *testing.T) {
	t.Chdir(testdata + "/go_errors")
	cases, err := filepath.Glob("*")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases: ", err)
	}
	for _, dir := range cases {
		t.Run(dir, func(t *testing.T) {
			t.Chdir(dir)
			var l load.Loader
			asked := slices.DeleteFunc(protos(t, "."), func(p string) bool { return p == "imported.proto" })
			_, err := generate(t, &l, asked...)
			var list diag.List
			if !errors.As(err, &list) {
				t.Fatalf("Generate returned %v, want a diag.List", err)
			}
			got := list.Render(l.Source)
			want, err := os.ReadFile("want")
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if got == string(want) {
				return
			}
			t.Errorf("differs from want (-want +got):\n%s", cmp.Diff(string(want), got))
			if *update {
				if err := os.WriteFile("want", []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestLineEndings wants the same of files whose lines end as on Windows.
func TestLineEndings(t *testing.T) {
	root := testdata + "/comments"
	want, err := generate(t, &load.Loader{ImportPaths: []string{root}}, protos(t, root)...)
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) ([]byte, error) {
		text, err := os.ReadFile(path)
		return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), err
	}
	got, err := generate(t, &load.Loader{ImportPaths: []string{root}, ReadFile: read}, protos(t, root)...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with CR LF (-want +got):\n%s", diff)
	}
}
