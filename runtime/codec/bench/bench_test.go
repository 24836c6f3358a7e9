// Package bench measures the codec beside other Go libraries for protobuf: google.golang.org/protobuf, vtprotobuf and
// hyperpb, on the same bytes in the same run. It is a module of its own, so that users of the runtime do not download
// them.
//
//	go test -bench . | benchstat -col /codec -
//
// The peers' code comes from protoc with protoc-gen-go and protoc-gen-go-vtproto:
//
//go:generate go -C ../../.. run ./cmd/ipcgen generate -I runtime/codec/bench/shapes --out runtime/codec/bench/shapes runtime/codec/bench/shapes/shapes.proto
//go:generate protoc -I shapes --go_out=peers --go_opt=paths=source_relative,Mshapes.proto=github.com/ipcgen/ipcgen/runtime/codec/bench/peers\;peers --go-vtproto_out=peers --go-vtproto_opt=paths=source_relative,features=marshal+unmarshal+size,Mshapes.proto=github.com/ipcgen/ipcgen/runtime/codec/bench/peers\;peers shapes.proto
package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"buf.build/go/hyperpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/codec/bench/peers"
	"github.com/ipcgen/ipcgen/runtime/codec/bench/shapes"
	"github.com/ipcgen/ipcgen/runtime/wkt/descriptor"
)

// A shape is a message with its content, as each library has it.
type shape struct {
	name string
	ours codec.Message
	peer proto.Message // vtprotobuf's too, where it has methods
	// newOurs, newPeer and newVT return an empty message to decode into. NewVT is nil where vtprotobuf is not measured.
	newOurs func() codec.Message
	newPeer func() proto.Message
	newVT   func() vtMessage
}

// shapeOf returns a shape that has the content of ours, and that all libraries are measured with.
func shapeOf[M, P any, MP interface {
	*M
	codec.Message
}, PP interface {
	*P
	proto.Message
	vtMessage
}](name string, ours MP) shape {
	s := withoutVT[M, P, MP, PP](name, ours)
	s.newVT = func() vtMessage { return PP(new(P)) }
	return s
}

// withoutVT returns a shape for which vtprotobuf has no code.
func withoutVT[M, P any, MP interface {
	*M
	codec.Message
}, PP interface {
	*P
	proto.Message
}](name string, ours MP) shape {
	return shape{
		name:    name,
		ours:    ours,
		peer:    PP(new(P)),
		newOurs: func() codec.Message { return MP(new(M)) },
		newPeer: func() proto.Message { return PP(new(P)) },
	}
}

// vtMessage is what vtprotobuf adds to a message of google.golang.org/protobuf.
type vtMessage interface {
	SizeVT() int
	MarshalToSizedBufferVT(b []byte) (int, error)
	UnmarshalVT(b []byte) error
}

func shapesToMeasure() []shape {
	small := &shapes.Small{Name: "a name of some length", Id: 1 << 40, Count: 12, Active: true, Ratio: 0.5, Note: "ten chars "}
	blob := &shapes.Blob{Data: bytes.Repeat([]byte("0123456789abcdef"), 1<<16)}
	return []shape{
		shapeOf[shapes.Small, peers.Small]("small", small),
		shapeOf[shapes.Batch, peers.Batch]("batch", batch(1000)),
		shapeOf[shapes.Deep, peers.Deep]("deep", deep(50)),
		shapeOf[shapes.Varints, peers.Varints]("varints", varints(100_000)),
		shapeOf[shapes.Doubles, peers.Doubles]("doubles", doubles(100_000)),
		shapeOf[shapes.Blob, peers.Blob]("blob", blob),
		withoutVT[descriptor.FileDescriptorProto, descriptorpb.FileDescriptorProto]("descriptor", described()),
	}
}

func batch(n int) *shapes.Batch {
	b := new(shapes.Batch)
	for i := range n {
		b.Items = append(b.Items, &shapes.Item{
			Id:   uint64(i) * 1000,
			Name: fmt.Sprintf("item %d", i),
			At:   &shapes.Point{X: float64(i), Y: 0.25, Label: "here"},
			Tags: []string{"one", "another"},
			Rank: new(int32(i)),
		})
	}
	return b
}

