package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// DialUnix connects to the socket at path.
func DialUnix(ctx context.Context, path string) (transport.Conn, error) {
	return dial(ctx, "unix:", path)
}

// DialShm is DialUnix for a session that is to move into shared memory: the address says so, nothing else differs.
func DialShm(ctx context.Context, path string) (transport.Conn, error) {
	return dial(ctx, "shm:", path)
}

func dial(ctx context.Context, scheme, path string) (transport.Conn, error) {
	if err := checkPath(scheme, path); err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("dial %s%s: no such socket: is the server running? %w", scheme, path, err)
	case errors.Is(err, syscall.ECONNREFUSED) && !isSocket(path):
		return nil, fmt.Errorf("dial %s%s: there is a file that is not a socket: %w", scheme, path, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("dial %s%s: nobody listens there: the server has died and left the file behind: %w", scheme, path, err)
	case err != nil:
		return nil, fmt.Errorf("dial %s%s: %w", scheme, path, err)
	}
	return newUnix(c.(*net.UnixConn), scheme+path), nil
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

// maxPath is how long the path of a unix socket may be, in bytes.
func maxPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

func checkPath(scheme, path string) error {
	if path == "" {
		return fmt.Errorf("%s needs a path: %s/run/user/1000/echo.sock", scheme, scheme)
	}
	if path[0] == '@' {
		return fmt.Errorf("%s%s: an abstract socket is open to every user, so there is no address for one: use a path (a file of this name is %s./%s)", scheme, path, scheme, path)
	}
	if len(path) > maxPath() {
		return fmt.Errorf("%s%s: the path has %d bytes, and a socket's may have %d: use a shorter directory", scheme, path, len(path), maxPath())
	}
	return nil
}

// ListenUnix waits for peers at path. The socket is only its owner's (mode 0600) from the moment it appears. A file
// that a dead server left is taken over; where one is alive, or something that is not a socket stands, that is an
// error. Closing the listener removes the file, unless somebody else has put another one there.
func ListenUnix(ctx context.Context, path string) (transport.Listener, error) {
	return listen(ctx, "unix:", path)
}

// ListenShm is ListenUnix for sessions that are to move into shared memory: the address says so, nothing else differs.
func ListenShm(ctx context.Context, path string) (transport.Listener, error) {
	return listen(ctx, "shm:", path)
}

func listen(ctx context.Context, scheme, path string) (transport.Listener, error) {
	if err := checkPath(scheme, path); err != nil {
		return nil, err
	}
	address := scheme + path
	fail := func(err error) (transport.Listener, error) { return nil, fmt.Errorf("listen %s: %w", address, err) }
	// The socket is born in a directory that nobody else can enter, and moved to its place when it is ready.
	private, err := os.MkdirTemp(filepath.Dir(path), ".")
	if errors.Is(err, fs.ErrNotExist) {
		return fail(fmt.Errorf("make the directory first: %w", inDir(path, err)))
	}
	if err != nil {
		return fail(inDir(path, err))
	}
	defer os.Remove(private)
	born := filepath.Join(private, "s")
	if excess := len(born) - maxPath(); excess > 0 {
		return fail(fmt.Errorf("the directory's path is %d bytes too long for a socket to be made in it: use a shorter one", excess))
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", born)
	if err != nil {
		return fail(inDir(path, err))
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	mine, err := settle(ctx, born, path)
	if err != nil {
		l.Close()
		os.Remove(born)
		return fail(err)
	}
	place := path
	if absolute, err := filepath.Abs(path); err == nil {
		place = absolute // whatever the working directory will be by then
	}
	return &listener{Listener: l, address: address,
		wrap:   func(c net.Conn) transport.Conn { return newUnix(c.(*net.UnixConn), address) },
		remove: func() { removeSame(place, mine) },
	}, nil
}

// inDir says of the directory that a socket is to be made in what err says of the place where it is born.
func inDir(path string, err error) error {
	var file *fs.PathError
	var op *net.OpError
	switch {
	case errors.As(err, &file):
		err = file.Err
	case errors.As(err, &op):
		err = op.Err
	}
	return fmt.Errorf("the directory %s: %w", filepath.Dir(path), err)
}

// settle makes the socket at born its owner's alone and moves it to path, if that is free.
func settle(ctx context.Context, born, path string) (mine os.FileInfo, err error) {
	if err := os.Chmod(born, 0o600); err != nil {
		return nil, err
	}
	if mine, err = os.Lstat(born); err != nil {
		return nil, err
	}
	// Of two servers that start at once, the one that gets the directory's lock second finds the first alive.
	unlock, err := lockDir(ctx, filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := checkFree(ctx, path); err != nil {
		return nil, err
	}
	return mine, os.Rename(born, path)
}

// checkFree says why path cannot be taken: something other than a dead server's socket is there.
func checkFree(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is not a socket: remove it, or choose another path")
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("another server listens there: stop it, or choose another path: %w", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return nil
	default:
		return fmt.Errorf("asking whether another server listens there: %w", err)
	}
}

// removeSame removes path if it still is the file that was made.
func removeSame(path string, mine os.FileInfo) {
	if now, err := os.Lstat(path); err == nil && os.SameFile(mine, now) {
		os.Remove(path)
	}
}
