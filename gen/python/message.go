package python

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipcgen/ipcgen/idl"
)

// A message is a class of the stub.
type message struct {
	Name, Base string
	Doc        doc
	Enums      []*enum
	Messages   []*message
	Extensions []*extension
	Fields     []*field
	Init       string
	Methods    []string // that know the names of the fields
}

// A field is an attribute of a message.
type field struct {
	Name                   string
	Constant, ConstantType string // of its number
	Type                   string
	Property               string // Python's decorator, of one that can be changed and not assigned to; "" where it is an attribute
	Doc                    doc
	Hidden                 string // why it is no attribute; "" where it is one
}

// An enum is a class of the stub. Its values are there, and beside it.
type enum struct {
	Name, Base, Metaclass string
	Doc                   doc
	Values                []*value
}

// A value is an enum's.
type value struct {
	Name            string // in the enum's class; "" where Python cannot name it there
	Beside          string // beside the class; "" likewise
	Type, ClassType string
	Doc             doc
}

// An extension is a descriptor, by which a message's Extensions are looked up.
type extension struct {
	Name, Type string
	Doc        doc
}

// scalars are Python's types.
var scalars = map[idl.Kind]string{
	idl.KindDouble: "float", idl.KindFloat: "float", idl.KindInt64: "int", idl.KindUint64: "int", idl.KindInt32: "int",
	idl.KindFixed64: "int", idl.KindFixed32: "int", idl.KindBool: "bool", idl.KindString: "str", idl.KindBytes: "bytes",
	idl.KindUint32: "int", idl.KindSfixed32: "int", idl.KindSfixed64: "int", idl.KindSint32: "int", idl.KindSint64: "int",
}

// methodsOfMessages are names of protobuf's class, which a field hides and is hidden by.
var methodsOfMessages = []string{
	"ByteSize", "Clear", "ClearExtension", "ClearField", "CopyFrom", "DESCRIPTOR", "DiscardUnknownFields", "Extensions", "FindInitializationErrors",
	"FromString", "HasExtension", "HasField", "IsInitialized", "ListFields", "MergeFrom", "MergeFromString", "ParseFromString",
	"RegisterExtension", "SerializePartialToString", "SerializeToString", "SetInParent", "UnknownFields", "WhichOneof",
}

func deprecated(is bool, what string) string {
	if is {
		return what
	}
	return ""
}

// enum returns the class of an enum. A value that is called as a keyword has another name beside the enum where that is the
// module's to give, and elsewhere none.
func (w *writer) enum(e *idl.Enum) *enum {
	v := &enum{Name: safe(e.Name), Base: w.use("builtins", "int"), Metaclass: w.use("ipcgen.generated", "EnumType"),
		Doc: newDoc("", e.Comment, deprecated(e.Deprecated, "enum"))}
	t := w.enumType(e)
	for _, ev := range e.Values {
		one := &value{Name: ev.Name, Beside: ev.Name, Type: t, ClassType: fmt.Sprintf("%s[%s]", w.use("typing", "ClassVar"), t),
			Doc: newDoc("", ev.Comment, deprecated(ev.Deprecated, "value"))}
		if keyword(ev.Name) {
			one.Name, one.Beside = "", ""
			if e.Parent == nil {
				one.Beside = safe(ev.Name)
			}
		}
		v.Values = append(v.Values, one)
	}
	return v
}

// message returns the class of a message.
func (w *writer) message(m *idl.Message) *message {
	v := &message{Name: safe(m.Name), Base: w.use("google.protobuf.message", "Message"),
		Doc: newDoc("", m.Comment, deprecated(m.Deprecated, "message"))}
	for _, e := range m.Enums {
		v.Enums = append(v.Enums, w.enum(e))
	}
	for _, inner := range m.Messages {
		if !inner.MapEntry {
			v.Messages = append(v.Messages, w.message(inner))
		}
	}
	for _, x := range m.Extensions {
		v.Extensions = append(v.Extensions, w.extension(x))
	}
	numbers := make(map[string]bool)
	for _, f := range m.Fields {
		one := w.field(f)
		if numbers[one.Constant] {
			one.Constant = "" // the one of a name that differs in case alone: there is one number for both
		}
		numbers[one.Constant] = true
		v.Fields = append(v.Fields, one)
	}
	v.Init = w.init(m)
	v.Methods = w.methods(m)
	return v
}

func (w *writer) field(f *idl.Field) *field {
	v := &field{Name: f.Name, Constant: strings.ToUpper(f.Name) + "_FIELD_NUMBER", Type: w.fieldType(f),
		ConstantType: fmt.Sprintf("%s[%s]", w.use("typing", "ClassVar"), w.use("builtins", "int")),
		Doc:          newDoc("", f.Comment, deprecated(f.Deprecated, "field"))}
	if f.Repeated || f.Message != nil {
		v.Property = w.use("builtins", "property")
	}
	switch {
	case keyword(f.Name):
		v.Hidden = fmt.Sprintf("%s is a keyword of Python: getattr(message, %[1]q), setattr, and **{%[1]q: value}", f.Name)
	case slices.Contains(methodsOfMessages, f.Name):
		v.Hidden = fmt.Sprintf("%s is a method of messages: getattr(message, %[1]q) gives that one", f.Name)
	}
	return v
}

