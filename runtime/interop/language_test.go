//go:build unix

package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.." // of the repository

// A language is what its file says of it; README.md has the keys.
type language struct {
	name  string
	words []string // the testee's command

	Needs []struct {
		Command []string
		Reason  string
	}
	Prepare     [][]string
	Testee      []string
	Environment map[string]string
	Features    []string
}

// languages returns those that can be tested here, and why others cannot. What IPCGEN_INTEROP names must be among the
// first.
func languages(t *testing.T) (there []*language, missing map[string]string) {
	t.Helper()
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no languages: ", err)
	}
	missing = map[string]string{}
	out := t.TempDir()
	for _, file := range files {
		l := readLanguage(t, file)
		if why := l.unmet(out); why != "" {
			missing[l.name] = why
			continue
		}
		l.prepare(t, out)
		there = append(there, l)
	}
	for _, name := range strings.FieldsFunc(os.Getenv("IPCGEN_INTEROP"), func(r rune) bool { return r == ',' }) {
		if !slices.ContainsFunc(there, func(l *language) bool { return l.name == name }) {
			t.Fatalf("IPCGEN_INTEROP wants %q: %s", name, missing[name])
		}
	}
	return there, missing
}

func readLanguage(t *testing.T, file string) *language {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := &language{name: strings.TrimSuffix(file, ".json")}
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(l); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, f := range l.Features {
		if !slices.Contains(transports, f) && !slices.Contains(rawFeatures, f) && !slices.ContainsFunc(cases, func(c testCase) bool { return c.feature == f }) {
			t.Errorf("%s: there is no feature %q", file, f)
		}
	}
	return l
}

// unmet says which of its needs the machine does not meet, if any.
func (l *language) unmet(out string) string {
	for _, n := range l.Needs {
		if output, err := l.command(out, n.Command).CombinedOutput(); err != nil {
			return fmt.Sprintf("%s (%s: %v: %.300s)", n.Reason, strings.Join(n.Command, " "), err, output)
		}
	}
	return ""
}

func (l *language) prepare(t *testing.T, out string) {
	t.Helper()
	for _, words := range l.Prepare {
		if output, err := l.command(out, words).CombinedOutput(); err != nil {
			t.Fatalf("%s: %s: %v\n%s", l.name, strings.Join(words, " "), err, output)
		}
	}
	// The testees start each other, so all words are absolute or found by PATH, and the environment is part of them.
	l.words = []string{"env"}
	for k, v := range l.Environment {
		l.words = append(l.words, k+"="+expand(v, out))
	}
	slices.Sort(l.words[1:])
	for _, w := range l.Testee {
		l.words = append(l.words, expand(w, out))
	}
}

func (l *language) command(out string, words []string) *exec.Cmd {
	for i := range words {
		words[i] = expand(words[i], out)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Env = root, os.Environ()
	for k, v := range l.Environment {
		cmd.Env = append(cmd.Env, k+"="+expand(v, out))
	}
	return cmd
}

// expand replaces ${NAME}, ${NAME:-DEFAULT}, and ${OUT} and ${ROOT}, which are folders.
func expand(s, out string) string {
	return os.Expand(s, func(name string) string {
		name, otherwise, _ := strings.Cut(name, ":-")
		switch value := os.Getenv(name); {
		case name == "OUT":
			return out
		case name == "ROOT":
			abs, err := filepath.Abs(root)
			if err != nil {
				panic(err) // there is no working directory
			}
			return abs
		case value != "":
			return value
		}
		return otherwise
	})
}

func (l *language) has(feature string) bool { return slices.Contains(l.Features, feature) }

// address is how the testee is started to serve at addresses.
func (l *language) address(addresses ...string) string {
	var b strings.Builder
	b.WriteString("exec:")
	for _, w := range slices.Concat(l.words, addresses) {
		b.WriteString("'" + strings.ReplaceAll(w, "'", `'\''`) + "' ")
	}
	return strings.TrimSpace(b.String())
}
