package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ipcgen/ipcgen/cmd/ipcbench/benchv1"
	"github.com/ipcgen/ipcgen/runtime/ipc"
)

// What a message may have by default: from a process of the same user, and from one that is not known to be.
const (
	mostMessage    = 4 << 20
	mostMessageTCP = 1 << 20
)

// A transport is a way from the client to the server.
type transport struct {
	name, what string
	// address is what the server listens at, in dir; nil where there is nothing to listen at.
	address func(dir string) string
	most    int // bytes of a message
	open    func(ctx context.Context, t transport, dir string) (*subject, error)
	floor   func(ctx context.Context, t transport, dir string) (*subject, error) // nil is none
}

func in(scheme string) func(string) string {
	return func(dir string) string { return scheme + ":" + filepath.Join(dir, scheme) }
}

var transports = []transport{
	{"unix", "unix:PATH, a unix socket", in("unix"), mostMessage, openListening, openBare},
	{"shm", "shm:PATH, shared memory; Linux only", in("shm"), mostMessage, openListening, openPingPong},
	{"tcp", "tcp:HOST:PORT, TCP over the loopback interface", func(string) string { return "tcp:127.0.0.1:0" }, mostMessageTCP, openListening, openBare},
	{"exec", "exec:PROGRAM, the stdin and stdout of a child, which serves on stdio:", nil, mostMessage, openExec, nil},
	{"fifo", "fifo:PATH, named pipes", in("fifo"), mostMessage, openListening, nil},
	{"local", "ipc.Local: this process, for tests; most of it is the session that each call begins", nil, mostMessage, openLocal, nil},
}

// A subject is something that is measured: a transport, or a floor, with a server.
type subject struct {
	name  string
	floor bool
	can   func(c cell) bool // nil is everything
	run   func(ctx context.Context, c cell, n int) (sample, error)

	control *ipc.Conn // to the server's process; nil where that is this one
	conn    io.Closer // what is measured, where that is not control
}

func (s *subject) close() {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.control != nil {
		s.control.Close()
	}
}

// serverTime is the processor time of the server since its start; 0 where it is this process.
func (s *subject) serverTime(ctx context.Context) (time.Duration, error) {
	if s.control == nil {
		return 0, nil
	}
	res, err := benchv1.NewControlClient(s.control).Usage(ctx, &benchv1.UsageRequest{})
	if err != nil {
		return 0, err
	}
	return res.ProcessorTime.AsDuration(), nil
}

// A cell is one case: each subject is measured in the same ones.
type cell struct {
	kind    *kind
	callers int
	size    int // bytes of a message
}

func (c cell) String() string {
	return fmt.Sprintf("%s, %s, %s", c.kind.name, count(c.callers, "caller"), sizeName(c.size))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// A sample is what a run of n operations of each caller gives.
type sample struct {
	latencies histogram
	elapsed   time.Duration
}

// start starts a server. What it has to say on its stderr comes out on this process's.
func start(ctx context.Context) (*ipc.Conn, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return ipc.Dial(ctx, "exec:"+quote(program)+" serve")
}

// quote writes a word as an exec: address wants it.
func quote(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

// openExec measures the very pipes by which each server is started.
func openExec(ctx context.Context, t transport, _ string) (*subject, error) {
	control, err := start(ctx)
	if err != nil {
		return nil, err
	}
	return &subject{name: t.name, run: callsThrough(control), control: control}, nil
}

// listening starts a server that listens at address, and returns what to dial.
func listening(ctx context.Context, address string, bare bool) (control *ipc.Conn, dial string, err error) {
	control, err = start(ctx)
	if err != nil {
		return nil, "", err
	}
	res, err := benchv1.NewControlClient(control).Listen(ctx, &benchv1.ListenRequest{Address: address, Bare: bare})
	if err != nil {
		control.Close()
		return nil, "", err
	}
	return control, res.Address, nil
}

func openListening(ctx context.Context, t transport, dir string) (*subject, error) {
	control, address, err := listening(ctx, t.address(dir), false)
	if err != nil {
		return nil, err
	}
	conn, err := ipc.Dial(ctx, address)
	if err != nil {
		control.Close()
		return nil, err
	}
	s := &subject{name: t.name, run: callsThrough(conn), control: control, conn: conn}
	if used, reason := conn.SharedMemory(); t.name == "shm" && !used {
		s.close()
		return nil, fmt.Errorf("the session stays on the socket: %s", reason)
	}
	return s, nil
}

func openLocal(_ context.Context, t transport, _ string) (*subject, error) {
	return &subject{name: t.name, run: callsThrough(ipc.Local(benchv1.NewBenchService(&bench{})))}, nil
}

// callsThrough runs generated code that calls through conn.
func callsThrough(conn ipc.Caller) func(context.Context, cell, int) (sample, error) {
	return (&calls{client: benchv1.NewBenchClient(conn)}).run
}

// calls are those of one server.
type calls struct {
	client *benchv1.BenchClient
	notes  uint64 // sent so far; a run is for one goroutine at a time
}

// run does n operations in each of the cell's callers.
func (s *calls) run(ctx context.Context, c cell, n int) (sample, error) {
	data := dataOf(c.size)
	latencies, errs := make([]histogram, c.callers), make([]error, c.callers)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range c.callers {
		wg.Go(func() { errs[i] = c.kind.do(ctx, s.client, data, n, &latencies[i]) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	if c.kind.name == "oneway" && err == nil {
		s.notes += uint64(n * c.callers)
		_, err = s.client.AwaitNotes(ctx, &benchv1.AwaitNotesRequest{Total: s.notes})
	}
	sum := sample{elapsed: time.Since(begin)}
	for i := range latencies {
		sum.latencies.merge(&latencies[i])
	}
	return sum, err
}

// dataOf makes a message that takes size bytes: with the tag and the length of what is in it. Few sizes cannot be had,
// as 130, because the length takes a byte more from there on; they give the next smaller one.
func dataOf(size int) *benchv1.Data {
	data := &benchv1.Data{Data: make([]byte, size)}
	for data.Size() > size {
		data.Data = data.Data[1:]
	}
	return data
}

// openBare measures frames of bytes over a socket, without a protocol.
func openBare(ctx context.Context, t transport, dir string) (*subject, error) {
	address := t.address(dir)
	if t.name == "unix" {
		address += "-bare"
	}
	control, address, err := listening(ctx, address, true)
	if err != nil {
		return nil, err
	}
	client, err := dialBare(ctx, address)
	if err != nil {
		control.Close()
		return nil, err
	}
	return &subject{name: "bare " + t.name, floor: true, control: control, conn: client.conn, run: client.run,
		can: func(c cell) bool { return bareKinds[c.kind.name] != nil }}, nil
}

// openPingPong measures memory that both processes have mapped. It takes two processors, which spin all the time.
func openPingPong(ctx context.Context, t transport, dir string) (*subject, error) {
	if runtime.GOMAXPROCS(0) < 2 {
		return nil, errors.New("it takes two processors")
	}
	control, err := start(ctx)
	if err != nil {
		return nil, err
	}
	p := &pingPong{control: benchv1.NewControlClient(control), path: filepath.Join(dir, "ping-pong")}
	return &subject{name: "bare " + t.name, floor: true, control: control, run: p.run,
		can: func(c cell) bool { return c.kind.name == "unary" && c.callers == 1 }}, nil
}
