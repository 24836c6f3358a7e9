//go:build unix

package main

import (
	"context"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
)

// TestEnd interrupts the program while it measures, as a terminal does, which is with its server; asks it to end; and
// kills it. The server does not outlive it.
func TestEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		group  bool // it comes to the server too
		said   string
	}{
		{"interrupted", syscall.SIGINT, true, "ipcbench: interrupted before the end\n"},
		{"terminated", syscall.SIGTERM, false, "ipcbench: interrupted before the end\n"},
		{"killed", syscall.SIGKILL, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmp := t.TempDir()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-t", "unix", "--no-floors", "-k", "unary", "-s", "32", "-c", "4", "-d", "100h")
			cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+tmp)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			// The server inherits it, so that its end is not before the server's.
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			awaitFile(t, filepath.Join(tmp, "ipcbench-*", "unix")) // the server listens, and none is only just starting
			pid := cmd.Process.Pid
			if c.group {
				pid = -pid
			}
			if err := syscall.Kill(pid, c.signal); err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(stderr)
			if err != nil || string(said) != c.said {
				t.Errorf("it said %q, %v; want %q", said, err, c.said)
			}
			err = cmd.Wait()
			if c.signal == syscall.SIGKILL {
				return // who is killed cannot tidy up
			}
			if cmd.ProcessState.ExitCode() != exitFailed {
				t.Errorf("it ended with %v, want %d", err, exitFailed)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// awaitFile waits until there is a file, for as long as the test may take.
func awaitFile(t *testing.T, pattern string) {
	t.Helper()
	for t.Context().Err() == nil {
		if found, err := filepath.Glob(pattern); err != nil {
			t.Fatal(err)
		} else if len(found) > 0 {
			return
		}
	}
}

// TestServerDies: a server that is killed ends a run that would take weeks.
func TestServerDies(t *testing.T) {
	for _, c := range []struct {
		name      string
		transport string
		open      func(context.Context, transport, string) (*subject, error)
		callers   int
	}{
		{"unix", "unix", openListening, 8},
		{"exec", "exec", openExec, 1},
		{"bare unix", "unix", openBare, 1},
		{"bare unix, together", "unix", openBare, 8},
		{"bare shm", "shm", openPingPong, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.transport == "shm" && runtime.GOMAXPROCS(0) < 2 {
				t.Skip("it takes two processors")
			}
			i := slices.IndexFunc(transports, func(t transport) bool { return t.name == c.transport })
			s, err := c.open(t.Context(), transports[i], t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			ended := make(chan error, 1)
			go func() {
				_, err := s.run(t.Context(), cell{&kinds[0], c.callers, 64}, math.MaxInt/1024) // the bytes of all can be counted
				ended <- err
			}()
			if err := syscall.Kill(s.control.Peer().PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err == nil {
				t.Error("it ended as if all was well")
			}
		})
	}
}
