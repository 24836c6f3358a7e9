//go:build unix

package pipe_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/pipe"
)

func shell(t *testing.T, script string) transport.Conn {
	t.Helper()
	c, err := pipe.Exec(t.Context(), []string{"/bin/sh", "-c", script}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestHowAChildEnded: the end of what is read tells it.
func TestHowAChildEnded(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"exit 0", "EOF"},
		{"printf x; exit 3", "exec:/bin/sh ended: exit status 3: EOF"},
		{"kill -9 $$", "exec:/bin/sh ended: signal: killed: EOF"},
		{"read line; exit 4", "exec:/bin/sh ended: exit status 4: EOF"},
	} {
		conn := shell(t, c.script)
		conn.Write([]byte("go on\n")) // it may have ended by now
		var got error
		for got == nil {
			_, got = conn.Read(make([]byte, 1))
		}
		if !errors.Is(got, io.EOF) || got.Error() != c.want {
			t.Errorf("%s: got %q, want %q", c.script, got, c.want)
		}
		conn.Close()
	}
}

func TestProgramThatIsNotThere(t *testing.T) {
	for _, c := range []struct{ program, want string }{
		{"ipcgen-no-such-program", "exec:ipcgen-no-such-program: starting it: exec: \"ipcgen-no-such-program\": executable file not found in $PATH"},
		{"/", "exec:/: starting it: exec: \"/\": is a directory"},
	} {
		conn, err := pipe.Exec(t.Context(), []string{c.program}, nil)
		if err == nil {
			conn.Close()
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := pipe.Exec(ctx, []string{"/bin/sh"}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("in a context that has ended: %v", err)
	}
}

// TestChildIsKilled: as a crash of it is seen.
func TestChildIsKilled(t *testing.T) {
	c := shell(t, "read line; read line")
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	if err := syscall.Kill(c.Peer().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "ended: signal: killed") {
		t.Errorf("the read that waited: %v", err)
	}
	var err error
	for err == nil {
		_, err = c.Write([]byte("x"))
	}
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a write: %v", err)
	}
}

// TestStdoutClosedAlone: the child says no more and runs on. Until it ends, or the wait for that has taken too long, a
// read is to be interrupted like any.
func TestStdoutClosedAlone(t *testing.T) {
	c := shell(t, "exec >&-; read line")
	c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with a deadline: %v", err)
	}
	c.SetReadDeadline(time.Time{})
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("with Close: %v", err)
	}
}

func TestStderr(t *testing.T) {
	var stderr bytes.Buffer
	c, err := pipe.Exec(t.Context(), []string{"/bin/sh", "-c", "echo what went wrong >&2; exit 1"}, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); !strings.Contains(err.Error(), "exit status 1") {
		t.Error(err)
	}
	if got := stderr.String(); got != "what went wrong\n" {
		t.Errorf("got %q", got)
	}
}