// fieldType returns the type of the attribute.
func (w *writer) fieldType(f *idl.Field) string {
	const containers = "google.protobuf.internal.containers"
	switch {
	case f.Map != nil && f.Map.Value.Message != nil:
		return fmt.Sprintf("%s[%s, %s]", w.use(containers, "MessageMap"), w.valueType(f.Map.Key), w.valueType(f.Map.Value))
	case f.Map != nil:
		return fmt.Sprintf("%s[%s, %s]", w.use(containers, "ScalarMap"), w.valueType(f.Map.Key), w.valueType(f.Map.Value))
	case f.Repeated && f.Message != nil:
		return fmt.Sprintf("%s[%s]", w.use(containers, "RepeatedCompositeFieldContainer"), w.valueType(f))
	case f.Repeated:
		return fmt.Sprintf("%s[%s]", w.use(containers, "RepeatedScalarFieldContainer"), w.valueType(f))
	}
	return w.valueType(f)
}

// valueType returns the type of one value.
func (w *writer) valueType(f *idl.Field) string {
	switch {
	case f.Message != nil:
		return w.messageType(f.Message)
	case f.Enum != nil:
		return w.enumType(f.Enum)
	}
	return w.use("builtins", scalars[f.Kind])
}

// init returns the constructor, which takes more than the attributes hold.
func (w *writer) init(m *idl.Message) string {
	self, rest := "self", ""
	var params []string
	for _, f := range m.Fields {
		if f.Name == "self" {
			self = "self_"
		}
		if keyword(f.Name) {
			rest = fmt.Sprintf(", **fields: %s", w.use("typing", "Any"))
			continue
		}
		params = append(params, fmt.Sprintf("%s: %s | None = ...", f.Name, w.initType(f)))
	}
	if len(params) > 0 {
		self += ", *"
		params = append([]string{""}, params...)
	}
	line := fmt.Sprintf("def __init__(%s%s%s) -> None: ...", self, strings.Join(params, ", "), rest)
	if len(line) <= longest {
		return line
	}
	const next = ",\n        "
	return "def __init__(\n        " + strings.ReplaceAll(self, ", ", next) + strings.Join(params, next) + strings.ReplaceAll(rest, ", ", next) +
		",\n    ) -> None: ..."
}

// longest is how long the line of a constructor may be, without indentation; above it, each parameter has a line.
const longest = 100

func (w *writer) initType(f *idl.Field) string {
	const abc = "collections.abc"
	switch {
	case f.Map != nil:
		return fmt.Sprintf("%s[%s, %s]", w.use(abc, "Mapping"), w.valueType(f.Map.Key), w.valueType(f.Map.Value))
	case f.Repeated:
		return fmt.Sprintf("%s[%s]", w.use(abc, "Iterable"), w.initValue(f))
	}
	return w.initValue(f)
}

// initValue returns what stands for a value: a message is also made of its fields, an enum's value found by its name.
func (w *writer) initValue(f *idl.Field) string {
	switch {
	case f.Message != nil:
		return fmt.Sprintf("%s | %s[%s, %s]", w.valueType(f), w.use("collections.abc", "Mapping"), w.use("builtins", "str"), w.use("typing", "Any"))
	case f.Enum != nil:
		return fmt.Sprintf("%s | %s", w.valueType(f), w.use("builtins", "str"))
	}
	return w.valueType(f)
}

// methods returns the methods that take names of fields.
func (w *writer) methods(m *idl.Message) []string {
	var all, present []string
	for _, f := range m.Fields {
		all = append(all, f.Name)
		if f.Presence != idl.Implicit && !f.Repeated {
			present = append(present, f.Name)
		}
	}
	for _, o := range m.Oneofs {
		all, present = append(all, o.Name), append(present, o.Name)
	}
	var methods []string
	if len(present) > 0 {
		methods = append(methods, fmt.Sprintf("def HasField(self, field_name: %s) -> %s: ...", w.literals(present), w.use("builtins", "bool")))
	}
	if len(all) > 0 {
		methods = append(methods, fmt.Sprintf("def ClearField(self, field_name: %s) -> None: ...", w.literals(all)))
	}
	for _, o := range m.Oneofs {
		var fields []string
		for _, f := range o.Fields {
			fields = append(fields, f.Name)
		}
		if len(m.Oneofs) > 1 {
			methods = append(methods, "@"+w.use("typing", "overload"))
		}
		methods = append(methods, fmt.Sprintf("def WhichOneof(self, oneof_group: %s) -> %s | None: ...", w.literals([]string{o.Name}), w.literals(fields)))
	}
	return methods
}

func (w *writer) literals(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = `"` + n + `"`
	}
	return fmt.Sprintf("%s[%s]", w.use("typing", "Literal"), strings.Join(quoted, ", "))
}

func (w *writer) extension(x *idl.Extension) *extension {
	descriptor := w.use("google.protobuf.internal.extension_dict", "_ExtensionFieldDescriptor")
	return &extension{Name: safe(x.Name), Type: fmt.Sprintf("%s[%s, %s]", descriptor, w.messageType(x.Parent), w.fieldType(x.Field)),
		Doc: newDoc("", x.Comment, deprecated(x.Deprecated, "extension"))}
}
