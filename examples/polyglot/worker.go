package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"

	"github.com/ipcgen/ipcgen/examples/polyglot/polyglotv1"
	"github.com/ipcgen/ipcgen/runtime/ipc"
)

// A worker is a program in another language, for as long as this one runs: where it has died, a new one is started.
type worker struct {
	name    string
	command []string
	station *station
	out     *log.Logger
	conn    *ipc.Conn // to the one that was started last
}

// connect returns a connection to the worker, and starts one where there is none. The address is a command line; dialing
// starts the program, closing the connection ends it. What this side serves, the worker can call back.
func (w *worker) connect(ctx context.Context) (*ipc.Conn, error) {
	if w.conn != nil && w.conn.Err() == nil {
		return w.conn, nil
	}
	services := ipc.Endpoint{Services: []ipc.Service{polyglotv1.NewStationService(caller{w.station, w.name})}}
	conn, err := services.Dial(ctx, "exec:"+quote(append(w.command, "stdio:")))
	if err != nil {
		return nil, fmt.Errorf("starting the worker in %s: %w", w.name, err)
	}
	w.out.Printf("  started: %-18s process %d, over its stdin and stdout", w.name, conn.Peer().PID)
	w.conn = conn
	return conn, nil
}

// do makes a call, and makes it again with a new worker where the worker dies.
func (w *worker) do(ctx context.Context, call func(*ipc.Conn) error) error {
	for last := false; ; last = true {
		conn, err := w.connect(ctx)
		if err != nil {
			return err
		}
		err = call(conn)
		if ipc.CodeOf(err) != ipc.Unavailable || last {
			return err
		}
	}
}

// kill ends the worker as a crash would, and returns when that is noticed.
func (w *worker) kill() error {
	process, err := os.FindProcess(w.conn.Peer().PID)
	if err != nil {
		return err
	}
	if err := process.Kill(); err != nil {
		return err
	}
	<-w.conn.Done()
	return nil
}

// close ends the worker.
func (w *worker) close() {
	if w.conn != nil {
		w.conn.Close()
	}
}

// quote writes a command as addresses have it.
func quote(words []string) string {
	var quoted []string
	for _, word := range words {
		quoted = append(quoted, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	return strings.Join(quoted, " ")
}

// succeeds says whether a command does.
func succeeds(name string, args ...string) bool { return exec.Command(name, args...).Run() == nil }
