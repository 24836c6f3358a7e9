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

func (*Socket) Read([]byte) (int, error)                                            { return 0, errNone }
func (*Socket) Send([]byte, *Segment) error                                         { return errNone }
func (*Socket) Received() int                                                       { return 0 }
func (*Socket) Discard()                                                            {}
func (*Socket) Attach(int, ring.Identity) (*Segment, error)                         { return nil, errNone }
func (*Socket) Conn(*Segment, *Segment, time.Duration, bool, func()) transport.Conn { return nil }

// A Segment is never made on this system.
type Segment struct{}

// Make returns an error.
func Make(int, ring.Identity, bool) (*Segment, error) { return nil, errNone }

func (*Segment) Size() int { return 0 }
func (*Segment) Release()  {}

// CanPopulate says that there are no arenas.
func CanPopulate() bool { return false }

// An Arena is never made on this system.
type Arena struct{}

// MakeArena returns an error.
func MakeArena(int) (*Arena, error) { return nil, errNone }

func (*Arena) Take(int) (int, []byte, bool) { return 0, nil, false }
func (*Arena) Memory() []byte               { return nil }
func (*Arena) Offset([]byte) (int, bool)    { return 0, false }
func (*Arena) Give(int) bool                { return false }
func (*Arena) There(int, int) bool          { return false }
func (*Arena) Reserve(int, int) error       { return errNone }
func (*Arena) Reserved(int, int)            {}
func (*Arena) Release()                     {}

// A PeerArena is never attached on this system.
type PeerArena struct{}

func (*PeerArena) Size() int                           { return 0 }
func (*PeerArena) Range(uint32, uint32) ([]byte, bool) { return nil, false }
func (*PeerArena) Offset([]byte) (int, bool)           { return 0, false }
func (*PeerArena) There(int, int) bool                 { return false }
func (*PeerArena) Reserve(int, int) error              { return errNone }
func (*PeerArena) Reserved(int, int)                   {}
func (*PeerArena) Release()                            {}
