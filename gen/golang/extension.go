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
		w.p("var %s = %s[*%s, %s, %s](%s)", extensionName(x), codec(constructor), w.messageType(x.Parent),
			w.codecType(x.Field), w.valueType(x.Field), args)
	}
}
