//go:build !unix

package transport

import "syscall"

// NonBlocking is TryWrite where the system offers no way to it: it writes nothing, and the session waits.
type NonBlocking struct{ Raw syscall.RawConn }

// TryWrite is TryWriter's.
func (t *NonBlocking) TryWrite([]byte) (int, error) { return 0, nil }
