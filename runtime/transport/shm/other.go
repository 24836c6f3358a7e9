//go:build !linux || !(amd64 || arm64)

package shm

import (
	"errors"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/ring"
	"github.com/ipcgen/ipcgen/runtime/transport"
)

var errNone = errors.New("shared memory needs Linux on amd64 or arm64")

// Available says that shared memory is not there.
func Available() error { return errNone }

// Open returns an error: shared memory is not there.
func Open(transport.Conn) (*Socket, error) { return nil, errNone }

// A Socket is never made on this system. Its methods are there to be compiled against.
type Socket struct{}

func (*Socket) Read([]byte) (int, error)                           { return 0, errNone }
func (*Socket) Send([]byte, *Segment) error                        { return errNone }
func (*Socket) Received() int                                      { return 0 }
func (*Socket) Discard()                                           {}
func (*Socket) Attach(int, ring.Identity) (*Segment, error)        { return nil, errNone }
func (*Socket) Conn(_, _ *Segment, _ time.Duration) transport.Conn { return nil }

// A Segment is never made on this system.
type Segment struct{}

// Make returns an error.
func Make(int, ring.Identity, bool) (*Segment, error) { return nil, errNone }

func (*Segment) Size() int { return 0 }
func (*Segment) Release()  {}
