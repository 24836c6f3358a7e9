package typescript

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ipcgen/ipcgen/idl"
)

// An enumView is what the template "enum" lays out.
type enumView struct {
	Comment        []string
	Name, FullName string
	Schema, Type   string // the description
	Call           string // makes it
	Values         []valueView
}

type valueView struct {
	Comment []string
	Name    string
	Number  int32
}

func (m *module) enum(e *idl.Enum, at []int) enumView {
	name := enumName(e)
	v := enumView{
		Comment: doc{orSelf(e.Comment, "The enum "+e.FullName+"."), e.Comment, deprecated(e.Deprecated, "enum")}.lines(),
		Name:    name, FullName: e.FullName, Schema: enumSchema(e),
		Type: m.imports.typ(codegenModule, "GenEnum") + "<" + name + ">",
		Call: m.describe("enumDesc", at),
	}
	for i, local := range valueNames(e) {
		value := e.Values[i]
		v.Values = append(v.Values, valueView{doc{"", value.Comment, deprecated(value.Deprecated, "value")}.lines(), property(local), value.Number})
	}
	return v
}

// describe returns the call of the library's function that finds a description by the path to it in the file's.
func (m *module) describe(function string, at []int) string {
	text := m.imports.value(codegenModule, function) + "(" + descName(m.file)
	for _, i := range at {
		text += fmt.Sprintf(", %d", i)
	}
	return text + ")"
}

// orSelf returns a sentence for what has no comment.
func orSelf(c idl.Comment, sentence string) string {
	if len(docOf(c).lines()) > 0 {
		return ""
	}
	return sentence
}

func deprecated(is bool, what string) string {
	if is {
		return what
	}
	return ""
}

// A messageView is what the template "message" lays out.
type messageView struct {
	Comment        []string
	Name, FullName string
	Base           string // the type that all messages have
	Schema, Type   string
	Call           string
	Fields         []fieldView
}

type fieldView struct {
	Comment []string
	Name    string // with a ? where it may be absent
	Type    string
}

func (m *module) message(msg *idl.Message, at []int) messageView {
	name := messageName(msg)
	v := messageView{
		Comment: doc{orSelf(msg.Comment, "The message "+msg.FullName+"."), msg.Comment, deprecated(msg.Deprecated, "message")}.lines(),
		Name:    name, FullName: msg.FullName, Schema: messageSchema(msg),
		Base: fmt.Sprintf("%s<%q>", m.imports.typ(protobufModule, "Message"), msg.FullName),
		Type: m.imports.typ(codegenModule, "GenMessage") + "<" + name + ">",
		Call: m.describe("messageDesc", at),
	}
	seen := make(map[*idl.Oneof]bool)
	for _, f := range msg.Fields {
		switch {
		case f.Oneof == nil:
			v.Fields = append(v.Fields, m.field(f))
		case !seen[f.Oneof]:
			seen[f.Oneof] = true
			v.Fields = append(v.Fields, m.oneof(f.Oneof))
		}
	}
	return v
}

func (m *module) field(f *idl.Field) fieldView {
	name := property(propertyName(f.Name))
	if !f.Repeated && (f.Message != nil || f.Optional) {
		name += "?"
	}
	return fieldView{doc{"", f.Comment, deprecated(f.Deprecated, "field")}.lines(), name, m.fieldType(f)}
}

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// property returns a name as it stands in a type: in quotes where it is no identifier, as that of a field called _1x.
func property(name string) string {
	if identifier.MatchString(name) {
		return name
	}
	return fmt.Sprintf("%q", name)
}

// oneof returns the property of a oneof: which of its fields there is, and its value.
func (m *module) oneof(o *idl.Oneof) fieldView {
	var b strings.Builder
	for _, f := range o.Fields {
		b.WriteString("{")
		b.WriteString(block(doc{"", f.Comment, deprecated(f.Deprecated, "field")}.lines(), "\n    "))
		fmt.Fprintf(&b, "\n    case: %q;\n    value: %s;\n  } | ", propertyName(f.Name), m.fieldType(f))
	}
	b.WriteString("{ case: undefined; value?: undefined }")
	return fieldView{docOf(o.Comment).lines(), property(propertyName(o.Name)), b.String()}
}

// block returns a comment with its markers; each line begins with indent. The templates do the same for what they lay out.
func block(lines []string, indent string) string {
	switch len(lines) {
	case 0:
		return ""
	case 1:
		return indent + "/** " + lines[0] + " */"
	}
	text := indent + "/**"
	for _, line := range lines {
		text += strings.TrimRight(indent+" * "+line, " ")
	}
	return text + indent + " */"
}

// fieldType returns the type of a field that is there.
func (m *module) fieldType(f *idl.Field) string {
	switch {
	case f.Map != nil:
		key := "string"
		if scalars[f.Map.Key.Kind] == "number" {
			key = "number"
		}
		return fmt.Sprintf("{ [key: %s]: %s }", key, m.singular(f.Map.Value, false))
	case f.Repeated:
		return m.singular(f, false) + "[]"
	default:
		return m.singular(f, f.Oneof == nil)
	}
}

// scalars are the types of scalar fields.
var scalars = map[idl.Kind]string{
	idl.KindDouble: "number", idl.KindFloat: "number", idl.KindInt32: "number", idl.KindUint32: "number", idl.KindSint32: "number",
	idl.KindFixed32: "number", idl.KindSfixed32: "number",
	idl.KindInt64: "bigint", idl.KindUint64: "bigint", idl.KindSint64: "bigint", idl.KindFixed64: "bigint", idl.KindSfixed64: "bigint",
	idl.KindBool: "boolean", idl.KindString: "string", idl.KindBytes: "Uint8Array",
}

// singular returns the type of one value of f. The library unwraps the well-known wrappers where a field of its own holds
// one, and has objects for a google.protobuf.Struct everywhere but in google.protobuf.Value.
func (m *module) singular(f *idl.Field, unwrap bool) string {
	switch {
	case f.Enum != nil:
		return m.imports.typ(m.moduleOf(f.Enum.File), enumName(f.Enum))
	case f.Message == nil && scalars[f.Kind] == "bigint" && f.JSString:
		return "string"
	case f.Message == nil:
		return scalars[f.Kind]
	case unwrap && f.Message.File.Path == "google/protobuf/wrappers.proto":
		return scalars[f.Message.Fields[0].Kind]
	case f.Message.FullName == "google.protobuf.Struct":
		return m.imports.typ(protobufModule, "JsonObject")
	}
	return m.imports.typ(m.moduleOf(f.Message.File), messageName(f.Message))
}

// An extensionView is an extension.
type extensionView struct {
	Comment []string
	Name    string
	Type    string
	Call    string
}

func (m *module) extension(x *idl.Extension, at []int) extensionView {
	extendee := m.imports.typ(m.moduleOf(x.Parent.File), messageName(x.Parent))
	return extensionView{
		Comment: doc{orSelf(x.Comment, "The extension "+x.FullName+"."), x.Comment, deprecated(x.Deprecated, "extension")}.lines(),
		Name:    extensionName(x),
		Type:    fmt.Sprintf("%s<%s, %s>", m.imports.typ(codegenModule, "GenExtension"), extendee, m.fieldType(x.Field)),
		Call:    m.describe("extDesc", at),
	}
}
