package golang

import (
	"fmt"
	"strings"
	"time"

	"github.com/ipcgen/ipcgen/idl"
)

// A shape says how the methods of one shape look in Go. It is the one place where shapes differ: in the strings, REQ
// and RES stand for the types of the messages.
type shape struct {
	constructor string // makes the variable that describes the method
	arguments   string // its type arguments
	server      signature
	client      signature
	refusal     string // what the unimplemented method returns in front of its error
	silent      bool   // the response's type occurs nowhere
}

// A signature is the parameters behind the context, and the results.
type signature struct {
	params  []param
	results string
}

// A param is a parameter: its name and type.
type param struct{ name, typ string }

const (
	incoming = "SEQ2[REQ, error]"
	sender   = "func(RES) error"
)

var shapes = [...]shape{
	idl.Unary: {
		constructor: "NewUnary",
		arguments:   "[REQ, RES]",
		server:      signature{[]param{{"req", "REQ"}}, "(RES, error)"},
		client:      signature{[]param{{"req", "REQ"}}, "(RES, error)"},
		refusal:     "nil, ",
	},
	idl.ServerStream: {
		constructor: "NewServerStream",
		arguments:   "[REQ, RES]",
		server:      signature{[]param{{"req", "REQ"}, {"send", sender}}, "error"},
		client:      signature{[]param{{"req", "REQ"}}, "SEQ2[RES, error]"},
	},
	idl.ClientStream: {
		constructor: "NewClientStream",
		arguments:   "[REQ, RES]",
		server:      signature{[]param{{"in", incoming}}, "(RES, error)"},
		client:      signature{[]param{{"in", "SEQ[REQ]"}}, "(RES, error)"},
		refusal:     "nil, ",
	},
	idl.Bidi: {
		constructor: "NewBidi",
		arguments:   "[REQ, RES]",
		server:      signature{[]param{{"in", incoming}, {"send", sender}}, "error"},
		client:      signature{nil, "(*STREAM[REQ, RES], error)"},
	},
	idl.Oneway: {
		constructor: "NewOneway",
		arguments:   "[REQ]",
		server:      signature{[]param{{"req", "REQ"}}, "error"},
		client:      signature{[]param{{"req", "REQ"}}, "error"},
		silent:      true,
	},
}

// types returns what replaces the placeholders of a shape in the code of m.
func (w *printer) types(m *idl.Method) *strings.Replacer {
	return strings.NewReplacer(
		"REQ", "*"+w.messageType(m.Request), "RES", "*"+w.messageType(m.Response),
		"SEQ2", qual("iter", "Seq2"), "SEQ", qual("iter", "Seq"), "STREAM", ipc("Stream"),
	)
}

// declare returns the parameters and results of s with names, and the names alone.
func (s signature) declare(r *strings.Replacer) (declaration, args string) {
	declaration = "(ctx " + qual("context", "Context")
	for _, p := range s.params {
		declaration += ", " + p.name + " " + r.Replace(p.typ)
		args += ", " + p.name
	}
	return declaration + ") " + r.Replace(s.results), args
}

// types returns the parameters and results of s without names.
func (s signature) types(r *strings.Replacer) string {
	text := "(" + qual("context", "Context")
	for _, p := range s.params {
		text += ", " + r.Replace(p.typ)
	}
	return text + ") " + r.Replace(s.results)
}

// service prints the methods' descriptions, the server's interface, the refusals, and the client.
func (w *printer) service(s *idl.Service) {
	if len(s.Methods) > 0 {
		w.methods(s)
	}
	w.server(s)
	w.unimplemented(s)
	w.client(s)
}

func (w *printer) methods(s *idl.Service) {
	w.gap()
	w.p("// The methods of %s.", s.FullName)
	w.p("var (")
	for _, m := range s.Methods {
		shape := shapes[m.Shape]
		w.p("%s = %s%s(%q%s)", methodVar(m), ipc(shape.constructor), w.types(m).Replace(shape.arguments), m.Path, w.options(m))
	}
	w.p(")")
}

