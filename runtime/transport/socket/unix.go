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

// maxPath is how long the path of a unix socket may be, in bytes.
func maxPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

func checkPath(path string) error {
	if path == "" {
		return errors.New("unix: needs a path: unix:/run/user/1000/echo.sock")
	}
	if len(path) > maxPath() {
		return fmt.Errorf("unix:%s: the path has %d bytes, and a socket's may have %d: use a shorter directory", path, len(path), maxPath())
	}
	return nil
}

// ListenUnix waits for peers at path. The socket is only its owner's (mode 0600) from the moment it appears. A file
// that a dead server left is taken over; where one is alive, or something that is not a socket stands, that is an
// error. Closing the listener removes the file, unless somebody else has put another one there.
func ListenUnix(ctx context.Context, path string) (transport.Listener, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	fail := func(err error) (transport.Listener, error) { return nil, fmt.Errorf("listen unix:%s: %w", path, err) }
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err != nil {
		return fail(fmt.Errorf("make the directory first: %w", err))
	}
	// The socket is born in a directory that nobody else can enter, and moved to its place when it is ready.
	private, err := os.MkdirTemp(dir, ".")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(private)
	born := filepath.Join(private, "s")
	if len(born) > maxPath() {
		return fail(fmt.Errorf("the directory's path has %d bytes, and may have %d: use a shorter one", len(dir), maxPath()-len(born)+len(dir)))
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", born)
	if err != nil {
		return fail(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	abort := func(err error) (transport.Listener, error) {
		l.Close()
		os.Remove(born)
		return fail(err)
	}
	if err := os.Chmod(born, 0o600); err != nil {
		return abort(err)
	}
	mine, err := os.Lstat(born)
	if err != nil {
		return abort(err)
	}
	// Of two servers that start at once, the one that gets the directory's lock second finds the first alive.
	unlock, err := lockDir(dir)
	if err != nil {
		return abort(err)
	}
	defer unlock()
	if err := checkFree(ctx, path); err != nil {
		return abort(err)
	}
	if err := os.Rename(born, path); err != nil {
		return abort(err)
	}
	address := "unix:" + path
	return &listener{Listener: l, address: address,
		wrap:   func(c net.Conn) transport.Conn { return newUnix(c.(*net.UnixConn), address) },
		remove: func() { removeSame(path, mine) },
	}, nil
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
