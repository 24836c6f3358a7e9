package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
)

// echoServer is the service of the examples: testdata/services/echo/v1/echo.proto.
type echoServer struct{}

func (echoServer) Say(ctx context.Context, req *echov1.SayRequest) (*echov1.SayResponse, error) {
	switch {
	case len(req.Text) > 20:
		return nil, ipc.Errorf(ipc.OutOfRange, "%d bytes: %w", len(req.Text), &echov1.TooLong{Limit: 20})
	case req.Text == "wait":
		<-ctx.Done() // the caller's deadline, or its end
		return nil, ctx.Err()
	}
	return &echov1.SayResponse{Text: req.Text}, nil
}

func (echoServer) Repeat(_ context.Context, req *echov1.SayRequest, send func(*echov1.SayResponse) error) error {
	for range req.Times {
		if err := send(&echov1.SayResponse{Text: req.Text}); err != nil {
			return err
		}
	}
	return nil
}

func (echoServer) Join(_ context.Context, in iter.Seq2[*echov1.SayRequest, error]) (*echov1.SayResponse, error) {
	var words []string
	for req, err := range in {
		if err != nil {
			return nil, err
		}
		words = append(words, req.Text)
	}
	return &echov1.SayResponse{Text: strings.Join(words, " ")}, nil
}

func (echoServer) Chat(_ context.Context, in iter.Seq2[*echov1.SayRequest, error], send func(*echov1.SayResponse) error) error {
	for req, err := range in {
		if err != nil {
			return err
		}
		if err := send(&echov1.SayResponse{Text: req.Text + "!"}); err != nil {
			return err
		}
	}
	return nil
}

func (echoServer) Note(_ context.Context, req *echov1.SayRequest) error {
	fmt.Println("noted:", req.Text)
	return nil
}

// connect serves at address by one endpoint and dials it by the other, as two processes would. It returns the
// connection, and what ends both.
func connect(address string, server, client *ipc.Endpoint) (*ipc.Conn, func()) {
	ctx, stop := context.WithCancel(context.Background())
	server.Services = []ipc.Service{echov1.NewEchoService(echoServer{})}
	l, err := server.Listen(ctx, address)
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx) }()
	conn, err := client.Dial(ctx, l.Address())
	if err != nil {
		log.Fatal(err)
	}
	return conn, func() {
		conn.Close()
		stop()
		if err := <-served; err != nil {
			log.Fatal(err)
		}
	}
}

// One process serves, another dials. Here both are one.
func Example() {
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	address := "unix:" + filepath.Join(dir, "echo.sock")

	// The server. ipc.Serve(ctx, address, service) is short for Listen and Serve; apart, they tell when peers can come.
	ctx, stop := context.WithCancel(context.Background())
	endpoint := &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(echoServer{})}}
	listener, err := endpoint.Listen(ctx, address)
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- listener.Serve(ctx) }()

	// The client.
	conn, err := ipc.Dial(ctx, address)
	if err != nil {
		log.Fatal(err)
	}
	res, err := echov1.NewEchoClient(conn).Say(ctx, &echov1.SayRequest{Text: "hello"})
	fmt.Println(res, err)
	conn.Close()

	stop()
	fmt.Println("served:", <-served)
	// Output:
	// text:"hello" <nil>
	// served: <nil>
}

// A server stream is a sequence. Leaving the loop ends the call.
func Example_serverStream() {
	client := echov1.NewEchoClient(ipc.Local(echov1.NewEchoService(echoServer{})))
	n := 0
	for res, err := range client.Repeat(context.Background(), &echov1.SayRequest{Text: "again", Times: 1_000_000}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Text)
		if n++; n == 2 {
			break
		}
	}
	// Output:
	// again
	// again
}

// A client stream takes a sequence.
func Example_clientStream() {
	client := echov1.NewEchoClient(ipc.Local(echov1.NewEchoService(echoServer{})))
	words := slices.Values([]*echov1.SayRequest{{Text: "one"}, {Text: "after"}, {Text: "another"}})
	res, err := client.Join(context.Background(), words)
	fmt.Println(res.GetText(), err)
	// Output: one after another <nil>
}

// A bidirectional call is a handle, whose two directions go on independently.
func Example_bidirectional() {
	client := echov1.NewEchoClient(ipc.Local(echov1.NewEchoService(echoServer{})))
	chat, err := client.Chat(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer chat.Close()
	go func() {
		for _, text := range []string{"hello", "goodbye"} {
			if chat.Send(&echov1.SayRequest{Text: text}) != nil {
				return // Receive tells why
			}
		}
		chat.CloseSend()
	}()
	for {
		res, err := chat.Receive()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Text)
	}
	// Output:
	// hello!
	// goodbye!
}

// A oneway call returns when the message is on its way. Through Local it returns when the handler has run.
func Example_oneway() {
	client := echov1.NewEchoClient(ipc.Local(echov1.NewEchoService(echoServer{})))
	err := client.Note(context.Background(), &echov1.SayRequest{Text: "milk"})
	fmt.Println(err)
	// Output:
	// noted: milk
	// <nil>
}

