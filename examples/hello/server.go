package main

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/ipcgen/ipcgen/examples/hello/hellov1"
	"github.com/ipcgen/ipcgen/runtime/ipc"
)

// serve offers the greeter at address until ctx ends. It calls listening with the address to dial, in which the port is
// filled in that the system chose.
func serve(ctx context.Context, address string, listening func(address string)) error {
	endpoint := &ipc.Endpoint{Services: []ipc.Service{hellov1.NewGreeterService(newGreeter())}}
	l, err := endpoint.Listen(ctx, address)
	if err != nil {
		return err
	}
	listening(l.Address())
	return l.Serve(ctx)
}

// greeter implements hellov1.GreeterServer. Its methods run at the same time, one call of one peer beside another.
type greeter struct {
	once sync.Once
	here chan struct{} // closed when Godot has waved
}

func newGreeter() *greeter { return &greeter{here: make(chan struct{})} }

const maxName = 32

func (g *greeter) Greet(ctx context.Context, req *hellov1.GreetRequest) (*hellov1.GreetResponse, error) {
	if len(req.Name) > maxName {
		return nil, ipc.Errorf(ipc.InvalidArgument, "a name of %d bytes: %w", len(req.Name), &hellov1.NameTooLong{Limit: maxName})
	}
	if req.Name == "Godot" {
		select {
		case <-g.here:
		case <-ctx.Done(): // the caller waits no longer, or is gone
			return nil, ctx.Err()
		}
	}
	return &hellov1.GreetResponse{Text: "Hello, " + req.Name + "!"}, nil
}

func (g *greeter) Countdown(_ context.Context, req *hellov1.CountdownRequest, send func(*hellov1.CountdownResponse) error) error {
	for n := req.From; n > 0; n-- {
		if err := send(&hellov1.CountdownResponse{Number: n}); err != nil {
			return err
		}
	}
	return nil
}

func (g *greeter) GreetAll(_ context.Context, in iter.Seq2[*hellov1.GreetRequest, error]) (*hellov1.GreetResponse, error) {
	var names []string
	for req, err := range in {
		if err != nil {
			return nil, err
		}
		names = append(names, req.Name)
	}
	return &hellov1.GreetResponse{Text: fmt.Sprintf("Hello to all %d of you: %s!", len(names), strings.Join(names, ", "))}, nil
}

func (g *greeter) Chat(_ context.Context, in iter.Seq2[*hellov1.ChatRequest, error], send func(*hellov1.ChatResponse) error) error {
	for req, err := range in {
		if err != nil {
			return err
		}
		answer := "Who's there?"
		if name, ok := strings.CutSuffix(req.Line, "."); ok && name != "Knock, knock" {
			answer = name + " who?"
		}
		if err := send(&hellov1.ChatResponse{Line: answer}); err != nil {
			return err
		}
	}
	return nil
}

func (g *greeter) Wave(_ context.Context, req *hellov1.WaveRequest) error {
	if req.Name == "Godot" {
		g.once.Do(func() { close(g.here) })
	}
	return nil
}
