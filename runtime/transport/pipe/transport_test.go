//go:build unix

package pipe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/pipe"
	"github.com/ipcgen/ipcgen/runtime/transport/socket"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

func TestMain(m *testing.M) {
	transporttest.Main(m, map[string]transporttest.Role{
		"listen": func(path string) (any, error) { return pipe.ListenFIFO(context.Background(), path) },
		"accept": func(path string) (any, error) {
			l, err := pipe.ListenFIFO(context.Background(), path)
			if err == nil {
				go l.Accept(context.Background())
			}
			return l, err
		},
		"bridge": bridge,
		"stdio":  func(string) (any, error) { return pipe.Stdio() },
		"stray":  stray,
		"fd": func(string) (any, error) {
			c, err := pipe.FD(3, 3)
			if err == nil {
				_, err = c.Write([]byte("from descriptor 3"))
			}
			return c, err
		},
	})
}

// bridge joins this process's stdin and stdout to the unix socket at path, until either ends.
func bridge(path string) (any, error) {
	near, err := pipe.Stdio()
	if err != nil {
		return nil, err
	}
	far, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		io.Copy(near, far)
		near.Close()
		close(done)
	}()
	io.Copy(far, near)
	far.Close()
	<-done
	os.Exit(0)
	return nil, nil
}

// socketPair returns two descriptors of a connection.
func socketPair(kind int) (fds [2]int, err error) {
	return syscall.Socketpair(syscall.AF_UNIX, kind, 0)
}

// pipes returns the descriptors of two pipes.
func pipes() (there, back [2]int, err error) {
	return there, back, errors.Join(syscall.Pipe(there[:]), syscall.Pipe(back[:]))
}

func TestSocketPair(t *testing.T) {
	transporttest.Run(t, transporttest.Transport{
		Pair: func() (a, b transport.Conn, err error) {
			fds, err := socketPair(syscall.SOCK_STREAM)
			if err != nil {
				return nil, nil, err
			}
			if a, err = pipe.FD(fds[0], fds[0]); err != nil {
				return nil, nil, err
			}
			b, err = pipe.FD(fds[1], fds[1])
			return a, b, err
		},
		Dialed: transport.Peer{Address: "fd:", SameUser: true}, Accepted: transport.Peer{Address: "fd:", SameUser: true},
	})
}

func TestPipes(t *testing.T) {
	transporttest.Run(t, transporttest.Transport{
		Pair: func() (a, b transport.Conn, err error) {
			there, back, err := pipes()
			if err != nil {
				return nil, nil, err
			}
			if a, err = pipe.FD(back[0], there[1]); err != nil {
				return nil, nil, err
			}
			b, err = pipe.FD(there[0], back[1])
			return a, b, err
		},
		Dialed: transport.Peer{Address: "fd:", SameUser: true}, Accepted: transport.Peer{Address: "fd:", SameUser: true},
		HalfClose: func() (transport.Conn, io.ReadWriteCloser, func() error, error) {
			there, back, err := pipes()
			if err != nil {
				return nil, nil, nil, err
			}
			peer := rawPipes{os.NewFile(uintptr(back[0]), "r"), os.NewFile(uintptr(there[1]), "w")}
			c, err := pipe.FD(there[0], back[1])
			return c, peer, peer.w.Close, err
		},
	})
}

// rawPipes is the other end of two pipes.
type rawPipes struct{ r, w *os.File }

func (p rawPipes) Read(b []byte) (int, error)  { return p.r.Read(b) }
func (p rawPipes) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p rawPipes) Close() error                { return errors.Join(p.r.Close(), p.w.Close()) }

func TestFIFO(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	peer := transport.Peer{Address: "fifo:" + path, SameUser: true}
	transporttest.Run(t, transporttest.Transport{
		Listen: func(ctx context.Context) (transport.Listener, error) { return pipe.ListenFIFO(ctx, path) },
		Dial: func(ctx context.Context, address string) (transport.Conn, error) {
			return pipe.DialFIFO(ctx, strings.TrimPrefix(address, "fifo:"))
		},
		Dialed: peer, Accepted: peer,
	})
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

// TestExec is of the two ends of a child's stdin and stdout at once; the child passes on what arrives there to a socket
// that the suite holds the other end of.
func TestExec(t *testing.T) {
	exe := as(t, "bridge")
	path := filepath.Join(t.TempDir(), "s")
	child := transport.Peer{Identified: true, UID: os.Getuid(), GID: os.Getgid(), SameUser: true}
	dialed, accepted := child, child
	dialed.Address, accepted.Address = "exec:"+exe, "unix:"+path
	transporttest.Run(t, transporttest.Transport{
		Pair: func() (a, b transport.Conn, err error) {
			l, err := socket.ListenUnix(t.Context(), path)
			if err != nil {
				return nil, nil, err
			}
			defer l.Close()
			if a, err = pipe.Exec(t.Context(), []string{exe, path}, os.Stderr); err != nil {
				return nil, nil, err
			}
			b, err = l.Accept(t.Context())
			if err == nil && b.Peer().PID != a.Peer().PID {
				err = fmt.Errorf("process %d was started, %d is at the socket", a.Peer().PID, b.Peer().PID)
			}
			return a, b, err
		},
		Dialed: dialed, Accepted: accepted,
	})
}

// as lets the children of the test have a role, and returns the program to start.
func as(t *testing.T, role string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range transporttest.Environ(role)[len(os.Environ()):] {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	return exe
}

// stray uses stdin and stdout beside the session.
func stray(string) (any, error) {
	c, err := pipe.Stdio()
	if err != nil {
		return nil, err
	}
	fmt.Println("a stray line")
	stdin, err := io.ReadAll(os.Stdin)
	fmt.Fprintf(c, "stdin: %q, %v", stdin, err)
	os.Exit(0)
	return nil, nil
}

func TestStdioTakesOver(t *testing.T) {
	var stderr bytes.Buffer
	c, err := pipe.Exec(t.Context(), []string{as(t, "stray"), ""}, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	if want := `stdin: "", <nil>`; string(got) != want || err != nil {
		t.Errorf("the session got %q, %v, want %q", got, err, want)
	}
	if want := "a stray line\n"; stderr.String() != want {
		t.Errorf("stderr got %q, want %q", &stderr, want)
	}
}
