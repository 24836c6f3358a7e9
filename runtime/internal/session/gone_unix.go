//go:build unix

package session

import (
	"errors"
	"io"
	"syscall"
)

// goneError says whether err is how the operating system reports a peer that is no longer there.
func goneError(err error) bool {
	return errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}
