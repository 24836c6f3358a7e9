package load

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/ast"
	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/ipcgen/ipcgen/idl/diag"
)

// compile returns the descriptors of the files that are asked for; those of which nothing can be made are left out.
//
// A file that is missing or cannot be parsed is an empty one to those that import it, so that the compiler goes on and
// finds what is wrong elsewhere. What it then says of the importing files would be noise, and is dropped.
func (r *run) compile(ctx context.Context) []protoreflect.FileDescriptor {
	names := make([]string, len(r.asked))
	for i, u := range r.asked {
		names[i] = u.name
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.ResolverFunc(r.resolve),
		MaxParallelism: runtime.GOMAXPROCS(0),
		Reporter:       reporter.NewReporter(r.suspect, func(err reporter.ErrorWithPos) { r.warn(err) }),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, names...)
	if ctx.Err() != nil {
		return nil
	}
	var placed reporter.ErrorWithPos
	switch {
	case err == nil, errors.Is(err, reporter.ErrInvalidSource):
	case errors.As(err, &placed):
		r.suspect(placed)
	default:
		r.problem(&diag.Diagnostic{Text: "internal error of the compiler: " + err.Error(),
			Help: "this is a defect of ipcgen: please report it with the files"})
	}
	r.settle()
	var compiled []protoreflect.FileDescriptor
	for _, f := range files {
		if f != nil {
			compiled = append(compiled, f)
		}
	}
	return compiled
}

// suspect notes what the compiler finds wrong. It returns nil so that the compiler goes on.
func (r *run) suspect(err reporter.ErrorWithPos) error {
	if strings.HasPrefix(err.Unwrap().Error(), "cycle found in imports") {
		return nil // findCycle says it, from the same file on every run
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	u, d := r.diagnose(err)
	r.doubtful = append(r.doubtful, &finding{u, d})
	return nil
}

func (r *run) warn(err reporter.ErrorWithPos) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, d := r.diagnose(err)
	if u == nil || !u.asked {
		return
	}
	d.Warning = true
	r.warnings = append(r.warnings, d)
}

// diagnose makes a diagnostic of what the compiler says. Called with the mutex held.
func (r *run) diagnose(err reporter.ErrorWithPos) (*unit, *diag.Diagnostic) {
	at := err.GetPosition()
	d := &diag.Diagnostic{Pos: diag.Position{File: at.Filename, Line: at.Line, Column: at.Col}, Text: reword(err.Unwrap().Error())}
	u := r.units[at.Filename]
	if u != nil {
		d.Pos = u.pos(at)
		if u.listsOption(d) {
			d.Help = "repeat the option, once for each value"
		}
	}
	if m := clash.FindStringSubmatch(d.Text); m != nil {
		d.Help = clashHelp[m[1]]
	}
	return u, d
}

// clash is of names that are the same in JSON, of which one is what clashHelp has by way of mending.
var clash = regexp.MustCompile(`: (default JSON name|custom JSON name|camel-case name) .*conflicts with `)

var clashHelp = map[string]string{
	"default JSON name": "rename one of the fields; another json_name does not mend it",
	"custom JSON name":  "give one of the fields another json_name",
	"camel-case name":   "rename one of the values",
}

var optionBefore = regexp.MustCompile(`\boption\s[^;={}\[\]]*=\s*$`)

// listsOption says whether d is of a list that stands where the value of an option belongs.
func (u *unit) listsOption(d *diag.Diagnostic) bool {
	if !strings.HasPrefix(d.Text, "syntax error: did not expect '['") || d.Pos.Line == 0 || d.Pos.Line > len(u.lines) {
		return false
	}
	line := u.text[u.lines[d.Pos.Line-1]:]
	return optionBefore.Match(line[:min(d.Pos.Column-1, len(line))])
}

// rewordings are for what the compiler says in words that only its authors know.
var rewordings = strings.NewReplacer(
	"syntax error: unexpected ", "syntax error: did not expect ",
	"$end", "the end of the file",
)

func reword(text string) string { return rewordings.Replace(text) }

// settle keeps of the doubtful findings those in files that have all that they import, and forgets the warnings of the
// others.
func (r *run) settle() {
	done := map[*unit]bool{}
	for _, u := range r.asked {
		r.findCycle(u, nil, done)
	}
	for _, f := range r.doubtful {
		if f.unit == nil || !r.incomplete(f.unit, map[*unit]bool{}) {
			f.Help = cmp.Or(f.Help, r.helpUnknown(f), r.helpMethod(f), helpOption(f.Text))
			r.problems = append(r.problems, f.Diagnostic)
		}
	}
	if len(r.problems) > 0 {
		r.warnings = nil
	}
}

