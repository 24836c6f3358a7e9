package golang

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ipcgen/ipcgen/idl"
)

// message prints a message: the struct, what protobuf's users know of messages, the getters, the codec.
func (w *printer) message(m *message) {
	w.structType(m)
	w.basics(m)
	w.getters(m)
	w.size(m)
	w.append(m)
	w.decode(m)
	if m.required {
		w.hasRequired(m)
	}
	w.equal(m)
	w.clone(m)
	for _, o := range m.oneofs {
		w.wrappers(m, o)
	}
}

func deprecated(is bool, what string) string {
	if is {
		return what
	}
	return ""
}

func (w *printer) structType(m *message) {
	w.gap()
	intro := ""
	if strings.TrimSpace(m.Comment.Leading+m.Comment.Trailing) == "" {
		intro = fmt.Sprintf("%s is the message %s.", m.goName, m.FullName)
	}
	w.comment(doc{intro, m.Comment, deprecated(m.Deprecated, "message")})
	w.p("type %s struct {", m.goName)
	for _, f := range m.fields {
		if f.oneof == nil {
			w.member(doc{"", f.Comment, deprecated(f.Deprecated, "field")},
				fmt.Sprintf("%s %s `protobuf:\"%s\"`", f.goName, w.fieldType(f), f.structTag()))
			continue
		}
		if f != f.oneof.fields[0] {
			continue
		}
		o := f.oneof
		w.member(doc{"", o.Comment, ""}, fmt.Sprintf("%s %s `protobuf_oneof:\"%s\"`", o.goName, o.iface, o.Name))
	}
	if len(m.fields) == 0 {
		// Other implementations take a struct for a message only if one of its fields has a tag.
		w.p("unknownFields []byte `protobuf:\"-\"`")
	} else {
		w.gap()
		w.p("unknownFields []byte")
	}
	w.p("}")
}

// structTag returns what the struct tag says of the field: how it is encoded, its number, its label, its name.
func (f *field) structTag() string {
	encoding := "bytes"
	switch {
	case f.Kind == idl.KindMessage && f.Delimited:
		encoding = "group"
	case f.Kind != idl.KindMessage:
		encoding = scalars[f.Kind].tag
	}
	label := "opt"
	switch {
	case f.Repeated:
		label = "rep"
	case f.Presence == idl.Required:
		label = "req"
	}
	if f.Packed {
		label += ",packed"
	}
	tag := fmt.Sprintf("%s,%d,%s,name=%s", encoding, f.Number, label, f.Name)
	if f.oneof != nil {
		tag += ",oneof"
	}
	return tag
}

func (w *printer) basics(m *message) {
	w.gap()
	w.p("// Reset makes m empty.")
	w.p("func (m *%s) Reset() { *m = %[1]s{} }", m.goName)
	w.gap()
	w.p("// String returns m as text, for people.")
	w.p("func (m *%s) String() string { return %s(m) }", m.goName, codec("Format"))
	w.gap()
	w.p("// ProtoMessage marks m as a protobuf message.")
	w.p("func (*%s) ProtoMessage() {}", m.goName)
	w.gap()
	w.p("// Descriptor returns the descriptor of the file, in the form of gzip, and where m stands in it.")
	w.p("func (*%s) Descriptor() ([]byte, []int) { return %s, %s }", m.goName, descriptorName(w.file), intList(m.path))
	if m.isError {
		w.gap()
		w.p("// Error returns m as text: a method may fail with it.")
		w.p("func (m *%s) Error() string { return %s(%q, m) }", m.goName, codec("FormatError"), m.FullName)
	}
	if len(m.ExtensionRanges) > 0 {
		w.gap()
		w.p("// ExtensionFields returns where m keeps its extensions, for the variables that describe them.")
		w.p("func (m *%s) ExtensionFields() *[]byte { return &m.unknownFields }", m.goName)
	}
	if len(m.oneofs) > 0 {
		w.gap()
		w.p("// XXX_OneofWrappers returns the types of which the oneofs of m are one.")
		w.p("func (*%s) XXX_OneofWrappers() []any {", m.goName)
		w.p("return []any{")
		for _, o := range m.oneofs {
			for _, f := range o.fields {
				w.p("(*%s)(nil),", f.wrapper)
			}
		}
		w.p("}")
		w.p("}")
	}
}

func intList(list []int) string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = strconv.Itoa(n)
	}
	return "[]int{" + strings.Join(texts, ", ") + "}"
}

