package python_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/gen/python"
	"github.com/ipcgen/ipcgen/idl/diag"
	"github.com/ipcgen/ipcgen/idl/load"
)

var update = flag.Bool("update", false, "rewrite the expected files, and fail where that changed one")

// testdata holds, in each folder that has a folder python, .proto files and what is generated of them.
const testdata = "../../testdata"

// runtime is where the package ipcgen is.
const runtime = "../../runtime/python/src"

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
	return python.Generator{}.Generate(&gen.Request{Schema: schema})
}

// compare holds what was generated against what is in dir.
func compare(t *testing.T, dir string, files []gen.File, exists func(string) bool) {
	t.Helper()
	endings := []string{"_ipc.py", "_ipc.pyi"}
	changes, err := gen.Compare([]gen.Output{{Dir: dir, Endings: endings, Files: files, Whole: true}}, exists)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		want, err := os.ReadFile(c.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		got := ""
		for _, f := range files {
			if filepath.Join(dir, f.Path) == c.Path {
				got = string(f.Content)
			}
		}
		t.Errorf("%s %s (-want +got):\n%s", c.Path, c.Kind, cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")))
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
	return find(t, dir, ".proto")
}

// find returns the files below dir of an ending.
func find(t *testing.T, dir, ending string) []string {
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

// folders are those of testdata that have a folder python.
func folders(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(testdata + "/*/python")
	if err != nil || len(found) == 0 {
		t.Fatal("no folders: ", err)
	}
	for i, dir := range found {
		found[i] = filepath.Dir(dir)
	}
	return found
}

// TestGolden generates each folder of testdata that has a folder python, and compares.
func TestGolden(t *testing.T) {
	for _, from := range folders(t) {
		t.Run(filepath.Base(from), func(t *testing.T) {
			files, err := generate(t, &load.Loader{ImportPaths: []string{from}}, protos(t, from)...)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join(from, "python"), files, func(source string) bool {
				_, err := os.Stat(filepath.Join(from, source))
				return err == nil
			})
		})
	}
}

// TestOptions compares the module of ipcgen's own options, which is in the runtime.
func TestOptions(t *testing.T) {
	include := "../../idl/load/include"
	files, err := generate(t, &load.Loader{ImportPaths: []string{include}}, include+"/ipcgen/v1/options.proto")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, runtime, files, func(string) bool { return true })
}

// TestErrors generates each folder of testdata/python_errors, and compares what a user would see with the file want in it.
func TestErrors(t *testing.T) {
	t.Chdir(testdata + "/python_errors")
	cases, err := filepath.Glob("*")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases: ", err)
	}
	for _, dir := range cases {
		t.Run(dir, func(t *testing.T) {
			t.Chdir(dir)
			var l load.Loader
			_, err := generate(t, &l, protos(t, ".")...)
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

// TestImportPath wants code that is elsewhere to be imported from there.
func TestImportPath(t *testing.T) {
	root := testdata + "/imports"
	l := load.Loader{ImportPaths: []string{root}}
	schema, err := l.Load(t.Context(), root+"/a/v1/a.proto")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, value string
		want       string
	}{
		{"b/v1/b.proto", "acme.schemas.b", "from acme.schemas.b import b_ipc as "},
		{"b/", "acme.schemas", "from acme.schemas.v1 import b_ipc as "},
		{"b/v1/", "acme", "from acme import b_ipc as "},
		{"./", "acme", "from acme.b.v1 import b_ipc as "},
	} {
		files, err := python.Generator{}.Generate(&gen.Request{Schema: schema, ImportPath: map[string]string{c.key: c.value}})
		if err != nil {
			t.Errorf("%s=%s: %v", c.key, c.value, err)
			continue
		}
		i := slices.IndexFunc(files, func(f gen.File) bool { return f.Path == "a/v1/a_ipc.py" })
		if i < 0 || !strings.Contains(string(files[i].Content), c.want) {
			t.Errorf("%s=%s: a_ipc.py is not there or does not have %q", c.key, c.value, c.want)
		}
	}
	_, err = python.Generator{}.Generate(&gen.Request{Schema: schema, ImportPath: map[string]string{"b/v1/b.proto": "acme/b"}})
	if want := "the Python package \"acme/b\" is not a dotted name"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error that has %q", err, want)
	}
}

// command returns a command of Python's that runs in dir, with the runtime on its path, or skips the test with what is
// missing. IPCGEN_PYTHON names the interpreter; where IPCGEN_INTEROP has python in it, nothing is skipped.
func command(t *testing.T, dir, needs string, args ...string) *exec.Cmd {
	t.Helper()
	interpreter := "python3"
	if p := os.Getenv("IPCGEN_PYTHON"); p != "" {
		interpreter = p
	}
	src, err := filepath.Abs(runtime)
	if err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), "PYTHONPATH="+src, "MYPYPATH="+src, "PYTHONDONTWRITEBYTECODE=1")
	probe := exec.Command(interpreter, "-c", "import sys; assert sys.version_info >= (3, 11), 'Python 3.11 is needed'; import "+needs)
	probe.Env = environ
	if out, err := probe.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		reason := interpreter + ": " + err.Error() + ": " + lines[len(lines)-1]
		if slices.Contains(strings.Split(os.Getenv("IPCGEN_INTEROP"), ","), "python") {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	cmd := exec.Command(interpreter, args...)
	cmd.Dir, cmd.Env = dir, environ
	return cmd
}

// TestImport imports what is in the folders, each below its folder's package python, as it would be below a user's.
func TestImport(t *testing.T) {
	for _, from := range folders(t) {
		t.Run(filepath.Base(from), func(t *testing.T) {
			var modules []string
			for _, file := range find(t, filepath.Join(from, "python"), "_ipc.py") {
				name, err := filepath.Rel(from, strings.TrimSuffix(file, ".py"))
				if err != nil {
					t.Fatal(err)
				}
				modules = append(modules, strings.ReplaceAll(filepath.ToSlash(name), "/", "."))
			}
			script := "import importlib, sys\nfor name in sys.argv[1:]: print(importlib.import_module(name).DESCRIPTOR.name)"
			out, err := command(t, from, "google.protobuf", append([]string{"-W", "error", "-c", script}, modules...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := strings.Count(string(out), ".proto\n"); got != len(modules) {
				t.Errorf("%d modules were imported, want %d:\n%s", got, len(modules), out)
			}
		})
	}
}

// TestTypes holds what is in the folders against a type checker.
func TestTypes(t *testing.T) {
	for _, from := range folders(t) {
		t.Run(filepath.Base(from), func(t *testing.T) {
			cache := t.TempDir()
			out, err := command(t, from, "mypy", "-m", "mypy", "--strict", "--cache-dir", cache, "-p", "python").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestLint holds what is in the folders against ruff's default rules.
func TestLint(t *testing.T) {
	out, err := command(t, testdata, "ruff", append([]string{"-m", "ruff", "check", "--isolated", "--no-cache"}, pythonFolders(t)...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func pythonFolders(t *testing.T) []string {
	var list []string
	for _, from := range folders(t) {
		list = append(list, filepath.Base(from)+"/python")
	}
	return list
}
