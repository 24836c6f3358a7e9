package python

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ipcgen/ipcgen/idl"
)

// A shape says how the methods of one shape look in Python. It is the one place where shapes differ: in the strings, REQ
// and RES stand for the types of the messages, ITERATOR and ITERABLE for those of collections.abc.
type shape struct {
	Method   string // the class that describes the method
	Handled  string // the parameter of the handler
	Sent     string // the parameter of the client's method; may be none
	handler  signature
	client   signature
	blocking signature
}

// A signature is the type of the parameter, the result, and whether the function is a coroutine.
type signature struct {
	def, param, result string
}

var shapes = [...]shape{
	idl.Unary: {
		Method: "UnaryMethod", Handled: "request", Sent: "request",
		handler:  signature{"async def", "REQ", "RES"},
		client:   signature{"async def", "REQ", "RES"},
		blocking: signature{"def", "REQ", "RES"},
	},
	idl.ServerStream: {
		Method: "ServerStreamMethod", Handled: "request", Sent: "request",
		handler:  signature{"def", "REQ", "ASYNCITERATOR[RES]"},
		client:   signature{"def", "REQ", "_ipcgen.ResponseStream[RES]"},
		blocking: signature{"def", "REQ", "_ipcgen.SyncResponseStream[RES]"},
	},
	idl.ClientStream: {
		Method: "ClientStreamMethod", Handled: "requests", Sent: "requests",
		handler:  signature{"async def", "ASYNCITERATOR[REQ]", "RES"},
		client:   signature{"async def", "ASYNCITERABLE[REQ] | ITERABLE[REQ]", "RES"},
		blocking: signature{"def", " ITERABLE[REQ]", "RES"},
	},
	idl.Bidi: {
		Method: "BidiMethod", Handled: "requests",
		handler:  signature{"def", "ASYNCITERATOR[REQ]", "ASYNCITERATOR[RES]"},
		client:   signature{"def", "", "_ipcgen.BidiStream[REQ, RES]"},
		blocking: signature{"def", "", "_ipcgen.SyncBidiStream[REQ, RES]"},
	},
	idl.Oneway: {
		Method: "OnewayMethod", Handled: "request", Sent: "request",
		handler:  signature{"async def", "REQ", "None"},
		client:   signature{"async def", "REQ", "None"},
		blocking: signature{"def", "REQ", "None"},
	},
}

// A service is three classes.
type service struct {
	Name, FullName string
	ServiceDoc     doc
	Methods        []*method
	Clients        []*client
}

// A method is what describes it, and a method of the service's class.
type method struct {
	Name, Constant, Path string
	Shape                *shape
	Request, Response    string // classes
	Options              string
	ServiceSignature     string
	Doc                  doc
}

// A client is a class with a method for each of the service's.
type client struct {
	Name, Connection string
	Call             string // what it calls of a method's description
	Doc              doc
	Signatures       []declaration
}

// A declaration is a method of a class of the stub.
type declaration struct {
	Text string
	Doc  doc
}

func (w *writer) service(s *idl.Service) *service {
	old := deprecated(s.Deprecated, "service")
	v := &service{Name: s.Name, FullName: s.FullName, ServiceDoc: newDoc(
		fmt.Sprintf("What an implementation of %s provides. Methods that it leaves out answer UNIMPLEMENTED.", s.Name), s.Comment, old)}
	clients := []*client{
		{Name: clientName(s), Connection: "Connection", Call: "call", Doc: newDoc(
			fmt.Sprintf("Calls %s at the other end of a connection.", s.Name), s.Comment, old)},
		{Name: clientName(s) + "Sync", Connection: "SyncConnection", Call: "call_sync", Doc: newDoc(
			fmt.Sprintf("Calls %s at the other end of a connection, without an event loop.", s.Name), s.Comment, old)},
	}
	for _, m := range s.Methods {
		mv := w.method(m)
		v.Methods = append(v.Methods, mv)
		clients[0].Signatures = append(clients[0].Signatures, declaration{w.clientSignature(mv, m, mv.Shape.client), mv.Doc})
		clients[1].Signatures = append(clients[1].Signatures, declaration{w.clientSignature(mv, m, mv.Shape.blocking), mv.Doc})
	}
	v.Clients = clients
	return v
}

func (w *writer) method(m *idl.Method) *method {
	sh := &shapes[m.Shape]
	v := &method{Name: snake(m.Name), Constant: constant(m), Path: m.Path, Shape: sh, Options: w.options(m),
		Request: w.codeType(m.Request), Response: w.codeType(m.Response), Doc: newDoc("", m.Comment, deprecated(m.Deprecated, "method"))}
	v.ServiceSignature = fmt.Sprintf("%s %s(self, %s: %s) -> %s", sh.handler.def, v.Name, sh.Handled,
		w.types(sh.handler.param, m), w.types(sh.handler.result, m))
	return v
}

func (w *writer) clientSignature(v *method, m *idl.Method, s signature) string {
	param := ""
	if v.Shape.Sent != "" {
		param = fmt.Sprintf("%s: %s, ", v.Shape.Sent, strings.TrimSpace(w.types(s.param, m)))
	}
	return fmt.Sprintf("%s %s(self, %s**options: %s[_ipcgen.CallOptions]) -> %s", s.def, v.Name, param, w.use("typing", "Unpack"), w.types(s.result, m))
}

// types puts the types of a method into a string of its shape. Only what occurs is imported.
func (w *writer) types(text string, m *idl.Method) string {
	const abc = "collections.abc"
	var pairs []string
	for _, p := range []struct {
		placeholder string
		actual      func() string
	}{
		{"ASYNCITERATOR", func() string { return w.use(abc, "AsyncIterator") }},
		{"ASYNCITERABLE", func() string { return w.use(abc, "AsyncIterable") }},
		{" ITERABLE", func() string { return " " + w.use(abc, "Iterable") }},
		{"REQ", func() string { return w.messageType(m.Request) }},
		{"RES", func() string { return w.messageType(m.Response) }},
	} {
		if strings.Contains(text, p.placeholder) {
			pairs = append(pairs, p.placeholder, p.actual())
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// options returns the schema's options of m as arguments.
func (w *writer) options(m *idl.Method) string {
	text := ""
	if m.Timeout > 0 {
		text += ", timeout=" + strconv.FormatFloat(m.Timeout.Seconds(), 'f', -1, 64)
	}
	if len(m.Errors) > 0 {
		var classes []string
		for _, e := range m.Errors {
			classes = append(classes, w.codeType(e))
		}
		text += ", errors=[" + strings.Join(classes, ", ") + "]"
	}
	return text
}

func (w *writer) codeType(m *idl.Message) string {
	return w.class(m.File, qualified(m.Parent, m.Name), false)
}
