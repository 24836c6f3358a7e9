package python

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/ipcgen/ipcgen/gen/names"
	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
)

// A scope is the names of one module.
type scope struct {
	top names.Scope
	// words are all names that the file gives to anything: what generated code imports is called something else.
	words map[string]bool
	// members are the names in classes. A class of such a name cannot be referred to by it from within a class.
	members map[string]bool
}

// own are the names of generated code itself.
var own = []string{"DESCRIPTOR", "_FILE", "_ipcgen"}

// newScope claims the names of the module of a file.
func newScope(f *idl.File, wrong *diag.List) *scope {
	s := &scope{words: make(map[string]bool), members: make(map[string]bool)}
	for _, name := range own {
		s.top.Claim(name, names.Owner{What: "a name of generated code", Pos: f.Pos}, wrong)
	}
	claim := func(name, what string, pos diag.Position) {
		s.words[name] = true
		s.top.Claim(name, names.Owner{What: what, Pos: pos}, wrong)
	}
	for _, m := range f.Messages {
		claim(safe(m.Name), "message "+m.FullName, m.Pos)
		s.within(m, wrong)
	}
	for _, e := range f.Enums {
		claim(safe(e.Name), "enum "+e.FullName, e.Pos)
		for _, v := range e.Values {
			claim(safe(v.Name), "enum value "+v.FullName, v.Pos)
		}
	}
	for _, x := range f.Extensions {
		claim(safe(x.Name), "extension "+x.FullName, x.Pos)
	}
	for _, service := range f.Services {
		for _, name := range []string{serviceName(service), clientName(service), clientName(service) + "Sync"} {
			claim(name, "the class "+name+" of service "+service.FullName, service.Pos)
		}
		s.methods(service, claim, wrong)
	}
	return s
}

// within notes the names in a message.
func (s *scope) within(m *idl.Message, wrong *diag.List) {
	member := func(name string) { s.words[name], s.members[name] = true, true }
	nested := func(what, name, full string, pos diag.Position) {
		member(name)
		if keyword(name) {
			wrong.Add(pos, "rename it", "%s %s is called as Python's keyword %s, so that code could not name it", what, full, name)
		}
	}
	for _, f := range m.Fields {
		member(f.Name)
	}
	for _, o := range m.Oneofs {
		checkJSON(m, o, wrong)
	}
	for _, x := range m.Extensions {
		nested("extension", x.Name, x.FullName, x.Pos)
	}
	for _, e := range m.Enums {
		nested("enum", e.Name, e.FullName, e.Pos)
		for _, v := range e.Values {
			member(v.Name)
		}
	}
	for _, inner := range m.Messages {
		if !inner.MapEntry {
			nested("message", inner.Name, inner.FullName, inner.Pos)
			s.within(inner, wrong)
		}
	}
}

// checkJSON refuses what protobuf's package does when the module is imported: a field that JSON calls as a oneof is called.
func checkJSON(m *idl.Message, o *idl.Oneof, wrong *diag.List) {
	for _, f := range m.Fields {
		if f.JSONName == o.Name && f.Name != o.Name && m.File.Syntax != "proto2" {
			d := wrong.Add(f.Pos, fmt.Sprintf("give the field another name for JSON: [json_name = %q]", f.Name),
				"field %s is called %s in JSON, as the oneof %[2]s is: Python's protobuf package refuses that", f.FullName, f.JSONName)
			d.See = append(d.See, diag.Note{Pos: o.Pos, Text: "the oneof"})
		}
	}
}

// methods claims what stands for the methods of a service: a constant each, and a name in the service's classes.
func (s *scope) methods(service *idl.Service, claim func(name, what string, pos diag.Position), wrong *diag.List) {
	var class names.Scope
	for _, m := range service.Methods {
		what := "method " + m.FullName
		s.words[snake(m.Name)] = true
		class.Claim(snake(m.Name), names.Owner{What: what, Pos: m.Pos}, wrong)
		if !s.top.Taken(constant(m)) { // else its name in the class is the same, too
			claim(constant(m), what, m.Pos)
		}
	}
}

// free returns a name for what generated code imports, that the file gives to nothing.
func (s *scope) free(name string) string {
	for s.words[name] || slices.Contains(own, name) {
		name = "_" + name
	}
	return name
}

func serviceName(s *idl.Service) string { return s.Name + "Service" }
func clientName(s *idl.Service) string  { return s.Name + "Client" }

// constant returns the name of what describes a method: "_ECHO_SAY".
func constant(m *idl.Method) string {
	return strings.ToUpper("_" + strings.Join(append(names.Words(m.Service.Name), names.Words(m.Name)...), "_"))
}

// snake returns a name as Python writes those of methods: "GetURL" is "get_url".
func snake(s string) string {
	name := strings.ToLower(strings.Join(names.Words(s), "_"))
	if name == "" || unicode.IsDigit(rune(name[0])) {
		name = "_" + name
	}
	return safe(name)
}

// safe returns a name that is no keyword.
func safe(name string) string {
	if keyword(name) {
		return name + "_"
	}
	return name
}
