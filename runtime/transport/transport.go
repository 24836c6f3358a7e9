// Package transport says what a transport is: something that makes reliable, ordered, two-way byte streams between
// processes. Each kind is a package below this one; package transporttest is the suite that each of them passes.
package transport

import (
	"context"
	"io"
	"time"
)

// A Conn is one end of a byte stream. Read may be called by one goroutine at a time, Write and TryWrite by one at a
// time, everything else by any.
//
// Errors are the operating system's, wrapped with what was tried. Read returns io.EOF once the other end has closed
// or died and everything that it sent has been read. A deadline that has passed makes Read and Write return an error
// that is os.ErrDeadlineExceeded; the stream is intact afterwards and a new deadline may be set.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	// Peer tells who is at the other end.
	Peer() Peer
}

// A TryWriter is a Conn that can write without waiting.
type TryWriter interface {
	// TryWrite writes as much of b as can be written at once, which may be nothing. It returns an error only when
	// no later write can succeed.
	TryWrite(b []byte) (n int, err error)
}

// Peer is who is at the other end of a Conn, as the operating system tells it.
type Peer struct {
	// Address is where the peer is, in the syntax of addresses: "unix:/run/echo.sock", "tcp:127.0.0.1:4242".
	Address string
	// Identified says that the kernel named the process and user; without it the three below mean nothing.
	Identified bool
	PID        int
	UID        int
	GID        int
	// SameUser says that the peer is known to run as this process's user, or is this process's child or parent over
	// pipes or descriptors that it was given. The limits of the session depend on it.
	SameUser bool
}

// A Listener waits for peers.
type Listener interface {
	// Accept waits for the next peer. It returns an error that is net.ErrClosed once Close was called, and io.EOF
	// when a listener that can have only so many peers (a pair of pipes has one) will have no more.
	Accept(ctx context.Context) (Conn, error)
	// Close stops waiting and removes what Listen made in the file system. It closes no Conn.
	Close() error
	// Address is where the listener can be dialed, with what Listen chose by itself (a port) filled in.
	Address() string
}
