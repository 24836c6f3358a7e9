package load

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ipcgen/ipcgen/idl/diag"
)

// place gives each file that is asked for its name and makes it a unit. A file that has none is reported.
func (r *run) place(importPaths, files []string) {
	r.disk.roots = r.openRoots(importPaths)
	for _, file := range files {
		name, onDisk, d := r.disk.place(file)
		if d != nil {
			r.problem(d)
			continue
		}
		if u := r.units[name]; u == nil {
			u = &unit{name: name, path: shown(onDisk), file: onDisk, asked: true}
			r.units[name] = u
			r.asked = append(r.asked, u)
		} else if absolute(u.file) != absolute(onDisk) {
			r.problem(&diag.Diagnostic{
				Pos:  diag.Position{File: shown(onDisk)},
				Text: fmt.Sprintf("two files are both imported as %q: this one and %s", name, u.path),
				Help: "generate them in two runs, or give one import path (-I) that contains both",
			})
		}
	}
}

func (r *run) openRoots(importPaths []string) []root {
	if len(importPaths) == 0 {
		importPaths = []string{"."}
	}
	var roots []root
	for _, dir := range importPaths {
		if r.disk.readFile == nil {
			if d := notADirectory(dir); d != nil {
				r.problem(d)
				continue
			}
		}
		roots = append(roots, root{dir: dir, abs: absolute(dir)})
	}
	return roots
}

// place returns the name of a file that is asked for and where it is on disk.
func (d *disk) place(file string) (name, onDisk string, problem *diag.Diagnostic) {
	fail := func(text, help string) (string, string, *diag.Diagnostic) {
		return "", "", &diag.Diagnostic{Pos: diag.Position{File: shown(file)}, Text: text, Help: help}
	}
	if len(d.roots) == 0 {
		return fail("there is no import path to find it in", "")
	}
	if !d.exists(file) {
		return d.placeMissing(file, fail)
	}
	at, name := d.innermost(file)
	if at < 0 {
		dir := d.guessRoot(file)
		if len(d.roots) == 1 && d.roots[0].dir == "." {
			return fail("is not in the current directory, and no other import path is given", "add -I "+dir)
		}
		return fail(fmt.Sprintf("is in none of the import paths: %s", d.searched()), "add -I "+dir)
	}
	for _, earlier := range d.roots[:at] {
		other := filepath.Join(earlier.dir, filepath.FromSlash(name))
		if d.exists(other) && absolute(other) != absolute(file) {
			return fail(fmt.Sprintf("is imported as %q, but so is %s, which import path %s has first",
				name, shown(other), earlier.dir), "give the import paths (-I) in another order, or remove one of the files")
		}
	}
	return name, file, nil
}

type failure func(text, help string) (string, string, *diag.Diagnostic)

// placeMissing is place for what is not a file. It may be meant as the name of one in an import path.
func (d *disk) placeMissing(file string, fail failure) (string, string, *diag.Diagnostic) {
	if info, err := os.Stat(file); d.readFile == nil && err == nil && info.IsDir() {
		return fail("is a directory, not a file", "name the .proto files in it")
	}
	name := filepath.ToSlash(filepath.Clean(file))
	if !fs.ValidPath(name) {
		return fail("no such file", "")
	}
	for _, r := range d.roots {
		if onDisk := filepath.Join(r.dir, filepath.FromSlash(name)); d.exists(onDisk) {
			return name, onDisk, nil
		}
	}
	return fail("no such file, neither here nor in an import path: "+d.searched(), didYouMean(name, d.namesBeside(name), "%s"))
}

// innermost returns which root contains the file most closely, and the file's name there; -1 where none does.
func (d *disk) innermost(file string) (at int, name string) {
	at = -1
	for _, path := range []string{absolute(file), real(file)} {
		for i, r := range d.roots {
			for _, dir := range []string{r.abs, real(r.dir)} {
				if n, ok := below(dir, path); ok && (at < 0 || len(n) < len(name)) {
					at, name = i, n
				}
			}
		}
		if at >= 0 {
			break // symbolic links matter only to files that seem to be nowhere
		}
	}
	return at, name
}

var packageLine = regexp.MustCompile(`(?m)^\s*package\s+([A-Za-z0-9_.]+)\s*;`)

// guessRoot returns the import path that a file outside all of them asks for: its directory, less what its package
// says of it.
func (d *disk) guessRoot(file string) string {
	dir := filepath.Dir(shown(file))
	text, err := d.read(file)
	if err != nil {
		return dir
	}
	m := packageLine.FindSubmatch(text)
	if m == nil {
		return dir
	}
	slashed := filepath.ToSlash(dir)
	below := strings.ReplaceAll(string(m[1]), ".", "/")
	if rest, ok := strings.CutSuffix("/"+slashed, "/"+below); ok {
		return filepath.FromSlash(path.Clean(strings.TrimPrefix(rest, "/") + "/."))
	}
	return dir
}

// absolute returns the absolute path, or the path itself where the current directory is unknown.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// real returns the absolute path with symbolic links followed, as far as it exists.
func real(path string) string {
	if followed, err := filepath.EvalSymlinks(path); err == nil {
		path = followed
	}
	return absolute(path)
}
