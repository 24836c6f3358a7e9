package load

import (
	"slices"
	"strconv"

	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
)

// A converter makes the model of descriptors.
type converter struct {
	*run
	schema   *idl.Schema
	files    map[string]*idl.File
	messages map[protoreflect.FullName]*idl.Message
	enums    map[protoreflect.FullName]*idl.Enum
}

// convert returns the model of files and all that they import, and reports what is wrong with their options.
func (r *run) convert(files []protoreflect.FileDescriptor) *idl.Schema {
	c := &converter{run: r, schema: &idl.Schema{}, files: map[string]*idl.File{},
		messages: map[protoreflect.FullName]*idl.Message{}, enums: map[protoreflect.FullName]*idl.Enum{}}
	for _, fd := range files {
		c.file(fd)
	}
	if len(r.problems) == 0 {
		checkMethodIDs(c.schema, idl.MethodID, &r.problems)
	}
	return c.schema
}

// file converts a file after those that it imports, once.
func (c *converter) file(fd protoreflect.FileDescriptor) *idl.File {
	if f := c.files[fd.Path()]; f != nil {
		return f
	}
	raw := protoutil.ProtoFromFileDescriptor(fd)
	f := &idl.File{Path: fd.Path(), Syntax: syntax(raw), GoPackage: raw.GetOptions().GetGoPackage(),
		Deprecated: raw.GetOptions().GetDeprecated(), Descriptor: serialize(raw)}
	c.files[f.Path] = f
	if u := c.units[f.Path]; u != nil {
		f.Asked = u.asked
	}
	const packageNumber = 2
	at := fd.SourceLocations().ByPath(protoreflect.SourcePath{packageNumber})
	f.Pos, f.Comment = c.position(fd, at), comment(at)
	for i := range fd.Imports().Len() {
		imp := fd.Imports().Get(i)
		f.Imports = append(f.Imports, idl.Import{File: c.file(imp.FileDescriptor), Public: imp.IsPublic})
	}
	// Declared first, filled in later: fields refer to any of them.
	f.Messages = c.declareMessages(f, nil, fd.Messages())
	f.Enums = c.declareEnums(f, nil, fd.Enums())
	c.fillMessages(f.Messages, fd.Messages())
	f.Extensions = c.extensions(f, nil, fd.Extensions())
	for i := range fd.Services().Len() {
		f.Services = append(f.Services, c.service(f, fd.Services().Get(i)))
	}
	c.schema.Files = append(c.schema.Files, f)
	return f
}

// syntax returns the syntax of a file as its author wrote it.
func syntax(raw *descriptorpb.FileDescriptorProto) string {
	switch s := raw.GetSyntax(); s {
	case "":
		return "proto2"
	case "editions":
		const named = 1000 // EDITION_2023 and those that follow are so numbered
		if e := int(raw.GetEdition()); e == named {
			return "2023"
		} else {
			return strconv.Itoa(e)
		}
	default:
		return s
	}
}

func serialize(raw *descriptorpb.FileDescriptorProto) []byte {
	raw = proto.Clone(raw).(*descriptorpb.FileDescriptorProto)
	raw.SourceCodeInfo = nil
	b, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(raw)
	if err != nil {
		panic(err) // the compiler has checked it
	}
	return b
}

// position returns where a location begins; without a line where it is unknown.
func (c *converter) position(d protoreflect.Descriptor, at protoreflect.SourceLocation) diag.Position {
	file := d.ParentFile().Path()
	u := c.units[file]
	if u == nil {
		u = &unit{path: file}
	}
	if at.Path == nil {
		return diag.Position{File: u.path}
	}
	return u.place(at.StartLine+1, at.StartColumn+1)
}

// nameOf returns where the name of a declaration stands, and its comments.
func (c *converter) nameOf(d protoreflect.Descriptor) (diag.Position, idl.Comment) {
	locations := d.ParentFile().SourceLocations()
	whole := locations.ByDescriptor(d)
	const nameNumber = 1 // of every kind of descriptor
	at := whole
	if whole.Path != nil {
		if name := locations.ByPath(append(slices.Clone(whole.Path), nameNumber)); name.Path != nil {
			at = name
		}
	}
	return c.position(d, at), comment(whole)
}

