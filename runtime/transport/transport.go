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
// Errors are the operating system's, wrapped with what was tried. Read returns an error that is io.EOF once the other
// end has closed or died and everything that it sent has been read; where the other end had not read all that was sent
// to it, the error may be a reset of the connection instead. Write fails once the other end is gone; a first Write after
// that may still succeed. Both go on failing.
//
// A deadline that has passed makes Read and Write return an error that is os.ErrDeadlineExceeded; the stream is intact
// afterwards, a new deadline may be set, and what a Write had not written by then is for the next Write to begin with.
//
// Close makes what waits in Read and Write, and everything later, return an error that is net.ErrClosed, and does not
// wait for the other end. What was written before can still be read there. Only the first Close does anything.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	// Peer tells who is at the other end.
	Peer() Peer
}

// A Killer is a Conn to a program that was started for it.
type Killer interface {
	// Kill is a Close that gives the program no time to end.
	Kill()
}

// A TryWriter is a Conn that can write without waiting.
type TryWriter interface {
	// TryWrite writes as much of b as can be written at once, which may be nothing. It returns an error only when no
	// later write can succeed: a deadline that has passed is none.
	TryWrite(b []byte) (n int, err error)
}

// A MemoryWriter is a TryWriter that copies into memory which the other end reads. It takes so little time that a session
// writes without letting go of what it guards.
type MemoryWriter interface {
	TryWriter
	// Others says whether other goroutines have to do with what the next Reads wait for, which then let them run more often
	// while they spin. It is for the goroutine that reads.
	Others(some bool)
	// Watch has what the Conn was made with called when something comes, or nothing will come any more, while nobody reads:
	// by another goroutine, perhaps more than once, and perhaps for nothing. The next Read ends that. Where there is something
	// to read already Watch returns true, and nothing is called. It is for the goroutine that reads, and where nobody does it
	// may be asked again.
	Watch() (ready bool)
}

// Peer is who is at the other end of a Conn, as the operating system tells it.
type Peer struct {
	// Address is where the peer is, in the syntax of addresses: "unix:/run/echo.sock", "tcp:127.0.0.1:4242". Who dialed has
	// it as it was dialed.
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

// A Listener waits for peers. Accept is for one goroutine at a time, everything else for any.
type Listener interface {
	// Accept waits for the next peer within ctx, whose error it returns. It returns an error that is net.ErrClosed
	// once Close was called, and io.EOF when a listener that can have only so many peers (a pair of pipes has one)
	// will have no more.
	Accept(ctx context.Context) (Conn, error)
	// Close stops waiting and removes what Listen made in the file system. It closes no Conn that was accepted. Only
	// the first Close does anything.
	Close() error
	// Address is where the listener can be dialed, with what Listen chose by itself (a port) filled in.
	Address() string
}
