package golang

import (
	"fmt"

	"github.com/ipcgen/ipcgen/idl"
)

// equal prints Equal.
func (w *printer) equal(m *message) {
	w.gap()
	w.p("// Equal says that m and x hold the same, or are both nil. NaN equals itself here.")
	w.p("func (m *%s) Equal(x *%[1]s) bool {", m.goName)
	w.p("if m == nil || x == nil {")
	w.p("return m == x")
	w.p("}")
	text := "return "
	for _, f := range m.fields {
		switch {
		case f.oneof == nil:
			text += w.equalField(f, "m."+f.goName, "x."+f.goName)
		case f == f.oneof.fields[0]:
			text += fmt.Sprintf("m.equal%s(x)", f.oneof.goName)
		default:
			continue
		}
		text += " &&\n"
	}
	w.p("%s%s(m.unknownFields, x.unknownFields)", text, qual("bytes", "Equal"))
	w.p("}")
	for _, o := range m.oneofs {
		w.equalOneof(m, o)
	}
}

func (w *printer) equalOneof(m *message, o *oneof) {
	w.gap()
	w.p("func (m *%s) equal%s(x *%[1]s) bool {", m.goName, o.goName)
	w.p("switch v := m.%s.(type) {", o.goName)
	for _, f := range o.fields {
		w.p("case *%s:", f.wrapper)
		w.p("k, ok := x.%s.(*%s)", o.goName, f.wrapper)
		w.p("return ok && %s", w.equalField(f, "v."+f.goName, "k."+f.goName))
	}
	w.p("default:")
	w.p("return x.%s == nil", o.goName)
	w.p("}")
	w.p("}")
}

// equalField returns the condition under which two values of f's Go type are equal.
func (w *printer) equalField(f *field, a, b string) string {
	value := f.Field
	with := ""
	if f.Map != nil {
		value = f.Map.Value
	}
	switch value.Kind {
	case idl.KindMessage:
		with = "(*" + w.messageType(value.Message) + ").Equal"
	case idl.KindBytes:
		with = qual("bytes", "Equal")
	case idl.KindDouble, idl.KindFloat:
		with = codec("EqualFloat")
		if f.Repeated {
			with += "[" + w.valueType(value) + "]"
		}
	}
	switch {
	case f.Repeated:
		pkg := "slices"
		if f.Map != nil {
			pkg = "maps"
		}
		if with == "" {
			return fmt.Sprintf("%s(%s, %s)", qual(pkg, "Equal"), a, b)
		}
		return fmt.Sprintf("%s(%s, %s, %s)", qual(pkg, "EqualFunc"), a, b, with)
	case f.Kind == idl.KindMessage:
		return fmt.Sprintf("%s.Equal(%s)", a, b)
	case f.pointer() && with != "":
		return fmt.Sprintf("%s(%s, %s)", codec("EqualFloatPointer"), a, b)
	case f.pointer():
		return fmt.Sprintf("%s(%s, %s)", codec("EqualPointer"), a, b)
	case f.Kind == idl.KindBytes && f.Presence != idl.Implicit && f.oneof == nil:
		return fmt.Sprintf("(%s == nil) == (%s == nil) && %s(%[1]s, %[2]s)", a, b, with)
	case with != "":
		return fmt.Sprintf("%s(%s, %s)", with, a, b)
	default:
		return fmt.Sprintf("%s == %s", a, b)
	}
}

// clone prints Clone.
func (w *printer) clone(m *message) {
	w.gap()
	w.p("// Clone returns a copy of m that shares nothing with it; nil for nil.")
	w.p("func (m *%s) Clone() *%[1]s {", m.goName)
	w.p("if m == nil {")
	w.p("return nil")
	w.p("}")
	w.p("c := *m")
	for _, f := range m.fields {
		if f.oneof == nil {
			if value := w.cloneField(f, "m."+f.goName); value != "" {
				w.p("c.%s = %s", f.goName, value)
			}
		} else if f == f.oneof.fields[0] {
			w.cloneOneof(f.oneof)
		}
	}
	w.p("c.unknownFields = %s(m.unknownFields)", qual("bytes", "Clone"))
	w.p("return &c")
	w.p("}")
}

func (w *printer) cloneOneof(o *oneof) {
	w.p("switch x := m.%s.(type) {", o.goName)
	for _, f := range o.fields {
		value := w.cloneField(f, "x."+f.goName)
		if value == "" {
			value = "x." + f.goName
		}
		w.p("case *%s:", f.wrapper)
		w.p("c.%s = &%s{%s: %s}", o.goName, f.wrapper, f.goName, value)
	}
	w.p("}")
}

// cloneField returns the expression of a deep copy; "" where an assignment is one.
func (w *printer) cloneField(f *field, value string) string {
	kind := f.Kind
	if f.Map != nil {
		kind = f.Map.Value.Kind
	}
	nested := kind == idl.KindMessage || kind == idl.KindBytes
	switch {
	case f.Map != nil && kind == idl.KindMessage:
		return fmt.Sprintf("%s(%s)", codec("CloneMap"), value)
	case f.Map != nil && nested:
		return fmt.Sprintf("%s(%s)", codec("CloneBytesMap"), value)
	case f.Map != nil:
		return fmt.Sprintf("%s(%s)", qual("maps", "Clone"), value)
	case f.Repeated && kind == idl.KindMessage:
		return fmt.Sprintf("%s(%s)", codec("CloneMessages"), value)
	case f.Repeated && nested:
		return fmt.Sprintf("%s(%s)", codec("CloneBytesList"), value)
	case f.Repeated:
		return fmt.Sprintf("%s(%s)", qual("slices", "Clone"), value)
	case kind == idl.KindMessage:
		return value + ".Clone()"
	case kind == idl.KindBytes:
		return fmt.Sprintf("%s(%s)", qual("bytes", "Clone"), value)
	case f.pointer():
		return fmt.Sprintf("%s(%s)", codec("ClonePointer"), value)
	default:
		return ""
	}
}
