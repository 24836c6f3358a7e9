package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ipcgen": main})
}

// TestScripts runs the command line as users do: each file of testdata/script is one story.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOPATH").Output()
	if err != nil {
		t.Fatal(err)
	}
	dirs := strings.Split(strings.TrimSpace(string(out)), "\n")
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join(root, "testdata", "script"),
		Setup: func(env *testscript.Env) error {
			// What a script builds uses this checkout, and nothing that is not on the machine already.
			env.Setenv("ROOT", root)
			env.Setenv("GOCACHE", dirs[0])
			env.Setenv("GOMODCACHE", dirs[1])
			env.Setenv("GOPATH", dirs[2])
			env.Setenv("GOFLAGS", "-mod=mod")
			env.Setenv("GOPROXY", "off")
			env.Setenv("GONOSUMDB", "*")
			env.Setenv("GOTOOLCHAIN", "local")
			return nil
		},
	})
}

// TestInterrupted wants an interrupted run to say so, and one that failed for another reason to name that.
func TestInterrupted(t *testing.T) {
	t.Chdir(t.TempDir())
	proto := "syntax = \"proto3\";\noption go_package = \"example.com/a\";\nmessage A {}\n"
	if err := os.WriteFile("a.proto", []byte(proto), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"generate", "--out", "gen", "a.proto"}, "ipcgen: interrupted; nothing was written\n"},
		{[]string{"generate", "--config", "none.yaml"}, "ipcgen: open none.yaml: " + syscall.ENOENT.Error() + "\n"},
	} {
		var stderr strings.Builder
		if got := run(ctx, append([]string{"ipcgen"}, c.args...), io.Discard, &stderr); got != exitInput || stderr.String() != c.want {
			t.Errorf("%q ended with %d and said %q, want %d and %q", c.args, got, stderr.String(), exitInput, c.want)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"a/*.proto", "a/b.proto", true},
		{"a/*.proto", "a/b/c.proto", false},
		{"a/**/*.proto", "a/b/c.proto", true},
		{"a/**/*.proto", "a/c.proto", true},
		{"**/c.proto", "a/b/c.proto", true},
		{"**", "a/b", true},
		{"a/?.proto", "a/bc.proto", false},
		{"a/[bc].proto", "a/c.proto", true},
	} {
		if got := match(strings.Split(c.pattern, "/"), strings.Split(c.path, "/")); got != c.want {
			t.Errorf("match(%q, %q) = %t, want %t", c.pattern, c.path, got, c.want)
		}
	}
}
