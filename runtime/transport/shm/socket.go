//go:build linux && (amd64 || arm64)

package shm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipcgen/ipcgen/runtime/internal/ring"
	"github.com/ipcgen/ipcgen/runtime/transport"
)

// Available says whether this system has shared memory, and if not, why.
func Available() error { return nil }

// A Socket is a unix socket while two sides agree on shared memory over it: descriptors travel with the bytes. It is
// used by one goroutine at a time.
type Socket struct {
	conn     transport.Conn
	raw      syscall.RawConn
	received []int // descriptors that came and were not taken
}

// Open returns conn as one by which descriptors can travel, or says why they cannot.
func Open(conn transport.Conn) (*Socket, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("only a unix socket can be moved into shared memory")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Socket{conn: conn, raw: raw}, nil
}

// mostDescriptors is how many can come with one read. The protocol has one in a session; of more the kernel says that it
// cut them off.
const mostDescriptors = 4

// Read is the connection's, and keeps the descriptors that come.
func (s *Socket) Read(p []byte) (n int, err error) {
	var fds []int
	rerr := s.raw.Read(func(fd uintptr) bool {
		n, fds, err = receiveFiles(int(fd), p)
		return !errors.Is(err, unix.EAGAIN)
	})
	s.received = append(s.received, fds...)
	if rerr != nil {
		err = rerr
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %s: %w", s.conn.Peer().Address, err)
	}
	return n, err
}

// receiveFiles reads what there is on a socket, and the descriptors that come with it.
func receiveFiles(fd int, p []byte) (n int, fds []int, err error) {
	var oob [128]byte
	var oobn, flags int
	err = retry(func() (err error) {
		n, oobn, flags, _, err = unix.Recvmsg(fd, p, oob[:unix.CmsgSpace(4*mostDescriptors)], unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		return err
	})
	if err != nil {
		return 0, nil, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, nil, fmt.Errorf("control message: %w", err)
	}
	for i := range messages {
		if rights, err := unix.ParseUnixRights(&messages[i]); err == nil { // else they are no descriptors
			fds = append(fds, rights...)
		}
	}
	switch {
	case flags&unix.MSG_CTRUNC != 0:
		return n, fds, fmt.Errorf("%w: it sent more descriptors than there is use for", ErrBroken)
	case n == 0 && len(p) > 0:
		return 0, fds, io.EOF
	}
	return n, fds, nil
}

// Send writes b, and with its first byte the descriptor of m, which may be nil.
func (s *Socket) Send(b []byte, m *Segment) error {
	if m == nil {
		_, err := s.conn.Write(b)
		return err
	}
	var n int
	var err error
	rerr := s.raw.Write(func(fd uintptr) bool {
		err = retry(func() (err error) {
			n, err = unix.SendmsgN(int(fd), b, unix.UnixRights(m.fd), nil, unix.MSG_NOSIGNAL)
			return err
		})
		return !errors.Is(err, unix.EAGAIN)
	})
	if rerr != nil {
		return fmt.Errorf("write %s: %w", s.conn.Peer().Address, rerr)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", s.conn.Peer().Address, os.NewSyscallError("sendmsg", err))
	}
	m.sent()
	if n < len(b) {
		_, err = s.conn.Write(b[n:])
	}
	return err
}

// Received is how many descriptors have come and were not taken by Attach.
func (s *Socket) Received() int { return len(s.received) }

// Attach takes the one descriptor that has come and maps it: the peer's segment, of size bytes. The error is for the
// peer to read.
func (s *Socket) Attach(size int, id ring.Identity) (*Segment, error) {
	defer s.Discard()
	return attach(s.received[0], size, id)
}

// Discard closes the descriptors that came and were not taken.
func (s *Socket) Discard() {
	closeAll(s.received)
	s.received = nil
}

// Conn returns a connection through mine, which this side made, and theirs, which it attached. It owns both, and the
// socket, whose deadlines must have been taken back. Spin is how long a wait may spin: 0 is as long as a wake-up was
// measured to take, less than 0 not at all. Arenas says that the peer may send one, once, and get one.
func (s *Socket) Conn(mine, theirs *Segment, spin time.Duration, arenas bool) transport.Conn {
	w, r := ring.New(mine.mem, theirs.mem)
	var mail *mailbox
	if arenas {
		mail = &mailbox{fd: -1, returns: ring.NewReturns(mine.mem, theirs.mem)}
	}
	return newConn(s.conn, s.raw, w, r, func() {
		mine.Release()
		theirs.Release()
	}, limitOf(spin), mail)
}
