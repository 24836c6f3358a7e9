package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// commands start the workers.
type commands struct{ python, node []string }

// find returns how the workers are started, or says what has to be installed first.
func find() (*commands, error) {
	_, here, _, _ := runtime.Caller(0)
	dir := filepath.Dir(here) // of this example, as it was compiled
	if _, err := os.Stat(filepath.Join(dir, "python", "worker.py")); err != nil {
		return nil, fmt.Errorf("the workers lie beside this program's source: run it from a clone of the repository by go run: %w", err)
	}
	python, perr := findPython(dir)
	node, nerr := findNode(dir)
	if err := errors.Join(perr, nerr); err != nil {
		return nil, err
	}
	return &commands{python, node}, nil
}

// findPython looks for Python with the package protobuf. The runtime and the generated code are taken from the clone; a
// project of one's own would install the package ipcgen.
func findPython(dir string) ([]string, error) {
	python := os.Getenv("IPCGEN_PYTHON")
	if python == "" {
		python = "python3"
	}
	switch {
	case !succeeds(python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"):
		return nil, fmt.Errorf("the statistics worker needs Python 3.11 or newer, which %s is not: https://www.python.org, or set IPCGEN_PYTHON", python)
	case !succeeds(python, "-c", "import google.protobuf"):
		return nil, errors.New(`the statistics worker needs the Python package protobuf. Install it, here to a place of its own:
    python3 -m venv .venv && .venv/bin/pip install 'protobuf>=5.26' && export IPCGEN_PYTHON=$PWD/.venv/bin/python`)
	}
	paths := filepath.Join(dir, "..", "..", "runtime", "python", "src") + string(os.PathListSeparator) + filepath.Join(dir, "python")
	return []string{"env", "PYTHONPATH=" + paths, python, filepath.Join(dir, "python", "worker.py")}, nil
}

// findNode looks for Node and for what was compiled of the TypeScript worker. The runtime is a package of the clone, linked;
// --preserve-symlinks has it and the worker share the package @bufbuild/protobuf.
func findNode(dir string) ([]string, error) {
	program := filepath.Join(dir, "typescript", "dist", "worker.js")
	if !succeeds("node", "-e", "const [a, b] = process.versions.node.split('.'); process.exit(a > 20 || a == 20 && b >= 5 ? 0 : 1)") {
		return nil, errors.New("the report worker needs Node 20.5 or newer: https://nodejs.org")
	}
	if _, err := os.Stat(program); err != nil {
		return nil, errors.New(`the report worker is TypeScript and not built yet. Build it, which fetches what it needs from npm:
    (cd examples/polyglot/typescript && npm ci && npm run build)`)
	}
	return []string{"node", "--preserve-symlinks", program}, nil
}