// A handler says what its caller sees. An error that the schema declares arrives as what it is.
func ExampleErrorf() {
	client := echov1.NewEchoClient(ipc.Local(echov1.NewEchoService(echoServer{})))
	_, err := client.Say(context.Background(), &echov1.SayRequest{Text: "supercalifragilisticexpialidocious"})
	fmt.Println(ipc.CodeOf(err))
	var tooLong *echov1.TooLong
	if errors.As(err, &tooLong) {
		fmt.Println("the limit is", tooLong.Limit)
	}
	// Output:
	// OUT_OF_RANGE
	// the limit is 20
}

// A call ends with its context, on both sides. Where the context has no deadline, the schema's timeout counts.
func Example_deadline() {
	client := echov1.NewEchoClient(ipc.Local(echov1.NewEchoService(echoServer{})))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := client.Say(ctx, &echov1.SayRequest{Text: "wait"})
	fmt.Println(ipc.CodeOf(err), errors.Is(err, context.DeadlineExceeded))
	// Output: DEADLINE_EXCEEDED true
}

// Metadata travels beside the request, trailers beside the end. Here a hook of the server sends one back as the other.
func ExampleWithMetadata() {
	server := &ipc.Endpoint{HandlerHooks: []ipc.Hook{
		func(ctx context.Context, _ *ipc.CallInfo) (context.Context, func(error) error, error) {
			return ctx, nil, ipc.SetTrailer(ctx, "seen", ipc.MetadataOf(ctx)["trace"])
		},
	}}
	conn, end := connect("tcp:127.0.0.1:0", server, &ipc.Endpoint{})
	defer end()
	var trailers ipc.Metadata
	ctx := ipc.WithMetadata(context.Background(), ipc.Metadata{"trace": "7"})
	_, err := echov1.NewEchoClient(conn).Say(ipc.WithTrailers(ctx, &trailers), &echov1.SayRequest{})
	fmt.Println(trailers, err)
	// Output: map[seen:7] <nil>
}

// A hook stands before and behind every call.
func ExampleHook() {
	report := func(ctx context.Context, call *ipc.CallInfo) (context.Context, func(error) error, error) {
		fmt.Println(call.Method.Path(), "begins:", call.Request)
		return ctx, func(err error) error {
			fmt.Println(call.Method.Path(), "ends:", ipc.CodeOf(err))
			return err
		}, nil
	}
	guard := func(ctx context.Context, call *ipc.CallInfo) (context.Context, func(error) error, error) {
		if req, ok := call.Request.(*echov1.SayRequest); ok && req.Text == "sesame" {
			return nil, nil, ipc.Errorf(ipc.PermissionDenied, "not for you")
		}
		return ctx, nil, nil
	}
	conn, end := connect("tcp:127.0.0.1:0", &ipc.Endpoint{HandlerHooks: []ipc.Hook{guard}}, &ipc.Endpoint{CallHooks: []ipc.Hook{report}})
	defer end()
	client := echov1.NewEchoClient(conn)
	client.Say(context.Background(), &echov1.SayRequest{Text: "hello"})
	client.Say(context.Background(), &echov1.SayRequest{Text: "sesame"})
	// Output:
	// echo.v1.Echo/Say begins: text:"hello"
	// echo.v1.Echo/Say ends: OK
	// echo.v1.Echo/Say begins: text:"sesame"
	// echo.v1.Echo/Say ends: PERMISSION_DENIED
}

// A test of a service needs no process, no socket and no cleaning up.
func ExampleLocal() {
	client := echov1.NewEchoClient(ipc.Local(echov1.NewEchoService(echoServer{})))
	res, err := client.Say(context.Background(), &echov1.SayRequest{Text: "hello"})
	fmt.Println(res, err)
	// Output: text:"hello" <nil>
}

// Shutdown lets the calls that run finish, and refuses new ones.
func ExampleConn_Shutdown() {
	conn, end := connect("tcp:127.0.0.1:0", &ipc.Endpoint{}, &ipc.Endpoint{})
	defer end()
	ctx := context.Background()
	client := echov1.NewEchoClient(conn)
	chat, err := client.Chat(ctx)
	if err != nil {
		log.Fatal(err)
	}
	drained := make(chan error)
	go func() { drained <- conn.Shutdown(ctx) }()

	chat.Send(&echov1.SayRequest{Text: "still here"})
	res, err := chat.Receive()
	fmt.Println(res, err)
	chat.CloseSend()
	chat.Receive() // io.EOF: the last call is over

	fmt.Println("drained:", <-drained)
	_, err = client.Say(ctx, &echov1.SayRequest{Text: "too late"})
	var e *ipc.Error
	fmt.Println("certainly not executed:", errors.As(err, &e) && e.NotExecuted)
	// Output:
	// text:"still here!" <nil>
	// drained: <nil>
	// certainly not executed: true
}

// For TLS both endpoints have a configuration of package crypto/tls. A listener's has a certificate; with ClientAuth and
// ClientCAs, its peers need one too.
func ExampleEndpoint_tls() {
	serverTLS, clientTLS, err := transporttest.TLS() // for tests; others load theirs with tls.LoadX509KeyPair
	if err != nil {
		log.Fatal(err)
	}
	conn, end := connect("tls:127.0.0.1:0", &ipc.Endpoint{TLS: serverTLS}, &ipc.Endpoint{TLS: clientTLS})
	defer end()
	res, err := echov1.NewEchoClient(conn).Say(context.Background(), &echov1.SayRequest{Text: "in private"})
	fmt.Println(res, err)
	// Output: text:"in private" <nil>
}
