package gen_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/gen"
)

func content(source, rest string) string {
	return "// " + gen.Header + "\n// source: " + source + "\n" + rest
}

func write(t *testing.T, files map[string]string) {
	t.Helper()
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// tree returns the files below the current directory.
func tree(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found[filepath.ToSlash(path)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWriteChangesOnlyWhatDiffers(t *testing.T) {
	t.Chdir(t.TempDir())
	old := time.Unix(1000, 0)
	write(t, map[string]string{
		"out/a/same.ipc.go":  content("a/same.proto", "1"),
		"out/a/other.ipc.go": content("a/other.proto", "1"),
		"out/a/gone.ipc.go":  content("a/gone.proto", "1"),
		"out/b/gone.ipc.go":  content("b/gone.proto", "1"),        // a folder that this run does not write to
		"out/b/arm_.ipc.go":  content("b/arm.proto", "1"),         // the underscore is the generator's
		"out/a/kept.ipc.go":  content("a/kept.proto", "1"),        // its source is there
		"out/a/moved.ipc.go": content("moved.proto", "1"),         // belongs to another output directory
		"out/a/mine.ipc.go":  "package a // source: a/mine.proto", // written by hand
	})
	if err := os.Chtimes("out/a/same.ipc.go", old, old); err != nil {
		t.Fatal(err)
	}
	output := gen.Output{Dir: "out", Endings: []string{".ipc.go"}, Files: []gen.File{
		{Path: "a/same.ipc.go", Content: []byte(content("a/same.proto", "1"))},
		{Path: "a/other.ipc.go", Content: []byte(content("a/other.proto", "2"))},
		{Path: "a/b/new.ipc.go", Content: []byte(content("a/b/new.proto", "1"))},
	}}
	exists := func(source string) bool { return source == "a/kept.proto" }
	changes, err := gen.Compare([]gen.Output{output}, exists)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, filepath.ToSlash(c.Path)+" "+c.Kind.String())
	}
	want := []string{"out/a/b/new.ipc.go is missing", "out/a/gone.ipc.go is stale: its .proto file is gone", "out/a/other.ipc.go is not up to date"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	before := tree(t)
	if err := gen.Apply(changes); err != nil {
		t.Fatal(err)
	}
	before["out/a/other.ipc.go"] = content("a/other.proto", "2")
	before["out/a/b/new.ipc.go"] = content("a/b/new.proto", "1")
	delete(before, "out/a/gone.ipc.go")
	if diff := cmp.Diff(before, tree(t)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if info, err := os.Stat("out/a/same.ipc.go"); err != nil || !info.ModTime().Equal(old) {
		t.Errorf("a file that did not differ was touched: %v, %v", info.ModTime(), err)
	}
	output.Whole = true
	changes, err = gen.Compare([]gen.Output{output}, exists)
	if err != nil || len(changes) != 2 || filepath.ToSlash(changes[0].Path) != "out/b/arm_.ipc.go" || filepath.ToSlash(changes[1].Path) != "out/b/gone.ipc.go" {
		t.Errorf("looking through the whole directory: got %v, %v, want out/b/arm_.ipc.go and out/b/gone.ipc.go", changes, err)
	}
}

func TestCompareRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, map[string]string{"hand.ipc.go": "package hand\n", "file": "", "dir.ipc.go/x": ""})
	one := func(dir, path string) []gen.Output {
		return []gen.Output{{Dir: dir, Endings: []string{".ipc.go"}, Files: []gen.File{{Path: path, Content: []byte(content("x.proto", ""))}}}}
	}
	for name, c := range map[string]struct {
		outputs []gen.Output
		want    string
	}{
		"written by hand": {one(".", "hand.ipc.go"), "hand.ipc.go: was not made by ipcgen"},
		"outside":         {one("out", "../x.ipc.go"), "would be written outside of out"},
		"a directory":     {one(".", "dir.ipc.go"), "dir.ipc.go: cannot be compared"},
		"below a file":    {one("file", "x.ipc.go"), "file/x.ipc.go: cannot be compared: not a directory"},
		"twice":           {append(one(".", "x.ipc.go"), one(".", "x.ipc.go")...), "two generators would write it"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := gen.Compare(c.outputs, func(string) bool { return true })
			if err == nil || !strings.Contains(filepath.ToSlash(err.Error()), c.want) {
				t.Errorf("got %v, want an error that has %q", err, c.want)
			}
		})
	}
}

