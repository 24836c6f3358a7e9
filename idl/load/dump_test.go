package load_test

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ipcgen/ipcgen/idl"
)

// dump returns what a model says as text, one line a declaration, without the built-in files.
func dump(schema *idl.Schema) string {
	d := &dumper{}
	for _, f := range schema.Files {
		if strings.HasPrefix(f.Path, "google/protobuf/") || strings.HasPrefix(f.Path, "ipcgen/") {
			continue
		}
		d.line("file %s syntax=%s go_package=%q asked=%t", f.Path, f.Syntax, f.GoPackage, f.Asked)
		d.comment(f.Comment)
		for _, imp := range f.Imports {
			d.line("import %s public=%t", imp.File.Path, imp.Public)
		}
		d.messages(f.Messages)
		d.enums(f.Enums)
		d.extensions(f.Extensions)
		d.services(f.Services)
	}
	return d.String()
}

type dumper struct {
	strings.Builder
	depth int
}

func (d *dumper) line(format string, args ...any) {
	fmt.Fprintf(d, "%s%s\n", strings.Repeat("  ", d.depth), fmt.Sprintf(format, args...))
}

func (d *dumper) comment(c idl.Comment) {
	if c.Leading != "" {
		d.line("  leading: %q", c.Leading)
	}
	if c.Trailing != "" {
		d.line("  trailing: %q", c.Trailing)
	}
}

func (d *dumper) messages(list []*idl.Message) {
	for _, m := range list {
		d.line("message %s at %d:%d%s", m.FullName, m.Pos.Line, m.Pos.Column, words(map[string]bool{
			"deprecated": m.Deprecated, "entry": m.MapEntry, "set": m.MessageSet}, "deprecated", "entry", "set"))
		d.comment(m.Comment)
		d.depth++
		for _, f := range m.Fields {
			d.field(f)
		}
		for _, o := range m.Oneofs {
			d.line("oneof %s of %d at %d:%d", o.Name, len(o.Fields), o.Pos.Line, o.Pos.Column)
			d.comment(o.Comment)
		}
		for _, r := range m.ExtensionRanges {
			d.line("extensions %d to %d", r.First, r.Last)
		}
		d.messages(m.Messages)
		d.enums(m.Enums)
		d.extensions(m.Extensions)
		d.depth--
	}
}

func words(set map[string]bool, order ...string) string {
	text := ""
	for _, w := range order {
		if set[w] {
			text += " " + w
		}
	}
	return text
}

func (d *dumper) field(f *idl.Field) {
	typ := f.Kind.String()
	switch {
	case f.Map != nil:
		typ = fmt.Sprintf("map<%s, %s>", f.Map.Key.Kind, f.Map.Value.Kind)
	case f.Message != nil:
		typ = f.Message.FullName
	case f.Enum != nil:
		typ = f.Enum.FullName
	}
	text := words(map[string]bool{"repeated": f.Repeated, "packed": f.Packed, "delimited": f.Delimited, "utf8": f.CheckUTF8,
		"deprecated": f.Deprecated, "optional": f.Optional, "string in JavaScript": f.JSString},
		"repeated", "packed", "delimited", "utf8", "deprecated", "optional", "string in JavaScript")
	if f.Oneof != nil {
		text += " in " + f.Oneof.Name
	}
	if f.Blob != nil {
		text += fmt.Sprintf(" blob from %d", f.Blob.InlineBelow)
	}
	if f.Default != nil {
		text += fmt.Sprintf(" default %t %d %d %g %q", f.Default.Bool, f.Default.Int, f.Default.Uint, f.Default.Float, f.Default.Bytes)
	}
	d.line("%s %s = %d json=%s %s%s at %d:%d", typ, f.Name, f.Number, f.JSONName, f.Presence, text, f.Pos.Line, f.Pos.Column)
	d.comment(f.Comment)
}

func (d *dumper) enums(list []*idl.Enum) {
	for _, e := range list {
		d.line("enum %s at %d:%d%s", e.FullName, e.Pos.Line, e.Pos.Column,
			words(map[string]bool{"deprecated": e.Deprecated}, "deprecated"))
		d.comment(e.Comment)
		for _, v := range e.Values {
			d.line("  %s = %d at %d:%d%s", v.FullName, v.Number, v.Pos.Line, v.Pos.Column, words(map[string]bool{"deprecated": v.Deprecated}, "deprecated"))
			d.comment(v.Comment)
		}
	}
}

func (d *dumper) extensions(list []*idl.Extension) {
	for _, x := range list {
		d.line("extend %s", x.Parent.FullName)
		d.depth++
		d.field(x.Field)
		d.depth--
	}
}

func (d *dumper) services(list []*idl.Service) {
	for _, s := range list {
		d.line("service %s at %d:%d%s", s.FullName, s.Pos.Line, s.Pos.Column, words(map[string]bool{"deprecated": s.Deprecated}, "deprecated"))
		d.comment(s.Comment)
		for _, m := range s.Methods {
			var errors []string
			for _, e := range m.Errors {
				errors = append(errors, e.FullName)
			}
			d.line("  %s %s(%s) %s timeout=%v errors=%v at %d:%d%s", m.Shape, m.Path, m.Request.FullName, m.Response.FullName,
				m.Timeout, errors, m.Pos.Line, m.Pos.Column, words(map[string]bool{"deprecated": m.Deprecated}, "deprecated"))
			d.comment(m.Comment)
		}
	}
}

var sourceParts = regexp.MustCompile(` at \d+:\d+|(?m:^ *(leading|trailing): .*\n)`)

// withoutSource removes what a dump says of positions and comments.
func withoutSource(dump string) string { return sourceParts.ReplaceAllString(dump, "") }
