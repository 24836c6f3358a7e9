package golang

import (
	"fmt"

	"github.com/ipcgen/ipcgen/idl"
)

// size prints Size and SizeFields.
func (w *printer) size(m *message) {
	w.gap()
	w.p("// Size returns the number of bytes that MarshalAppend appends.")
	w.p("func (m *%s) Size() int { return m.SizeFields(nil) }", m.goName)
	w.gap()
	w.p("// SizeFields is Size for messages that hold m.")
	w.p("func (m *%s) SizeFields(e *%s) int {", m.goName, codec("Encoder"))
	w.p("if m == nil {")
	w.p("return 0")
	w.p("}")
	if len(m.fields) == 0 {
		w.p("return len(m.unknownFields)")
		w.p("}")
		return
	}
	w.p("n := len(m.unknownFields)")
	w.eachPresent(m, w.sizeField)
	w.p("return n")
	w.p("}")
}

func (w *printer) sizeField(f *field, value string) {
	tag := tagSize(f.Number)
	switch {
	case f.Map != nil:
		w.p("n += %s[%s, %s](e, %d, %s)", codec("SizeMap"), w.codecType(f.Map.Key), w.codecType(f.Map.Value), tag, value)
	case f.Packed:
		size := fmt.Sprintf("%s(%s)", codec("SizePacked"+scalars[f.Kind].list), value)
		if fixed := scalars[f.Kind].size; fixed > 1 {
			size = fmt.Sprintf("%d * len(%s)", fixed, value)
		} else if fixed == 1 {
			size = fmt.Sprintf("len(%s)", value)
		}
		w.p("n += %d + %s(%s)", tag, codec("SizeBytes"), size)
	case f.Repeated && scalars[f.Kind].size > 0:
		w.p("n += %d * len(%s)", tag+scalars[f.Kind].size, value)
	case f.Repeated:
		w.p("n += %d * len(%s)", f.tagSize(), value)
		w.p("for _, v := range %s {", value)
		w.p("n += %s", w.sizeValue(f.Field, "v"))
		w.p("}")
	case scalars[f.Kind].size > 0:
		w.p("n += %d", tag+scalars[f.Kind].size)
	default:
		w.p("n += %d + %s", f.tagSize(), w.sizeValue(f.Field, value))
	}
}

// tagSize returns how many bytes the tags of one value of f take.
func (f *field) tagSize() int {
	if f.Delimited {
		return 2 * tagSize(f.Number)
	}
	return tagSize(f.Number)
}

// sizeValue returns the size of a value whose size is not always the same, without its tag.
func (w *printer) sizeValue(f *idl.Field, value string) string {
	switch {
	case f.Kind == idl.KindMessage && w.messages[f.Message].shape != leaf:
		if f.Delimited {
			return fmt.Sprintf("e.SizeGroup(%s)", value)
		}
		return fmt.Sprintf("e.SizeMessage(%s)", value)
	case f.Kind == idl.KindMessage && f.Delimited:
		return value + ".Size()"
	case f.Kind == idl.KindMessage:
		return fmt.Sprintf("%s(%s.Size())", codec("SizeBytes"), value)
	case f.Kind == idl.KindString, f.Kind == idl.KindBytes:
		return fmt.Sprintf("%s(len(%s))", codec("SizeBytes"), value)
	default:
		return fmt.Sprintf("%s(%s)", codec("SizeVarint"), fmt.Sprintf(scalars[f.Kind].number, value))
	}
}

// append prints MarshalAppend and AppendFields.
func (w *printer) append(m *message) {
	w.gap()
	w.p("// MarshalAppend appends the wire format of m to b.")
	w.p("func (m *%s) MarshalAppend(b []byte) ([]byte, error) {", m.goName)
	if m.required {
		w.p("if !m.HasRequired() {")
		w.p("return b, %s(m)", codec("Missing"))
		w.p("}")
	}
	if m.shape == deep {
		w.p("return %s(b, m)", codec("Marshal"))
	} else {
		w.p("var e %s", codec("Encoder"))
		w.p("b = m.AppendFields(&e, %s(b, m))", codec("Room"))
		w.p("return b, e.Err(m)")
	}
	w.p("}")
	w.gap()
	w.p("// AppendFields is MarshalAppend for messages that hold m.")
	w.p("func (m *%s) AppendFields(e *%s, b []byte) []byte {", m.goName, codec("Encoder"))
	w.p("if m == nil {")
	w.p("return b")
	w.p("}")
	w.eachPresent(m, w.appendField)
	w.p("return append(b, m.unknownFields...)")
	w.p("}")
}

func (w *printer) appendField(f *field, value string) {
	switch {
	case f.Map != nil:
		w.p("b = %s[%s, %s](e, b, %d, %s)", codec("AppendMap"), w.codecType(f.Map.Key), w.codecType(f.Map.Value),
			uint64(f.Number)<<3|wireBytes, value)
	case f.Packed:
		w.p("b = %s(append(b, %s), %s)", codec("AppendPacked"+scalars[f.Kind].list), tagBytes(f.Number, wireBytes), value)
	case f.Repeated:
		w.p("for _, v := range %s {", value)
		w.p("b = %s", w.appendValue(f.Field, "v"))
		w.p("}")
	default:
		w.p("b = %s", w.appendValue(f.Field, value))
	}
}

// appendValue returns the expression that appends a tag and a value to b.
func (w *printer) appendValue(f *idl.Field, value string) string {
	buffer := fmt.Sprintf("append(b, %s)", tagBytes(f.Number, wire(f)))
	switch f.Kind {
	case idl.KindMessage:
		message, group := "AppendMessage", "AppendGroup"
		if w.messages[f.Message].shape == leaf {
			message, group = "AppendLeaf", "AppendLeafGroup"
		}
		if f.Delimited {
			return fmt.Sprintf("e.%s(%s, %s, %d<<3|%s)", group, buffer, value, f.Number, codec("WireEndGroup"))
		}
		return fmt.Sprintf("e.%s(%s, %s)", message, buffer, value)
	case idl.KindString:
		if f.CheckUTF8 {
			return fmt.Sprintf("e.AppendString(%s, %s)", buffer, value)
		}
		return fmt.Sprintf("%s(%s, %s)", codec("AppendRawString"), buffer, value)
	case idl.KindBytes:
		return fmt.Sprintf("%s(%s, %s)", codec("AppendBytes"), buffer, value)
	}
	s := scalars[f.Kind]
	if s.number != "" {
		value = fmt.Sprintf(s.number, value)
	}
	return fmt.Sprintf("%s(%s, %s)", codec("Append"+s.write), buffer, value)
}

// hasRequired prints the method that looks for missing fields.
func (w *printer) hasRequired(m *message) {
	w.gap()
	w.p("// HasRequired says that no required field is missing, in m and in the messages inside it.")
	w.p("func (m *%s) HasRequired() bool {", m.goName)
	w.p("if m == nil {")
	w.p("return true")
	w.p("}")
	for _, f := range m.fields {
		if f.Presence == idl.Required {
			w.p("if m.%s == nil {", f.goName)
			w.p("return false")
			w.p("}")
		}
		child := f.child()
		if child == nil || !w.messages[child].required {
			continue
		}
		switch {
		case f.Repeated:
			w.p("for _, v := range m.%s {", f.goName)
			w.p("if !v.HasRequired() {")
			w.p("return false")
			w.p("}")
			w.p("}")
		default:
			w.p("if !m.Get%s().HasRequired() {", f.goName)
			w.p("return false")
			w.p("}")
		}
	}
	w.p("return true")
	w.p("}")
}
