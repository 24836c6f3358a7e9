package load

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
)

// optionsNumber is the number of each of ipcgen's extensions.
const optionsNumber = 50860

// A target is a kind of declaration that ipcgen has options for.
type target struct {
	name    string              // of the extension
	message protoreflect.Name   // its type
	number  int32               // of the field of the declaration's descriptor that holds its options
	known   []protoreflect.Name // the options that are implemented
}

var (
	serviceTarget = &target{"service", "ServiceOptions", 3, []protoreflect.Name{"timeout"}}
	methodTarget  = &target{"method", "MethodOptions", 4, []protoreflect.Name{"oneway", "timeout", "errors"}}
	messageTarget = &target{"message", "MessageOptions", 7, nil}
	fieldTarget   = &target{"field", "FieldOptions", 8, []protoreflect.Name{"blob"}}
	targets       = []*target{serviceTarget, methodTarget, messageTarget, fieldTarget}
)

// optionTypes are the messages of ipcgen's own options.
var optionTypes = sync.OnceValue(func() protoreflect.MessageDescriptors {
	text, err := include.ReadFile("include/" + optionsFile)
	if err != nil {
		panic(err) // it is embedded
	}
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{optionsFile: string(text)})})}
	files, err := c.Compile(context.Background(), optionsFile)
	if err != nil {
		panic(err) // a test compiles it
	}
	return files[0].Messages()
})

// timeoutHelp says how a timeout is written.
const timeoutHelp = "write it as {seconds: 5} or {nanos: 250000000}; without it a call waits without limit"

var (
	unknownExtension = regexp.MustCompile(`unknown extension ([\w.]+)$`)
	unknownOption    = regexp.MustCompile(`field (\w+) of ipcgen\.v1\.(\w+) does not exist$`)
	timeoutNoMessage = regexp.MustCompile(`option \(\.?ipcgen\.v1\.\w+\)\.timeout: expecting message`)
)

// helpOption says how to mend what the compiler finds wrong with an option of ipcgen's, or nothing.
func helpOption(text string) string {
	if m := unknownExtension.FindStringSubmatch(text); m != nil {
		name := strings.TrimPrefix(m[1], ".")
		var names []string
		for _, t := range targets {
			names = append(names, "ipcgen.v1."+t.name)
		}
		if slices.Contains(names, name) {
			return fmt.Sprintf("%s needs: import %q;", name, optionsFile)
		}
		return didYouMean(name, names, "%s")
	}
	if m := unknownOption.FindStringSubmatch(text); m != nil {
		for _, t := range targets {
			if string(t.message) == m[2] {
				var known []string
				for _, name := range t.known {
					known = append(known, string(name))
				}
				return didYouMean(m[1], known, "%s")
			}
		}
	}
	if timeoutNoMessage.MatchString(text) {
		return timeoutHelp
	}
	return ""
}

// read returns the options of d, or nil where it has none.
func (t *target) read(d protoreflect.Descriptor) protoreflect.Message {
	raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(d.Options())
	if err != nil {
		return nil
	}
	value := fieldBytes(raw, optionsNumber)
	if value == nil {
		return nil
	}
	m := dynamicpb.NewMessage(optionTypes().ByName(t.message))
	if proto.Unmarshal(value, m) != nil {
		return nil // only a descriptor made by hand can hold that
	}
	return m
}

// fieldBytes returns what all occurrences of a field hold, which is how messages merge, or nil.
func fieldBytes(b []byte, number protowire.Number) []byte {
	var value []byte
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeField(b)
		if n < 0 {
			return value
		}
		_, _, tagLen := protowire.ConsumeTag(b)
		if num == number && typ == protowire.BytesType {
			if v, m := protowire.ConsumeBytes(b[tagLen:]); m >= 0 {
				value = append(value, v...)
				if value == nil {
					value = []byte{}
				}
			}
		}
		b = b[n:]
	}
	return value
}

// options returns the options of d after refusing those that are not implemented.
func (c *converter) options(t *target, d protoreflect.Descriptor, fallback diag.Position) protoreflect.Message {
	m := t.read(d)
	if m == nil {
		return nil
	}
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if !slices.Contains(t.known, fd.Name()) {
			c.problem(&diag.Diagnostic{Pos: c.optionPos(t, d, fd, fallback),
				Text: fmt.Sprintf("the option (ipcgen.v1.%s).%s is not implemented yet", t.name, fd.Name()),
				Help: "remove it: this version of ipcgen would not do what it says"})
		}
		return true
	})
	return m
}

