// Package shm is the transport through memory that two processes share (PROTOCOL.md, section 13). It begins with a unix
// socket: by that each side sends the other a segment of its own, a memfd that the other can only read, and then the
// socket carries nothing but doorbells, and with its end the news that the peer has closed or died. Nothing has a name in
// a file system, so nothing is left there, however the processes end.
//
// Beside their segments two sides that want to may lend each other memory, each one an Arena of its own, whose descriptor
// comes on the socket among the doorbells. What is lent with which message is the session's to say.
//
// A Conn waits in three steps. It spins, as long as a park and a wake-up would cost, if spinning has been worth while
// lately and nobody else in the process is at it; then it parks, and its goroutine sleeps until the doorbell comes. So an
// idle connection uses no processor time, and one that is answered at once makes no system call.
package shm

import "github.com/ipcgen/ipcgen/runtime/internal/ring"

// ErrBroken is the cause of what Read and Write return where the peer has written what cannot be, in its segment or to
// the socket.
var ErrBroken = ring.ErrBroken
