package golang

import (
	"fmt"

	"github.com/ipcgen/ipcgen/idl"
)

// extensions prints a variable for each extension, by which messages are asked for it.
func (w *printer) extensions(list []*idl.Extension) {
	for _, x := range list {
		w.gap()
		intro := fmt.Sprintf("%s is the extension %s of %s.", extensionName(x), x.FullName, x.Parent.FullName)
		w.comment(doc{intro, x.Comment, deprecated(x.Deprecated, "extension")})
		constructor := "NewExtension"
		args := fmt.Sprintf("%d", x.Number)
		if x.Repeated {
			constructor = "NewListExtension"
			args += fmt.Sprintf(", %t", x.Packed)
		}
		w.p("var %s = %s[*%s, %s, %s](%s)%s", extensionName(x), codec(constructor), w.messageType(x.Parent),
			w.codecType(x.Field), w.valueType(x.Field), args, w.extensionDefault(x))
	}
}

// extensionDefault returns the call that gives an extension its default, where that is not Go's zero.
func (w *printer) extensionDefault(x *idl.Extension) string {
	switch {
	case x.Default != nil:
		return ".Default(" + w.defaultLiteral(x.Field) + ")"
	case x.Kind == idl.KindEnum && !x.Repeated && x.Enum.Values[0].Number != 0:
		return ".Default(" + w.enumConstant(x.Enum, x.Enum.Values[0]) + ")"
	default:
		return ""
	}
}
