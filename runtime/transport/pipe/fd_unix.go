//go:build unix

package pipe

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// Stdio is the session over this process's stdin and stdout, as a parent that started it has the other ends. From then
// on the process's stdin is empty and its stdout is its stderr, so that a stray Println does not disturb the peer.
func Stdio() (transport.Conn, error) {
	const address = "stdio:"
	for _, f := range []struct {
		fd, need int
		name     string
	}{{0, unix.O_RDONLY, "stdin"}, {1, unix.O_WRONLY, "stdout"}} {
		if err := usable(f.fd, f.need); err != nil {
			return nil, fmt.Errorf("stdio: %s %w: this program speaks to the program that starts it, not to a person", f.name, err)
		}
	}
	// The session gets copies; the numbers 0 and 1 are then given to what is harmless.
	var own ends
	fail := func(err error) (transport.Conn, error) {
		own.close()
		return nil, fmt.Errorf("stdio: moving stdin and stdout away: %w", err)
	}
	var err error
	if own.r, err = dup(0, address); err != nil {
		return fail(err)
	}
	if own.w, err = dup(1, address); err != nil {
		return fail(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fail(err)
	}
	defer null.Close()
	if err := errors.Join(dupTo(int(null.Fd()), 0), dupTo(2, 1)); err != nil {
		return fail(err)
	}
	return newConn(transport.Peer{Address: address, SameUser: true}, own.r, own.w)
}

// FD is the session over descriptors that this process inherited: r to read from, w to write to, which may be one
// socket. The session owns them. Numbers 0 to 2 are for Stdio.
func FD(r, w int) (transport.Conn, error) {
	address, readable, writable := fmt.Sprintf("fd:%d,%d", r, w), unix.O_RDONLY, unix.O_WRONLY
	if r == w {
		address, readable, writable = fmt.Sprintf("fd:%d", r), unix.O_RDWR, unix.O_RDWR
	}
	for _, f := range []struct{ fd, need int }{{r, readable}, {w, writable}} {
		if f.fd <= 2 {
			return nil, fmt.Errorf("%s: want numbers from 3 on: 0 to 2 are stdin, stdout and stderr, which the address stdio: is for", address)
		}
		if err := usable(f.fd, f.need); err != nil {
			return nil, fmt.Errorf("%s: descriptor %d %w", address, f.fd, err)
		}
	}
	var mine ends
	var err error
	if mine.r, err = own(r, address); err == nil && r == w {
		mine.w = mine.r
	} else if err == nil {
		mine.w, err = own(w, address)
	}
	if err != nil {
		mine.close()
		return nil, err
	}
	return newConn(transport.Peer{Address: address, SameUser: true}, mine.r, mine.w)
}

// needs are what a descriptor's open mode must allow, in words.
var needs = map[int]string{unix.O_RDONLY: "read from", unix.O_WRONLY: "written to", unix.O_RDWR: "both read from and written to"}

// usable says why fd cannot carry a session for which it must be open as need says.
func usable(fd, need int) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return fmt.Errorf("is not open: %w", err)
	}
	switch uint32(st.Mode) & syscall.S_IFMT {
	case syscall.S_IFIFO:
	case syscall.S_IFSOCK:
		if kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE); err != nil || kind != syscall.SOCK_STREAM {
			return errors.New("is a socket, but not of a stream")
		}
		if listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err == nil && listens != 0 {
			return errors.New("is a socket that listens, not a connection")
		}
	case syscall.S_IFCHR:
		return errors.New("is a terminal or another device, not a pipe or a socket")
	default:
		return errors.New("is a file or a directory, not a pipe or a socket")
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if mode := flags & unix.O_ACCMODE; err != nil || (mode != unix.O_RDWR && mode != need) {
		return fmt.Errorf("cannot be %s: a pipe goes one way", needs[need])
	}
	return nil
}

// dup returns a copy of fd that children do not inherit.
func dup(fd int, name string) (*os.File, error) {
	syscall.ForkLock.RLock()
	n, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(n)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("%s: copying descriptor %d: %w", name, fd, err)
	}
	return own(n, name)
}

// own returns fd as a file that the poller watches and children do not inherit.
func own(fd int, name string) (*os.File, error) {
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("%s: descriptor %d: %w", name, fd, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
