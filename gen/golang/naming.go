package golang

import (
	"slices"
	"strings"

	"github.com/ipcgen/ipcgen/gen/names"
	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
)

// A message is a message with its Go names.
type message struct {
	*idl.Message
	goName string
	fields []*field // in the order of the schema
	oneofs []*oneof
	path   []int // from the file's descriptor to the message's
	leaf   bool  // it holds no messages
	// required says that the message or one inside it has a required field.
	required bool
	// holder says that the message or one inside it, but not in a map, has a blob.
	holder bool
	// isError says that a method lists the message among its errors.
	isError bool
}

// A field is a field with its Go names.
type field struct {
	*idl.Field
	goName string
	oneof  *oneof // nil unless it belongs to one
	// wrapper is the Go type that holds the field in its oneof.
	wrapper string
}

// A oneof is a oneof with its Go names.
type oneof struct {
	*idl.Oneof
	goName string
	// iface is the interface that all its wrappers are.
	iface  string
	fields []*field
}

// reserved are the methods of a message. A field of such a name gets an underscore.
var reserved = []string{
	"AppendApart", "AppendFields", "Clone", "DecodeFields", "Descriptor", "Equal", "ExtensionFields", "HasRequired", "MarshalAppend",
	"ProtoMessage", "Reset", "Size", "String", "Unmarshal", "XXX_OneofWrappers",
	// What other Go implementations look for, with other signatures.
	"ExtensionMap", "ExtensionRangeArray", "Marshal",
}

