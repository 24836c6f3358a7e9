package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ipcgen/ipcgen/cmd/internal/language"
	"github.com/ipcgen/ipcgen/idl/diag"
)

const configName = "ipcgen.yaml"

// A config reads an ipcgen.yaml and notes all that is wrong with it.
type config struct {
	path  string
	dir   string // of the file; paths in it are relative to it
	wrong diag.List
	// packages read what targets say of packages; they wait for the import paths, which may stand further down.
	packages []func(importPaths []string)
}

// readConfig returns the job that a configuration file describes. What is wrong with the file is printed.
func readConfig(path string, stderr io.Writer) (*job, error) {
	c := &config{path: cmp.Or(path, configName)}
	text, err := os.ReadFile(c.path)
	if errors.Is(err, os.ErrNotExist) && path == "" {
		return nil, usagef("no FILE is named, and there is no %s here; see ipcgen help generate", configName)
	}
	if err != nil {
		return nil, err
	}
	if dir := filepath.Dir(c.path); dir != "." {
		c.dir = dir
	}
	var doc, another yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(text))
	switch err := documents.Decode(&doc); {
	case err == io.EOF:
		c.wrong.Add(diag.Position{File: c.path}, "see ipcgen help generate", "the file is empty")
	case err != nil:
		c.syntax(err)
	default:
		switch err := documents.Decode(&another); {
		case err == nil:
			c.wrong.Add(diag.Position{File: c.path, Line: another.Line}, "put all into one document, without ---", "a second document")
		case err != io.EOF:
			c.syntax(err)
		}
	}
	j := &job{whole: true}
	if len(c.wrong) == 0 {
		c.top(j, doc.Content[0])
	}
	if list, ok := c.wrong.Err().(diag.List); ok {
		fmt.Fprint(stderr, list.Render(func(string) ([]byte, bool) { return text, true }))
		return nil, errReported
	}
	j.files, err = expand(c.dir, j.files)
	return j, err
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

func (c *config) syntax(err error) {
	pos, text := diag.Position{File: c.path}, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		pos.Line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	c.wrong.Add(pos, "", "not valid YAML: %s", text)
}

func (c *config) at(n *yaml.Node) diag.Position {
	return diag.Position{File: c.path, Line: n.Line, Column: n.Column}
}

func (c *config) top(j *job, n *yaml.Node) {
	seen := c.mapping(n, map[string]func(*yaml.Node){
		"version": func(n *yaml.Node) {
			if n.Value != "1" {
				c.wrong.Add(c.at(n), "write version: 1", "version %q is not known to this ipcgen", n.Value)
			}
		},
		"import_paths": func(n *yaml.Node) { j.importPaths = c.paths(n) },
		"files":        func(n *yaml.Node) { j.files = c.strings(n) },
		"generate": func(n *yaml.Node) {
			for _, item := range c.list(n) {
				c.target(j, item)
			}
		},
	})
	c.want(n, seen, "version", "files", "generate")
	if len(j.importPaths) == 0 {
		j.importPaths = []string{cmp.Or(c.dir, ".")}
	}
	for _, read := range c.packages {
		read(j.importPaths)
	}
}

func (c *config) target(j *job, n *yaml.Node) {
	t := target{packages: packages{}}
	seen := c.mapping(n, map[string]func(*yaml.Node){
		"lang": func(n *yaml.Node) {
			var err error
			if t.Language, err = language.Find(n.Value); err != nil {
				c.wrong.Add(c.at(n), "", "%v", err)
			}
		},
		"out": func(n *yaml.Node) { t.out = c.resolve(c.string(n)) },
		"packages": func(n *yaml.Node) {
			c.packages = append(c.packages, func(importPaths []string) { c.readPackages(t, n, importPaths) })
		},
	})
	c.want(n, seen, "lang", "out")
	j.targets = append(j.targets, t)
}

// readPackages reads the packages of a target of which the rest is read.
func (c *config) readPackages(t target, n *yaml.Node, importPaths []string) {
	if n.Kind != yaml.MappingNode {
		c.wrong.Add(c.at(n), "", "packages is not a mapping of .proto files to import paths")
		return
	}
	if t.Name != "" && forms[t.Name] == "" {
		c.wrong.Add(c.at(n), "remove it", "packages means nothing for %s, whose code is found by paths alone", t.Name)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, place := n.Content[i], n.Content[i+1]
		if err := t.packages.add(key.Value, c.string(place), importPaths); err != nil {
			c.wrong.Add(c.at(key), "", "%v", err)
		}
	}
}

// mapping calls for each key of n what reads its value, and returns the keys.
func (c *config) mapping(n *yaml.Node, keys map[string]func(*yaml.Node)) (seen []string) {
	if n.Kind != yaml.MappingNode {
		c.wrong.Add(c.at(n), "see ipcgen help generate", "this is not a mapping, as in key: value")
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read := keys[key.Value]
		switch {
		case read == nil:
			known := make([]string, 0, len(keys))
			for k := range keys {
				known = append(known, k)
			}
			slices.Sort(known)
			c.wrong.Add(c.at(key), "there is: "+strings.Join(known, ", "), "unknown key %q", key.Value)
		case slices.Contains(seen, key.Value):
			c.wrong.Add(c.at(key), "", "%s is there twice", key.Value)
		default:
			seen = append(seen, key.Value)
			read(value)
		}
	}
	return seen
}

// want reports keys that are missing.
func (c *config) want(n *yaml.Node, seen []string, keys ...string) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for _, key := range keys {
		if !slices.Contains(seen, key) {
			c.wrong.Add(c.at(n), "", "%s is missing", key)
		}
	}
}

func (c *config) list(n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		c.wrong.Add(c.at(n), "write it as [a, b], or one a line behind a dash", "this is not a list with something in it")
		return nil
	}
	return n.Content
}

func (c *config) strings(n *yaml.Node) []string {
	var all []string
	for _, item := range c.list(n) {
		all = append(all, c.string(item))
	}
	return all
}

func (c *config) string(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		c.wrong.Add(c.at(n), "", "this is not a text")
		return ""
	}
	return n.Value
}

func (c *config) paths(n *yaml.Node) []string {
	all := c.strings(n)
	for i, p := range all {
		all[i] = c.resolve(p)
	}
	return all
}

// resolve returns a path of the file relative to the current directory.
func (c *config) resolve(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}
