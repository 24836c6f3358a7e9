package gen

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// An Output is what one generator made and where it goes.
type Output struct {
	Dir     string   // Files are relative to it
	Endings []string // of the generator's files: ".ipc.go"
	Files   []File
	// Whole says that all of Dir is looked through for stale files, not only the folders that Files are in.
	Whole bool
}

// A Change is a difference between what was generated and what is on disk.
type Change struct {
	Path    string // on disk
	Kind    ChangeKind
	content []byte
}

// A ChangeKind says how a file on disk differs.
type ChangeKind uint8

// The kinds of change.
const (
	Missing ChangeKind = iota // it is not there
	Differs                   // it has other contents
	Stale                     // the .proto file that it was made from is gone, or all that it was made for
)

// String returns the kind as it follows a file's name in a sentence.
func (k ChangeKind) String() string {
	return [...]string{"is missing", "is not up to date", "is stale: its .proto file is gone"}[k]
}

// Compare returns what has to change on disk so that it holds the outputs, in the order of paths. Exists says whether
// there is a .proto file of a name: a file on disk that carries the Header, names a source that is gone, and stands
// where the code of that source belongs is stale.
//
// The error, if any, joins one for each file that must not be written: it was not made by ipcgen, lies outside the
// output directory, or two outputs claim it.
func Compare(outputs []Output, exists func(source string) bool) ([]Change, error) {
	var changes []Change
	var problems []error
	claimed := make(map[string]bool)
	for _, o := range outputs {
		for _, f := range o.Files {
			c, err := o.compare(f)
			if err == nil && claimed[filepath.Join(o.Dir, f.Path)] {
				err = fmt.Errorf("%s: two generators would write it; give each an output directory of its own", filepath.Join(o.Dir, f.Path))
			}
			claimed[filepath.Join(o.Dir, f.Path)] = true
			if err != nil {
				problems = append(problems, err)
			} else if c != nil {
				changes = append(changes, *c)
			}
		}
	}
	for _, o := range outputs {
		stale, err := o.stale(exists)
		if err != nil {
			problems = append(problems, err)
		}
		idle, err := o.idle(stale)
		if err != nil {
			problems = append(problems, err)
		}
		for _, p := range append(stale, idle...) {
			if !claimed[p] {
				claimed[p] = true
				changes = append(changes, Change{Path: p, Kind: Stale})
			}
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return changes, errors.Join(problems...)
}

// compare returns how f differs from what is on disk, or nil.
func (o *Output) compare(f File) (*Change, error) {
	if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
		return nil, fmt.Errorf("%s: would be written outside of %s", f.Path, o.Dir)
	}
	c := &Change{Path: filepath.Join(o.Dir, filepath.FromSlash(f.Path)), content: f.Content}
	old, err := os.ReadFile(c.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("%s: cannot be compared: %w", c.Path, reason(err))
	case !hasHeader(old) && f.Yields:
		return nil, nil
	case !hasHeader(old):
		return nil, fmt.Errorf("%s: was not made by ipcgen and is not overwritten; remove it, or choose another output directory", c.Path)
	case bytes.Equal(old, f.Content):
		return nil, nil
	}
	c.Kind = Differs
	return c, nil
}

// hasHeader says that the first line is the Header behind a comment marker.
func hasHeader(content []byte) bool {
	line, _, _ := bytes.Cut(content, []byte("\n"))
	i := bytes.Index(line, []byte(Header))
	return i >= 0 && i <= len("<!-- ")
}

// stale returns the files whose source is gone.
func (o *Output) stale(exists func(source string) bool) ([]string, error) {
	var found []string
	visit := func(name string) {
		source := sourceOf(name)
		if source == "" || exists(source) {
			return
		}
		at := filepath.Join(o.Dir, filepath.FromSlash(strings.TrimSuffix(source, ".proto")))
		for _, ending := range o.Endings {
			if name == at+ending || name == at+"_"+ending { // with the underscore where a name would mean something
				found = append(found, name)
			}
		}
	}
	if !o.Whole {
		folders := make(map[string]bool)
		for _, f := range o.Files {
			folders[path.Dir(f.Path)] = true
		}
		for folder := range folders {
			for _, ending := range o.Endings {
				names, err := filepath.Glob(filepath.Join(escape(filepath.Join(o.Dir, filepath.FromSlash(folder))), "*"+ending))
				if err != nil {
					return nil, err
				}
				for _, name := range names {
					visit(name)
				}
			}
		}
		return found, nil
	}
	err := o.walk(func(p string) {
		if slices.ContainsFunc(o.Endings, func(ending string) bool { return strings.HasSuffix(p, ending) }) {
			visit(p)
		}
	})
	return found, err
}

// walk calls visit for each file below the output directory, but for those in folders whose names begin with a dot.
func (o *Output) walk(visit func(p string)) error {
	return filepath.WalkDir(o.Dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && p != o.Dir && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !d.IsDir():
			visit(p)
		}
		return nil
	})
}