func (c *converter) declareMessages(f *idl.File, parent *idl.Message, list protoreflect.MessageDescriptors) []*idl.Message {
	var all []*idl.Message
	for i := range list.Len() {
		md := list.Get(i)
		options, _ := md.Options().(*descriptorpb.MessageOptions)
		m := &idl.Message{File: f, Parent: parent, Name: string(md.Name()), FullName: string(md.FullName()),
			Deprecated: options.GetDeprecated(), MapEntry: md.IsMapEntry(), MessageSet: options.GetMessageSetWireFormat()}
		m.Pos, m.Comment = c.nameOf(md)
		for j := range md.ExtensionRanges().Len() {
			r := md.ExtensionRanges().Get(j)
			m.ExtensionRanges = append(m.ExtensionRanges, idl.Range{First: int32(r[0]), Last: int32(r[1]) - 1})
		}
		m.Messages = c.declareMessages(f, m, md.Messages())
		m.Enums = c.declareEnums(f, m, md.Enums())
		c.messages[md.FullName()] = m
		all = append(all, m)
	}
	return all
}

func (c *converter) declareEnums(f *idl.File, parent *idl.Message, list protoreflect.EnumDescriptors) []*idl.Enum {
	var all []*idl.Enum
	for i := range list.Len() {
		ed := list.Get(i)
		options, _ := ed.Options().(*descriptorpb.EnumOptions)
		e := &idl.Enum{File: f, Parent: parent, Name: string(ed.Name()), FullName: string(ed.FullName()),
			Deprecated: options.GetDeprecated()}
		e.Pos, e.Comment = c.nameOf(ed)
		for j := range ed.Values().Len() {
			vd := ed.Values().Get(j)
			options, _ := vd.Options().(*descriptorpb.EnumValueOptions)
			v := &idl.EnumValue{Name: string(vd.Name()), FullName: string(vd.FullName()), Number: int32(vd.Number()),
				Deprecated: options.GetDeprecated()}
			v.Pos, v.Comment = c.nameOf(vd)
			e.Values = append(e.Values, v)
		}
		c.enums[ed.FullName()] = e
		all = append(all, e)
	}
	return all
}

func (c *converter) fillMessages(models []*idl.Message, list protoreflect.MessageDescriptors) {
	for i, m := range models {
		md := list.Get(i)
		c.options(messageTarget, md, m.Pos)
		oneofs := c.oneofs(m, md)
		for j := range md.Fields().Len() {
			fd := md.Fields().Get(j)
			f := c.field(fd)
			f.Parent = m
			if od := fd.ContainingOneof(); od != nil && !od.IsSynthetic() {
				f.Oneof = oneofs[od.FullName()]
				f.Oneof.Fields = append(f.Oneof.Fields, f)
			}
			m.Fields = append(m.Fields, f)
		}
		c.fillMessages(m.Messages, md.Messages())
		m.Extensions = c.extensions(m.File, m, md.Extensions())
	}
	// Maps last: their entries are among the messages nested in the same one.
	for _, m := range models {
		for _, f := range m.Fields {
			if f.Message != nil && f.Message.MapEntry {
				f.Map = &idl.Map{Key: f.Message.Fields[0], Value: f.Message.Fields[1]}
			}
		}
	}
}

func (c *converter) oneofs(m *idl.Message, md protoreflect.MessageDescriptor) map[protoreflect.FullName]*idl.Oneof {
	byName := map[protoreflect.FullName]*idl.Oneof{}
	for i := range md.Oneofs().Len() {
		od := md.Oneofs().Get(i)
		if od.IsSynthetic() {
			continue
		}
		o := &idl.Oneof{Name: string(od.Name()), Parent: m}
		o.Pos, o.Comment = c.nameOf(od)
		byName[od.FullName()] = o
		m.Oneofs = append(m.Oneofs, o)
	}
	return byName
}

