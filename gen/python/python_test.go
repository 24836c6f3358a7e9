package python_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/gen/gentest"
	"github.com/ipcgen/ipcgen/gen/python"
	"github.com/ipcgen/ipcgen/idl/load"
)

// runtime is where the package ipcgen is.
const runtime = "../../runtime/python/src"

// language has the folders python of testdata.
var language = gentest.Language{Generator: python.Generator{}, Folder: "python", Endings: []string{"_ipc.py", "_ipc.pyi"}}

func TestGolden(t *testing.T) { language.TestGolden(t) }

func TestErrors(t *testing.T) { language.TestErrors(t) }

// TestOptions compares the module of ipcgen's own options, which is in the runtime.
func TestOptions(t *testing.T) {
	include := "../../idl/load/include"
	files, err := language.Generate(t, &load.Loader{ImportPaths: []string{include}}, include+"/ipcgen/v1/options.proto")
	if err != nil {
		t.Fatal(err)
	}
	language.Compare(t, runtime, files, func(string) bool { return true })
}

// TestImportPath wants code that is elsewhere to be imported from there.
func TestImportPath(t *testing.T) {
	root := gentest.Testdata + "/imports"
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
		skip(t, interpreter+": "+err.Error()+": "+lines[len(lines)-1])
	}
	cmd := exec.Command(interpreter, args...)
	cmd.Dir, cmd.Env = dir, environ
	return cmd
}

// skip skips the test with what is missing, or fails it where IPCGEN_INTEROP has python in it.
func skip(t *testing.T, missing string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("IPCGEN_INTEROP"), ","), "python") {
		t.Fatal(missing)
	}
	t.Skip(missing)
}

// TestImport imports what is in the folders, each below its folder's package python, as it would be below a user's.
func TestImport(t *testing.T) {
	for _, from := range language.Cases(t) {
		t.Run(filepath.Base(from), func(t *testing.T) {
			var modules []string
			for _, file := range gentest.Find(t, filepath.Join(from, "python"), "_ipc.py") {
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
	for _, from := range language.Cases(t) {
		t.Run(filepath.Base(from), func(t *testing.T) {
			cache := t.TempDir()
			out, err := command(t, from, "mypy", "-m", "mypy", "--strict", "--cache-dir", cache, "-p", "python").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestPyright wants a program that pyright checks strictly to have no errors in what is in the folders. Pyright runs on Node,
// and is found on the PATH.
func TestPyright(t *testing.T) {
	pyright, err := exec.LookPath("pyright")
	if err != nil {
		skip(t, err.Error())
	}
	interpreter, err := exec.LookPath(command(t, "", "google.protobuf").Path)
	if err != nil {
		t.Fatal(err)
	}
	project := t.TempDir()
	var include []string
	for _, folder := range pythonFolders(t) {
		from, err := filepath.Abs(filepath.Join(gentest.Testdata, folder))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(project, folder), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		include = append(include, folder)
	}
	src, err := filepath.Abs(runtime)
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"typeCheckingMode": "strict", "include": include, "extraPaths": []string{src}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(project, "pyrightconfig.json"), config, 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(pyright, "--pythonpath", interpreter)
	cmd.Dir = project
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLint holds what is in the folders against the rules of pycodestyle, pyflakes and isort, but for two: names decide how
// long lines are, and comments whether there are tabs. The rules of blank lines are in ruff's preview.
func TestLint(t *testing.T) {
	args := []string{"-m", "ruff", "check", "--isolated", "--no-cache", "--preview", "--select", "E,W,F,I", "--ignore", "E101,E501"}
	out, err := command(t, gentest.Testdata, "ruff", append(args, pythonFolders(t)...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func pythonFolders(t *testing.T) []string {
	var list []string
	for _, from := range language.Cases(t) {
		list = append(list, filepath.Base(from)+"/python")
	}
	return list
}
