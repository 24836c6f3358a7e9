// Package load turns .proto files, or the descriptors that protoc and buf make of them, into the model that generators
// read. It is the only package that knows a protobuf compiler.
//
// A Loader's Load goes through these steps, each over all files, so that one run reports everything that is wrong:
//
//  1. place: each file that is asked for gets the name by which others import it (place.go)
//  2. compile: it and all that it imports are read, parsed and linked, in parallel (compile.go)
//  3. convert: descriptors become the model (convert.go, comment.go)
//  4. options: what ipcgen's own options say is read and checked (options.go)
//
// FromDescriptors starts at the third step: there is one conversion, whatever the input was.
//
// The standard files google/protobuf/*.proto and ipcgen/v1/options.proto are built in. When imported, the built-in ones
// are used even where a copy is on disk, so that the outcome does not depend on what happens to be installed.
//
// What is wrong with the input is returned as a diag.List, in which each position names the file as the user would open
// it. proto2, proto3 and edition 2023 are understood.
package load

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
)

// MaxFileSize is the size in bytes above which a file is refused unread.
const MaxFileSize = 32 << 20

// MaxNesting is how deep brackets may be nested in a file.
const MaxNesting = 200

// A Loader loads .proto files from disk. The zero value looks for imports in the current directory. It may be used
// again, by one goroutine at a time.
type Loader struct {
	// ImportPaths are the directories that imports are relative to; the first that has a file provides it. None
	// means the current directory.
	ImportPaths []string
	// ReadFile, if set, is what files are read with instead of from the disk. The path is an import path joined with
	// an import's name, or a file as it was given to Load. An error that is fs.ErrNotExist lets the search go on. It
	// is called by several goroutines at once.
	ReadFile func(path string) ([]byte, error)
	// Warn, if set, receives what is worth a look but no error, in the order of files and lines, before Load returns.
	Warn func(*diag.Diagnostic)

	texts map[string][]byte // by the path that diagnostics show
}

// Load returns the model of the files and of all that they import. Each file is a path on disk, or else the name of a
// file in one of the import paths. A path on disk is named relative to the import path that contains it; where several
// do, to the innermost.
//
// An error is a diag.List with everything that is wrong, or ctx's.
func (l *Loader) Load(ctx context.Context, files ...string) (*idl.Schema, error) {
	r := &run{disk: disk{readFile: l.ReadFile}, units: map[string]*unit{}}
	r.place(l.ImportPaths, files)
	compiled := r.compile(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.texts = r.texts()
	schema := r.convert(compiled)
	if l.Warn != nil {
		for _, w := range r.sortedWarnings() {
			l.Warn(w)
		}
	}
	if err := r.problems.Err(); err != nil {
		return nil, err
	}
	return schema, nil
}

// Source returns the text of a file as the last Load read it, without a byte order mark; file is what positions name
// it. It serves diag.List's Render.
func (l *Loader) Source(file string) ([]byte, bool) {
	text, ok := l.texts[file]
	return text, ok
}

// A run is one load: the files it has met and what is wrong with them.
type run struct {
	disk  disk
	asked []*unit // in the order they were asked for

	mu       sync.Mutex // guards what follows while files are compiled
	units    map[string]*unit
	problems diag.List
	doubtful []*finding // true only where the file they are in has all that it imports
	warnings diag.List
}

// A unit is one file on its way from text to model.
type unit struct {
	name  string // as imports write it
	path  string // as diagnostics write it
	file  string // where it is on disk; "" for what is built in or came as a descriptor
	asked bool

	text     []byte
	lines    []int // offsets of the starts of lines in text
	imports  []dependency
	declared []string // full names of its types
	broken   bool     // it cannot be understood, or imports what is not there
}

// A dependency is one import statement.
type dependency struct {
	name string
	pos  diag.Position
}

// A finding is what the compiler says of a file.
type finding struct {
	unit *unit
	*diag.Diagnostic
}

func (r *run) problem(d *diag.Diagnostic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, d)
}

// sortedWarnings returns the warnings by place, each once.
func (r *run) sortedWarnings() diag.List {
	sorted, _ := r.warnings.Err().(diag.List)
	return sorted
}

func (r *run) texts() map[string][]byte {
	texts := make(map[string][]byte, len(r.units))
	for _, u := range r.units {
		if u.text != nil {
			texts[u.path] = u.text
		}
	}
	return texts
}

// reason returns an error without the path that its caller names already.
func reason(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// notADirectory says why dir cannot be an import path, or nil.
func notADirectory(dir string) *diag.Diagnostic {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return &diag.Diagnostic{Text: fmt.Sprintf("import path %s: %v", dir, reason(err))}
	case !info.IsDir():
		return &diag.Diagnostic{Text: fmt.Sprintf("import path %s: is a file, not a directory", dir)}
	}
	return nil
}