// wrappers prints the types of a oneof.
func (w *printer) wrappers(m *message, o *oneof) {
	w.gap()
	w.p("// %s is one of", o.iface)
	w.p("//")
	for _, f := range o.fields {
		w.p("//   - *%s", f.wrapper)
	}
	w.p("type %s interface{ is%[1]s() }", o.iface)
	for _, f := range o.fields {
		w.gap()
		intro := fmt.Sprintf("%s is the field %s of %s.", f.wrapper, f.Name, m.goName)
		w.comment(doc{intro, f.Comment, deprecated(f.Deprecated, "field")})
		w.p("type %s struct {", f.wrapper)
		w.p("%s %s `protobuf:\"%s\"`", f.goName, w.fieldType(f), f.structTag())
		w.p("}")
	}
	for _, f := range o.fields {
		w.gap()
		w.p("func (*%s) is%s() {}", f.wrapper, o.iface)
	}
}

// getters prints a method for each field that returns it, or its default where it is absent or m is nil.
func (w *printer) getters(m *message) {
	for _, f := range m.fields {
		if f.oneof != nil && f == f.oneof.fields[0] {
			w.gap()
			w.p("// Get%s returns what the oneof holds, nil if that is nothing.", f.oneof.goName)
			w.p("func (m *%s) Get%s() %s {", m.goName, f.oneof.goName, f.oneof.iface)
			w.p("if m == nil {")
			w.p("return nil")
			w.p("}")
			w.p("return m.%s", f.oneof.goName)
			w.p("}")
		}
		w.gap()
		w.comment(doc{intro: w.getterIntro(f), deprecated: deprecated(f.Deprecated, "field")})
		w.getter(m, f)
	}
	for _, f := range m.fields {
		if f.Default != nil && f.Kind == idl.KindBytes {
			w.gap()
			w.p("var %s = %s", defaultName(m, f), w.defaultLiteral(f.Field))
		}
	}
}

// getterIntro says what one cannot see of a getter's name and type: what it returns where there is nothing to return.
func (w *printer) getterIntro(f *field) string {
	absent := "its default"
	switch {
	case f.Default == nil && f.Kind == idl.KindEnum && !f.Repeated:
		absent = enumValueName(f.Enum, f.Enum.Values[0])
	case f.Default == nil || f.Repeated:
		absent = w.absent(nil, f)
	}
	switch {
	case f.oneof != nil:
		return fmt.Sprintf("Get%s returns %[1]s if %s holds it, else %s.", f.goName, f.oneof.goName, absent)
	case f.pointer() || f.Default != nil:
		return fmt.Sprintf("Get%s returns the value of %[1]s, %s if there is none.", f.goName, absent)
	default:
		return fmt.Sprintf("Get%s returns %[1]s, %s if m is nil.", f.goName, absent)
	}
}

func (w *printer) getter(m *message, f *field) {
	result := w.fieldType(f)
	value := "m." + f.goName
	if f.pointer() {
		result, value = result[1:], "*"+value
	}
	w.p("func (m *%s) Get%s() %s {", m.goName, f.goName, result)
	switch {
	case f.oneof != nil:
		w.p("if x, ok := m.Get%s().(*%s); ok {", f.oneof.goName, f.wrapper)
		w.p("return x.%s", f.goName)
	case f.pointer() || f.Kind == idl.KindBytes && f.Default != nil:
		w.p("if m != nil && m.%s != nil {", f.goName)
		w.p("return %s", value)
	default:
		w.p("if m != nil {")
		w.p("return %s", value)
	}
	w.p("}")
	w.p("return %s", w.absent(m, f))
	w.p("}")
}

// absent returns what a getter returns for a field that is not there.
func (w *printer) absent(m *message, f *field) string {
	if f.Repeated || f.Kind == idl.KindMessage {
		return "nil"
	}
	if f.Default == nil {
		return w.zero(f)
	}
	if f.Kind == idl.KindBytes {
		return "append([]byte(nil), " + defaultName(m, f) + "...)"
	}
	return w.defaultLiteral(f.Field)
}

// defaultLiteral returns the default that the schema declares for a field.
func (w *printer) defaultLiteral(f *idl.Field) string {
	d := f.Default
	switch f.Kind {
	case idl.KindBytes:
		return "[]byte(" + strconv.QuoteToASCII(string(d.Bytes)) + ")"
	case idl.KindString:
		return strconv.QuoteToASCII(string(d.Bytes))
	case idl.KindBool:
		return strconv.FormatBool(d.Bool)
	case idl.KindEnum:
		return w.enumConstant(f.Enum, d.Enum)
	case idl.KindDouble:
		return floatLiteral(d.Float, 64)
	case idl.KindFloat:
		return floatLiteral(d.Float, 32)
	case idl.KindUint32, idl.KindUint64, idl.KindFixed32, idl.KindFixed64:
		return strconv.FormatUint(d.Uint, 10)
	default:
		return strconv.FormatInt(d.Int, 10)
	}
}

