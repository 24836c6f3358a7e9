//go:build !unix

package pipe

import (
	"context"
	"errors"
	"io"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

var errSystem = errors.New("sessions over pipes are not there on this system: use tcp: or unix:")

// Stdio is not there on this system.
func Stdio() (transport.Conn, error) { return nil, errSystem }

// FD is not there on this system.
func FD(r, w int) (transport.Conn, error) { return nil, errSystem }

// Exec is not there on this system.
func Exec(context.Context, []string, io.Writer) (transport.Conn, error) { return nil, errSystem }

// DialFIFO is not there on this system.
func DialFIFO(context.Context, string) (transport.Conn, error) { return nil, errSystem }

// ListenFIFO is not there on this system.
func ListenFIFO(context.Context, string) (transport.Listener, error) { return nil, errSystem }
