package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/ipcgen/ipcgen/examples/hello/hellov1"
	"github.com/ipcgen/ipcgen/runtime/ipc"
)

// TestMain lets the test be what the tour starts as a server.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

const wantTour = `This is process N, the client. The server is the same program in a process of its own.

Over a pipe: exec:PATH, process N
  unary            Greet "Ada"                       Hello, Ada!
  server stream    Countdown from 3                  3 2 1
  client stream    GreetAll "Ada", "Alan", "Grace"   Hello to all 3 of you: Ada, Alan, Grace!
  bidirectional    Chat "Knock, knock.", "Ada."      Who's there? Ada who?
  oneway           Wave "Godot"                      nothing comes back, but now Greet says: Hello, Godot!

Over a unix socket: unix:PATH, process N
  unary            Greet "Ada"                       Hello, Ada!
  server stream    Countdown from 3                  3 2 1
  client stream    GreetAll "Ada", "Alan", "Grace"   Hello to all 3 of you: Ada, Alan, Grace!
  bidirectional    Chat "Knock, knock.", "Ada."      Who's there? Ada who?
  oneway           Wave "Godot"                      nothing comes back, but now Greet says: Hello, Godot!

Over TCP: tcp:127.0.0.1:N
  unary            Greet "Ada"                       Hello, Ada!
  server stream    Countdown from 3                  3 2 1
  client stream    GreetAll "Ada", "Alan", "Grace"   Hello to all 3 of you: Ada, Alan, Grace!
  bidirectional    Chat "Knock, knock.", "Ada."      Who's there? Ada who?
  oneway           Wave "Godot"                      nothing comes back, but now Greet says: Hello, Godot!

When something goes wrong
  a typed error    Greet a name of 60 bytes          INVALID_ARGUMENT, and as a Go type: NameTooLong{Limit: 32}
  a deadline       Greet "Godot", who does not wave  DEADLINE_EXCEEDED after 50 ms, on both sides
  a killed server  the call that is running          UNAVAILABLE; it may have been executed
                   the call after it                 UNAVAILABLE; certainly not executed, safe to repeat
                   dial the next server, Greet       Hello, Ada!
`

func TestTour(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the runtime has no pipes on Windows yet")
	}
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	// Every server inherits this, so that its end is the end of the last of them.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	var out bytes.Buffer
	err = tour(t.Context(), &out)
	os.Stderr = stderr
	w.Close()
	if err != nil {
		t.Error(err)
	}
	if noise, err := io.ReadAll(r); err != nil || len(noise) > 0 {
		t.Errorf("on stderr: %q, %v", noise, err)
	}
	got := regexp.MustCompile(`(process |127.0.0.1:)\d+`).ReplaceAllString(out.String(), "${1}N")
	got = regexp.MustCompile(`(exec|unix):/[^\n,]*`).ReplaceAllString(got, "${1}:PATH")
	if diff := cmp.Diff(wantTour, got); diff != "" {
		t.Errorf("the tour (-want +got):\n%s", diff)
	}
	if left, err := os.ReadDir(tmp); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestGreetAll calls a handler as what it is, a function: a stream of requests is a sequence.
func TestGreetAll(t *testing.T) {
	in := func(yield func(*hellov1.GreetRequest, error) bool) {
		_ = yield(&hellov1.GreetRequest{Name: "Ada"}, nil) && yield(nil, io.ErrUnexpectedEOF)
	}
	if res, err := newGreeter().GreetAll(t.Context(), in); err != io.ErrUnexpectedEOF {
		t.Errorf("a stream that breaks off: got %v, %v", res, err)
	}
}

// TestCountdown calls the service through its client, without a process or a socket.
func TestCountdown(t *testing.T) {
	client := hellov1.NewGreeterClient(ipc.Local(hellov1.NewGreeterService(newGreeter())))
	for _, c := range []struct {
		from uint32
		want []uint32
	}{
		{0, nil},
		{1, []uint32{1}},
		{4, []uint32{4, 3, 2, 1}},
	} {
		var got []uint32
		for res, err := range client.Countdown(t.Context(), &hellov1.CountdownRequest{From: c.from}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, res.Number)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("from %d: got %v, want %v", c.from, got, c.want)
		}
	}
}
