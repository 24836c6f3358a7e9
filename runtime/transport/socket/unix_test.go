//go:build unix

package socket_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/socket"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

func listen(t *testing.T, path string) transport.Listener {
	t.Helper()
	l, err := socket.ListenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// stale makes a socket file that nobody listens on.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// TestPrivateFromTheFirstMoment looks at a socket as soon as there is anything to see of it.
func TestPrivateFromTheFirstMoment(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	for range 50 {
		seen := make(chan []fs.FileInfo, 1)
		go func() {
			for {
				entries, _ := os.ReadDir(dir)
				var infos []fs.FileInfo
				for _, e := range entries {
					if info, err := e.Info(); err == nil {
						infos = append(infos, info)
					}
				}
				if len(infos) > 0 {
					seen <- infos
					return
				}
			}
		}()
		l, err := socket.ListenUnix(t.Context(), filepath.Join(dir, "s"))
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range <-seen {
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has the mode %v", info.Name(), info.Mode())
			}
		}
		info, err := os.Lstat(filepath.Join(dir, "s"))
		if err != nil || info.Mode() != fs.ModeSocket|0o600 {
			t.Errorf("the socket: %v, %v", info.Mode(), err)
		}
		l.Close()
	}
}

// TestWhatIsInThePlace: what a listener finds where it is to be.
func TestWhatIsInThePlace(t *testing.T) {
	const notSocket = "there is a file that is not a socket"
	for _, c := range []struct {
		name  string
		put   func(t *testing.T, path string) error
		want  string // of the error; "" is none
		errno error
	}{
		{"nothing", func(*testing.T, string) error { return nil }, "", nil},
		{"a dead server's socket", func(t *testing.T, path string) error {
			stale(t, path)
			return nil
		}, "", nil},
		{"a live server's socket", func(t *testing.T, path string) error {
			listen(t, path)
			return nil
		}, "another server listens there", syscall.EADDRINUSE},
		{"a file", func(_ *testing.T, path string) error { return os.WriteFile(path, []byte("precious"), 0o600) }, notSocket, nil},
		{"a directory", func(_ *testing.T, path string) error { return os.Mkdir(path, 0o700) }, notSocket, nil},
		{"a fifo", func(_ *testing.T, path string) error { return syscall.Mkfifo(path, 0o600) }, notSocket, nil},
		{"a symlink to nothing", func(_ *testing.T, path string) error { return os.Symlink(path+"2", path) }, notSocket, nil},
		{"a symlink to a dead server's socket", func(t *testing.T, path string) error {
			stale(t, path+"2")
			return os.Symlink(path+"2", path)
		}, notSocket, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "s")
			if err := c.put(t, path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			l, err := socket.ListenUnix(t.Context(), path)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				conn, err := socket.DialUnix(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "listen unix:"+path+": ") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if c.errno != nil && !errors.Is(err, c.errno) {
				t.Errorf("got %v, want one that is %v", err, c.errno)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("what was there is not any more: %v, %v", after, err)
			}
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), ".") {
					t.Errorf("left behind: %v", e)
				}
			}
		})
	}
}

func TestBadPaths(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, strings.Repeat("x", 200))
	for _, c := range []struct {
		path, listen, dial string
	}{
		{"", "needs a path", "needs a path"},
		{long, "use a shorter directory", "use a shorter directory"},
		{"@name", "an abstract socket is open to every user", "an abstract socket is open to every user"},
		{filepath.Join(dir, "none", "s"), "make the directory first", "no such socket: is the server running?"},
		{filepath.Join(file, "s"), "the directory " + file + ": not a directory", "not a directory"},
		{filepath.Join(dir, "none"), "", "no such socket: is the server running?"},
		{file, "there is a file that is not a socket", "there is a file that is not a socket"},
	} {
		if l, err := socket.ListenUnix(t.Context(), c.path); err == nil {
			l.Close()
			if c.listen != "" {
				t.Errorf("ListenUnix(%q): no error, want %q", c.path, c.listen)
			}
		} else if c.listen == "" || !strings.Contains(err.Error(), c.listen) {
			t.Errorf("ListenUnix(%q): got %v, want %q", c.path, err, c.listen)
		}
		if conn, err := socket.DialUnix(t.Context(), c.path); err == nil {
			conn.Close()
			t.Errorf("DialUnix(%q): no error, want %q", c.path, c.dial)
		} else if !strings.Contains(err.Error(), c.dial) {
			t.Errorf("DialUnix(%q): got %v, want %q", c.path, err, c.dial)
		}
	}
}