// options returns the schema's options of m as arguments.
func (w *printer) options(m *idl.Method) string {
	text := ""
	if m.Timeout > 0 {
		text += fmt.Sprintf(", %s(%s)", ipc("Timeout"), duration(m.Timeout))
	}
	for _, e := range m.Errors {
		text += fmt.Sprintf(", %s[*%s](%q)", ipc("Errors"), w.messageType(e), e.FullName)
	}
	return text
}

// duration returns d as Go source in the largest unit that divides it.
func duration(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{
		{time.Hour, "Hour"}, {time.Minute, "Minute"}, {time.Second, "Second"}, {time.Millisecond, "Millisecond"},
		{time.Microsecond, "Microsecond"},
	} {
		if d%unit.size == 0 {
			return fmt.Sprintf("%d*%s", d/unit.size, qual("time", unit.name))
		}
	}
	return fmt.Sprintf("%d*%s", d, qual("time", "Nanosecond"))
}

func (w *printer) methodComment(m *idl.Method) {
	w.comment(doc{"", m.Comment, deprecated(m.Deprecated, "method")})
}

func (w *printer) server(s *idl.Service) {
	name := camel(s.Name)
	w.gap()
	w.comment(doc{fmt.Sprintf("%s is what an implementation of %s provides.", serverName(s), name), s.Comment,
		deprecated(s.Deprecated, "service")})
	w.p("type %s interface {", serverName(s))
	for _, m := range s.Methods {
		w.methodComment(m)
		declaration, _ := shapes[m.Shape].server.declare(w.types(m))
		w.p("%s%s", camel(m.Name), declaration)
	}
	w.p("}")
	w.gap()
	w.p("// New%sService makes impl's methods callable by peers.", name)
	w.p("func New%sService(impl %s) %s {", name, serverName(s), ipc("Service"))
	if len(s.Methods) == 0 {
		w.p("return %s(%q)", ipc("NewService"), s.FullName)
		w.p("}")
		return
	}
	w.p("return %s(%q,", ipc("NewService"), s.FullName)
	for _, m := range s.Methods {
		w.p("%s.Handle(impl.%s),", methodVar(m), camel(m.Name))
	}
	w.p(")")
	w.p("}")
}

func (w *printer) unimplemented(s *idl.Service) {
	name := camel(s.Name)
	w.gap()
	w.p("// Unimplemented%s answers every method of %s with UNIMPLEMENTED. Embed it to add methods to the schema", name, serverName(s))
	w.p("// without breaking the implementation.")
	w.p("type Unimplemented%s struct{}", name)
	for _, m := range s.Methods {
		w.gap()
		w.p("func (Unimplemented%s) %s%s {", name, camel(m.Name), shapes[m.Shape].server.types(w.types(m)))
		w.p("return %s%s.Unimplemented()", shapes[m.Shape].refusal, methodVar(m))
		w.p("}")
	}
}

func (w *printer) client(s *idl.Service) {
	name := camel(s.Name)
	w.gap()
	w.comment(doc{fmt.Sprintf("%s calls %s at the other end of a connection.", clientName(s), name), s.Comment,
		deprecated(s.Deprecated, "service")})
	w.p("type %s struct{ conn %s }", clientName(s), ipc("Caller"))
	w.gap()
	w.p("// New%s returns a client that calls through conn.", clientName(s))
	w.p("func New%s(conn %s) *%[1]s { return &%[1]s{conn} }", clientName(s), ipc("Caller"))
	for _, m := range s.Methods {
		w.gap()
		w.methodComment(m)
		declaration, args := shapes[m.Shape].client.declare(w.types(m))
		w.p("func (c *%s) %s%s {", clientName(s), camel(m.Name), declaration)
		w.p("return %s.Call(ctx, c.conn%s)", methodVar(m), args)
		w.p("}")
	}
}
