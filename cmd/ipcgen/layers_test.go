package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ipcgen/ipcgen/"

// layers are the packages of the module, the lowest first: a package imports only what stands on lower lines. There are
// two towers, what generates and what runs; generated code stands on the second, only commands and examples see both.
var layers = []string{
	// What runs.
	"runtime/codec",
	"runtime/transport",
	"runtime/transport/transporttest",
	"runtime/internal/ring",
	"runtime/transport/mem runtime/transport/pipe runtime/transport/socket runtime/transport/shm",
	"runtime/transport/address",
	"runtime/internal/frame",
	"runtime/internal/session",
	"runtime/wkt",
	"runtime/wkt/descriptor",
	"runtime/protobuf",
	"runtime/ipc",
	"runtime/interop/testee",
	"runtime/interop runtime/interop/bench",
	// What generates.
	"idl/diag",
	"idl",
	"idl/load",
	"gen/names",
	"gen",
	"gen/gentest",
	"templates",
	"gen/golang gen/python gen/typescript",
	// What uses them.
	"cmd/internal/language",
	"cmd/ipcgen cmd/protoc-gen-ipcgen",
	"cmd/ipcbench/benchv1",
	"cmd/ipcbench",
	"examples/hello/hellov1",
	"examples/hello",
	"examples/polyglot/polyglotv1",
	"examples/polyglot",
}

// towers are what must not meet below the commands.
var towers = [2]func(string) bool{
	func(p string) bool { return strings.HasPrefix(p, "runtime/") },
	func(p string) bool {
		return p == "idl" || strings.HasPrefix(p, "idl/") || p == "gen" || strings.HasPrefix(p, "gen/") || p == "templates"
	},
}

// doors are the packages outside the standard library, and who alone may import them.
var doors = map[string][]string{
	"github.com/bufbuild/protocompile": {"idl/load"},
	"google.golang.org/protobuf":       {"idl/load", "cmd/protoc-gen-ipcgen", "runtime/protobuf"},
	"github.com/dave/jennifer":         {"gen/golang"},
	"github.com/urfave/cli/v2":         {"cmd/ipcgen", "cmd/ipcbench"},
	"go.yaml.in/yaml/v3":               {"cmd/ipcgen"},
	"github.com/google/go-cmp":         {"gen/gentest"},
	"go.uber.org/goleak":               {"runtime/transport/transporttest"},
	"golang.org/x/sys":                 {"runtime/transport/pipe", "runtime/transport/shm", "runtime/transport/socket"},
}

func TestLayers(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	height := make(map[string]int)
	for i, line := range layers {
		for _, p := range strings.Fields(line) {
			height[p] = i + 1
		}
	}
	listed := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		p := strings.TrimPrefix(fields[0], module)
		if height[p] == 0 {
			t.Errorf("%s is not in layers: add it to the line where it belongs", p)
		}
		listed++
		for _, imported := range fields[1:] {
			checkImport(t, height, p, imported)
		}
	}
	if listed < len(layers)/2 {
		t.Errorf("go list named %d packages", listed)
	}
}

func checkImport(t *testing.T, height map[string]int, p, imported string) {
	if q, ours := strings.CutPrefix(imported, module); ours {
		if height[q] >= height[p] {
			t.Errorf("%s imports %s, which does not stand on a lower line of layers", p, q)
		}
		for i, tower := range towers {
			if tower(p) && towers[1-i](q) {
				t.Errorf("%s imports %s: what generates and what runs know nothing of each other", p, q)
			}
		}
		return
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") {
		return // the standard library
	}
	for door, users := range doors {
		if (imported == door || strings.HasPrefix(imported, door+"/")) && slices.Contains(users, p) {
			return
		}
	}
	t.Errorf("%s imports %s: see doors for who may", p, imported)
}
