package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/idl/load"
)

// goldens are the folders of testdata whose expected Go the compilers must get from this plugin, and whether protoc can
// read them: releases before 27 know no editions, and it insists on JSON names that nothing uses.
var goldens = map[string]struct{ protoc bool }{
	"comments": {true}, "editions": {false}, "files": {true}, "imports": {true}, "messages": {true}, "names": {false},
	"oneofs": {true}, "proto2": {true}, "services": {true},
}

// TestProtoc runs protoc, if there is one, with this plugin.
func TestProtoc(t *testing.T) {
	protoc := compiler(t, "protoc")
	plugin := build(t)
	for folder, can := range goldens {
		if !can.protoc {
			continue
		}
		t.Run(folder, func(t *testing.T) {
			root, files := schemas(t, folder)
			out := t.TempDir()
			args := append([]string{"-I", root, "-I", options(t), "--plugin=" + plugin, "--ipcgen_out=" + out}, files...)
			if text, err := exec.Command(protoc, args...).CombinedOutput(); err != nil {
				t.Fatalf("protoc: %v\n%s", err, text)
			}
			compare(t, filepath.Join(root, "go"), out)
		})
	}
}

// TestBuf runs buf, if there is one, with this plugin.
func TestBuf(t *testing.T) {
	buf := compiler(t, "buf")
	plugin := build(t)
	for folder := range goldens {
		t.Run(folder, func(t *testing.T) {
			root, _ := schemas(t, folder)
			workspace, out := t.TempDir(), t.TempDir()
			copied := filepath.Join(workspace, "schemas")
			if err := os.CopyFS(copied, os.DirFS(root)); err != nil {
				t.Fatal(err)
			}
			for name, content := range map[string]string{
				"buf.yaml":     "version: v2\nmodules:\n  - path: schemas\n  - path: options\n",
				"buf.gen.yaml": "version: v2\nplugins:\n  - local: " + plugin + "\n    out: " + out + "\n    strategy: all\n",
			} {
				if err := os.WriteFile(filepath.Join(workspace, name), []byte(content), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.CopyFS(filepath.Join(workspace, "options"), load.Include()); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(buf, "generate", "schemas")
			cmd.Dir = workspace
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "BUF_CACHE_DIR="+t.TempDir())
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("buf: %v\n%s", err, text)
			}
			compare(t, filepath.Join(root, "go"), out)
		})
	}
}

// compiler returns where a program is, or skips the test.
func compiler(t *testing.T, name string) string {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("there is no %s on the PATH: %v", name, err)
	}
	return found
}

// build returns the plugin as a program.
func build(t *testing.T) string {
	t.Helper()
	plugin := filepath.Join(t.TempDir(), "protoc-gen-ipcgen")
	if out, err := exec.Command("go", "build", "-o", plugin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return plugin
}

// options returns a folder that has ipcgen's own .proto files, as ipcgen options writes it.
func options(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, load.Include()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// schemas returns a folder of testdata and the names of the .proto files in it.
func schemas(t *testing.T, folder string) (root string, names []string) {
	t.Helper()
	root, err := filepath.Abs("../../testdata/" + folder)
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(os.DirFS(root), ".", func(p string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(p, ".proto") {
			names = append(names, p)
		}
		return err
	})
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d .proto files, %v", root, len(names), err)
	}
	return root, names
}

// compare wants the same files in both folders. Only the descriptors at their ends may differ: compilers do not agree
// whether an option of several parts is one value or several that are merged.
func compare(t *testing.T, want, got string) {
	t.Helper()
	read := func(dir string) map[string]string {
		files := make(map[string]string)
		err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".ipc.go") {
				return err
			}
			b, err := os.ReadFile(filepath.Join(dir, p))
			code, _, found := strings.Cut(string(b), " is the descriptor of ")
			if !found {
				t.Errorf("%s has no descriptor", p)
			}
			files[p] = code
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return files
	}
	if diff := cmp.Diff(read(want), read(got)); diff != "" {
		t.Errorf("(-ipcgen generate +the compiler)\n%s", diff)
	}
}