// zero returns the value of an absent field without a declared default: 0, and for an enum its first value.
func (w *printer) zero(f *field) string {
	switch f.Kind {
	case idl.KindString:
		return `""`
	case idl.KindBytes:
		return "nil"
	case idl.KindBool:
		return "false"
	case idl.KindEnum:
		return w.enumConstant(f.Enum, f.Enum.Values[0])
	default:
		return "0"
	}
}

func floatLiteral(v float64, bits int) string {
	var text string
	switch {
	case math.IsInf(v, 1):
		text = qual("math", "Inf") + "(1)"
	case math.IsInf(v, -1):
		text = qual("math", "Inf") + "(-1)"
	case math.IsNaN(v):
		text = qual("math", "NaN") + "()"
	case v == 0 && math.Signbit(v):
		text = qual("math", "Copysign") + "(0, -1)"
	default:
		return strconv.FormatFloat(v, 'g', -1, bits)
	}
	if bits == 32 {
		return "float32(" + text + ")"
	}
	return text
}

// parts returns the fields in the order of their numbers, which is the order in which they are written. Neighbours of
// one oneof stand together.
func (m *message) parts() [][]*field {
	sorted := slices.SortedFunc(slices.Values(m.fields), func(a, b *field) int { return cmp.Compare(a.Number, b.Number) })
	var parts [][]*field
	for i, f := range sorted {
		if i > 0 && f.oneof != nil && f.oneof == sorted[i-1].oneof {
			parts[len(parts)-1] = append(parts[len(parts)-1], f)
		} else {
			parts = append(parts, []*field{f})
		}
	}
	return parts
}

// eachPresent prints for each field, in the order of their numbers, what one prints for the value of a field that is
// there: of a oneof's member, a field with presence, one that is not zero. Lists and maps get their own.
func (w *printer) eachPresent(m *message, one func(f *field, value string)) {
	for _, part := range m.parts() {
		f := part[0]
		if f.oneof != nil {
			w.eachMember(part, one)
			continue
		}
		value := "m." + f.goName
		if f.pointer() {
			value = "*" + value
		}
		w.p("if %s {", f.present())
		one(f, value)
		w.p("}")
	}
}

// eachMember is eachPresent for fields of one oneof. What one prints may leave the value alone, and Go wants no variable
// for it then.
func (w *printer) eachMember(part []*field, one func(f *field, value string)) {
	bodies, used := make([]string, len(part)), false
	for i, f := range part {
		value := "x." + f.goName
		bodies[i] = w.apart(func() { one(f, value) })
		used = used || strings.Contains(bodies[i], value)
	}
	oneof := "m." + part[0].oneof.goName
	switch {
	case len(part) > 1 && used:
		w.p("switch x := %s.(type) {", oneof)
	case len(part) > 1:
		w.p("switch %s.(type) {", oneof)
	case used:
		w.p("if x, ok := %s.(*%s); ok {", oneof, part[0].wrapper)
	default:
		w.p("if _, ok := %s.(*%s); ok {", oneof, part[0].wrapper)
	}
	for i, f := range part {
		if len(part) > 1 {
			w.p("case *%s:", f.wrapper)
		}
		w.text.WriteString(bodies[i])
	}
	w.p("}")
}

// present returns the condition under which a field that is in no oneof is written.
func (f *field) present() string {
	value := "m." + f.goName
	switch {
	case f.Repeated:
		return "len(" + value + ") > 0"
	case f.Kind == idl.KindMessage || f.Presence != idl.Implicit:
		return value + " != nil"
	case f.Kind == idl.KindBytes:
		return "len(" + value + ") > 0"
	case f.Kind == idl.KindString:
		return value + ` != ""`
	case f.Kind == idl.KindBool:
		return value
	case f.Kind == idl.KindDouble:
		return qual("math", "Float64bits") + "(" + value + ") != 0" // -0 is written, 0 is not
	case f.Kind == idl.KindFloat:
		return qual("math", "Float32bits") + "(" + value + ") != 0"
	default:
		return value + " != 0"
	}
}
