//go:build unix

package transport

import (
	"errors"
	"os"
	"syscall"
)

// NonBlocking is TryWrite over a descriptor that is in non-blocking mode, as those of package net and of pipes are.
type NonBlocking struct {
	Raw syscall.RawConn

	// What try works on; kept here so that a call allocates nothing. TryWrite's single caller owns them.
	b   []byte
	n   int
	err error
	try func(fd uintptr) bool
}

// TryWrite is TryWriter's.
func (t *NonBlocking) TryWrite(b []byte) (int, error) {
	if t.try == nil {
		t.try = t.write
	}
	t.b, t.n, t.err = b, 0, nil
	err := t.Raw.Write(t.try)
	t.b = nil
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, nil
	}
	if err == nil && t.err != nil {
		err = os.NewSyscallError("write", t.err)
	}
	return t.n, err
}

// write writes what fits. It always says that it is done, so that nobody waits.
func (t *NonBlocking) write(fd uintptr) bool {
	for len(t.b) > 0 {
		n, err := syscall.Write(int(fd), t.b)
		if n > 0 {
			t.n += n
			t.b = t.b[n:]
		}
		switch {
		case err == nil && n == 0:
			return true
		case err == nil, errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return true
		default:
			t.err = err
			return true
		}
	}
	return true
}
