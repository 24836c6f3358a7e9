package typescript_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/gen/gentest"
	"github.com/ipcgen/ipcgen/gen/typescript"
	"github.com/ipcgen/ipcgen/idl/load"
)

// runtime is the package that generated code imports, where the compiler is installed, too.
const runtime = "../../runtime/typescript"

// language has the folders typescript of testdata.
var language = gentest.Language{Generator: typescript.Generator{}, Folder: "typescript", Endings: []string{".ipc.ts"}}

func TestGolden(t *testing.T) { language.TestGolden(t) }

func TestErrors(t *testing.T) { language.TestErrors(t) }

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
	for _, from := range language.Cases(t) {
		include = append(include, absolute(t, filepath.Join(from, language.Folder)))
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
	files, err := language.Generate(t, l, "a/b/here.proto")
	if err != nil || len(files) != 1 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for path, module := range want {
		if !strings.Contains(string(files[0].Content), "from \""+module+"\";") {
			t.Errorf("%s is not imported as %s", path, module)
		}
	}
}
