//go:build !unix

package session

import (
	"errors"
	"io"
	"syscall"
)

// goneError says whether err is how the operating system reports a peer that is no longer there: connection aborted
// and reset by peer (WSAECONNABORTED, WSAECONNRESET), and a broken pipe.
func goneError(err error) bool {
	return errors.Is(err, syscall.Errno(10053)) || errors.Is(err, syscall.Errno(10054)) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, io.ErrClosedPipe)
}