// incomplete says that u, or something that it imports, is broken.
func (r *run) incomplete(u *unit, seen map[*unit]bool) bool {
	if u == nil || seen[u] {
		return false
	}
	seen[u] = true
	return u.broken || slices.ContainsFunc(u.imports, func(d dependency) bool { return r.incomplete(r.units[d.name], seen) })
}

// findCycle reports files that import each other, going down the imports of u; way holds those that led there.
func (r *run) findCycle(u *unit, way []*unit, done map[*unit]bool) {
	if u == nil || done[u] {
		return
	}
	for _, d := range u.imports {
		next := r.units[d.name]
		at := slices.Index(append(way, u), next)
		if at < 0 {
			r.findCycle(next, append(way, u), done)
			continue
		}
		var names []string
		for _, w := range append(slices.Clone(way[min(at, len(way)):]), u, next) {
			names = append(names, w.name)
			w.broken = true
		}
		r.problems = append(r.problems, &diag.Diagnostic{Pos: d.pos, Text: "files import each other: " + strings.Join(names, " -> "),
			Help: "move what both need into a third file"})
	}
	done[u] = true
}

var unknownType = regexp.MustCompile(`unknown (request |response |extendee |)type ([\w.]+)$`)

// scalars are the types that protobuf itself has.
var scalars = []string{
	"bool", "bytes", "double", "fixed32", "fixed64", "float", "int32", "int64", "sfixed32", "sfixed64", "sint32", "sint64",
	"string", "uint32", "uint64",
}

// helpUnknown says what a name that means nothing may be meant to be: something that is not imported, or misspelled.
func (r *run) helpUnknown(f *finding) string {
	m := unknownType.FindStringSubmatch(f.Text)
	if m == nil {
		return ""
	}
	name := strings.TrimPrefix(m[2], ".")
	for _, file := range builtinNames {
		if fd := builtin(file); fd != nil && fd.Messages().ByName(protoreflect.Name(strings.TrimPrefix(name, string(fd.Package())+"."))) != nil {
			return fmt.Sprintf("%s.%s needs: import %q;", fd.Package(), name[strings.LastIndexByte(name, '.')+1:], file)
		}
	}
	var all []string
	switch {
	case m[1] == "": // of a field
		all = slices.Clone(scalars)
	case slices.Contains(scalars, name):
		return "it is to be a message: declare one that has the " + name + " as a field"
	}
	for _, key := range slices.Sorted(maps.Keys(r.units)) {
		u := r.units[key]
		if slices.Contains(u.declared, name) {
			return fmt.Sprintf("it is declared in %s: import %q;", u.path, u.name)
		}
		for _, d := range u.declared {
			all = append(all, d, d[strings.LastIndexByte(d, '.')+1:])
		}
	}
	return didYouMean(name, all, "%s")
}

var methodNoMessage = regexp.MustCompile(`invalid (?:request|response) type: ([\w.]+) is a method, not a message$`)

// helpMethod says how to write a message that has the name of a method of the service, which is nearer.
func (r *run) helpMethod(f *finding) string {
	m := methodNoMessage.FindStringSubmatch(f.Text)
	if m == nil {
		return ""
	}
	scope := protoreflect.FullName(m[1])
	for name := scope.Name(); scope != ""; {
		scope = scope.Parent()
		for _, u := range r.units {
			if full := scope.Append(name); slices.Contains(u.declared, string(full)) {
				return fmt.Sprintf("write .%s where the message is meant", full)
			}
		}
	}
	return ""
}

// declared returns the full names of the types that a file declares.
func declared(fd *descriptorpb.FileDescriptorProto) []string {
	var names []string
	scope := ""
	if fd.GetPackage() != "" {
		scope = fd.GetPackage() + "."
	}
	enums := func(scope string, list []*descriptorpb.EnumDescriptorProto) {
		for _, e := range list {
			names = append(names, scope+e.GetName())
		}
	}
	var messages func(scope string, list []*descriptorpb.DescriptorProto)
	messages = func(scope string, list []*descriptorpb.DescriptorProto) {
		for _, m := range list {
			names = append(names, scope+m.GetName())
			messages(scope+m.GetName()+".", m.GetNestedType())
			enums(scope+m.GetName()+".", m.GetEnumType())
		}
	}
	messages(scope, fd.GetMessageType())
	enums(scope, fd.GetEnumType())
	return names
}

