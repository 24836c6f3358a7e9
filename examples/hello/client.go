package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ipcgen/ipcgen/examples/hello/hellov1"
	"github.com/ipcgen/ipcgen/runtime/ipc"
)

// greet is a unary call: one request, one response.
func greet(ctx context.Context, client *hellov1.GreeterClient) (string, error) {
	res, err := client.Greet(ctx, &hellov1.GreetRequest{Name: "Ada"})
	return res.GetText(), err
}

// countdown is a server stream: one request, many responses. Leaving the loop early would end the call.
func countdown(ctx context.Context, client *hellov1.GreeterClient) (string, error) {
	var numbers []string
	for res, err := range client.Countdown(ctx, &hellov1.CountdownRequest{From: 3}) {
		if err != nil {
			return "", err
		}
		numbers = append(numbers, fmt.Sprint(res.Number))
	}
	return strings.Join(numbers, " "), nil
}

// greetAll is a client stream: many requests, one response. Any sequence can be sent, not only a slice.
func greetAll(ctx context.Context, client *hellov1.GreeterClient) (string, error) {
	res, err := client.GreetAll(ctx, slices.Values([]*hellov1.GreetRequest{{Name: "Ada"}, {Name: "Alan"}, {Name: "Grace"}}))
	return res.GetText(), err
}

// chat is a bidirectional call: both sides send as they like. Here they take turns.
func chat(ctx context.Context, client *hellov1.GreeterClient) (string, error) {
	stream, err := client.Chat(ctx)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	var answers []string
	for _, line := range []string{"Knock, knock.", "Ada."} {
		if err := stream.Send(&hellov1.ChatRequest{Line: line}); err != nil {
			return "", err
		}
		res, err := stream.Receive()
		if err != nil {
			return "", err
		}
		answers = append(answers, res.Line)
	}
	return strings.Join(answers, " "), nil
}

// wave is a oneway call: it returns when the message is on its way. Greet shows that it has arrived.
func wave(ctx context.Context, client *hellov1.GreeterClient) (string, error) {
	if err := client.Wave(ctx, &hellov1.WaveRequest{Name: "Godot"}); err != nil {
		return "", err
	}
	res, err := client.Greet(ctx, &hellov1.GreetRequest{Name: "Godot"})
	return "nothing comes back, but now Greet says: " + res.GetText(), err
}

// typedError shows that an error message of the schema arrives as what it is, for errors.As.
func typedError(ctx context.Context, client *hellov1.GreeterClient) (string, error) {
	_, err := client.Greet(ctx, &hellov1.GreetRequest{Name: strings.Repeat("Ada", 20)})
	var tooLong *hellov1.NameTooLong
	if !errors.As(err, &tooLong) {
		return "", fmt.Errorf("want a NameTooLong, got %w", err)
	}
	return fmt.Sprintf("%v, and as a Go type: NameTooLong{Limit: %d}", ipc.CodeOf(err), tooLong.Limit), nil
}

// deadline shows a call that is given up. The server's handler is told too.
func deadline(ctx context.Context, client *hellov1.GreeterClient) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err := client.Greet(ctx, &hellov1.GreetRequest{Name: "Godot"})
	if !errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("want the deadline to pass, got %w", err)
	}
	return fmt.Sprintf("%v after 50 ms, on both sides", ipc.CodeOf(err)), nil
}

// lose kills the server in the middle of a call and says how that call fails, and the next.
func lose(ctx context.Context, client *hellov1.GreeterClient, kill func() error) (during, after string, err error) {
	stream, err := client.Chat(ctx)
	if err != nil {
		return "", "", err
	}
	defer stream.Close()
	if err := stream.Send(&hellov1.ChatRequest{Line: "Knock, knock."}); err != nil {
		return "", "", err
	}
	if err := kill(); err != nil {
		return "", "", err
	}
	for err == nil { // the answer may have come before the end
		_, err = stream.Receive()
	}
	_, next := client.Greet(ctx, &hellov1.GreetRequest{Name: "Ada"})
	return verdict(err), verdict(next), nil
}

// verdict says what is known of a call that failed.
func verdict(err error) string {
	var e *ipc.Error
	switch {
	case !errors.As(err, &e):
		return fmt.Sprint("not an error of a call: ", err)
	case e.NotExecuted:
		return fmt.Sprintf("%v; certainly not executed, safe to repeat", e.Code)
	default:
		return fmt.Sprintf("%v; it may have been executed", e.Code)
	}
}