// TestOnlyOwnFileIsRemoved: Close removes what Listen made, and nothing that stands there instead.
func TestOnlyOwnFileIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := listen(t, path)
	first.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
	second := listen(t, path) // its file may well have the number of the first's
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("after a second Close of another listener: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	listen(t, path)
	second.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("after Close of a listener whose place another took: %v", err)
	}
}

// TestRelativePath: the file is removed also where the working directory is another one by then, and however deep the first
// one is. A dead server's is in the way.
func TestRelativePath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	dead, err := net.Listen("unix", "s")
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	l, err := socket.ListenUnix(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	l.Close()
	if _, err := os.Lstat(filepath.Join(dir, "s")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// TestServersStartAtOnce: of several processes that want one place at the same moment, one gets it.
func TestServersStartAtOnce(t *testing.T) {
	for _, left := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "s")
		if left {
			stale(t, path)
		}
		winners := 0
		for _, s := range transporttest.StartAtOnce(t, 6, "listen", path) {
			if s == transporttest.Well {
				winners++
			} else if !strings.Contains(s, "another server listens there") {
				t.Errorf("a loser said: %s", s)
			}
		}
		if winners != 1 {
			t.Errorf("a file left behind: %v: %d processes listen, want 1", left, winners)
		}
		conn, err := socket.DialUnix(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

func TestKilledServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	c := transporttest.Start(t, "listen", path, nil)
	if got := c.Said(t); got != transporttest.Well {
		t.Fatal(got)
	}
	c.Crash(t)
	if _, err := socket.DialUnix(t.Context(), path); err == nil || !strings.Contains(err.Error(), "the server has died and left the file behind") {
		t.Errorf("Dial: %v", err)
	}
	listen(t, path)
}

// TestClosedListener accepts on a listener that is closed: the error has its path and no other.
func TestClosedListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := listen(t, path)
	l.Close()
	_, err := l.Accept(t.Context())
	if want := "accept on unix:" + path + ": use of closed network connection"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestPeerProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := listen(t, path)
	dialer := transporttest.Start(t, "dial", path, nil)
	accepted, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	want := self("unix:" + path)
	want.PID = dialer.Process.Pid
	if got := accepted.Peer(); got != want {
		t.Errorf("who dialed: got %+v, want %+v", got, want)
	}

	path += "2"
	server := transporttest.Start(t, "listen", path, nil)
	if got := server.Said(t); got != transporttest.Well {
		t.Fatal(got)
	}
	dialed, err := socket.DialUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	want.Address, want.PID = "unix:"+path, server.Process.Pid
	if got := dialed.Peer(); got != want {
		t.Errorf("who listens: got %+v, want %+v", got, want)
	}
}

// TestPeerOfAnotherUser needs the right to become another user: without it, it says nothing.
func TestPeerOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() != 0 {
		return
	}
	const nobody = 65534
	as := func(cmd *exec.Cmd) {
		cmd.Path = "/proc/self/exe" // the directory that the test binary is in need not be open to everybody
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: true}}
	}
	for _, err := range []error{os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, nobody, nobody)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "theirs")
	server := transporttest.Start(t, "listen", path, as)
	if got := server.Said(t); got != transporttest.Well {
		t.Fatal(got)
	}
	conn, err := socket.DialUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := transport.Peer{Address: "unix:" + path, Identified: true, PID: server.Process.Pid, UID: nobody, GID: nobody}
	if got := conn.Peer(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	mine := filepath.Join(dir, "mine")
	listen(t, mine)
	if got := transporttest.Start(t, "dial", mine, as).Said(t); !strings.Contains(got, "permission denied") {
		t.Errorf("another user dialed: %s", got)
	}
}
