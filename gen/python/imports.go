package python

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/ipcgen/ipcgen/idl"
)

// An imported is one statement that imports. Statements are laid out and ordered as isort and ruff do.
type imported struct {
	module string   // as it stands behind "from" or, where there are no names, "import"
	names  []string // at most one where there is an alias
	alias  string
	unused bool // it is there for what importing does
}

// importOf returns the statement that imports the module of a file.
func (w *writer) importOf(f *idl.File, unused bool) imported {
	return imported{module: packageOf(w.modules[w.file], w.modules[f]), names: []string{path.Base(w.modules[f].path)}, alias: w.alias(f), unused: unused}
}

// moduleOf returns the module of a file, as one says it behind "from".
func (w *writer) moduleOf(f *idl.File) string {
	from := packageOf(w.modules[w.file], w.modules[f])
	if !strings.HasSuffix(from, ".") {
		from += "."
	}
	return from + path.Base(w.modules[f].path)
}

// widest is how long a line that imports may be, for isort and ruff where nobody says otherwise.
const widest = 88

func (i imported) String() string {
	suffix, comment := "", ""
	if i.alias != "" {
		suffix = " as " + i.alias
	}
	if i.unused {
		comment = "  # noqa: F401" // it registers what this file refers to
	}
	if len(i.names) == 0 {
		return "import " + i.module + suffix
	}
	head := "from " + i.module + " import "
	if line := head + strings.Join(i.names, ", ") + suffix; len(line+comment) <= widest {
		return line + comment
	}
	lines := head + "("
	for _, n := range i.names {
		lines += "\n    " + n + suffix + "," + comment
	}
	return lines + "\n)"
}

// group says where a statement stands: Python's own modules come first, then what is installed, then what is generated.
func (i imported) group() int {
	switch first, _, _ := strings.Cut(i.module, "."); first {
	case "":
		return 2
	case "builtins", "collections", "typing":
		return 0
	}
	return 1
}

func (i imported) compare(j imported) int {
	return cmp.Or(
		cmp.Compare(i.group(), j.group()),
		cmp.Compare(min(len(i.names), 1), min(len(j.names), 1)),
		cmp.Compare(i.module, j.module),
		slices.Compare(i.names, j.names),
	)
}

// groups returns the statements in their order.
func groups(list []imported) [][]string {
	slices.SortFunc(list, imported.compare)
	var groups [][]string
	for n, i := range list {
		if n == 0 || i.group() != list[n-1].group() {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], i.String())
	}
	return groups
}