// blob returns the option blob of a field, or nil where it is not set or wrong, which is reported.
func (c *converter) blob(fd protoreflect.FieldDescriptor, fallback diag.Position) *idl.Blob {
	v, pos, ok := c.get(fieldTarget, c.options(fieldTarget, fd, fallback), "blob", fd, fallback)
	if !ok {
		return nil
	}
	below := v.Message().Get(v.Message().Descriptor().Fields().ByName("inline_below")).Uint()
	d := &diag.Diagnostic{Pos: pos, Help: "remove the option"}
	switch {
	case fd.IsMap():
		d.Text = fmt.Sprintf("%s is a map, and the option blob is for fields of bytes alone", fd.Name())
		d.Help = "remove the option, or make it a repeated field of a message that has the key, and the bytes with the option"
	case fd.Kind() != protoreflect.BytesKind:
		d.Text = fmt.Sprintf("%s is no field of bytes, and the option blob is for those alone", fd.Name())
	case fd.IsExtension():
		d.Text = fmt.Sprintf("%s is an extension, which is always a part of its message: the option blob is for fields", fd.Name())
	case below > math.MaxInt32:
		d.Text = fmt.Sprintf("inline_below: %d bytes are more than a message may have, %d", below, math.MaxInt32)
		d.Help = "remove the option where no contents are to travel apart"
	default:
		return &idl.Blob{InlineBelow: int(below)}
	}
	c.problem(d)
	return nil
}

// optionPos returns where an option stands, or the declaration where that is not told.
func (c *converter) optionPos(t *target, d protoreflect.Descriptor, fd protoreflect.FieldDescriptor, fallback diag.Position) diag.Position {
	locations := d.ParentFile().SourceLocations()
	whole := locations.ByDescriptor(d)
	if whole.Path == nil {
		return fallback
	}
	path := append(slices.Clone(whole.Path), t.number, optionsNumber, int32(fd.Number()))
	for n := len(path); n > len(whole.Path)+1; n-- {
		if at := locations.ByPath(path[:n]); at.Path != nil {
			return c.position(d, at)
		}
	}
	// A list or a message in braces is only told by its parts.
	for i := range locations.Len() {
		if at := locations.Get(i); len(at.Path) > len(path) && slices.Equal(at.Path[:len(path)], path) {
			return c.position(d, at)
		}
	}
	return fallback
}

// get returns the value of an option that is set, and where it stands.
func (c *converter) get(t *target, m protoreflect.Message, name protoreflect.Name, d protoreflect.Descriptor, fallback diag.Position) (protoreflect.Value, diag.Position, bool) {
	if m == nil {
		return protoreflect.Value{}, fallback, false
	}
	fd := m.Descriptor().Fields().ByName(name)
	if !m.Has(fd) {
		return protoreflect.Value{}, fallback, false
	}
	return m.Get(fd), c.optionPos(t, d, fd, fallback), true
}

func (c *converter) service(f *idl.File, sd protoreflect.ServiceDescriptor) *idl.Service {
	options, _ := sd.Options().(*descriptorpb.ServiceOptions)
	s := &idl.Service{File: f, Name: string(sd.Name()), FullName: string(sd.FullName()), Deprecated: options.GetDeprecated()}
	s.Pos, s.Comment = c.nameOf(sd)
	timeout := c.timeout(serviceTarget, c.options(serviceTarget, sd, s.Pos), sd, s.Pos)
	for i := range sd.Methods().Len() {
		s.Methods = append(s.Methods, c.method(s, sd.Methods().Get(i), timeout))
	}
	return s
}

func (c *converter) method(s *idl.Service, md protoreflect.MethodDescriptor, timeout time.Duration) *idl.Method {
	options, _ := md.Options().(*descriptorpb.MethodOptions)
	m := &idl.Method{Service: s, Name: string(md.Name()), FullName: string(md.FullName()), Path: s.FullName + "/" + string(md.Name()),
		Request: c.messages[md.Input().FullName()], Response: c.messages[md.Output().FullName()],
		Deprecated: options.GetDeprecated(), Shape: shapeOf(md.IsStreamingClient(), md.IsStreamingServer()), Timeout: timeout}
	m.Pos, m.Comment = c.nameOf(md)
	own := c.options(methodTarget, md, m.Pos)
	if v, pos, ok := c.get(methodTarget, own, "oneway", md, m.Pos); ok && v.Bool() {
		c.checkOneway(m, pos)
		m.Shape, m.Timeout = idl.Oneway, 0
	}
	if t := c.timeout(methodTarget, own, md, m.Pos); t > 0 {
		m.Timeout = t
	}
	if v, pos, ok := c.get(methodTarget, own, "errors", md, m.Pos); ok {
		c.errors(m, md, v.List(), pos)
	}
	return m
}

func shapeOf(clientStreams, serverStreams bool) idl.Shape {
	switch {
	case clientStreams && serverStreams:
		return idl.Bidi
	case clientStreams:
		return idl.ClientStream
	case serverStreams:
		return idl.ServerStream
	}
	return idl.Unary
}

const emptyName = "google.protobuf.Empty"

