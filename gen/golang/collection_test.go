package golang_test

import (
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/gen/gentest"
	"github.com/ipcgen/ipcgen/gen/golang"
	"github.com/ipcgen/ipcgen/idl/load"
)

// TestCollection generates, compiles and vets a large collection that nobody made for this: see testdata/collection.
func TestCollection(t *testing.T) {
	const variable = "IPCGEN_COLLECTION"
	root := os.Getenv(variable)
	if root == "" {
		t.Skip(variable + " does not name Google's public schemas; testdata/collection/fetch gets them")
	}
	files := collected(t, root)
	if len(files) < 500 {
		t.Fatalf("%s has %d files, want at least 500", root, len(files))
	}
	schema, err := (&load.Loader{ImportPaths: []string{root}}).Load(t.Context(), files...)
	if err != nil {
		t.Fatal(err)
	}
	generated, err := golang.Generator{}.Generate(&gen.Request{Schema: schema, ImportPath: map[string]string{"./": "example.com/collection"}})
	if err != nil {
		t.Fatal(err)
	}
	module := emptyModule(t)
	for _, f := range generated {
		checkFormat(t, f)
		name := filepath.Join(module, f.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	vet := exec.Command("go", "vet", "-mod=mod", "./...")
	vet.Dir = module
	if out, err := vet.CombinedOutput(); err != nil {
		t.Fatalf("go vet: %v\n%s", err, out)
	}
	t.Logf("%d files generate, compile and vet", len(generated))
}

// checkFormat wants the code of a file as gofmt has it; comments are left out, since gofmt changes some again and again.
// So are the largest files: gofmt takes too long for their descriptors.
func checkFormat(t *testing.T, f gen.File) {
	t.Helper()
	if len(f.Content) > 100<<10 {
		return
	}
	formatted, err := format.Source(f.Content)
	if err != nil || withoutComments(formatted) != withoutComments(f.Content) {
		t.Errorf("%s is not formatted: %v", f.Path, err)
	}
}

func withoutComments(source []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(source)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "//") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// collected returns the files of the collection but those of its largest products and of protobuf itself, which are for
// the tests of protobuf's compiler.
func collected(t *testing.T, root string) []string {
	t.Helper()
	left := []string{"google/ads", "google/cloud", "google/protobuf"}
	return slices.DeleteFunc(gentest.Find(t, root, ".proto"), func(file string) bool {
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.ToSlash(name)
		return strings.HasPrefix(name, "node_modules/") || strings.HasPrefix(name, "build/") ||
			slices.ContainsFunc(left, func(dir string) bool { return strings.HasPrefix(name, dir+"/") })
	})
}

// emptyModule returns the folder of a module in which generated code finds the runtime.
func emptyModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(repository, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	const head = "module example.com/collection\n\ngo 1.26.0\n\nrequire github.com/ipcgen/ipcgen v0.0.0\n\nreplace github.com/ipcgen/ipcgen => "
	for name, content := range map[string][]byte{"go.mod": []byte(head + repository + "\n"), "go.sum": sums} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
