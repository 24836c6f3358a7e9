package golang

import (
	"fmt"

	"github.com/ipcgen/ipcgen/idl"
)

// decode prints Unmarshal and DecodeFields.
func (w *printer) decode(m *message) {
	w.gap()
	w.p("// Unmarshal replaces the content of m by what b holds.")
	w.p("func (m *%s) Unmarshal(b []byte) error {", m.goName)
	w.p("m.Reset()")
	w.p("return %s(b, m)", codec("Merge"))
	w.p("}")
	w.gap()
	w.p("// DecodeFields merges fields into m, for Unmarshal and for messages that hold m.")
	w.p("func (m *%s) DecodeFields(d *%s, b []byte, pos int) int {", m.goName, codec("Decoder"))
	if m.required {
		w.p("d.Require()")
	}
	w.p("var tag uint64")
	w.p("var start int")
	w.p("for pos >= 0 && pos < len(b)-1 {")
	w.p("start = pos")
	w.p("tag, pos = %s(b, pos)", codec("ReadTag"))
	w.p("switch tag {")
	for _, part := range m.parts() {
		for _, f := range part {
			w.decodeField(f)
		}
	}
	w.p("default:")
	w.p("pos = d.Unknown(&m.unknownFields, tag, b, start, pos)")
	w.p("}")
	w.p("}")
	w.p("return d.End(m, b, start, pos)")
	w.p("}")
}

func (w *printer) caseOf(f *field, wire int) {
	w.p("case %d<<3 | %s: // %s", f.Number, codec(wireNames[wire]), f.Name)
}

func (w *printer) decodeField(f *field) {
	place := "m." + f.goName
	kind := scalars[f.Kind]
	if f.Repeated && f.Map == nil && kind.list != "" {
		w.caseOf(f, wireBytes)
		w.p("%s, pos = %s(d, b, pos, %[1]s)", place, codec("ReadPacked"+kind.list))
		w.caseOf(f, kind.wire)
		w.p("%s, pos = %s(d, tag, b, pos, %[1]s)", place, codec("ReadUnpacked"+kind.list))
		return
	}
	w.caseOf(f, wire(f.Field))
	switch {
	case f.Map != nil:
		w.p("%s, pos = %s[%s, %s](d, b, pos, %[1]s)", place, codec("ReadMap"), w.codecType(f.Map.Key), w.codecType(f.Map.Value))
	case f.Repeated:
		w.decodeList(f, place)
	case f.oneof != nil && f.Kind == idl.KindMessage:
		w.p("x, ok := m.%s.(*%s)", f.oneof.goName, f.wrapper)
		w.p("if !ok {")
		w.p("x = %s[%s](d)", codec("New"), f.wrapper)
		w.p("m.%s = x", f.oneof.goName)
		w.p("}")
		w.decodeMessage(f, "x."+f.goName)
	case f.Kind == idl.KindMessage:
		w.decodeMessage(f, place)
	case f.oneof != nil:
		w.p("x := %s[%s](d)", codec("New"), f.wrapper)
		w.decodeValue(f, "x."+f.goName, "%s")
		w.p("m.%s = x", f.oneof.goName)
	case f.pointer() && f.Kind == idl.KindEnum:
		w.decodeValue(f, place, "(*"+w.enumType(f.Enum)+")(d.NewInt32(%s))")
	case f.pointer():
		w.decodeValue(f, place, "d."+scalars[f.Kind].optional+"(%s)")
	default:
		w.decodeValue(f, place, "%s")
	}
}

// decodeValue prints what reads one value at pos and stores in place what form makes of it.
func (w *printer) decodeValue(f *field, place, form string) {
	value := scalars[f.Kind].value
	if f.Kind == idl.KindEnum && !f.pointer() {
		value = w.enumType(f.Enum) + "(v)"
	}
	if form == "%s" && value == "v" {
		w.p("%s, pos = %s", place, read(f))
		return
	}
	w.p("v, end := %s", read(f))
	w.p("%s, pos = %s, end", place, fmt.Sprintf(form, value))
}

func (w *printer) decodeList(f *field, place string) {
	switch {
	case f.Kind == idl.KindMessage && f.Delimited:
		w.p("%s, pos = %s(d, tag, b, pos, %[1]s)", place, codec("ReadGroups"))
	case f.Kind == idl.KindMessage && w.messages[f.Message].holder:
		w.p("%s, pos = %s(d, tag, b, pos, %[1]s)", place, codec("ReadHolders"))
	case f.Kind == idl.KindMessage:
		w.p("%s, pos = %s(d, tag, b, pos, %[1]s)", place, codec("ReadMessages"))
	case f.Blob != nil:
		w.p("%s, pos = d.ReadBlobs(tag, b, pos, %[1]s)", place)
	case f.Kind == idl.KindBytes:
		w.p("%s, pos = d.ReadBytesList(tag, b, pos, %[1]s)", place)
	case f.CheckUTF8:
		w.p("%s, pos = d.ReadStrings(tag, b, pos, %[1]s)", place)
	default:
		w.p("%s, pos = d.ReadRawStrings(tag, b, pos, %[1]s)", place)
	}
}

// decodeMessage prints what merges a message into the one in place, which is made if there is none.
func (w *printer) decodeMessage(f *field, place string) {
	w.p("if %s == nil {", place)
	w.p("%s = %s[%s](d)", place, codec("New"), w.messageType(f.Message))
	w.p("}")
	switch {
	case f.Delimited:
		w.p("pos = d.ReadGroup(%s, tag, b, pos)", place)
	case w.messages[f.Message].holder:
		w.p("pos = d.ReadHolder(%s, b, pos)", place)
	default:
		w.p("pos = d.ReadMessage(%s, b, pos)", place)
	}
}

// read returns the expression that reads one value at pos that is no message.
func read(f *field) string {
	switch {
	case f.Blob != nil && f.Presence != idl.Implicit:
		return "d.ReadPresentBlob(b, pos)"
	case f.Blob != nil:
		return "d.ReadBlob(b, pos)"
	case f.Kind == idl.KindBytes && f.Presence != idl.Implicit:
		return "d.ReadPresentBytes(b, pos)"
	case f.Kind == idl.KindBytes:
		return "d.ReadBytes(b, pos)"
	case f.Kind == idl.KindString && !f.CheckUTF8:
		return "d.ReadRawString(b, pos)"
	case f.Kind == idl.KindString:
		return "d.ReadString(b, pos)"
	default:
		return codec("Read"+scalars[f.Kind].read) + "(b, pos)"
	}
}
