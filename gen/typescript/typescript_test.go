package typescript_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/gen/typescript"
	"github.com/ipcgen/ipcgen/idl/diag"
	"github.com/ipcgen/ipcgen/idl/load"
)

var update = flag.Bool("update", false, "rewrite the expected files, and fail where that changed one")

const (
	// testdata holds, in each folder that has a folder typescript, .proto files and what is generated of them.
	testdata = "../../testdata"
	// runtime is the package that generated code imports, where the compiler is installed, too.
	runtime = "../../runtime/typescript"
)

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
	return typescript.Generator{}.Generate(&gen.Request{Schema: schema})
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

// folders returns the folders of testdata that have a folder typescript, and those.
func folders(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(testdata + "/*/typescript")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no folders: ", err)
	}
	return dirs
}

// TestGolden generates each folder of testdata that has a folder typescript, and compares.
func TestGolden(t *testing.T) {
	for _, dir := range folders(t) {
		from := filepath.Dir(dir)
		t.Run(filepath.Base(from), func(t *testing.T) {
			files, err := generate(t, &load.Loader{ImportPaths: []string{from}}, protos(t, from)...)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, from, dir, files)
		})
	}
}

// compare holds what was generated of the .proto files below from against what is in dir.
func compare(t *testing.T, from, dir string, files []gen.File) {
	t.Helper()
	exists := func(source string) bool {
		_, err := os.Stat(filepath.Join(from, source))
		return err == nil
	}
	changes, err := gen.Compare([]gen.Output{{Dir: dir, Endings: []string{".ipc.ts"}, Files: files, Whole: true}}, exists)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		want, err := os.ReadFile(c.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if c.Kind == gen.Stale {
			t.Errorf("%s %s", c.Path, c.Kind)
		}
		for _, f := range files {
			if filepath.Join(dir, f.Path) == c.Path {
				t.Errorf("%s %s (-want +got):\n%s", c.Path, c.Kind, cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(f.Content), "\n")))
			}
		}
	}
	if *update {
		if err := gen.Apply(changes); err != nil {
			t.Fatal(err)
		}
	}
}

// need skips the test where what it needs of Node and npm is not there, and fails it where IPCGEN_INTEROP says that it is.
func need(t *testing.T, paths ...string) {
	t.Helper()
	miss := t.Skipf
	if slices.Contains(strings.Split(os.Getenv("IPCGEN_INTEROP"), ","), "typescript") {
		miss = t.Fatalf
	}
	if _, err := exec.LookPath("node"); err != nil {
		miss("needs Node: %v", err)
	}
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			miss("needs npm ci && npm run build in runtime/typescript: %v", err)
		}
	}
}

// TestGoldenTypes has the compiler check what is in the folders, as strict as it can be.
func TestGoldenTypes(t *testing.T) {
	modules, tsc := runtime+"/node_modules", runtime+"/node_modules/typescript/bin/tsc"
	need(t, tsc, modules+"/@bufbuild/protobuf", runtime+"/dist/index.d.ts")
	var include []string
	for _, dir := range folders(t) {
		include = append(include, absolute(t, dir))
	}
	options := map[string]any{
		"target": "ES2022", "lib": []string{"ES2023", "ESNext.Disposable"}, "module": "NodeNext", "types": []string{},
		"strict": true, "noEmit": true, "exactOptionalPropertyTypes": true, "noUncheckedIndexedAccess": true,
		"noUnusedLocals": true, "noUnusedParameters": true, "verbatimModuleSyntax": true, "isolatedModules": true,
		"skipLibCheck": true, // of Node's types, which the runtime's mention
		"paths": map[string][]string{
			"ipcgen":                       {absolute(t, runtime+"/dist/index.d.ts")},
			"@bufbuild/protobuf":           {absolute(t, modules+"/@bufbuild/protobuf/dist/esm/index.d.ts")},
			"@bufbuild/protobuf/codegenv2": {absolute(t, modules+"/@bufbuild/protobuf/dist/esm/codegenv2/index.d.ts")},
			"@bufbuild/protobuf/wkt":       {absolute(t, modules+"/@bufbuild/protobuf/dist/esm/wkt/index.d.ts")},
		},
	}
	config, err := json.Marshal(map[string]any{"compilerOptions": options, "include": include})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tsconfig.json")
	if err := os.WriteFile(file, config, 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("node", tsc, "-p", file).CombinedOutput()
	if err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
}

func absolute(t *testing.T, p string) string {
	t.Helper()
	p, err := filepath.Abs(p)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.ToSlash(p)
}

// TestErrors generates each folder of testdata/typescript_errors and compares what a user would see with the file want in
// it.
func TestErrors(t *testing.T) {
	t.Chdir(testdata + "/typescript_errors")
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

// TestRelative finds modules from each other's folders.
func TestRelative(t *testing.T) {
	source := map[string]string{
		"a/b/here.proto": "syntax = \"proto3\";\npackage p;\nmessage Here { ",
	}
	want := map[string]string{}
	for i, c := range []struct{ path, module string }{
		{"a/b/same.proto", "./same.ipc.js"}, {"a/b/c/below.proto", "./c/below.ipc.js"}, {"a/above.proto", "../above.ipc.js"},
		{"top.proto", "../../top.ipc.js"}, {"a/bb/beside.proto", "../bb/beside.ipc.js"},
	} {
		source[c.path] = fmt.Sprintf("syntax = \"proto3\";\npackage p;\nmessage M%d {}\n", i)
		source["a/b/here.proto"] += fmt.Sprintf("M%d f%d = %d; ", i, i, i+1)
		want[c.path] = c.module
	}
	text := source["a/b/here.proto"] + "}\n"
	for path := range want {
		text = strings.Replace(text, "package p;\n", fmt.Sprintf("package p;\nimport %q;\n", path), 1)
	}
	source["a/b/here.proto"] = text
	l := &load.Loader{ReadFile: func(path string) ([]byte, error) {
		if text, ok := source[filepath.ToSlash(path)]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}}
	files, err := generate(t, l, "a/b/here.proto")
	if err != nil || len(files) != 1 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for path, module := range want {
		if !strings.Contains(string(files[0].Content), "from \""+module+"\";") {
			t.Errorf("%s is not imported as %s", path, module)
		}
	}
}
