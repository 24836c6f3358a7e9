//go:build unix

package pipe_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/pipe"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

func listenFIFO(t *testing.T, path string) transport.Listener {
	t.Helper()
	l, err := pipe.ListenFIFO(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// dialAndAccept makes a connection; connections of peers that are gone already are passed over.
func dialAndAccept(t *testing.T, l transport.Listener, path string) (dialed, accepted transport.Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		var err error
		if dialed, err = pipe.DialFIFO(t.Context(), path); err == nil {
			_, err = dialed.Write([]byte("me"))
		}
		done <- err
	}()
	for {
		c, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 2)
		if _, err := io.ReadFull(c, got); err == nil && string(got) == "me" {
			accepted = c
			break
		}
		c.Close()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialed.Close()
		accepted.Close()
	})
	return dialed, accepted
}

func TestFIFOFiles(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "f")
	l := listenFIFO(t, path)
	for range 2 { // the pair of the next session is like that of the first
		for name, want := range map[string]fs.FileMode{".in": fs.ModeNamedPipe | 0o600, ".out": fs.ModeNamedPipe | 0o600, ".lock": 0o600} {
			if info, err := os.Lstat(path + name); err != nil || info.Mode() != want {
				t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
			}
		}
		dialAndAccept(t, l, path)
	}
}

// TestWhatIsInTheFIFOsPlace: what a listener finds where its files are to be.
func TestWhatIsInTheFIFOsPlace(t *testing.T) {
	file := func(name string) func(*testing.T, string) error {
		return func(_ *testing.T, path string) error { return os.WriteFile(path+name, []byte("precious"), 0o600) }
	}
	for _, c := range []struct {
		name string
		put  func(t *testing.T, path string) error
		want string // of the error; "" is none
	}{
		{"nothing", func(*testing.T, string) error { return nil }, ""},
		{"what a dead listener left", func(_ *testing.T, path string) error {
			return errors.Join(syscall.Mkfifo(path+".in", 0o600), syscall.Mkfifo(path+".out", 0o600),
				syscall.Mkfifo(path+".in.new", 0o600), os.WriteFile(path+".lock", nil, 0o600))
		}, ""},
		{"a live listener", func(t *testing.T, path string) error {
			listenFIFO(t, path) // which has not come to Accept
			return nil
		}, "another server listens there"},
		{"a live listener with a session", func(t *testing.T, path string) error {
			dialAndAccept(t, listenFIFO(t, path), path)
			return nil
		}, "another server listens there"},
		{"a file at .in", file(".in"), ".in is not a FIFO: remove it"},
		{"a file at .out", file(".out"), ".out is not a FIFO: remove it"},
		{"a file at .in.new", file(".in.new"), "file exists"},
		{"a directory at .lock", func(_ *testing.T, path string) error { return os.Mkdir(path+".lock", 0o700) }, ".lock is not a plain file: remove it"},
		{"a symlink at .lock", func(_ *testing.T, path string) error { return os.Symlink("elsewhere", path+".lock") }, ".lock is not a plain file: remove it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := c.put(t, path); err != nil {
				t.Fatal(err)
			}
			l, err := pipe.ListenFIFO(t.Context(), path)
			if err == nil {
				defer l.Close()
			}
			if c.want == "" && err == nil {
				dialAndAccept(t, l, path)
				return
			}
			if c.want == "" || err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "listen fifo:"+path+": ") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := pipe.ListenFIFO(t.Context(), "/nonexistent/f"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make the directory first") {
		t.Errorf("without a directory: %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	_, err := pipe.DialFIFO(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "no such FIFO: is the server running?") {
		t.Errorf("nothing there: %v", err)
	}
	child := transporttest.Start(t, "listen", path, nil)
	if got := child.Said(t); got != transporttest.Well {
		t.Fatal(got)
	}
	child.Crash(t)
	_, err = pipe.DialFIFO(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "the server has died and left the files behind") {
		t.Errorf("a dead server: %v", err)
	}
	l := listenFIFO(t, path)
	dialAndAccept(t, l, path)
}

// TestServerDiesWhileDialing: the dialer waits for an answer that does not come.
func TestServerDiesWhileDialing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	child := transporttest.Start(t, "listen", path, nil)
	if got := child.Said(t); got != transporttest.Well {
		t.Fatal(got)
	}
	done := make(chan error, 1)
	go func() {
		_, err := pipe.DialFIFO(t.Context(), path)
		done <- err
	}()
	child.Crash(t)
	if err := <-done; err == nil || !strings.Contains(err.Error(), "the server has died") {
		t.Errorf("got %v", err)
	}
}

func TestServerDiesInASession(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	child := transporttest.Start(t, "accept", path, nil)
	if got := child.Said(t); got != transporttest.Well {
		t.Fatal(got)
	}
	c, err := pipe.DialFIFO(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	child.Crash(t)
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a read: %v", err)
	}
	if _, err := c.Write(make([]byte, 1)); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a write: %v", err)
	}
}

func TestListenersStartAtOnce(t *testing.T) {
	for _, left := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "f")
		if left {
			if err := errors.Join(syscall.Mkfifo(path+".in", 0o600), syscall.Mkfifo(path+".out", 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		winners := 0
		for _, s := range transporttest.StartAtOnce(t, 6, "accept", path) {
			if s == transporttest.Well {
				winners++
			} else if !strings.Contains(s, "another server listens there") {
				t.Errorf("a loser said: %s", s)
			}
		}
		if winners != 1 {
			t.Errorf("files left behind: %v: %d processes listen, want 1", left, winners)
		}
		c, err := pipe.DialFIFO(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// TestDialersThatDisturb: what others leave in the FIFOs keeps nobody from a session.
func TestDialersThatDisturb(t *testing.T) {
	for name, written := range map[string]string{
		"a dialer that died after its nonce": "12345678",
		"a dialer that died within it":       "123",
		"somebody who wrote something else":  "HELLO, is anybody there?\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			l := listenFIFO(t, path)
			w, err := os.OpenFile(path+".in", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.WriteString(written); err != nil {
				t.Fatal(err)
			}
			w.Close()
			a, b := dialAndAccept(t, l, path)
			if _, err := b.Write([]byte("fine")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 4)
			if _, err := io.ReadFull(a, got); err != nil || string(got) != "fine" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestDialersAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	l := listenFIFO(t, path)
	const many = 10
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			c, err := pipe.DialFIFO(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			got := make([]byte, 1)
			c.Write([]byte{byte(i)})
			if _, err := io.ReadFull(c, got); err != nil || got[0] != byte(i) {
				t.Errorf("dialer %d got %v, %v", i, got, err)
			}
		})
	}
	for range many {
		c, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close()
			io.Copy(c, c)
		})
	}
	wg.Wait()
}

func TestDialFIFOCanceled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	listenFIFO(t, path) // and nobody accepts
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 { // one waits for the answer, the other for its turn
		wg.Go(func() {
			if _, err := pipe.DialFIFO(ctx, path); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	cancel()
	wg.Wait()
}

// TestFIFOsOfOthers: what others can open as well says nothing about who is there.
func TestFIFOsOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	l := listenFIFO(t, path)
	if err := os.Chmod(path+".in", 0o622); err != nil {
		t.Fatal(err)
	}
	a, _ := dialAndAccept(t, l, path)
	if a.Peer().SameUser {
		t.Error("a listener whose FIFO is open to all is taken for this user")
	}
}
