// Hello is two processes that talk: a server that greets and a client that calls it, in each of the five ways that
// there are.
//
//	go run ./examples/hello
//
// The client is what you start. It starts the server three times - at the other end of a pipe, on a unix socket, on
// TCP - and shows what comes back, and then what happens when something goes wrong. It leaves nothing behind.
//
// Read hello.proto first, from which package hellov1 is generated, then server.go and client.go. How one process starts
// the other is in process.go; this file puts it all together.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"

	"github.com/ipcgen/ipcgen/examples/hello/hellov1"
	"github.com/ipcgen/ipcgen/runtime/ipc"
)

//go:generate go run ../../cmd/ipcgen generate -I . --lang go --out hellov1 hello.proto

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

// run is the client, or the server where the arguments say so.
func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		return runServer(ctx, os.Args[2])
	}
	return tour(ctx, os.Stdout)
}

// tour goes every way there is and writes to out what happens.
func tour(ctx context.Context, out io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hello")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	socket := "unix:" + filepath.Join(dir, "hello.sock")

	fmt.Fprintf(out, "This is process %d, the client. The server is the same program in a process of its own.\n", os.Getpid())
	if runtime.GOOS != "windows" { // where the runtime has no pipes yet
		// The address is a command line: dialing starts the server, closing ends it.
		if err := visit(ctx, out, "Over a pipe", fmt.Sprintf("exec:%q serve stdio:", program)); err != nil {
			return err
		}
	}
	for _, way := range []struct{ name, address string }{
		{"Over a unix socket", socket},
		{"Over TCP", "tcp:127.0.0.1:0"},
	} {
		err := with(ctx, program, way.address, func(s *server) error { return visit(ctx, out, way.name, s.address) })
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "\nWhen something goes wrong")
	if err := with(ctx, program, socket, func(s *server) error { return fail(ctx, out, s) }); err != nil {
		return err
	}
	return with(ctx, program, socket, func(s *server) error { return replace(ctx, out, s) })
}

// visit dials address and makes a call of each kind.
func visit(ctx context.Context, out io.Writer, way, address string) error {
	conn, err := ipc.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	peer := conn.Peer()
	fmt.Fprintf(out, "\n%s: %s", way, peer.Address)
	if peer.Identified {
		fmt.Fprintf(out, ", process %d", peer.PID)
	}
	fmt.Fprintln(out)
	return show(ctx, out, conn, []call{
		{"unary", `Greet "Ada"`, greet},
		{"server stream", `Countdown from 3`, countdown},
		{"client stream", `GreetAll "Ada", "Alan", "Grace"`, greetAll},
		{"bidirectional", `Chat "Knock, knock.", "Ada."`, chat},
		{"oneway", `Wave "Godot"`, wave},
	})
}

// fail shows calls that fail, the last of them because the server was killed.
func fail(ctx context.Context, out io.Writer, s *server) error {
	conn, err := ipc.Dial(ctx, s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := show(ctx, out, conn, []call{
		{"a typed error", "Greet a name of 60 bytes", typedError},
		{"a deadline", `Greet "Godot", who does not wave`, deadline},
	}); err != nil {
		return err
	}
	during, after, err := lose(ctx, hellov1.NewGreeterClient(conn), s.kill)
	if err != nil {
		return err
	}
	line(out, "a killed server", "the call that is running", during)
	line(out, "", "the call after it", after)
	return nil
}

// replace dials again. The new server has taken the place that the killed one left.
func replace(ctx context.Context, out io.Writer, s *server) error {
	conn, err := ipc.Dial(ctx, s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	return show(ctx, out, conn, []call{{"", "dial the next server, Greet", greet}})
}

// A call is one line of the tour.
type call struct {
	what, request string
	do            func(context.Context, *hellov1.GreeterClient) (string, error)
}

// show makes calls and prints what comes back.
func show(ctx context.Context, out io.Writer, conn *ipc.Conn, calls []call) error {
	client := hellov1.NewGreeterClient(conn)
	for _, c := range calls {
		result, err := c.do(ctx, client)
		if err != nil {
			return err
		}
		line(out, c.what, c.request, result)
	}
	return nil
}

func line(out io.Writer, what, request, result string) {
	fmt.Fprintf(out, "  %-15s  %-33s %s\n", what, request, result)
}
