package golang

import (
	"fmt"

	"github.com/ipcgen/ipcgen/idl"
)

// size prints Size.
func (w *printer) size(m *message) {
	w.gap()
	w.p("// Size returns the number of bytes that MarshalAppend appends.")
	w.p("func (m *%s) Size() int {", m.goName)
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
		w.p("n += %s[%s, %s](%d, %s)", codec("SizeMap"), w.codecType(f.Map.Key), w.codecType(f.Map.Value), tag, value)
	case f.Packed:
		size := fmt.Sprintf("%s(%s)", codec("SizePacked"+scalars[f.Kind].list), value)
		if fixed := scalars[f.Kind].size; fixed > 1 {
			size = fmt.Sprintf("%d*len(%s)", fixed, value)
		} else if fixed == 1 {
			size = fmt.Sprintf("len(%s)", value)
		}
		w.p("n += %d + %s(%s)", tag, codec("SizeBytes"), size)
	case f.Repeated && scalars[f.Kind].size > 0:
		w.p("n += %d * len(%s)", tag+scalars[f.Kind].size, value)
	case f.Repeated:
		w.p("for _, v := range %s {", value)
		w.p("n += %d + %s", f.tagSize(), w.sizeValue(f.Field, "v"))
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
	w.p("var e %s", codec("Encoder"))
	w.p("b = m.AppendFields(&e, %s(b, m))", codec("Room"))
	w.p("return e.Finish(b, m)")
	w.p("}")
	w.gap()
	w.p("// AppendFields is MarshalAppend for messages that hold m.")
	w.p("func (m *%s) AppendFields(e *%s, b []byte) []byte {", m.goName, codec("Encoder"))
	w.p("if m == nil {")
	w.p("return b")
	w.p("}")
	w.eachPresent(m, w.appendField)
	w.p("return %s(b, m.unknownFields)", codec("AppendUnknown"))
	w.p("}")
	if m.holder {
		w.appendApart(m)
	}
}

// appendApart prints AppendApart.
func (w *printer) appendApart(m *message) {
	w.gap()
	w.p("// AppendApart is MarshalAppend without the contents of large blobs, which it adds to parts. It is for the runtime.")
	w.p("func (m *%s) AppendApart(b []byte, parts *%s) ([]byte, error) {", m.goName, codec("Parts"))
	w.p("e := %s(parts)", codec("Apart"))
	w.p("b = m.AppendFields(&e, b)")
	if m.required {
		w.p("if !m.HasRequired() {")
		w.p("return b, %s(m)", codec("Missing"))
		w.p("}")
	}
	w.p("return e.Finish(b, m)")
	w.p("}")
}

func (w *printer) appendField(f *field, value string) {
	switch {
	case f.Map != nil:
		w.p("b = %s[%s, %s](e, b, %s, %s)", codec("AppendMap"), w.codecType(f.Map.Key), w.codecType(f.Map.Value),
			tag(f.Number, wireBytes), value)
	case f.Packed:
		w.p("b = %s(b, %s, %s)", codec("AppendPacked"+scalars[f.Kind].list), tag(f.Number, wireBytes), value)
	case f.Repeated:
		w.p("for _, v := range %s {", value)
		w.appendValue(f.Field, "v")
		w.p("}")
	default:
		w.appendValue(f.Field, value)
	}
}

// appendValue prints what appends a tag and a value to b.
func (w *printer) appendValue(f *idl.Field, value string) {
	s := scalars[f.Kind]
	function := codec("Append" + s.write)
	switch {
	case f.Kind == idl.KindMessage:
		w.appendMessage(f, value)
		return
	case f.Blob != nil:
		w.p("b = e.AppendBlob(b, %s, %d, %s)", tag(f.Number, wireBytes), f.Blob.InlineBelow, value)
		return
	case f.Kind == idl.KindString && f.CheckUTF8:
		function = "e.AppendString"
	case f.Kind == idl.KindString, f.Kind == idl.KindBytes:
		function = "e.Append" + s.write
	case f.Kind == idl.KindBool && f.Presence == idl.Implicit && !f.Repeated:
		function, value = codec("AppendVarint"), "1"
	case s.number != "":
		value = fmt.Sprintf(s.number, value)
	}
	w.p("b = %s(b, %s, %s)", function, tag(f.Number, wire(f)), value)
}

// appendMessage prints what appends a message: between the tags of a group, or behind its length, for which room is left
// until it is known.
func (w *printer) appendMessage(f *idl.Field, value string) {
	switch {
	case f.Delimited:
		w.p("b = %s.AppendFields(e, %s(b, %s))", value, codec("AppendTag"), tag(f.Number, wireStartGroup))
		w.p("b = %s(b, %s)", codec("AppendTag"), tag(f.Number, wireEndGroup))
		return
	case w.messages[f.Message].holder:
		w.p("at := len(b) + %d", tagSize(f.Number))
		w.p("b = %s.AppendFields(e, e.OpenHolder(b, %s, %[1]s))", value, tag(f.Number, wireBytes))
		w.p("b = e.CloseHolder(b, at)")
		return
	case w.messages[f.Message].leaf:
		w.p("at := len(b) + %d", tagSize(f.Number))
		w.p("b = %s.AppendFields(e, %s(b, %s))", value, codec("OpenLeaf"), tag(f.Number, wireBytes))
	default:
		w.p("at := len(b) + %d", tagSize(f.Number))
		w.p("b = %s.AppendFields(e, e.Open(b, %s))", value, tag(f.Number, wireBytes))
	}
	w.p("b = e.Close(b, at)")
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