// TestApplyAllOrNone has a last file that cannot be staged, since a file stands where its folder belongs.
func TestApplyAllOrNone(t *testing.T) {
	t.Chdir(t.TempDir())
	output := gen.Output{Dir: "out", Endings: []string{".ipc.go"}, Files: []gen.File{
		{Path: "a/new.ipc.go", Content: []byte(content("a/new.proto", ""))},
		{Path: "b/new.ipc.go", Content: []byte(content("b/new.proto", ""))},
	}}
	changes, err := gen.Compare([]gen.Output{output}, func(string) bool { return true })
	if err != nil || len(changes) != 2 {
		t.Fatal(changes, err)
	}
	write(t, map[string]string{"out/b": "in the way"})
	if err := gen.Apply(changes); err == nil || !strings.HasPrefix(err.Error(), "nothing was written: ") {
		t.Errorf("got %v, want an error that says that nothing was written", err)
	}
	if diff := cmp.Diff(map[string]string{"out/b": "in the way"}, tree(t)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if _, err := os.Stat("out/a"); err == nil {
		t.Error("a folder was left behind")
	}
}

// TestCompareYields wants a file of the user's to stay where it does as well, and one of ours to be kept up to date.
func TestCompareYields(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, map[string]string{"mine/__init__.py": "", "ours/__init__.py": "# " + gen.Header + "\n# of an older version\n"})
	now := []byte("# " + gen.Header + "\n")
	output := gen.Output{Dir: ".", Endings: []string{"_ipc.py"}, Files: []gen.File{
		{Path: "mine/__init__.py", Content: now, Yields: true},
		{Path: "new/__init__.py", Content: now, Yields: true},
		{Path: "ours/__init__.py", Content: now, Yields: true},
	}}
	changes, err := gen.Compare([]gen.Output{output}, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, filepath.ToSlash(c.Path)+" "+c.Kind.String())
	}
	want := []string{"new/__init__.py is missing", "ours/__init__.py is not up to date"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// TestCompareIdle wants what makes a folder a package to go with the last of ipcgen's files in it, where nothing else needs it.
func TestCompareIdle(t *testing.T) {
	t.Chdir(t.TempDir())
	marker, module := "# "+gen.Header+"\n", func(source string) string { return "# " + gen.Header + "\n# source: " + source + "\n" }
	files := map[string]string{
		"a/__init__.py":       marker,
		"a/a_ipc.py":          module("a/a.proto"),
		"gone/__init__.py":    marker,
		"gone/v1/__init__.py": marker,
		"gone/v1/b_ipc.py":    module("gone/v1/b.proto"),
		"gone/v1/b.go":        "package b\n",
		"used/__init__.py":    marker,
		"used/c_ipc.py":       module("used/c.proto"),
		"used/v1/mine.py":     "",
		"mine/__init__.py":    "# of the user's\n",
		"mine/d_ipc.py":       module("mine/d.proto"),
	}
	write(t, files)
	output := gen.Output{Dir: ".", Endings: []string{"_ipc.py"}, Whole: true, Files: []gen.File{
		{Path: "a/__init__.py", Content: []byte(marker), Yields: true},
		{Path: "a/a_ipc.py", Content: []byte(files["a/a_ipc.py"])},
	}}
	changes, err := gen.Compare([]gen.Output{output}, func(source string) bool { return source == "a/a.proto" })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		if c.Kind != gen.Stale {
			t.Errorf("%s %s", c.Path, c.Kind)
		}
		got = append(got, filepath.ToSlash(c.Path))
	}
	want := []string{"gone/__init__.py", "gone/v1/__init__.py", "gone/v1/b_ipc.py", "mine/d_ipc.py", "used/c_ipc.py"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stale files (-want +got):\n%s", diff)
	}
	if err := gen.Apply(changes); err != nil {
		t.Fatal(err)
	}
}
