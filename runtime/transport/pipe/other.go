//go:build !unix

package pipe

import (
	"context"
	"fmt"
	"io"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

func refused(address string) error {
	return fmt.Errorf("%s: sessions over pipes are not there on this system: use unix: or tcp", address)
}

// Stdio is not there on this system.
func Stdio() (transport.Conn, error) { return nil, refused("stdio") }

// FD is not there on this system.
func FD(r, w int) (transport.Conn, error) { return nil, refused(fmt.Sprintf("fd:%d,%d", r, w)) }

// Exec is not there on this system.
func Exec(_ context.Context, argv []string, _ io.Writer) (transport.Conn, error) {
	return nil, refused("exec:" + argv[0])
}

// DialFIFO is not there on this system.
func DialFIFO(_ context.Context, path string) (transport.Conn, error) {
	return nil, refused("fifo:" + path)
}

// ListenFIFO is not there on this system.
func ListenFIFO(_ context.Context, path string) (transport.Listener, error) {
	return nil, refused("fifo:" + path)
}