// idle returns the files of the names that yield, such as what makes a folder a package, which serve nothing any more: stale
// files are all that is left in their folder and below with an ending as the generator's files have.
func (o *Output) idle(stale []string) ([]string, error) {
	names := make(map[string]bool)
	for _, f := range o.Files {
		if f.Yields {
			names[path.Base(f.Path)] = true
		}
	}
	if len(names) == 0 || !o.Whole {
		return nil, nil
	}
	used := make(map[string]bool) // folders in which or below which is a file that needs them
	use := func(folder string) {
		for ; !used[folder]; folder = filepath.Dir(folder) {
			used[folder] = true
			if folder == filepath.Dir(folder) {
				break
			}
		}
	}
	for _, f := range o.Files {
		if !f.Yields {
			use(filepath.Dir(filepath.Join(o.Dir, filepath.FromSlash(f.Path))))
		}
	}
	var found []string
	err := o.walk(func(p string) {
		switch {
		case slices.Contains(stale, p):
		case names[filepath.Base(p)]:
			if b, err := os.ReadFile(p); err == nil && hasHeader(b) {
				found = append(found, p)
			} else {
				use(filepath.Dir(p)) // a package of the user's
			}
		case slices.ContainsFunc(o.Endings, func(ending string) bool { return path.Ext(ending) == filepath.Ext(p) }):
			use(filepath.Dir(p))
		}
	})
	return slices.DeleteFunc(found, func(p string) bool { return used[filepath.Dir(p)] }), err
}

// escape returns a path so that Glob takes it as it is.
func escape(p string) string {
	if filepath.Separator == '\\' {
		return p // Glob knows no escapes there
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(p)
}

// sourceOf returns the .proto file that a generated file names, or "" where the file is not ours.
func sourceOf(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	if !lines.Scan() || !hasHeader(lines.Bytes()) || !lines.Scan() {
		return ""
	}
	_, source, _ := strings.Cut(lines.Text(), "source: ")
	return strings.TrimSpace(source)
}

// Apply makes the changes: all of them, or none where the disk does not permit one. Only when a file cannot be moved
// into its place after all, which the checks before make unlikely, are some made; the error then says which.
func Apply(changes []Change) (err error) {
	s := &staging{}
	defer func() {
		if cerr := s.cleanUp(err != nil); err == nil {
			err = cerr
		}
	}()
	for _, c := range changes {
		if c.Kind == Stale {
			continue
		}
		if err := s.stage(c); err != nil {
			return fmt.Errorf("nothing was written: %w", err)
		}
	}
	var done []string
	for _, c := range changes {
		if c.Kind == Stale {
			err = os.Remove(c.Path)
		} else {
			err = s.commit(c.Path)
		}
		if err != nil {
			if len(done) == 0 {
				return fmt.Errorf("nothing was written: %w", err)
			}
			return fmt.Errorf("only %s changed: %w", strings.Join(done, ", "), err)
		}
		done = append(done, c.Path)
	}
	return nil
}

// staging holds files beside the places where they belong until all of them are there.
type staging struct {
	temp    map[string]string // by target
	targets map[string]string // what the target is, with links followed
	dirs    []string          // made for them, outermost first
}

// stage writes c's contents beside its target.
func (s *staging) stage(c Change) error {
	if s.temp == nil {
		s.temp, s.targets = make(map[string]string), make(map[string]string)
	}
	target := c.Path
	if real, err := filepath.EvalSymlinks(c.Path); err == nil {
		target = real
	}
	dir := filepath.Dir(target)
	if err := s.makeDirs(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".ipcgen-*")
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	s.temp[c.Path], s.targets[c.Path] = f.Name(), target
	_, err = f.Write(c.content)
	mode := os.FileMode(0o644)
	if info, serr := os.Stat(target); serr == nil {
		mode = info.Mode().Perm()
	}
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	return nil
}

// makeDirs makes dir and those above it that are missing.
func (s *staging) makeDirs(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.makeDirs(filepath.Dir(dir)); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o777)
	if err == nil {
		s.dirs = append(s.dirs, dir)
	}
	return err
}

func (s *staging) commit(name string) error {
	if err := os.Rename(s.temp[name], s.targets[name]); err != nil {
		return err
	}
	delete(s.temp, name)
	return nil
}

// cleanUp removes what was staged and not moved, and the folders that are empty for that.
func (s *staging) cleanUp(failed bool) error {
	var errs []error
	for _, name := range s.temp {
		errs = append(errs, os.Remove(name))
	}
	if failed {
		for _, dir := range slices.Backward(s.dirs) {
			os.Remove(dir) // stays where something is in it
		}
	}
	return errors.Join(errs...)
}

func reason(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