// kinds are the model's kinds by the compiler's.
var kinds = map[protoreflect.Kind]idl.Kind{
	protoreflect.DoubleKind: idl.KindDouble, protoreflect.FloatKind: idl.KindFloat,
	protoreflect.Int64Kind: idl.KindInt64, protoreflect.Uint64Kind: idl.KindUint64,
	protoreflect.Int32Kind: idl.KindInt32, protoreflect.Uint32Kind: idl.KindUint32,
	protoreflect.Fixed64Kind: idl.KindFixed64, protoreflect.Fixed32Kind: idl.KindFixed32,
	protoreflect.Sfixed64Kind: idl.KindSfixed64, protoreflect.Sfixed32Kind: idl.KindSfixed32,
	protoreflect.Sint64Kind: idl.KindSint64, protoreflect.Sint32Kind: idl.KindSint32,
	protoreflect.BoolKind: idl.KindBool, protoreflect.StringKind: idl.KindString, protoreflect.BytesKind: idl.KindBytes,
	protoreflect.EnumKind: idl.KindEnum, protoreflect.MessageKind: idl.KindMessage, protoreflect.GroupKind: idl.KindMessage,
}

func (c *converter) field(fd protoreflect.FieldDescriptor) *idl.Field {
	options, _ := fd.Options().(*descriptorpb.FieldOptions)
	f := &idl.Field{Name: string(fd.Name()), JSONName: fd.JSONName(), FullName: string(fd.FullName()), Number: int32(fd.Number()),
		Kind: kinds[fd.Kind()], Repeated: fd.Cardinality() == protoreflect.Repeated, Packed: fd.IsPacked(),
		Delimited: fd.Kind() == protoreflect.GroupKind, CheckUTF8: fd.Kind() == protoreflect.StringKind && checksUTF8(fd),
		Deprecated: options.GetDeprecated(), Optional: fd.HasOptionalKeyword() && fd.Syntax() == protoreflect.Proto3,
		JSString: options.GetJstype() == descriptorpb.FieldOptions_JS_STRING}
	f.Pos, f.Comment = c.nameOf(fd)
	switch {
	case fd.Cardinality() == protoreflect.Required:
		f.Presence = idl.Required
	case fd.HasPresence():
		f.Presence = idl.Explicit
	}
	if fd.Message() != nil {
		f.Message = c.messages[fd.Message().FullName()]
	}
	if fd.Enum() != nil {
		f.Enum = c.enums[fd.Enum().FullName()]
	}
	if fd.HasDefault() {
		f.Default = defaultOf(fd, f)
	}
	f.Blob = c.blob(fd, f.Pos)
	return f
}

var utf8Validation = (*descriptorpb.FeatureSet)(nil).ProtoReflect().Descriptor().Fields().ByName("utf8_validation")

// checksUTF8 says whether a string field must be valid UTF-8.
func checksUTF8(fd protoreflect.FieldDescriptor) bool {
	switch fd.ParentFile().Syntax() {
	case protoreflect.Proto2:
		return false
	case protoreflect.Proto3:
		return true
	}
	v, err := protoutil.ResolveFeature(fd, utf8Validation)
	return err != nil || v.Enum() != protoreflect.EnumNumber(descriptorpb.FeatureSet_NONE)
}

func defaultOf(fd protoreflect.FieldDescriptor, f *idl.Field) *idl.Default {
	d, v := &idl.Default{}, fd.Default()
	switch x := v.Interface().(type) {
	case bool:
		d.Bool = x
	case int32, int64:
		d.Int = v.Int()
	case uint32, uint64:
		d.Uint = v.Uint()
	case float32, float64:
		d.Float = v.Float()
	case string:
		d.Bytes = []byte(x)
	case []byte:
		d.Bytes = x
	case protoreflect.EnumNumber:
		d.Int = int64(x)
		i := slices.IndexFunc(f.Enum.Values, func(e *idl.EnumValue) bool { return e.Name == string(fd.DefaultEnumValue().Name()) })
		d.Enum = f.Enum.Values[i]
	}
	return d
}

func (c *converter) extensions(f *idl.File, scope *idl.Message, list protoreflect.ExtensionDescriptors) []*idl.Extension {
	var all []*idl.Extension
	for i := range list.Len() {
		xd := list.Get(i)
		x := &idl.Extension{Field: c.field(xd), File: f, Scope: scope}
		x.Parent = c.messages[xd.ContainingMessage().FullName()]
		all = append(all, x)
	}
	return all
}