func (c *converter) checkOneway(m *idl.Method, pos diag.Position) {
	if m.Shape != idl.Unary {
		c.problem(&diag.Diagnostic{Pos: pos, Text: fmt.Sprintf("method %s is oneway and streams: nothing can be streamed where nobody waits", m.Name),
			Help: "remove the option, or the word stream"})
	}
	if m.Response.FullName != emptyName {
		c.problem(&diag.Diagnostic{Pos: pos, Text: fmt.Sprintf("method %s is oneway and returns %s, which would never arrive", m.Name, m.Response.FullName),
			Help: `return google.protobuf.Empty, after import "google/protobuf/empty.proto"`})
	}
}

// timeout returns the option timeout; 0 where it is not set or wrong, which is reported.
func (c *converter) timeout(t *target, options protoreflect.Message, d protoreflect.Descriptor, fallback diag.Position) time.Duration {
	v, pos, ok := c.get(t, options, "timeout", d, fallback)
	if !ok {
		return 0
	}
	fields := v.Message().Descriptor().Fields()
	seconds, nanos := v.Message().Get(fields.ByName("seconds")).Int(), v.Message().Get(fields.ByName("nanos")).Int()
	const most = math.MaxInt64 / int64(time.Second)
	text := ""
	switch {
	case nanos <= -1e9 || nanos >= 1e9:
		text = fmt.Sprintf("%d nanos are more than a second", nanos)
	case seconds < 0 || nanos < 0 || seconds == 0 && nanos == 0:
		text = "it is not more than zero"
	case seconds >= most:
		text = fmt.Sprintf("%d seconds are more than the limit of %d", seconds, most-1)
	default:
		return time.Duration(seconds)*time.Second + time.Duration(nanos)
	}
	c.problem(&diag.Diagnostic{Pos: pos, Text: "timeout: " + text, Help: timeoutHelp})
	return 0
}

// errors finds the messages that a method names as its errors.
func (c *converter) errors(m *idl.Method, md protoreflect.MethodDescriptor, names protoreflect.List, pos diag.Position) {
	if m.Shape == idl.Oneway {
		c.problem(&diag.Diagnostic{Pos: pos, Text: fmt.Sprintf("method %s is oneway and has errors, which would never arrive", m.Name), Help: "remove one of the two options"})
		return
	}
	visible := map[protoreflect.FullName]bool{}
	collect(md.ParentFile(), visible, true, map[string]bool{})
	for i := range names.Len() {
		name := names.Get(i).String()
		e := c.lookup(name, md.Parent().FullName(), visible)
		switch {
		case e == nil:
			candidates := make([]string, 0, len(visible))
			for v := range visible {
				candidates = append(candidates, string(v), strings.TrimPrefix(string(v), string(md.ParentFile().Package())+"."))
			}
			c.problem(&diag.Diagnostic{Pos: pos, Text: fmt.Sprintf("errors: no message %q is declared or imported here", name), Help: didYouMean(name, candidates, "%q")})
		case slices.Contains(m.Errors, e):
			c.problem(&diag.Diagnostic{Pos: pos, Text: fmt.Sprintf("errors: %q is listed twice", name), Help: "remove one of them"})
		default:
			m.Errors = append(m.Errors, e)
		}
	}
}

// lookup finds a message as the compiler finds a field's type: from the innermost scope outwards.
func (c *converter) lookup(name string, scope protoreflect.FullName, visible map[protoreflect.FullName]bool) *idl.Message {
	if rooted, ok := strings.CutPrefix(name, "."); ok {
		name, scope = rooted, ""
	}
	for ; ; scope = scope.Parent() {
		full := scope.Append(protoreflect.Name(name))
		if visible[full] {
			return c.messages[full]
		}
		if scope == "" {
			return nil
		}
	}
}

// collect finds the messages that a file may name: its own and those of its imports, and of what these import publicly.
func collect(fd protoreflect.FileDescriptor, into map[protoreflect.FullName]bool, all bool, seen map[string]bool) {
	if seen[fd.Path()] {
		return
	}
	seen[fd.Path()] = true
	collectMessages(fd.Messages(), into)
	for i := range fd.Imports().Len() {
		if imp := fd.Imports().Get(i); all || imp.IsPublic {
			collect(imp.FileDescriptor, into, false, seen)
		}
	}
}

func collectMessages(list protoreflect.MessageDescriptors, into map[protoreflect.FullName]bool) {
	for i := range list.Len() {
		if md := list.Get(i); !md.IsMapEntry() {
			into[md.FullName()] = true
			collectMessages(md.Messages(), into)
		}
	}
}

// checkMethodIDs reports methods that the wire could not tell apart.
func checkMethodIDs(schema *idl.Schema, id func(path string) uint64, problems *diag.List) {
	first := map[uint64]*idl.Method{}
	for _, f := range schema.Files {
		for _, s := range f.Services {
			for _, m := range s.Methods {
				other := first[id(m.Path)]
				if other == nil {
					first[id(m.Path)] = m
					continue
				}
				d := problems.Add(m.Pos, "rename one of them", "the methods %s and %s have the same number on the wire", m.Path, other.Path)
				d.See = append(d.See, diag.Note{Pos: other.Pos, Text: "the other method"})
			}
		}
	}
}