// resolve gives the compiler a file. The compiler calls it once a name, from several goroutines.
func (r *run) resolve(name string) (protocompile.SearchResult, error) {
	r.mu.Lock()
	u := r.units[name]
	if u == nil {
		u = &unit{name: name, path: name}
		r.units[name] = u
	}
	r.mu.Unlock()
	if !u.asked {
		if built := builtin(name); built != nil {
			return protocompile.SearchResult{Desc: built}, nil
		}
	}
	var parsed parser.Result
	if badImport(name, diag.Position{}) == nil || u.asked {
		parsed = r.parse(u)
	}
	if parsed == nil {
		r.mu.Lock()
		u.broken = true
		r.mu.Unlock()
		return protocompile.SearchResult{Proto: &descriptorpb.FileDescriptorProto{Name: proto.String(name)}}, nil
	}
	return protocompile.SearchResult{ParseResult: parsed}, nil
}

// parse reads and parses a unit. It returns nil where that cannot be done, which is reported.
func (r *run) parse(u *unit) parser.Result {
	text, ok := r.fetch(u)
	if !ok {
		return nil
	}
	failed := false
	handler := reporter.NewHandler(reporter.NewReporter(
		func(err reporter.ErrorWithPos) error {
			failed = true
			r.mu.Lock()
			defer r.mu.Unlock()
			_, d := r.diagnose(err)
			if n := len(r.problems); n == 0 || r.problems[n-1].Pos != d.Pos { // the second is a guess at the first
				r.problems = append(r.problems, d)
			}
			return nil
		},
		func(err reporter.ErrorWithPos) { r.warn(err) },
	))
	tree, _ := parser.Parse(u.name, bytes.NewReader(text), handler)
	if tree != nil {
		r.checkImports(u, tree)
	}
	if failed || tree == nil {
		return nil
	}
	result, err := parser.ResultFromAST(tree, true, handler)
	if failed || err != nil {
		return nil
	}
	r.mu.Lock()
	u.declared = declared(result.FileDescriptorProto())
	r.mu.Unlock()
	return result
}

// fetch reads a unit's text. That an import is missing was reported where it is imported.
func (r *run) fetch(u *unit) ([]byte, bool) {
	var text []byte
	var err error
	switch {
	case u.file != "":
		text, err = r.disk.read(u.file)
	case u.name == optionsFile:
		text, err = include.ReadFile("include/" + optionsFile)
	default:
		var path string
		if path, text, err = r.disk.find(u.name); path != "" {
			u.path = shown(path)
		}
	}
	var bad *fault
	if err == nil {
		text, bad = clean(text)
		u.setText(text)
	}
	if bad == nil && !errors.As(err, &bad) {
		return text, err == nil
	}
	pos := diag.Position{File: u.path}
	if bad.offset >= 0 {
		pos = u.at(bad.offset)
	}
	r.problem(&diag.Diagnostic{Pos: pos, Text: bad.text, Help: bad.help})
	return nil, false
}

// checkImports reports the imports that name no file.
func (r *run) checkImports(u *unit, tree *ast.FileNode) {
	for _, decl := range tree.Decls {
		node, ok := decl.(*ast.ImportNode)
		if !ok {
			continue
		}
		name := node.Name.AsString()
		pos := u.pos(tree.NodeInfo(node.Name).Start())
		d := badImport(name, pos)
		if d == nil && !r.known(name) {
			d = &diag.Diagnostic{Pos: pos, Text: fmt.Sprintf("import %q: no such file in the import paths: %s", name, r.disk.searched()),
				Help: didYouMean(name, append(r.disk.namesBeside(name), builtinNames...), "%q")}
			if d.Help == "" {
				d.Help = "add the directory that it is relative to as an import path: -I DIR"
			}
		}
		r.mu.Lock()
		u.imports = append(u.imports, dependency{name, pos})
		if d != nil {
			u.broken = true
			r.problems = append(r.problems, d)
		}
		r.mu.Unlock()
	}
}

// known says that there is a file of a name.
func (r *run) known(name string) bool {
	r.mu.Lock()
	u := r.units[name]
	r.mu.Unlock()
	return u != nil && u.asked || name == optionsFile || builtin(name) != nil || r.disk.has(name)
}

// badImport refuses names that could mean one file in more than one way.
func badImport(name string, pos diag.Position) *diag.Diagnostic {
	if fs.ValidPath(name) && !strings.Contains(name, `\`) && name != "." {
		return nil
	}
	d := &diag.Diagnostic{Pos: pos, Text: fmt.Sprintf("import %q is not a path below an import path", name)}
	switch {
	case name == "":
		d.Text = "import without a name"
	case strings.Contains(name, `\`):
		d.Help = "write it with forward slashes: " + fmt.Sprintf("%q", strings.ReplaceAll(name, `\`, "/"))
	default:
		d.Help = `write it relative to an import path (-I), without a leading "/" and without "." and ".."`
	}
	return d
}
