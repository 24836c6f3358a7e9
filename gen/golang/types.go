package golang

import (
	"fmt"

	"github.com/ipcgen/ipcgen/idl"
)

// A scalar says how the values of one kind are handled in Go.
type scalar struct {
	goType   string // of a value; an enum's is the enum
	wire     int    // the wire type
	tag      string // the encoding as struct tags call it
	size     int    // of every value, where they all have the same; else 0
	number   string // how %s becomes the number that is written
	write    string // the function of codec that appends a value
	read     string // the function of codec that reads v, or the Decoder's method
	value    string // how v becomes a value
	kind     string // the type of codec that knows how values are written
	list     string // how lists are read and packed: codec.ReadPacked…, ReadUnpacked…, AppendPacked…, SizePacked…
	optional string // the Decoder's method that makes a pointer to a value
}

const (
	wireVarint     = 0
	wireFixed64    = 1
	wireBytes      = 2
	wireStartGroup = 3
	wireEndGroup   = 4
	wireFixed32    = 5
)

// wireNames are the constants of codec.
var wireNames = [...]string{"WireVarint", "WireFixed64", "WireBytes", "WireStartGroup", "WireEndGroup", "WireFixed32"}

var scalars = map[idl.Kind]scalar{
	idl.KindDouble:   {"float64", wireFixed64, "fixed64", 8, qual("math", "Float64bits") + "(%s)", "Fixed64", "Double", "v", "Double", "Fixed", "NewFloat64"},
	idl.KindFloat:    {"float32", wireFixed32, "fixed32", 4, qual("math", "Float32bits") + "(%s)", "Fixed32", "Float", "v", "Float", "Fixed", "NewFloat32"},
	idl.KindInt64:    {"int64", wireVarint, "varint", 0, "uint64(%s)", "Varint", "Varint", "int64(v)", "Int64", "Varint", "NewInt64"},
	idl.KindUint64:   {"uint64", wireVarint, "varint", 0, "%s", "Varint", "Varint", "v", "Uint64", "Varint", "NewUint64"},
	idl.KindInt32:    {"int32", wireVarint, "varint", 0, "uint64(%s)", "Varint", "Varint", "int32(v)", "Int32", "Varint", "NewInt32"},
	idl.KindFixed64:  {"uint64", wireFixed64, "fixed64", 8, "", "Fixed64", "Fixed64", "v", "Fixed64", "Fixed", "NewUint64"},
	idl.KindFixed32:  {"uint32", wireFixed32, "fixed32", 4, "", "Fixed32", "Fixed32", "v", "Fixed32", "Fixed", "NewUint32"},
	idl.KindBool:     {"bool", wireVarint, "varint", 1, "", "Bool", "Varint", "v != 0", "Bool", "Bool", "NewBool"},
	idl.KindString:   {"string", wireBytes, "bytes", 0, "", "RawString", "String", "v", "String", "", "NewString"},
	idl.KindBytes:    {"[]byte", wireBytes, "bytes", 0, "", "Bytes", "Bytes", "v", "Bytes", "", ""},
	idl.KindUint32:   {"uint32", wireVarint, "varint", 0, "uint64(%s)", "Varint", "Varint", "uint32(v)", "Uint32", "Varint", "NewUint32"},
	idl.KindEnum:     {"", wireVarint, "varint", 0, "uint64(%s)", "Varint", "Varint", "int32(v)", "Enum", "Varint", "NewInt32"},
	idl.KindSfixed32: {"int32", wireFixed32, "fixed32", 4, "uint32(%s)", "Fixed32", "Sfixed32", "v", "Sfixed32", "Fixed", "NewInt32"},
	idl.KindSfixed64: {"int64", wireFixed64, "fixed64", 8, "uint64(%s)", "Fixed64", "Sfixed64", "v", "Sfixed64", "Fixed", "NewInt64"},
	idl.KindSint32:   {"int32", wireVarint, "zigzag32", 0, codec("Zigzag32") + "(%s)", "Varint", "Varint", codec("Unzigzag32") + "(v)", "Sint32", "Zigzag", "NewInt32"},
	idl.KindSint64:   {"int64", wireVarint, "zigzag64", 0, codec("Zigzag64") + "(%s)", "Varint", "Varint", codec("Unzigzag64") + "(v)", "Sint64", "Zigzag", "NewInt64"},
}

// messageType returns the Go type of m, without the pointer.
func (w *printer) messageType(m *idl.Message) string {
	return qual(w.packages[m.File].path, w.messages[m].goName)
}

func (w *printer) enumType(e *idl.Enum) string { return qual(w.packages[e.File].path, w.enums[e]) }

// valueType returns the Go type of one value of f.
func (w *printer) valueType(f *idl.Field) string {
	switch f.Kind {
	case idl.KindMessage:
		return "*" + w.messageType(f.Message)
	case idl.KindEnum:
		return w.enumType(f.Enum)
	default:
		return scalars[f.Kind].goType
	}
}

// fieldType returns the Go type of f in its message's struct, or in its wrapper.
func (w *printer) fieldType(f *field) string {
	switch {
	case f.Map != nil:
		return fmt.Sprintf("map[%s]%s", w.valueType(f.Map.Key), w.valueType(f.Map.Value))
	case f.Repeated:
		return "[]" + w.valueType(f.Field)
	case f.pointer():
		return "*" + w.valueType(f.Field)
	default:
		return w.valueType(f.Field)
	}
}

// pointer says that the field is a pointer to a scalar, because its absence is not its zero value.
func (f *field) pointer() bool {
	return !f.Repeated && f.oneof == nil && f.Presence != idl.Implicit &&
		f.Kind != idl.KindMessage && f.Kind != idl.KindBytes
}

// codecType returns the type of package codec that knows how values of f are written.
func (w *printer) codecType(f *idl.Field) string {
	switch {
	case f.Kind == idl.KindMessage && f.Delimited:
		return fmt.Sprintf("%s[%s, *%[2]s]", codec("Group"), w.messageType(f.Message))
	case f.Kind == idl.KindMessage:
		return fmt.Sprintf("%s[%s, *%[2]s]", codec("Sub"), w.messageType(f.Message))
	case f.Kind == idl.KindEnum:
		return fmt.Sprintf("%s[%s]", codec("Enum"), w.enumType(f.Enum))
	case f.Kind == idl.KindString && !f.CheckUTF8:
		return codec("RawString")
	default:
		return codec(scalars[f.Kind].kind)
	}
}

// wire returns the wire type of one value of f.
func wire(f *idl.Field) int {
	switch {
	case f.Kind == idl.KindMessage && f.Delimited:
		return wireStartGroup
	case f.Kind == idl.KindMessage:
		return wireBytes
	default:
		return scalars[f.Kind].wire
	}
}

// tag returns the tag of a field: "3<<3|codec.WireBytes".
func tag(number int32, wire int) string {
	return fmt.Sprintf("%d<<3|%s", number, codec(wireNames[wire]))
}

// tagSize returns how many bytes the tags of a field take.
func tagSize(number int32) int {
	n := 1
	for v := uint64(number) << 3; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
