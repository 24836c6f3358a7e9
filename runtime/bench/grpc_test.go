package bench

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpc-go, with a message of its own library.

type grpcServer interface{}

func grpcEcho(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(wrapperspb.BytesValue)
	if err := dec(in); err != nil {
		return nil, err
	}
	return &wrapperspb.BytesValue{Value: in.Value}, nil
}

func grpcRepeat(_ any, stream grpc.ServerStream) error {
	in := new(wrapperspb.BytesValue)
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(in.Value)
	res := &wrapperspb.BytesValue{Value: in.Value}
	for range n {
		if err := stream.SendMsg(res); err != nil {
			return err
		}
	}
	return nil
}

var grpcDesc = grpc.ServiceDesc{ServiceName: "bench.Echo", HandlerType: (*grpcServer)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: grpcEcho}},
	Streams: []grpc.StreamDesc{{StreamName: "Repeat", Handler: grpcRepeat, ServerStreams: true}}}

func serveGRPC(address string, ready func()) error {
	network, where, _ := strings.Cut(address, ":")
	l, err := net.Listen(network, where)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	s.RegisterService(&grpcDesc, struct{}{})
	ready()
	return s.Serve(l)
}

func dialGRPC(b *testing.B, address string) *grpc.ClientConn {
	_, where, _ := strings.Cut(address, ":")
	c, err := grpc.NewClient("unix:"+where, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// callGRPC returns a unary call.
func callGRPC(c *grpc.ClientConn, value []byte) func() error {
	req := &wrapperspb.BytesValue{Value: value}
	return func() error {
		return c.Invoke(context.Background(), "/bench.Echo/Say", req, new(wrapperspb.BytesValue))
	}
}

// repeatGRPC returns a server stream of n messages of size bytes, which counts those that came.
func repeatGRPC(c *grpc.ClientConn, size, n int) func() (int, error) {
	value := make([]byte, size)
	binary.LittleEndian.PutUint64(value, uint64(n))
	return func() (came int, err error) {
		st, err := c.NewStream(context.Background(), &grpcDesc.Streams[0], "/bench.Echo/Repeat")
		if err != nil {
			return 0, err
		}
		if err := st.SendMsg(&wrapperspb.BytesValue{Value: value}); err != nil {
			return 0, err
		}
		st.CloseSend()
		for ; ; came++ {
			if err := st.RecvMsg(new(wrapperspb.BytesValue)); err == io.EOF {
				return came, nil
			} else if err != nil {
				return came, err
			}
		}
	}
}
