package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ipcgen/ipcgen/cmd/internal/language"
	"github.com/ipcgen/ipcgen/gen"
	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
	"github.com/ipcgen/ipcgen/idl/load"
)

const generateHelp = `Each FILE is a .proto file, a directory (all .proto files below it), or a pattern such as 'api/**/*.proto'. What is
generated for it lands at --out joined with its path relative to the import path (-I) that it is in. Its Go import path
is what its option go_package says, or what --go-package says of it or a folder around it. Of echo.proto, Python has the
module echo_ipc and its types: echo_ipc.py and echo_ipc.pyi. Modules import each other relatively: where there are several
folders of them, --out is to be in a package.

--go-package and --python-package name files and folders by their paths relative to the import path, as imports do. Each
must be there, and its language be generated. That this run has nothing to do with it is no error: several runs may share
one list.

Without a FILE, what to generate is read from ipcgen.yaml in the current directory:

   version: 1
   import_paths: [api]          # relative to this file, as all paths here; without it: [.]
   files: [api]                 # as FILE above
   generate:
     - lang: go
       out: internal/api
       packages: {echo/v1/echo.proto: example.com/project/internal/api/echo/v1}    # as --go-package

Files are written only when they change, all of them or, when anything is wrong, none. A file that ipcgen did not make
is never overwritten. A generated file whose .proto file is gone is removed.

EXAMPLES:
   ipcgen generate --out . echo.proto                  echo.ipc.go beside echo.proto
   ipcgen generate -I api --out internal/api api       all of api/ to internal/api/
   ipcgen generate -I third_party --out third_party --go-package google/=example.com/project/third_party/google \
      third_party/google/type                          files of somebody else, to a place of one's own
   ipcgen generate --lang python --out . echo.proto    echo_ipc.py and echo_ipc.pyi beside echo.proto
   ipcgen generate --check                             what ipcgen.yaml says, in CI
   //go:generate ipcgen generate --out . echo.proto    in a Go file`

func generateCommand(stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "generate",
		Usage:       "generate code from .proto files",
		UsageText:   "ipcgen generate [OPTIONS] [FILE...]",
		Description: generateHelp,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "import-path", Aliases: []string{"I"}, Usage: "look for imports in `DIR`; may be repeated, the first that has a file wins (default: the current directory)"},
			&cli.StringSliceFlag{Name: "lang", Usage: "generate `LANGUAGE`, one of: " + language.Names() + "; may be repeated (default: go)"},
			&cli.StringFlag{Name: "out", Usage: "write below `DIR`, which is made if need be"},
			&cli.StringSliceFlag{Name: "go-package", Usage: "`FILE=IMPORTPATH[;NAME]`: the Go package of a .proto file, in place of its go_package; FOLDER/=IMPORTPATH: each folder below FOLDER is a package below IMPORTPATH; may be repeated"},
			&cli.StringSliceFlag{Name: "python-package", Usage: "`FILE=PACKAGE`: the Python package that has the code of a .proto file which is generated elsewhere; FOLDER/=PACKAGE: each folder below FOLDER is a package below PACKAGE; may be repeated"},
			&cli.StringFlag{Name: "config", Usage: "read what to generate from `FILE` (default: ipcgen.yaml where no FILE is named)"},
			&cli.BoolFlag{Name: "check", Usage: "write nothing; fail and tell which files are not up to date"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "tell which files were written and removed"},
		},
		Action: func(c *cli.Context) error {
			j, err := jobOf(c, stderr)
			if err != nil {
				return err
			}
			return j.run(c.Context, stderr, c.Bool("check"), c.Bool("verbose"))
		},
	}
}

// A job is one run of generate.
type job struct {
	importPaths []string
	files       []string
	targets     []target
	whole       bool // it is all that there is to generate, so that all stale files can be found
}

// A target is one language of a job.
type target struct {
	language.Language
	out      string
	packages packages
}

