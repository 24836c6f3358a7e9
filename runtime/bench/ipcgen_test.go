package bench

import (
	"context"
	"iter"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
)

type echo struct{ echov1.UnimplementedEcho }

func (echo) Say(_ context.Context, req *echov1.SayRequest) (*echov1.SayResponse, error) {
	return &echov1.SayResponse{Text: req.Text}, nil
}

func (echo) Repeat(_ context.Context, req *echov1.SayRequest, send func(*echov1.SayResponse) error) error {
	res := &echov1.SayResponse{Text: req.Text}
	for range req.Times {
		if err := send(res); err != nil {
			return err
		}
	}
	return nil
}

func (echo) Join(_ context.Context, in iter.Seq2[*echov1.SayRequest, error]) (*echov1.SayResponse, error) {
	for _, err := range in {
		if err != nil {
			return nil, err
		}
	}
	return &echov1.SayResponse{}, nil
}

func serveIPC(address string, ready func()) error {
	return serveWith(&ipc.Endpoint{}, address, ready)
}

// serveParking is serveIPC without spinning.
func serveParking(address string, ready func()) error {
	return serveWith(&ipc.Endpoint{Spin: -1}, address, ready)
}

func serveWith(e *ipc.Endpoint, address string, ready func()) error {
	e.Services = []ipc.Service{echov1.NewEchoService(echo{})}
	l, err := e.Listen(context.Background(), address)
	if err != nil {
		return err
	}
	ready()
	return l.Serve(context.Background())
}

func dialIPC(b *testing.B, address string) *echov1.EchoClient {
	return dialWith(b, &ipc.Endpoint{}, address)
}

func dialWith(b *testing.B, e *ipc.Endpoint, address string) *echov1.EchoClient {
	conn, err := e.Dial(context.Background(), address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return echov1.NewEchoClient(conn)
}

// repeatIPC returns a server stream of n messages of size bytes, which counts those that came.
func repeatIPC(c *echov1.EchoClient, size, n int) func() (int, error) {
	req := &echov1.SayRequest{Text: textOf(size), Times: uint32(n)}
	return func() (came int, err error) {
		for _, err := range c.Repeat(context.Background(), req) {
			if err != nil {
				return came, err
			}
			came++
		}
		return came, nil
	}
}
