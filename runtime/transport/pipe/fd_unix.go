//go:build unix

package pipe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// Stdio is the session over this process's stdin and stdout, as a parent that started it has the other ends. From then
// on the process's stdin is empty and its stdout is its stderr, so that a stray Println does not disturb the peer.
func Stdio() (transport.Conn, error) {
	const address = "stdio:"
	for _, f := range []struct {
		fd   int
		name string
	}{{0, "stdin"}, {1, "stdout"}} {
		if err := usable(f.fd); err != nil {
			return nil, fmt.Errorf("stdio: %s %w: this program speaks to the program that starts it, not to a person", f.name, err)
		}
	}
	// The session gets copies; the numbers 0 and 1 are then given to what is harmless.
	r, err := dup(0, address)
	if err != nil {
		return nil, err
	}
	w, err := dup(1, address)
	if err != nil {
		r.Close()
		return nil, err
	}
	null, err := os.Open(os.DevNull)
	if err == nil {
		err = errors.Join(dupTo(int(null.Fd()), 0), dupTo(2, 1))
		null.Close()
	}
	if err != nil {
		r.Close()
		w.Close()
		return nil, fmt.Errorf("stdio: moving stdin and stdout away: %w", err)
	}
	return newConn(address, r, w)
}

// FD is the session over descriptors that this process inherited: r to read from, w to write to, which may be one
// socket. The session owns them.
func FD(r, w int) (transport.Conn, error) {
	address := fmt.Sprintf("fd:%d,%d", r, w)
	if r == w {
		address = fmt.Sprintf("fd:%d", r)
	}
	for _, fd := range []int{r, w} {
		if fd < 0 {
			return nil, fmt.Errorf("%s: a descriptor is not negative", address)
		}
		if err := usable(fd); err != nil {
			return nil, fmt.Errorf("%s: descriptor %d %w", address, fd, err)
		}
	}
	rf, err := own(r, address)
	if err != nil {
		return nil, err
	}
	if r == w {
		return newConn(address, rf, rf)
	}
	wf, err := own(w, address)
	if err != nil {
		rf.Close()
		return nil, err
	}
	return newConn(address, rf, wf)
}

// usable says why fd cannot carry a session.
func usable(fd int) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return fmt.Errorf("is not open: %w", err)
	}
	switch uint32(st.Mode) & syscall.S_IFMT {
	case syscall.S_IFIFO, syscall.S_IFSOCK:
		return nil
	case syscall.S_IFCHR:
		return errors.New("is a terminal or another device, not a pipe or a socket")
	default:
		return fmt.Errorf("is a file, not a pipe or a socket (%v)", fs.FileMode(st.Mode))
	}
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