// jobOf returns what the command line asks for.
func jobOf(c *cli.Context, stderr io.Writer) (*job, error) {
	for _, arg := range c.Args().Slice() {
		if strings.HasPrefix(arg, "-") && arg != "-" {
			return nil, usagef("%s stands behind a file; options come first: ipcgen generate [OPTIONS] FILE...", arg)
		}
	}
	if !c.Args().Present() {
		for _, flag := range []string{"import-path", "lang", "out", "go-package", "python-package"} {
			if c.IsSet(flag) {
				return nil, usagef("--%s is given, but no FILE; without one, everything comes from ipcgen.yaml", flag)
			}
		}
		return readConfig(c.String("config"), stderr)
	}
	if c.IsSet("config") {
		return nil, usagef("--config and FILE are both given; what to generate comes from one or the other")
	}
	if c.String("out") == "" { // nor an unset variable of a shell's
		return nil, usagef("--out is missing: the directory to write below; --out . where the .proto files are")
	}
	j := &job{importPaths: c.StringSlice("import-path")}
	names := c.StringSlice("lang")
	if len(names) == 0 {
		names = []string{"go"}
	}
	for i, name := range names {
		l, err := language.Find(name)
		if err != nil {
			return nil, usageError{err}
		}
		if slices.Contains(names[:i], name) {
			return nil, usagef("--lang %s is given twice: leave one of them out", name)
		}
		packages, err := j.parsePackages(name, c.StringSlice(name+"-package"))
		if err != nil {
			return nil, err
		}
		j.targets = append(j.targets, target{l, c.String("out"), packages})
	}
	for _, name := range slices.Sorted(maps.Keys(forms)) {
		if flag := name + "-package"; c.IsSet(flag) && !slices.Contains(names, name) {
			return nil, usagef("--%s is given, but --lang %s is not: add it, or leave out --%[1]s", flag, name)
		}
	}
	var err error
	j.files, err = expand("", c.Args().Slice())
	return j, err
}

// parsePackages reads the flag of a language that says where files' code is.
func (j *job) parsePackages(lang string, values []string) (packages, error) {
	all := make(packages)
	for _, v := range values {
		key, place, ok := strings.Cut(v, "=")
		if !ok || key == "" || place == "" {
			return nil, usagef("--%s-package %s: write it as %s", lang, v, forms[lang])
		}
		if err := all.add(key, place, j.importPaths); err != nil {
			return nil, usagef("--%s-package %s: %w", lang, v, err)
		}
	}
	return all, nil
}

// run generates, and writes or checks.
func (j *job) run(ctx context.Context, stderr io.Writer, check, verbose bool) error {
	p := newProgress(stderr)
	defer p.stop()
	p.doing(fmt.Sprintf("reading %d .proto files", len(j.files)))
	l := load.Loader{ImportPaths: j.importPaths, Warn: func(d *diag.Diagnostic) {
		p.pause(func() { fmt.Fprint(stderr, diag.List{d}.Render(func(string) ([]byte, bool) { return nil, false })) })
	}}
	schema, err := l.Load(ctx, j.files...)
	if err != nil {
		return report(p, stderr, err, l.Source)
	}
	outputs, err := j.generate(ctx, p, schema)
	if err != nil {
		return report(p, stderr, err, l.Source)
	}
	p.doing("comparing with what is on disk")
	changes, err := gen.Compare(outputs, j.exists)
	if err != nil {
		return report(p, stderr, err, l.Source)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.stop()
	if check {
		return tell(stderr, changes)
	}
	if err := gen.Apply(changes); err != nil {
		return err
	}
	if verbose {
		for _, c := range changes {
			fmt.Fprintln(stderr, map[gen.ChangeKind]string{gen.Missing: "wrote", gen.Differs: "wrote", gen.Stale: "removed"}[c.Kind], c.Path)
		}
	}
	return nil
}

func (j *job) generate(ctx context.Context, p *progress, schema *idl.Schema) ([]gen.Output, error) {
	var outputs []gen.Output
	var problems []error
	for _, t := range j.targets {
		p.doing(fmt.Sprintf("generating %s for %d .proto files", t.Name, len(j.files)))
		files, err := t.Generator.Generate(&gen.Request{Schema: schema, ImportPath: t.packages})
		problems = append(problems, err)
		outputs = append(outputs, gen.Output{Dir: t.out, Endings: t.Endings, Files: files, Whole: j.whole})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return outputs, errors.Join(problems...)
}

// exists says whether there is a .proto file of a name in an import path.
func (j *job) exists(source string) bool {
	_, ok := find(j.importPaths, source)
	return ok
}

// report prints everything that is wrong with the input.
func report(p *progress, stderr io.Writer, err error, source func(string) ([]byte, bool)) error {
	p.stop()
	if errors.Is(err, context.Canceled) {
		return err
	}
	var all []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	} else {
		all = []error{err}
	}
	for _, err := range all {
		var list diag.List
		if errors.As(err, &list) {
			fmt.Fprint(stderr, list.Render(source))
		} else {
			fmt.Fprintln(stderr, err)
		}
	}
	return errReported
}

// tell prints what a check found.
func tell(stderr io.Writer, changes []gen.Change) error {
	if len(changes) == 0 {
		return nil
	}
	for _, c := range changes {
		fmt.Fprintf(stderr, "%s %s\n", c.Path, c.Kind)
	}
	fmt.Fprintln(stderr, "run the same command without --check, and commit what it writes")
	return errReported
}
