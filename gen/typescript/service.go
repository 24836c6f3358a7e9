package typescript

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ipcgen/ipcgen/idl"
)

// A shape says how the methods of one shape look in TypeScript. It is the one place where shapes differ. In the strings, REQ
// and RES stand for the messages' types and INIT for the type of what one can be made of; CONTEXT, OPTIONS and BIDI for the
// runtime's types.
type shape struct {
	kind   string // the runtime's name for it
	call   string // the method of a client
	handle string // the method of an implementation
}

var shapes = [...]shape{
	idl.Unary: {
		kind:   "unary",
		call:   "(request: INIT<REQ>, options?: OPTIONS): Promise<RES>",
		handle: "(request: REQ, context: CONTEXT): Promise<INIT<RES>> | INIT<RES>",
	},
	idl.ServerStream: {
		kind:   "server stream",
		call:   "(request: INIT<REQ>, options?: OPTIONS): AsyncIterable<RES>",
		handle: "(request: REQ, context: CONTEXT): AsyncIterable<INIT<RES>>",
	},
	idl.ClientStream: {
		kind:   "client stream",
		call:   "(requests: AsyncIterable<INIT<REQ>> | Iterable<INIT<REQ>>, options?: OPTIONS): Promise<RES>",
		handle: "(requests: AsyncIterable<REQ>, context: CONTEXT): Promise<INIT<RES>>",
	},
	idl.Bidi: {
		kind:   "bidi",
		call:   "(options?: OPTIONS): BIDI<REQ, RES>",
		handle: "(requests: AsyncIterable<REQ>, context: CONTEXT): AsyncIterable<INIT<RES>>",
	},
	idl.Oneway: {
		kind:   "oneway",
		call:   "(request: INIT<REQ>, options?: OPTIONS): Promise<void>",
		handle: "(request: REQ, context: CONTEXT): Promise<void> | void",
	},
}

// A serviceView is what the template "service" lays out.
type serviceView struct {
	Comment, ClientComment, HandlersComment []string
	Name, Client, Handlers                  string
	FullName                                string
	Type                                    string // the runtime's class
	Methods                                 []methodView
}

type methodView struct {
	Comment      []string
	Local        string
	Call, Handle string // parameters and result
	Desc         string // its description
}

func (m *module) service(s *idl.Service) serviceView {
	v := serviceView{
		Comment: doc{fmt.Sprintf("The service %s, for `client(%s, conn)` and `implement(%[2]s, {…})`.", s.FullName, serviceName(s)),
			idl.Comment{}, deprecated(s.Deprecated, "service")}.lines(),
		ClientComment:   doc{orSelf(s.Comment, "Calls "+s.FullName+"."), s.Comment, deprecated(s.Deprecated, "service")}.lines(),
		HandlersComment: doc{"What an implementation of " + s.FullName + " provides.", idl.Comment{}, deprecated(s.Deprecated, "service")}.lines(),
		Name:            serviceName(s), Client: clientName(s), Handlers: handlersName(s), FullName: s.FullName,
		Type: m.imports.value(runtimeModule, "Service"),
	}
	for _, method := range s.Methods {
		v.Methods = append(v.Methods, m.method(method))
	}
	return v
}

func (m *module) method(method *idl.Method) methodView {
	shape := shapes[method.Shape]
	return methodView{
		Comment: doc{"", method.Comment, deprecated(method.Deprecated, "method")}.lines(),
		Local:   methodName(method),
		Call:    m.signature(shape.call, method),
		Handle:  m.signature(shape.handle, method),
		Desc: fmt.Sprintf("{ name: %q, kind: %q, input: %s, output: %s%s }", method.Name, shape.kind,
			m.schema(method.Request), m.schema(method.Response), m.options(method)),
	}
}

var placeholders = regexp.MustCompile(`REQ|RES|INIT|CONTEXT|OPTIONS|BIDI`)

// signature fills in what the placeholders of a shape stand for, which imports it.
func (m *module) signature(text string, method *idl.Method) string {
	return placeholders.ReplaceAllStringFunc(text, func(word string) string {
		switch word {
		case "REQ":
			return m.messageType(method.Request)
		case "RES":
			return m.messageType(method.Response)
		}
		return m.imports.typ(runtimeModule, runtimeTypes[word])
	})
}

// runtimeTypes are the types of the runtime by their placeholders.
var runtimeTypes = map[string]string{"INIT": "Init", "CONTEXT": "CallContext", "OPTIONS": "CallOptions", "BIDI": "BidiCall"}

func (m *module) messageType(msg *idl.Message) string {
	return m.imports.typ(m.moduleOf(msg.File), messageName(msg))
}

func (m *module) schema(msg *idl.Message) string {
	return m.imports.value(m.moduleOf(msg.File), messageSchema(msg))
}

// options returns the schema's options of a method as members of its description.
func (m *module) options(method *idl.Method) string {
	text := ""
	if method.Timeout > 0 {
		text += ", timeoutMs: " + strconv.FormatFloat(float64(method.Timeout)/float64(time.Millisecond), 'f', -1, 64)
	}
	if len(method.Errors) > 0 {
		var schemas []string
		for _, e := range method.Errors {
			schemas = append(schemas, m.schema(e))
		}
		text += ", errors: [" + strings.Join(schemas, ", ") + "]"
	}
	return text
}
