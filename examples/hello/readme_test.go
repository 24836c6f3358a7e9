package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const root = "../.." // of the repository

// TestGenerated: hellov1 is what the generator makes of hello.proto today.
func TestGenerated(t *testing.T) {
	out, err := exec.Command("go", "run", "../../cmd/ipcgen", "generate", "--check", "-I", ".", "--out", "hellov1", "hello.proto").CombinedOutput()
	if err != nil {
		t.Errorf("%v: go generate mends it\n%s", err, out)
	}
}

// A newcomer does what README.md says.
type newcomer struct {
	*testing.T
	home string   // where the README's first command is given
	env  []string // with a PATH on which the generator will be
	last string   // what the last command printed
	node bool     // Node is there, and what the TypeScript needs
	// python says that Python is there, and what its runtime needs.
	python bool

	fragments int
}

// TestReadme goes through README.md from top to bottom: it writes the files, gives the commands, compares what they
// print, and compiles the rest.
func TestReadme(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the runtime has no pipes on Windows yet, and README.md uses a Unix shell")
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	n := &newcomer{T: t, home: t.TempDir(), node: hasNode(t), python: hasPython(t)}
	n.env = append(os.Environ(), "PATH="+n.home+string(os.PathListSeparator)+os.Getenv("PATH"))
	does := map[string]func(string){"sh": n.run, "proto": n.write, "go": n.write, "ts": n.write, "py": n.write, "text": n.compare}
	for _, block := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		do, ok := does[block[1]]
		if !ok {
			t.Fatalf("README.md has a block of %q, which nothing checks", block[1])
		}
		do(block[2])
	}
	n.run("go vet ./... && go test ./...")
	n.serveApart()
}

// hasNode says whether the TypeScript of README.md can be checked, which IPCGEN_INTEROP may demand.
func hasNode(t *testing.T) bool {
	_, err := exec.LookPath("node")
	for _, p := range []string{"dist/index.js", "node_modules/typescript"} {
		if err == nil {
			_, err = os.Stat(filepath.Join(root, "runtime/typescript", p))
		}
	}
	if err == nil {
		return true
	}
	if slices.Contains(strings.Split(os.Getenv("IPCGEN_INTEROP"), ","), "typescript") {
		t.Fatal(err)
	}
	t.Logf("the TypeScript is left out, which needs Node, and npm ci && npm run build in runtime/typescript: %v", err)
	return false
}

// hasPython says whether the Python of README.md can be run, which IPCGEN_INTEROP may demand.
func hasPython(t *testing.T) bool {
	out, err := exec.Command(interpreter(), "-c", "import sys; assert sys.version_info >= (3, 11); import google.protobuf").CombinedOutput()
	if err == nil {
		return true
	}
	if slices.Contains(strings.Split(os.Getenv("IPCGEN_INTEROP"), ","), "python") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("the Python is left out, which needs Python 3.11 with the package protobuf; IPCGEN_PYTHON may name the interpreter: %v", err)
	return false
}

// interpreter is Python's.
func interpreter() string {
	if p := os.Getenv("IPCGEN_PYTHON"); p != "" {
		return p
	}
	return "python3"
}

// instead is what is done for commands that would download this very project, or what is there already.
var instead = strings.NewReplacer(
	"npm init -y && npm pkg set type=module", `echo '{"type": "module"}' > package.json`,
	"npm install ipcgen @bufbuild/protobuf", `mkdir -p node_modules && ln -s "$ROOT/runtime/typescript" node_modules/ipcgen &&
		ln -s "$ROOT/runtime/typescript/node_modules/@bufbuild" node_modules`,
	"npm install --save-dev typescript @types/node@20", `ln -s "$ROOT/runtime/typescript/node_modules/@types" node_modules`,
	"npx tsc", `node "$ROOT/runtime/typescript/node_modules/typescript/bin/tsc"`,
	"python3 -m venv .venv && .venv/bin/pip install ipcgen", `mkdir -p .venv/bin && printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s" -B "$@"\n' \
		"$ROOT/runtime/python/src" "$PYTHON" > .venv/bin/python && chmod +x .venv/bin/python`,
	"go install github.com/ipcgen/ipcgen/cmd/ipcgen@latest", `go build -C "$ROOT" -o "$HOME_OF_TEST/ipcgen" ./cmd/ipcgen`,
	"go get github.com/ipcgen/ipcgen@latest", `go work init . "$ROOT"`,
)

