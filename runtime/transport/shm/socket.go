//go:build linux && (amd64 || arm64)

package shm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

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

// mostDescriptors is how many can come, with one read and with all of the handshake. The protocol has one in a session; of more
// in one read the kernel says that it cut them off.
const mostDescriptors = 4

var errTooMany = fmt.Errorf("%w: it sent more descriptors than there is use for", ErrBroken)

// Read is the connection's, and keeps the descriptors that come.
func (s *Socket) Read(p []byte) (n int, err error) {
	var fds []int
	rerr := s.raw.Read(func(fd uintptr) bool {
		n, fds, err = receiveFiles(int(fd), p)
		return !errors.Is(err, unix.EAGAIN)
	})
	s.received = append(s.received, fds...)
	switch {
	case rerr != nil:
		err = rerr
	case len(s.received) > mostDescriptors:
		s.Discard()
		err = errTooMany
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %s: %w", s.conn.Peer().Address, err)
	}
	return n, err
}

// receiveFiles reads what there is on a socket, and the descriptors that come with it.
func receiveFiles(fd int, p []byte) (n int, fds []int, err error) {
	var oob [128]byte
	n, h, err := recvmsg(fd, p, oob[:unix.CmsgSpace(4*mostDescriptors)])
	switch {
	case err == unix.EAGAIN:
		return 0, nil, err // there is nothing, as each time before a doorbell
	case err != nil:
		return 0, nil, os.NewSyscallError("recvmsg", err)
	}
	if h.Controllen > 0 {
		if fds, err = descriptors(oob[:h.Controllen]); err != nil {
			return n, fds, err
		}
	}
	switch {
	case h.Flags&unix.MSG_CTRUNC != 0:
		return n, fds, errTooMany
	case n == 0 && len(p) > 0:
		return 0, fds, io.EOF
	}
	return n, fds, nil
}

// recvmsg is unix.Recvmsg without the address of the sender, for which that allocates memory each time.
func recvmsg(fd int, p, oob []byte) (n int, h unix.Msghdr, err error) {
	v := unix.Iovec{Base: unsafe.SliceData(p)}
	v.SetLen(len(p))
	for {
		h = unix.Msghdr{Iov: &v, Control: unsafe.SliceData(oob)}
		h.SetIovlen(1)
		h.SetControllen(len(oob))
		r, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		switch errno {
		case 0:
			return int(r), h, nil
		case unix.EINTR:
		default:
			return 0, h, errno
		}
	}
}

// descriptors are those that came with a control message.
func descriptors(oob []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control message: %w", err)
	}
	for i := range messages {
		if rights, err := unix.ParseUnixRights(&messages[i]); err == nil { // else they are no descriptors
			fds = append(fds, rights...)
		}
	}
	return fds, nil
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
// measured to take, less than 0 not at all. Arenas says that the peer may send one, once, and get one. Knock is what Watch has
// called.
func (s *Socket) Conn(mine, theirs *Segment, spin time.Duration, arenas bool, knock func()) transport.Conn {
	w, r := ring.New(mine.mem, theirs.mem)
	var mail *mailbox
	if arenas {
		mail = &mailbox{fd: -1, returns: ring.NewReturns(mine.mem, theirs.mem)}
	}
	return newConn(s.conn, s.raw, w, r, func() {
		mine.Release()
		theirs.Release()
	}, limitOf(spin), mail, knock)
}
