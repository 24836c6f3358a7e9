package protobuf

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/ipcgen/ipcgen/runtime/codec"
)

// A collector goes along Go types from messages to those in their fields. The code of each has the descriptor of its
// file, not of those that it imports; the types lead to them.
type collector struct {
	files map[string]*descriptorpb.FileDescriptorProto // by path
	read  map[*byte]bool                               // the descriptors that are among them, by their first byte
	goOf  map[protoreflect.FullName]reflect.Type
}

func newCollector() *collector {
	return &collector{
		files: make(map[string]*descriptorpb.FileDescriptorProto),
		read:  make(map[*byte]bool),
		goOf:  make(map[protoreflect.FullName]reflect.Type),
	}
}

// message adds a message, a pointer to a struct, and what its fields hold.
func (c *collector) message(t reflect.Type) error {
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("a %v is not a message that ipcgen has generated", t)
	}
	zero := reflect.New(t.Elem()).Interface()
	m, ok := zero.(codec.Message)
	if !ok || codec.FullName(m) == "" {
		return fmt.Errorf("a %v is not a message that ipcgen has generated", t)
	}
	name := protoreflect.FullName(codec.FullName(m))
	if other := c.goOf[name]; other == t {
		return nil
	} else if other != nil {
		return fmt.Errorf("the message %s is a %v in %s and a %v in %s: only one can be among the types",
			name, other, other.Elem().PkgPath(), t, t.Elem().PkgPath())
	}
	c.goOf[name] = t
	packed, _ := zero.(described).Descriptor()
	if err := c.file(packed, t.Elem().PkgPath()); err != nil {
		return err
	}
	return c.fields(zero, t)
}

type described interface{ Descriptor() ([]byte, []int) }

// fields adds what the fields of a message hold, those of its oneofs among them.
func (c *collector) fields(zero any, t reflect.Type) error {
	structs := []reflect.Type{t.Elem()}
	if o, ok := zero.(interface{ XXX_OneofWrappers() []any }); ok {
		for _, w := range o.XXX_OneofWrappers() {
			structs = append(structs, reflect.TypeOf(w).Elem())
		}
	}
	for _, s := range structs {
		for i := range s.NumField() {
			if s.Field(i).Tag.Get("protobuf") == "" {
				continue
			}
			if err := c.value(s.Field(i).Type); err != nil {
				return err
			}
		}
	}
	return nil
}

// value adds what a field of a type holds.
func (c *collector) value(t reflect.Type) error {
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct {
		return c.message(t)
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if e, ok := reflect.Zero(t).Interface().(interface{ EnumDescriptor() ([]byte, []int) }); ok {
		packed, _ := e.EnumDescriptor()
		return c.file(packed, t.PkgPath())
	}
	return nil
}

// file adds a file by its compressed descriptor; in is the Go package that has it.
func (c *collector) file(packed []byte, in string) error {
	if c.read[&packed[0]] {
		return nil
	}
	c.read[&packed[0]] = true
	fd, err := unpack(packed)
	if err != nil {
		return fmt.Errorf("the descriptor in %s: %w", in, err)
	}
	if other, ok := c.files[fd.GetName()]; ok && !proto.Equal(fd, other) {
		return fmt.Errorf("%s: the types need two different files of this path, one of them in %s", fd.GetName(), in)
	}
	c.files[fd.GetName()] = fd
	return nil
}

func unpack(packed []byte) (*descriptorpb.FileDescriptorProto, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	fd := new(descriptorpb.FileDescriptorProto)
	return fd, proto.Unmarshal(raw, fd)
}

// dropMessageSets makes ordinary messages of those with proto1's wire format, which the library has given up: what is in
// them is unknown to it. Their extensions go, whose numbers may be too large for ordinary messages.
func (c *collector) dropMessageSets() {
	sets := make(map[string]bool)
	for _, fd := range c.files {
		eachMessage(fd.GetMessageType(), "."+fd.GetPackage(), func(name string, m *descriptorpb.DescriptorProto) {
			if m.GetOptions().GetMessageSetWireFormat() {
				m.Options.MessageSetWireFormat, m.ExtensionRange = nil, nil
				sets[name] = true
			}
		})
	}
	extendsSet := func(x *descriptorpb.FieldDescriptorProto) bool { return sets[x.GetExtendee()] }
	for _, fd := range c.files {
		fd.Extension = slices.DeleteFunc(fd.Extension, extendsSet)
		eachMessage(fd.GetMessageType(), "", func(_ string, m *descriptorpb.DescriptorProto) {
			m.Extension = slices.DeleteFunc(m.Extension, extendsSet)
		})
	}
}

// eachMessage calls found for each message in list and inside them, with its full name behind a dot.
func eachMessage(list []*descriptorpb.DescriptorProto, scope string, found func(string, *descriptorpb.DescriptorProto)) {
	for _, m := range list {
		name := strings.TrimSuffix(scope, ".") + "." + m.GetName()
		found(name, m)
		eachMessage(m.GetNestedType(), name, found)
	}
}

// build makes one registry of the files, in which each finds the others. What no field leads to, such as the types of
// options, is left unresolved.
func (c *collector) build() (*protoregistry.Files, error) {
	c.dropMessageSets()
	declared := make(map[string]string) // paths by the names of messages and enums
	for path, fd := range c.files {
		scope := strings.TrimSuffix("."+fd.GetPackage(), ".")
		enums := func(scope string, list []*descriptorpb.EnumDescriptorProto) {
			for _, e := range list {
				declared[scope+"."+e.GetName()] = path
			}
		}
		enums(scope, fd.GetEnumType())
		eachMessage(fd.GetMessageType(), scope, func(name string, m *descriptorpb.DescriptorProto) {
			declared[name] = path
			enums(name, m.GetEnumType())
		})
	}
	b := builder{collector: c, declared: declared, files: new(protoregistry.Files)}
	for _, path := range slices.Sorted(maps.Keys(c.files)) {
		if err := b.add(path); err != nil {
			return nil, err
		}
	}
	return b.files, nil
}

type builder struct {
	*collector
	declared map[string]string
	files    *protoregistry.Files
}

// add registers a file after those that it refers to.
func (b *builder) add(path string) error {
	if _, err := b.files.FindFileByPath(path); err == nil {
		return nil
	}
	fd := b.collector.files[path]
	// A file that is here because of what a public import of another brought may be reached through one that is not here.
	for _, name := range references(fd) {
		if in, ok := b.declared[name]; ok && in != path && !slices.Contains(fd.Dependency, in) {
			fd.Dependency = append(fd.Dependency, in)
		}
	}
	for _, imported := range fd.Dependency {
		if b.collector.files[imported] == nil {
			continue
		}
		if err := b.add(imported); err != nil {
			return err
		}
	}
	built, err := protodesc.FileOptions{AllowUnresolvable: true}.New(fd, b.files)
	if err != nil {
		return err
	}
	return b.files.RegisterFile(built)
}

// references returns the names of the messages and enums that a file refers to, each behind a dot.
func references(fd *descriptorpb.FileDescriptorProto) []string {
	var names []string
	fields := func(list []*descriptorpb.FieldDescriptorProto) {
		for _, f := range list {
			names = append(names, f.GetTypeName(), f.GetExtendee())
		}
	}
	fields(fd.GetExtension())
	eachMessage(fd.GetMessageType(), "", func(_ string, m *descriptorpb.DescriptorProto) {
		fields(m.GetField())
		fields(m.GetExtension())
	})
	for _, s := range fd.GetService() {
		for _, m := range s.GetMethod() {
			names = append(names, m.GetInputType(), m.GetOutputType())
		}
	}
	return names
}
