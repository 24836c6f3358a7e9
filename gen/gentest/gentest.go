// Package gentest is what the tests of all generators have in common: folders of testdata whose .proto files are generated,
// and compared with what is expected. To write anew what is expected run them with -update; they fail once where that
// changed something.
package gentest

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/idl/diag"
	"github.com/ipcgen/ipcgen/idl/load"
)

var update = flag.Bool("update", false, "rewrite the expected files, and fail where that changed one")

// Testdata is the folder of the cases, from a generator's package.
const Testdata = "../../testdata"

// A Language is a generator under test.
type Language struct {
	Generator gen.Generator
	// Folder is where its output is in each folder of Testdata that is a case of it; what is wrong with the user's input
	// has cases in the folder Folder + "_errors".
	Folder     string
	Endings    []string          // of the files that it makes
	ImportPath map[string]string // as in gen.Request
}

// Generate returns what is generated of files.
func (l *Language) Generate(t *testing.T, loader *load.Loader, files ...string) ([]gen.File, error) {
	t.Helper()
	schema, err := loader.Load(t.Context(), files...)
	if err != nil {
		var list diag.List
		if errors.As(err, &list) {
			t.Fatal(list.Render(loader.Source))
		}
		t.Fatal(err)
	}
	return l.Generator.Generate(&gen.Request{Schema: schema, ImportPath: l.ImportPath})
}

// Cases returns the folders of Testdata that are cases.
func (l *Language) Cases(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(Testdata + "/*/" + l.Folder)
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no folder of %s has a folder %s: %v", Testdata, l.Folder, err)
	}
	for i, dir := range dirs {
		dirs[i] = filepath.Dir(dir)
	}
	return dirs
}

// TestGolden generates each case and compares.
func (l *Language) TestGolden(t *testing.T) {
	for _, from := range l.Cases(t) {
		t.Run(filepath.Base(from), func(t *testing.T) {
			files, err := l.Generate(t, &load.Loader{ImportPaths: []string{from}}, Find(t, from, ".proto")...)
			if err != nil {
				t.Fatal(err)
			}
			l.Compare(t, filepath.Join(from, l.Folder), files, func(source string) bool {
				_, err := os.Stat(filepath.Join(from, source))
				return err == nil
			})
		})
	}
}

// Compare holds what was generated against what is in dir. Exists says whether a .proto file is there, of which something
// in dir says that it was made of it.
func (l *Language) Compare(t *testing.T, dir string, files []gen.File, exists func(source string) bool) {
	t.Helper()
	changes, err := gen.Compare([]gen.Output{{Dir: dir, Endings: l.Endings, Files: files, Whole: true}}, exists)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		want, err := os.ReadFile(c.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		var got []byte // stays empty where c is a file that is generated no more
		if i := slices.IndexFunc(files, func(f gen.File) bool { return filepath.Join(dir, f.Path) == c.Path }); i >= 0 {
			got = files[i].Content
		}
		t.Errorf("%s %s (-want +got):\n%s", c.Path, c.Kind, cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")))
	}
	if *update {
		if err := gen.Apply(changes); err != nil {
			t.Fatal(err)
		}
	}
}

// TestErrors generates each folder of the errors' cases, of which files named imported.proto are not asked for, and
// compares what a user would see with the file want in it.
func (l *Language) TestErrors(t *testing.T) {
	t.Chdir(filepath.Join(Testdata, l.Folder+"_errors"))
	cases, err := filepath.Glob("*")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases: ", err)
	}
	for _, dir := range cases {
		t.Run(dir, func(t *testing.T) {
			t.Chdir(dir)
			asked := slices.DeleteFunc(Find(t, ".", ".proto"), func(p string) bool { return p == "imported.proto" })
			var loader load.Loader
			_, err := l.Generate(t, &loader, asked...)
			var list diag.List
			if !errors.As(err, &list) {
				t.Fatalf("Generate returned %v, want a diag.List", err)
			}
			compareText(t, "want", list.Render(loader.Source))
		})
	}
}

// compareText holds text against what is in file.
func compareText(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	t.Errorf("differs from %s (-want +got):\n%s", file, cmp.Diff(string(want), got))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// Find returns the files below dir that have an ending: at least one.
func Find(t *testing.T, dir, ending string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ending) {
			files = append(files, p)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no *%s: %v", dir, ending, err)
	}
	return files
}
