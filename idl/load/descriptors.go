package load

import (
	"context"
	"fmt"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/ipcgen/ipcgen/idl"
	"github.com/ipcgen/ipcgen/idl/diag"
)

// FromDescriptors returns the model of files that a compiler such as protoc or buf has compiled, with all that they
// import, in any order. Asked are the names of those that output is wanted for. Positions are as good as the source
// information in the descriptors.
//
// An error is a diag.List, or ctx's.
func FromDescriptors(ctx context.Context, set []*descriptorpb.FileDescriptorProto, asked ...string) (*idl.Schema, error) {
	r := &run{units: map[string]*unit{}}
	byName := make(map[string]*descriptorpb.FileDescriptorProto, len(set))
	for _, fd := range set {
		byName[fd.GetName()] = fd
	}
	for _, name := range asked {
		if byName[name] == nil {
			r.problem(&diag.Diagnostic{Pos: diag.Position{File: name}, Text: "there is no descriptor of this file"})
		}
		r.units[name] = &unit{name: name, path: name, asked: true}
	}
	if err := r.problems.Err(); err != nil {
		return nil, err
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.ResolverFunc(func(name string) (protocompile.SearchResult, error) {
			if fd := byName[name]; fd != nil {
				return protocompile.SearchResult{Proto: fd}, nil
			}
			return protocompile.SearchResult{}, fmt.Errorf("there is no descriptor of %s, which another file imports", name)
		}),
		SourceInfoMode: protocompile.SourceInfoStandard, // else it is taken away, and with it the comments
	}
	files, err := compiler.Compile(ctx, asked...)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, diag.List{{Text: fmt.Sprintf("the descriptors do not fit together: %v", err)}}
	}
	linked := make([]protoreflect.FileDescriptor, len(files))
	for i, f := range files {
		linked[i] = f
	}
	schema := r.convert(linked)
	if err := r.problems.Err(); err != nil {
		return nil, err
	}
	return schema, nil
}
