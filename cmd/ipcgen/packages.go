package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ipcgen/ipcgen/idl/load"
)

// packages say where the code of files is: by a file's path relative to its import path, or by a folder's with a slash
// behind it.
type packages map[string]string

// forms are what may be written behind the flags that say where files' code is, by language. A language that is not
// here asks nobody: its code is found by paths alone.
var forms = map[string]string{
	"go":     "FILE=IMPORTPATH, such as echo/v1/echo.proto=example.com/echo/v1, or FOLDER/=IMPORTPATH",
	"python": "FILE=PACKAGE, such as echo/v1/echo.proto=acme.echo.v1, or FOLDER/=PACKAGE",
}

// add notes where the code of a file or folder is. A key that can never mean anything is an error; one that means
// nothing to the files of this run is not, so that one list serves several runs.
func (p packages) add(key, place string, importPaths []string) error {
	name, folder := path.Clean(key), strings.HasSuffix(key, "/")
	isDir, ok := find(importPaths, name)
	if !ok {
		isDir, ok = findBuiltin(name)
	}
	switch {
	case ok && isDir && !folder:
		return fmt.Errorf("%s is a folder: write %s/", key, name)
	case ok && !isDir && folder:
		return fmt.Errorf("%s is a file: write it without the slash", name)
	case !ok || path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../"):
		what := "file"
		if folder {
			what = "folder"
		}
		return fmt.Errorf("there is no %s %s in an import path; write it as an import does, relative to one of: %s",
			what, key, strings.Join(orHere(importPaths), ", "))
	case folder:
		name += "/"
	}
	if _, twice := p[name]; twice {
		return fmt.Errorf("%s is there twice", name)
	}
	p[name] = place
	return nil
}

// find looks for a file or folder in import paths, and says which of the two it is.
func find(importPaths []string, name string) (isDir, ok bool) {
	for _, dir := range orHere(importPaths) {
		if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			return info.IsDir(), true
		}
	}
	return false, false
}

// findBuiltin is find for what is there without being on disk: the import path itself, and what is built in.
func findBuiltin(name string) (isDir, ok bool) {
	if name == "." {
		return true, true
	}
	for _, file := range load.Builtin() {
		if rest, below := strings.CutPrefix(file, name); below && (rest == "" || rest[0] == '/') {
			return rest != "", true
		}
	}
	return false, false
}

// orHere returns the import paths as package load takes them: none is the current directory.
func orHere(importPaths []string) []string {
	if len(importPaths) == 0 {
		return []string{"."}
	}
	return importPaths
}