// camel returns a Go name for one of the schema: an underscore before a lower-case letter goes and makes it a
// capital, any other stays, so that different names stay different as far as possible. It is the rule of
// protoc-gen-go, whose users expect its names.
func camel(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		next := byte(0)
		if i+1 < len(s) {
			next = s[i+1]
		}
		switch {
		case c == '.' && isLower(next):
		case c == '.':
			b.WriteByte('_')
		case c == '_' && (i == 0 || s[i-1] == '.'):
			b.WriteByte('X')
		case c == '_' && isLower(next):
		case isLower(c) && (i == 0 || s[i-1] == '_' || s[i-1] == '.' || isDigit(s[i-1])):
			b.WriteByte(c - 'a' + 'A')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// typeName returns the Go name of a message or enum inside parent, which may be nil.
func typeName(parent *idl.Message, name string) string {
	for m := parent; m != nil; m = m.Parent {
		name = m.Name + "." + name
	}
	return camel(name)
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// name gives everything in the schema its name.
func (p *program) name(schema *idl.Schema, wrong *diag.List) {
	for _, f := range schema.Files {
		pkg := p.packages[f]
		wrong := wrong
		if !pkg.asked {
			wrong = new(diag.List) // not of this run
		}
		pkg.scope.Claim(descriptorName(f), names.Owner{What: "the descriptor of " + f.Path, Pos: f.Pos}, wrong)
		for _, e := range f.Enums {
			p.nameEnum(pkg, e, wrong)
		}
		for i, m := range f.Messages {
			p.nameMessage(pkg, m, []int{i}, wrong)
		}
		nameExtensions(pkg, f.Extensions, wrong)
		for _, s := range f.Services {
			nameService(pkg, s, wrong)
		}
	}
	p.classify()
}

func (p *program) nameMessage(pkg *goPackage, m *idl.Message, path []int, wrong *diag.List) {
	if m.MapEntry {
		return
	}
	v := &message{Message: m, goName: typeName(m.Parent, m.Name), path: path, isError: p.errors[m]}
	p.messages[m] = v
	claim := func(name, what string, pos diag.Position) {
		pkg.scope.Claim(name, names.Owner{What: what, Pos: pos}, wrong)
	}
	claim(v.goName, "message "+m.FullName, m.Pos)
	v.nameFields()
	v.nameWrappers()
	for _, o := range v.oneofs {
		claim(o.iface, "oneof "+m.FullName+"."+o.Name, o.Pos)
		for _, f := range o.fields {
			claim(f.wrapper, "oneof field "+f.FullName, f.Pos)
		}
	}
	for _, f := range v.fields {
		if f.Default != nil && f.Kind == idl.KindBytes {
			claim(defaultName(v, f), "the default of "+f.FullName, f.Pos)
		}
	}
	for _, e := range m.Enums {
		p.nameEnum(pkg, e, wrong)
	}
	for i, inner := range m.Messages {
		p.nameMessage(pkg, inner, append(slices.Clone(path), i), wrong)
	}
	nameExtensions(pkg, m.Extensions, wrong)
}

// nameFields gives the fields and oneofs names that clash neither with each other nor with methods, by underscores
// behind those that come later in the source, as protoc-gen-go does.
func (v *message) nameFields() {
	used := make(map[string]bool)
	for _, name := range reserved {
		used[name] = true
	}
	used["Error"] = v.isError
	unique := func(name string) string {
		for used[name] || used["Get"+name] {
			name += "_"
		}
		used[name], used["Get"+name] = true, true
		return name
	}
	oneofs := make(map[*idl.Oneof]*oneof)
	for _, fd := range v.Fields {
		f := &field{Field: fd, goName: unique(camel(fd.Name))}
		v.fields = append(v.fields, f)
		if fd.Oneof == nil {
			continue
		}
		o := oneofs[fd.Oneof]
		if o == nil {
			o = &oneof{Oneof: fd.Oneof, goName: unique(camel(fd.Oneof.Name))}
			oneofs[fd.Oneof] = o
			v.oneofs = append(v.oneofs, o)
		}
		f.oneof = o
		o.fields = append(o.fields, f)
	}
}

// nameWrappers names the types that oneofs need. They stand beside the types nested in the message, which keep
// their names.
func (v *message) nameWrappers() {
	used := make(map[string]bool)
	for _, m := range v.Messages {
		used[typeName(v.Message, m.Name)] = true
	}
	for _, e := range v.Enums {
		used[typeName(v.Message, e.Name)] = true
		for _, value := range e.Values {
			used[v.goName+"_"+value.Name] = true
		}
	}
	unique := func(name string) string {
		name = v.goName + "_" + name
		for used[name] {
			name += "_"
		}
		used[name] = true
		return name
	}
	for _, o := range v.oneofs {
		for _, f := range o.fields {
			f.wrapper = unique(f.goName)
		}
	}
	for _, o := range v.oneofs {
		o.iface = unique(o.goName)
	}
}

// enumValueName returns the name of a value: behind that of the enum at the top level, and behind that of the
// message for an enum in it, because protobuf's scopes are like that.
func enumValueName(e *idl.Enum, v *idl.EnumValue) string {
	if e.Parent != nil {
		return typeName(e.Parent.Parent, e.Parent.Name) + "_" + v.Name
	}
	return camel(e.Name) + "_" + v.Name
}

func (p *program) nameEnum(pkg *goPackage, e *idl.Enum, wrong *diag.List) {
	goName := typeName(e.Parent, e.Name)
	p.enums[e] = goName
	pkg.scope.Claim(goName, names.Owner{What: "enum " + e.FullName, Pos: e.Pos}, wrong)
	pkg.scope.Claim("Parse"+goName, names.Owner{What: "the parser of enum " + e.FullName, Pos: e.Pos}, wrong)
	for _, v := range e.Values {
		pkg.scope.Claim(enumValueName(e, v),
			names.Owner{What: "enum value " + v.FullName, Pos: v.Pos}, wrong)
	}
}

// extensionName returns the name of an extension's variable.
func extensionName(x *idl.Extension) string {
	if x.Scope == nil {
		return "E_" + camel(x.Name)
	}
	return "E_" + typeName(x.Scope.Parent, x.Scope.Name) + "_" + camel(x.Name)
}

func nameExtensions(pkg *goPackage, list []*idl.Extension, wrong *diag.List) {
	for _, x := range list {
		pkg.scope.Claim(extensionName(x), names.Owner{What: "extension " + x.FullName, Pos: x.Pos}, wrong)
	}
}

// nameService claims the names that a service brings, so that no message takes them.
func nameService(pkg *goPackage, s *idl.Service, wrong *diag.List) {
	name := camel(s.Name)
	owner := names.Owner{What: "service " + s.FullName, Pos: s.Pos}
	for _, n := range []string{
		serverName(s), clientName(s), "New" + clientName(s), "New" + name + "Service", "Unimplemented" + name,
	} {
		pkg.scope.Claim(n, owner, wrong)
	}
	var methods names.Scope
	for _, m := range s.Methods {
		owner := names.Owner{What: "method " + m.FullName, Pos: m.Pos}
		before := len(*wrong)
		methods.Claim(camel(m.Name), owner, wrong)
		if len(*wrong) == before {
			pkg.scope.Claim(methodVar(m), owner, wrong)
		}
	}
}

func serverName(s *idl.Service) string { return camel(s.Name) + "Server" }
func clientName(s *idl.Service) string { return camel(s.Name) + "Client" }

// methodVar returns the name of the variable that describes a method.
func methodVar(m *idl.Method) string {
	return names.LowerFirst(camel(m.Service.Name)) + camel(m.Name)
}

// descriptorName returns the name of the variable that holds a file's descriptor.
func descriptorName(f *idl.File) string {
	return "file_" + strings.Map(func(r rune) rune {
		if r == '_' || isLower(byte(r)) || isDigit(byte(r)) || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, f.Path)
}

func defaultName(v *message, f *field) string { return "Default_" + v.goName + "_" + f.goName }

// classify finds out for each message what stands inside it.
func (p *program) classify() {
	for _, v := range p.messages {
		v.leaf = !slices.ContainsFunc(v.fields, func(f *field) bool { return f.Map != nil || f.Message != nil })
	}
	p.spread(func(f *field) bool { return f.Presence == idl.Required }, (*field).child, func(v *message) *bool { return &v.required })
	p.spread(func(f *field) bool { return f.Blob != nil }, (*field).single, func(v *message) *bool { return &v.holder })
}

// child returns the message type of the field's value, of a map's values for a map; nil if it is none.
func (f *field) child() *idl.Message {
	if f.Map != nil {
		return f.Map.Value.Message
	}
	return f.Message
}

// single returns the message type of the field's value; nil if it is none. A map's entries are none, because they are written
// in one piece.
func (f *field) single() *idl.Message {
	if f.Map != nil {
		return nil
	}
	return f.Message
}

// spread sets the mark of the messages that have such a field, and of those that hold such messages, at any depth.
func (p *program) spread(has func(*field) bool, child func(*field) *idl.Message, mark func(*message) *bool) {
	holders := make(map[*idl.Message][]*message)
	var marked []*message
	for _, v := range p.messages {
		for _, f := range v.fields {
			if inner := child(f); inner != nil {
				holders[inner] = append(holders[inner], v)
			}
			if has(f) && !*mark(v) {
				*mark(v) = true
				marked = append(marked, v)
			}
		}
	}
	for len(marked) > 0 {
		last := marked[len(marked)-1]
		marked = marked[:len(marked)-1]
		for _, v := range holders[last.Message] {
			if !*mark(v) {
				*mark(v) = true
				marked = append(marked, v)
			}
		}
	}
}
