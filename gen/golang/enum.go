package golang

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipcgen/ipcgen/idl"
)

// enum prints an enum.
func (w *printer) enum(e *idl.Enum) {
	name := w.enums[e]
	w.gap()
	intro := ""
	if strings.TrimSpace(e.Comment.Leading+e.Comment.Trailing) == "" {
		intro = fmt.Sprintf("%s is the enum %s.", name, e.FullName)
	}
	w.comment(doc{intro, e.Comment, deprecated(e.Deprecated, "enum")})
	w.p("type %s int32", name)
	w.gap()
	w.p("// The values of %s.", name)
	w.p("const (")
	for _, v := range e.Values {
		w.member(doc{"", v.Comment, deprecated(v.Deprecated, "value")},
			fmt.Sprintf("%s %s = %d", enumValueName(e, v), name, v.Number))
	}
	w.p(")")
	w.gap()
	w.p("// String returns the name of v in the schema, or its number if it has none.")
	w.p("func (v %s) String() string {", name)
	w.p("switch v {")
	named := make(map[int32]bool)
	for _, v := range e.Values {
		if !named[v.Number] {
			named[v.Number] = true
			w.p("case %s:", enumValueName(e, v))
			w.p("return %q", v.Name)
		}
	}
	w.p("}")
	w.p("return %s(int(v))", qual("strconv", "Itoa"))
	w.p("}")
	w.gap()
	w.p("// Parse%s returns the value that has the name in the schema, and whether there is one.", name)
	w.p("func Parse%s(name string) (%[1]s, bool) {", name)
	w.p("switch name {")
	for _, v := range e.Values {
		w.p("case %q:", v.Name)
		w.p("return %s, true", enumValueName(e, v))
	}
	w.p("}")
	w.p("return 0, false")
	w.p("}")
	w.gap()
	w.p("// EnumDescriptor returns the descriptor of the file, in the form of gzip, and where the enum stands in it.")
	w.p("func (%s) EnumDescriptor() ([]byte, []int) { return %s, %s }", name, descriptorName(w.file), intList(w.enumPath(e)))
}

// enumPath returns the way from the file's descriptor to the enum's.
func (w *printer) enumPath(e *idl.Enum) []int {
	if e.Parent == nil {
		return []int{slices.Index(e.File.Enums, e)}
	}
	return append(slices.Clone(w.messages[e.Parent].path), slices.Index(e.Parent.Enums, e))
}

// enumConstant returns the constant of a value of any package.
func (w *printer) enumConstant(e *idl.Enum, v *idl.EnumValue) string {
	return qual(w.packages[e.File].path, enumValueName(e, v))
}
