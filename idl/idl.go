// Package idl is the model: what a schema says, resolved and neutral to every language. Generators read it and
// nothing else; no type of protobuf occurs in it. Package load makes it from .proto files.
//
// A Schema is read-only once loaded and may be shared between goroutines.
package idl

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/ipcgen/ipcgen/idl/diag"
)

// A Schema is all that one run was given: the files asked for and everything that they import.
type Schema struct {
	// Files stand in an order in which each comes after those it imports.
	Files []*File
}

// A File is one .proto file.
//
// Its comment is the one at the package statement, not what stands at the top of the file, which usually is a licence.
type File struct {
	Path     string        // relative to its import root, with slashes: "echo/v1/echo.proto"
	Pos      diag.Position // of the package statement; without a line where there is none
	Syntax   string        // as written: "proto2", "proto3", or an edition's number such as "2023"
	Comment  Comment
	Asked    bool // output is wanted for it; the others are there because they are imported
	Imports  []Import
	Messages []*Message
	Enums    []*Enum
	Services []*Service
	// Extensions are those declared at the top level; a message holds the ones nested in it.
	Extensions []*Extension

	Deprecated bool
	GoPackage  string // the option go_package as written: "import/path" or "import/path;name"; may be empty
	// Descriptor is the serialized google.protobuf.FileDescriptorProto, without source positions, for the
	// languages that embed one.
	Descriptor []byte
}

// An Import is a file that another one imports.
type Import struct {
	File   *File
	Public bool
}

// A Comment is what the author wrote about an element. Lines have no comment markers and no trailing space; one
// leading space is removed from each. No block starts or ends with an empty line. Blocks that blank lines separate from
// the element are not among them.
type Comment struct {
	Leading  string
	Trailing string
}

// A Message is a message type.
type Message struct {
	File       *File
	Parent     *Message // nil at the top level
	Pos        diag.Position
	Name       string // "Inner"
	FullName   string // "pkg.Outer.Inner"
	Comment    Comment
	Fields     []*Field // in the order of the source
	Oneofs     []*Oneof // without those that protoc makes up for optional fields
	Messages   []*Message
	Enums      []*Enum
	Extensions []*Extension // declared inside the message, whatever they extend

	Deprecated      bool
	MapEntry        bool // made up by the compiler for a map field; no generator emits a type for it
	MessageSet      bool // proto2's message_set_wire_format
	ExtensionRanges []Range
}

// A Range is a range of numbers, both ends included.
type Range struct{ First, Last int32 }

// A Field is a member of a message, or the field half of an extension.
type Field struct {
	Pos      diag.Position
	Name     string // as written; for a group, the lower-case name of its message
	JSONName string
	FullName string
	Comment  Comment
	Number   int32
	Kind     Kind
	Message  *Message // of a KindMessage field, the map entry for a map
	Enum     *Enum    // of a KindEnum field
	Presence Presence
	Repeated bool // also true of a map
	Packed   bool // a repeated scalar is written packed
	// Delimited says that a message field is written as a group: start and end tags instead of a length.
	Delimited bool
	// CheckUTF8 says that a string with invalid UTF-8 is refused.
	CheckUTF8  bool
	Map        *Map   // nil unless the field is a map
	Oneof      *Oneof // nil unless the field belongs to one
	Default    *Default
	Deprecated bool
	Parent     *Message // the message that has the field; of an extension, the message that is extended
	// Optional says that the word stands in a proto3 source; only a generator that restates the schema needs it.
	Optional bool
	// JSString says that the option jstype wants an integer of 64 bits as a string in JavaScript.
	JSString bool
	// Blob is what the option blob says; nil unless the field has it. Only a field of bytes does, and no map's value.
	Blob *Blob
}

// A Blob says how the contents of a field may travel apart from their message.
type Blob struct {
	InlineBelow int // contents of fewer bytes stay in the message; 0 leaves the choice to the runtime
}

// A Map is the key and value of a map field; both are fields of the entry message.
type Map struct{ Key, Value *Field }

// A Oneof is a set of fields of which at most one is present.
type Oneof struct {
	Pos     diag.Position
	Name    string
	Comment Comment
	Fields  []*Field
	Parent  *Message
}

// An Extension is a field that a message gets from elsewhere.
type Extension struct {
	*Field
	File  *File
	Scope *Message // the message it is declared in; nil at the top level
}

// An Enum is an enum type.
type Enum struct {
	File     *File
	Parent   *Message
	Pos      diag.Position
	Name     string
	FullName string
	Comment  Comment
	Values   []*EnumValue

	Deprecated bool
}

// An EnumValue is a name for a number of an enum. Several may share a number; the first is the one printed.
type EnumValue struct {
	Pos        diag.Position
	Name       string
	FullName   string // beside the enum, not inside it: "pkg.STATE_OPEN"
	Comment    Comment
	Number     int32
	Deprecated bool
}

// A Default is a default value that the schema declares: the field's type decides which member counts.
type Default struct {
	Bool  bool
	Int   int64 // every signed integer kind, and the number of an enum
	Uint  uint64
	Float float64
	Bytes []byte // bytes and string
	Enum  *EnumValue
}

// A Service is a set of methods.
type Service struct {
	File       *File
	Pos        diag.Position
	Name       string
	FullName   string // "echo.v1.Echo"
	Comment    Comment
	Methods    []*Method
	Deprecated bool
}

// A Method is one thing that a service does.
type Method struct {
	Service    *Service
	Pos        diag.Position
	Name       string
	FullName   string // "echo.v1.Echo.Say"
	Path       string // "echo.v1.Echo/Say", what its id on the wire is made from
	Comment    Comment
	Shape      Shape
	Request    *Message
	Response   *Message
	Deprecated bool
	// Timeout is the caller's default deadline: the method's option, else the service's. 0 is none.
	Timeout time.Duration
	// Errors are the messages that travel as typed errors.
	Errors []*Message
}

// MethodID returns the number that stands for a method on the wire, made from its path: "echo.v1.Echo/Say".
func MethodID(path string) uint64 {
	sum := sha256.Sum256([]byte(path))
	return binary.LittleEndian.Uint64(sum[:8])
}

// A Shape is what flows in a call and which way.
type Shape uint8

// The five shapes of a method.
const (
	Unary Shape = iota
	ServerStream
	ClientStream
	Bidi
	Oneway
)

// Presence says how the absence of a field is told from its zero value.
type Presence uint8

// The kinds of presence. A repeated field, a map and a member of a oneof are Implicit, Implicit and Explicit.
const (
	Implicit Presence = iota // the zero value is not written and means absent
	Explicit                 // absent and zero differ
	Required                 // must be there (proto2, LEGACY_REQUIRED)
)

// A Kind is the type of a field's value.
type Kind uint8

// The kinds, named as protobuf names them. A group is a KindMessage field that is Delimited.
const (
	KindDouble Kind = iota + 1
	KindFloat
	KindInt64
	KindUint64
	KindInt32
	KindFixed64
	KindFixed32
	KindBool
	KindString
	KindMessage
	KindBytes
	KindUint32
	KindEnum
	KindSfixed32
	KindSfixed64
	KindSint32
	KindSint64
)
