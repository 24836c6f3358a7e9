package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// A disk is where files are read from.
type disk struct {
	roots    []root
	readFile func(path string) ([]byte, error) // nil is the real one
}

// A root is a directory that imports are relative to.
type root struct {
	dir string // as the user wrote it
	abs string
}

// A fault is a reason for which a file that is there cannot be used. Where it is a place in the file, offset is not
// negative.
type fault struct {
	text   string
	help   string
	offset int
}

func (f *fault) Error() string { return f.text }

// read returns a file's text without a byte order mark. An error is fs.ErrNotExist or a *fault; a fault with a place
// comes with the text.
func (d *disk) read(path string) ([]byte, error) {
	readFile := d.readFile
	if readFile == nil {
		readFile = readBounded
	}
	text, err := readFile(path)
	var f *fault
	switch {
	case errors.As(err, &f), errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return nil, &fault{text: "cannot be read: " + err.Error(), offset: -1}
	case len(text) > MaxFileSize:
		return nil, tooLarge()
	}
	return text, nil
}

// clean removes a byte order mark and finds what no .proto file may have.
func clean(text []byte) ([]byte, *fault) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, &fault{text: "the file is UTF-16, not UTF-8", help: "save it as UTF-8", offset: -1}
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(text)) == 0 {
		return text, &fault{text: "the file is empty", help: `a .proto file starts with a line such as: syntax = "proto3";`, offset: -1}
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n <= 1 {
			return text, &fault{text: fmt.Sprintf("the file is not UTF-8: byte 0x%02x", text[i]), help: "save it as UTF-8", offset: i}
		}
		i += n
	}
	if at := tooDeep(text); at >= 0 {
		return text, &fault{text: fmt.Sprintf("brackets are nested more than %d deep", MaxNesting), offset: at}
	}
	return text, nil
}

// readBounded reads a file of which nothing is known, so that neither a directory nor a device is a surprise.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &fault{text: "is a directory, not a file", offset: -1}
	}
	if info.Size() > MaxFileSize {
		return nil, tooLarge()
	}
	buf := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err := buf.ReadFrom(io.LimitReader(f, MaxFileSize+1)); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func tooLarge() error {
	return &fault{text: fmt.Sprintf("is larger than %d MiB, the most that a .proto file may have", MaxFileSize>>20), offset: -1}
}

// tooDeep returns the place of the first bracket that is nested too deep, or -1. Parsers and all that walks what they
// return go down one call a level, and a program that runs out of stack cannot be saved.
func tooDeep(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[', '(', '<':
			if depth++; depth > MaxNesting {
				return i
			}
		case '}', ']', ')', '>':
			depth = max(depth-1, 0)
		case '"', '\'':
			i = skipString(text, i)
		case '/':
			i = skipComment(text, i)
		}
	}
	return -1
}

// skipString returns the place of a string's closing quote, or of the end of its line.
func skipString(text []byte, i int) int {
	quote := text[i]
	for i++; i < len(text) && text[i] != quote && text[i] != '\n'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

// skipComment returns the place of the last byte of the comment that starts at i, or i where none does.
func skipComment(text []byte, i int) int {
	rest := text[i:]
	end := 0
	switch {
	case bytes.HasPrefix(rest, []byte("//")):
		end = bytes.IndexByte(rest, '\n')
	case bytes.HasPrefix(rest, []byte("/*")):
		if end = bytes.Index(rest[2:], []byte("*/")); end >= 0 {
			end += len("/*") + len("*/") - 1
		}
	}
	if end < 0 {
		return len(text)
	}
	return i + end
}

// exists says whether a file can be read, whatever else is wrong with it.
func (d *disk) exists(path string) bool {
	if d.readFile == nil {
		info, err := os.Stat(path)
		return err == nil && !info.IsDir()
	}
	_, err := d.readFile(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// find returns the first root's file of that name with its text, or fs.ErrNotExist.
func (d *disk) find(name string) (path string, text []byte, err error) {
	for _, r := range d.roots {
		path = filepath.Join(r.dir, filepath.FromSlash(name))
		text, err = d.read(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return path, text, err
		}
	}
	return "", nil, fs.ErrNotExist
}

// has says whether find finds a file.
func (d *disk) has(name string) bool {
	return slices.ContainsFunc(d.roots, func(r root) bool { return d.exists(filepath.Join(r.dir, filepath.FromSlash(name))) })
}

// searched says where find looks.
func (d *disk) searched() string {
	if len(d.roots) == 1 && d.roots[0].dir == "." {
		return "the current directory"
	}
	dirs := make([]string, len(d.roots))
	for i, r := range d.roots {
		dirs[i] = r.dir
	}
	return strings.Join(dirs, ", ")
}

// shown returns the path as the user would open it: relative to the current directory where it lies below.
func shown(path string) string {
	if !filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return filepath.Clean(path)
}

// below returns path relative to dir with slashes, and whether it lies below. Both are absolute.
func below(dir, path string) (string, bool) {
	rel, err := filepath.Rel(dir, path)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return "", false
	}
	return filepath.ToSlash(rel), true
}
