package typescript

import (
	"strings"

	"github.com/ipcgen/ipcgen/gen/names"
	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
)

// Names are those of protoc-gen-es, whose users expect them, and which the library knows fields by: messages and enums as
// in the schema, nested ones behind an underscore; fields and methods in camelCase; enum values without the enum's name
// before them. What a language or generated code has already gets a $ behind it.

// reserved are names that no declaration and no import may have: words of the language, types that cannot be
// declared, and what generated code uses without importing it.
var reserved = set(`break case catch class const continue debugger default delete do else enum export extends false finally for
	function if import in instanceof new null return super switch this throw true try typeof var void while with yield await
	implements interface let package private protected public static arguments eval
	any bigint boolean never number object string symbol undefined unknown
	AsyncIterable Iterable Object Promise Uint8Array globalThis`)

// reservedProperties are what every object has already.
var reservedProperties = set("constructor toString toJSON valueOf")

// reservedMethods are what a client has already, or must not have: an object with a method then is taken for a promise.
var reservedMethods = set("constructor toString toJSON valueOf then hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString")

func set(words string) map[string]bool {
	all := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		all[w] = true
	}
	return all
}

// safe returns name, with a $ behind it where it is taken.
func safe(name string, taken map[string]bool) string {
	if taken[name] {
		return name + "$"
	}
	return name
}

// naming knows what everything is called.
type naming struct {
	scopes map[*idl.File]*names.Scope
}

// nameSchema gives all that is generated its name, and finds the names that would clash.
func nameSchema(schema *idl.Schema, wrong *diag.List) *naming {
	n := &naming{scopes: make(map[*idl.File]*names.Scope)}
	for _, f := range schema.Files {
		c := &claims{scope: new(names.Scope), wrong: wrong}
		n.scopes[f] = c.scope
		if !f.Asked {
			c.wrong = new(diag.List) // not of this run
		}
		c.claim(descName(f), "the description of "+f.Path, f.Pos)
		for _, e := range f.Enums {
			c.enum(e)
		}
		for _, m := range declared(f.Messages) {
			c.message(m)
		}
		c.extensions(f.Extensions)
		for _, s := range f.Services {
			c.service(s)
		}
	}
	return n
}

// claims gives names to what one file declares.
type claims struct {
	scope *names.Scope
	wrong *diag.List
}

func (c *claims) claim(name, what string, pos diag.Position) {
	c.scope.Claim(name, names.Owner{What: what, Pos: pos}, c.wrong)
}

func (c *claims) message(m *idl.Message) {
	c.claim(messageName(m), "message "+m.FullName, m.Pos)
	c.claim(messageSchema(m), "the description of message "+m.FullName, m.Pos)
	if m.MessageSet {
		c.wrong.Add(m.Pos, "use fields or a google.protobuf.Any", "message %s has the option message_set_wire_format, which @bufbuild/protobuf does not support", m.FullName)
	}
	var properties names.Scope
	oneofs := make(map[*idl.Oneof]bool)
	for _, f := range m.Fields {
		name, what, pos := propertyName(f.Name), "field "+f.FullName, f.Pos
		if f.Oneof != nil {
			if oneofs[f.Oneof] {
				continue
			}
			oneofs[f.Oneof] = true
			name, what, pos = propertyName(f.Oneof.Name), "oneof "+m.FullName+"."+f.Oneof.Name, f.Oneof.Pos
		}
		properties.Claim(name, names.Owner{What: what, Pos: pos}, c.wrong)
	}
	for _, e := range m.Enums {
		c.enum(e)
	}
	for _, nested := range declared(m.Messages) {
		c.message(nested)
	}
	c.extensions(m.Extensions)
}

func (c *claims) enum(e *idl.Enum) {
	c.claim(enumName(e), "enum "+e.FullName, e.Pos)
	c.claim(enumSchema(e), "the description of enum "+e.FullName, e.Pos)
}

func (c *claims) extensions(list []*idl.Extension) {
	for _, x := range list {
		c.claim(extensionName(x), "extension "+x.FullName, x.Pos)
	}
}

func (c *claims) service(s *idl.Service) {
	for _, name := range []string{serviceName(s), clientName(s), handlersName(s)} {
		c.claim(name, "service "+s.FullName, s.Pos)
	}
	var methods names.Scope
	for _, m := range s.Methods {
		methods.Claim(methodName(m), names.Owner{What: "method " + m.FullName, Pos: m.Pos}, c.wrong)
	}
}

// descName returns the name of a file's description.
func descName(f *idl.File) string {
	return "file_" + strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, strings.TrimSuffix(f.Path, ".proto"))
}

// nested returns the name of what is declared in a message, behind the message's.
func nested(parent *idl.Message, name string) string {
	for ; parent != nil; parent = parent.Parent {
		name = parent.Name + "_" + name
	}
	return name
}

func messageName(m *idl.Message) string   { return safe(nested(m.Parent, m.Name), reserved) }
func messageSchema(m *idl.Message) string { return nested(m.Parent, m.Name) + "Schema" }
func enumName(e *idl.Enum) string         { return safe(nested(e.Parent, e.Name), reserved) }
func enumSchema(e *idl.Enum) string       { return nested(e.Parent, e.Name) + "Schema" }

func extensionName(x *idl.Extension) string {
	return safe(nested(x.Scope, camel(x.Name)), reserved)
}

func serviceName(s *idl.Service) string  { return safe(s.Name, reserved) }
func clientName(s *idl.Service) string   { return s.Name + "Client" }
func handlersName(s *idl.Service) string { return s.Name + "Handlers" }

// methodName returns the name of a method: its words, all but the first with a capital.
func methodName(m *idl.Method) string {
	var b strings.Builder
	for i, word := range names.Words(m.Name) {
		if i == 0 {
			b.WriteString(strings.ToLower(word))
		} else {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return safe(b.String(), reservedMethods)
}

// propertyName returns the name of a field or oneof. The library goes by the same rule.
func propertyName(name string) string { return safe(camel(name), reservedProperties) }

// camel returns a name without its underscores, the letter behind each in upper case: the rule of protobuf's JSON.
func camel(name string) string {
	var b strings.Builder
	up := false
	for _, c := range []byte(name) {
		switch {
		case c == '_':
			up = true
			continue
		case up && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		up = false
		b.WriteByte(c)
	}
	return b.String()
}

// valueNames returns the names of an enum's values: without the enum's own name before them, where all have it.
func valueNames(e *idl.Enum) []string {
	prefix := snake(e.Name) + "_"
	for _, v := range e.Values {
		rest, ok := strings.CutPrefix(strings.ToLower(v.Name), prefix)
		if !ok || rest == "" || '0' <= rest[0] && rest[0] <= '9' {
			prefix = ""
			break
		}
	}
	all := make([]string, len(e.Values))
	for i, v := range e.Values {
		all[i] = safe(v.Name[len(prefix):], reservedProperties)
	}
	return all
}

// snake returns a name in lower case, with an underscore before each capital but the first letter.
func snake(name string) string {
	var b strings.Builder
	for i, c := range []byte(name) {
		if i > 0 && 'A' <= c && c <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteByte(c)
	}
	return strings.ToLower(b.String())
}