func deep(levels int) *shapes.Deep {
	var m *shapes.Deep
	for i := range levels {
		m = &shapes.Deep{Level: int32(i), Name: "level", Child: m}
	}
	return m
}

// varints returns numbers of all sizes, in no order that a processor could learn.
func varints(n int) *shapes.Varints {
	r := rand.New(rand.NewPCG(1, 2))
	m := new(shapes.Varints)
	for range n {
		m.Values = append(m.Values, r.Uint64()>>r.IntN(64))
	}
	return m
}

func doubles(n int) *shapes.Doubles {
	m := new(shapes.Doubles)
	for i := range n {
		m.Values = append(m.Values, float64(i)/3)
	}
	return m
}

// described returns the descriptor of descriptor.proto.
func described() *descriptor.FileDescriptorProto {
	b, err := proto.Marshal(protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto))
	if err != nil {
		panic(err)
	}
	m := new(descriptor.FileDescriptorProto)
	if err := m.Unmarshal(b); err != nil {
		panic(err)
	}
	return m
}

// each runs measure for each shape with its bytes, which the peer has decoded.
func each(b *testing.B, measure func(b *testing.B, s shape, wire []byte)) {
	for _, s := range shapesToMeasure() {
		wire, err := s.ours.MarshalAppend(nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := proto.Unmarshal(wire, s.peer); err != nil {
			b.Fatal(err)
		}
		b.Run("shape="+s.name, func(b *testing.B) { measure(b, s, wire) })
	}
}

// run measures one library.
func run(b *testing.B, name string, size int, step func() error) {
	b.Run("codec="+name, func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(size))
		for b.Loop() {
			if err := step(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMarshal(b *testing.B) {
	each(b, func(b *testing.B, s shape, wire []byte) {
		buf := make([]byte, 0, len(wire))
		run(b, "copy", len(wire), func() error {
			buf = append(buf[:0], wire...)
			return nil
		})
		run(b, "ipcgen", len(wire), func() (err error) {
			buf, err = s.ours.MarshalAppend(buf[:0])
			return err
		})
		run(b, "protobuf", len(wire), func() (err error) {
			buf, err = proto.MarshalOptions{}.MarshalAppend(buf[:0], s.peer)
			return err
		})
		if vt, ok := s.peer.(vtMessage); ok {
			run(b, "vtprotobuf", len(wire), func() error {
				_, err := vt.MarshalToSizedBufferVT(buf[:vt.SizeVT()])
				return err
			})
		}
	})
}

func BenchmarkUnmarshal(b *testing.B) {
	each(b, func(b *testing.B, s shape, wire []byte) {
		run(b, "ipcgen", len(wire), func() error { return s.newOurs().Unmarshal(wire) })
		run(b, "ipcgen-alias", len(wire), func() error { return codec.Options{Alias: true}.Unmarshal(wire, s.newOurs()) })
		run(b, "protobuf", len(wire), func() error { return proto.Unmarshal(wire, s.newPeer()) })
		if s.newVT != nil {
			run(b, "vtprotobuf", len(wire), func() error { return s.newVT().UnmarshalVT(wire) })
		}
		compiled := hyperpb.CompileMessageDescriptor(s.peer.ProtoReflect().Descriptor())
		shared := new(hyperpb.Shared)
		run(b, "hyperpb", len(wire), func() error {
			defer shared.Free()
			return shared.NewMessage(compiled).Unmarshal(wire)
		})
	})
}

// TestSame wants what is measured to be the same work: each library's bytes are the others'.
func TestSame(t *testing.T) {
	for _, s := range shapesToMeasure() {
		wire, err := s.ours.MarshalAppend(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(wire, s.peer); err != nil {
			t.Fatal(err)
		}
		theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.peer)
		if err != nil || !bytes.Equal(theirs, wire) {
			t.Errorf("%s: protobuf's bytes differ: %v", s.name, err)
		}
	}
}