// dir is where the newcomer is: the first command makes it.
func (n *newcomer) dir() string {
	dir := filepath.Join(n.home, "greet")
	if _, err := os.Stat(dir); err != nil {
		return n.home
	}
	return dir
}

func (n *newcomer) command(name string, args ...string) *exec.Cmd {
	n.Helper()
	absolute, err := filepath.Abs(root)
	if err != nil {
		n.Fatal(err)
	}
	cmd := exec.CommandContext(n.Context(), name, args...)
	cmd.Dir = n.dir()
	cmd.Env = append(n.env, "ROOT="+absolute, "HOME_OF_TEST="+n.home, "PYTHON="+interpreter())
	return cmd
}

// run gives commands to a shell.
func (n *newcomer) run(script string) {
	n.Helper()
	if !n.node && regexp.MustCompile(`(?m)^(npm|npx) `).MatchString(script) || !n.python && strings.Contains(script, ".venv/bin/") {
		n.last = ""
		return
	}
	var stderr bytes.Buffer
	cmd := n.command("sh", "-e", "-c", instead.Replace(script))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		n.Fatalf("%s: %v\n%s%s", strings.TrimSpace(script), err, out, stderr.Bytes())
	}
	n.last = string(out)
}

// compare checks what the last command printed.
func (n *newcomer) compare(want string) {
	n.Helper()
	if n.last == "" && (!n.node || !n.python) {
		return
	}
	if n.last != want {
		n.Errorf("got %q, README.md says %q", n.last, want)
	}
}

// fragment is a file for a block that is not one. It imports what the block uses.
const fragment = `package fragments

import (
%s	"example.com/greet/greetv1"
)

func _(ctx context.Context, client *greetv1.GreeterClient, req *greetv1.GreetRequest) {
%s	_ = err
}
`

// imports are what fragments may use, by the names that they have there.
var imports = []struct{ name, path string }{
	{"camerav1", "example.com/greet/camerav1"}, {"context", "context"}, {"errors", "errors"}, {"fmt", "fmt"},
	{"ipc", "github.com/ipcgen/ipcgen/runtime/ipc"}, {"protobuf", "github.com/ipcgen/ipcgen/runtime/protobuf"},
}

func fragmentOf(block string) string {
	used := ""
	for _, i := range imports {
		if strings.Contains(fragment+block, i.name+".") {
			used += fmt.Sprintf("\t%q\n", i.path)
		}
	}
	return fmt.Sprintf(fragment, used, block)
}

// write makes the file that the first line of a block names, or one around a block that names none.
func (n *newcomer) write(block string) {
	n.Helper()
	name, named := strings.CutPrefix(strings.Replace(block[:strings.Index(block, "\n")], "# ", "// ", 1), "// ")
	if !named {
		n.fragments++
		name, block = fmt.Sprintf("fragments/%d.go", n.fragments), fragmentOf(block)
	}
	path := filepath.Join(n.dir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		n.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(block), 0o666); err != nil {
		n.Fatal(err)
	}
}

// serveApart starts the server "in a terminal of its own", calls it, and interrupts it.
func (n *newcomer) serveApart() {
	n.run("go build -o ./bin/ ./server ./client")
	server := n.command("./bin/server", "unix:greet.sock")
	if err := server.Start(); err != nil {
		n.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	for {
		out, err := n.command("./bin/client", "unix:greet.sock").CombinedOutput()
		if err == nil {
			break
		}
		if !bytes.Contains(out, []byte("is the server running?")) {
			n.Errorf("the client: %v\n%s", err, out)
			break
		}
		select { // a person starts the client when the server runs; this one tries until it does
		case err := <-ended:
			n.Fatalf("the server ended: %v", err)
		default:
		}
	}
	server.Process.Signal(os.Interrupt)
	if err := <-ended; err != nil {
		n.Errorf("the server, interrupted: %v", err)
	}
	if _, err := os.Stat(filepath.Join(n.dir(), "greet.sock")); err == nil {
		n.Error("the server left its socket behind")
	}
}
