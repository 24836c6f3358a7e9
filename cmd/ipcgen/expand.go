package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// expand returns the .proto files that arguments stand for, relative to dir where they are not absolute: files as they
// are, directories and patterns in alphabetical order. A pattern may have ** for any number of directories.
func expand(dir string, args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		where := arg
		if dir != "" && !filepath.IsAbs(arg) {
			where = filepath.Join(dir, arg)
		}
		found, err := expandOne(arg, where)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	return files, nil
}

func expandOne(arg, where string) ([]string, error) {
	info, err := os.Stat(where)
	switch {
	case err == nil && info.IsDir():
		return protos(where, func(string) bool { return true }, fmt.Sprintf("%s: there is no .proto file in this directory", arg))
	case err == nil || !strings.ContainsAny(arg, "*?["):
		return []string{where}, nil // the loader says what is wrong with it
	}
	pattern := filepath.ToSlash(filepath.Clean(where))
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("%s: the pattern is malformed", arg)
	}
	parts := strings.Split(pattern, "/")
	first := slices.IndexFunc(parts, func(s string) bool { return strings.ContainsAny(s, "*?[") })
	root := strings.Join(parts[:first], "/")
	switch {
	case root == "" && strings.HasPrefix(pattern, "/"):
		root = "/"
	case root == "":
		root = "."
	}
	return protos(filepath.FromSlash(root), func(p string) bool {
		return match(parts, strings.Split(filepath.ToSlash(p), "/"))
	}, fmt.Sprintf("%s: no .proto file matches the pattern", arg))
}

// protos returns the .proto files below root that are wanted. Folders whose names start with a dot are left out.
func protos(root string, wanted func(path string) bool, none string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !d.IsDir() && path.Ext(d.Name()) == ".proto" && wanted(p):
			files = append(files, p)
		}
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s", none)
	}
	return files, nil
}

// match says whether the parts of a path match those of a pattern.
func match(pattern, parts []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := range len(parts) + 1 {
				if match(pattern[1:], parts[i:]) {
					return true
				}
			}
			return false
		}
		if len(parts) == 0 {
			return false
		}
		if ok, _ := path.Match(pattern[0], parts[0]); !ok {
			return false
		}
		pattern, parts = pattern[1:], parts[1:]
	}
	return len(parts) == 0
}
