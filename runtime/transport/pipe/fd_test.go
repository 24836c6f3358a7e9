//go:build unix

package pipe_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/transport/pipe"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

// TestBadDescriptors: what is no good is refused, left as it was, and named.
func TestBadDescriptors(t *testing.T) {
	there, back, err := pipes()
	if err != nil {
		t.Fatal(err)
	}
	datagrams, err := socketPair(syscall.SOCK_DGRAM)
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "s")
	if err := syscall.Bind(waiting, &syscall.SockaddrUnix{Name: name}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(waiting, 1); err != nil {
		t.Fatal(err)
	}
	open := func(path string) int {
		fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	file, dir, device := open(os.Args[0]), open("/"), open(os.DevNull)
	all := []int{there[0], there[1], back[0], back[1], datagrams[0], datagrams[1], waiting, file, dir, device}
	for _, c := range []struct {
		name string
		r, w int
		want string
	}{
		{"negative", -1, -1, "want numbers from 3 on"},
		{"stdin and stdout", 0, 1, "which the address stdio: is for"},
		{"stderr", there[0], 2, "which the address stdio: is for"},
		{"not open", 10_000, 10_000, "descriptor 10000 is not open"},
		{"a file", file, file, "is a file or a directory"},
		{"a directory", dir, dir, "is a file or a directory"},
		{"a device", device, device, "is a terminal or another device"},
		{"datagrams", datagrams[0], datagrams[0], "is a socket, but not of a stream"},
		{"a listener", waiting, waiting, "is a socket that listens"},
		{"a pipe for both ways", there[0], there[0], "cannot be both read from and written to: a pipe goes one way"},
		{"ends the wrong way round", there[1], back[0], "cannot be read from"},
		{"two ends to read from", there[0], back[0], "cannot be written to"},
	} {
		conn, err := pipe.FD(c.r, c.w)
		if err == nil {
			conn.Close()
			t.Fatalf("%s: no error, want %q", c.name, c.want)
		}
		if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "fd:") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	for _, fd := range all {
		if err := syscall.Close(fd); err != nil {
			t.Errorf("descriptor %d was closed: %v", fd, err)
		}
	}
}

// TestStdioThatIsNone: a program that is not started by its peer says so.
func TestStdioThatIsNone(t *testing.T) {
	file := func() *os.File {
		f, err := os.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	const hint = ": this program speaks to the program that starts it, not to a person\n"
	exe := as(t, "stdio")
	for _, c := range []struct {
		name        string
		stdin, out  *os.File
		args        []string
		want        string
		throughFile bool
	}{
		{name: "nothing", out: w, args: []string{exe, ""}, want: "stdio: stdin is a terminal or another device, not a pipe or a socket" + hint},
		{name: "closed", out: w, args: []string{"/bin/sh", "-c", `exec "$0" x <&-`, exe}, want: "stdio: stdin is a terminal or another device, not a pipe or a socket" + hint},
		{name: "a file", stdin: file(), out: w, args: []string{exe, ""}, want: "stdio: stdin is a file or a directory, not a pipe or a socket" + hint},
		{name: "the wrong end", stdin: w, out: w, args: []string{exe, ""}, want: "stdio: stdin cannot be read from: a pipe goes one way" + hint},
		{name: "stdout to a file", stdin: r, out: file(), args: []string{exe, ""}, want: "stdio: stdout is a file or a directory, not a pipe or a socket" + hint, throughFile: true},
	} {
		cmd := exec.Command(c.args[0], c.args[1:]...)
		cmd.Stdout, cmd.Stderr = c.out, os.Stderr
		if c.stdin != nil {
			cmd.Stdin = c.stdin
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1000)
		n := 0
		if c.throughFile {
			w.Close() // the child goes on until its stdin ends
			cmd.Wait()
			n, err = c.out.ReadAt(got, 0)
		} else {
			n, err = r.Read(got)
			cmd.Process.Kill()
			cmd.Wait()
		}
		if string(got[:n]) != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.name, got[:n], err, c.want)
		}
	}
}

// TestInheritedDescriptors is how a parent hands a session to a child.
func TestInheritedDescriptors(t *testing.T) {
	fds, err := socketPair(syscall.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "theirs")
	child := transporttest.Start(t, "fd", "", func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{theirs} })
	theirs.Close()
	if got := child.Said(t); got != transporttest.Well {
		t.Fatal(got)
	}
	c, err := pipe.FD(fds[0], fds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := make([]byte, 100)
	if n, err := c.Read(got); err != nil || string(got[:n]) != "from descriptor 3" {
		t.Errorf("got %q, %v", got[:n], err)
	}
	child.Crash(t)
	if n, err := c.Read(got); n > 0 || err == nil {
		t.Errorf("after the child was killed: got %q, %v", got[:n], err)
	}
}
