//go:build linux && (amd64 || arm64)

package shm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ipcgen/ipcgen/runtime/internal/ring"
)

// A Segment is one side's memory: a memfd, mapped. It is given up by Release, or by closing the Conn that it is in.
type Segment struct {
	mem []byte
	fd  int // -1 once the peer has it
}

// seals are what a peer may rely on: the memory does not go away under it. The owner relies on sealFuture: what was not
// mapped to be written by now never is, so the peer only reads.
const (
	seals      = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	sealFuture = unix.F_SEAL_FUTURE_WRITE
)

// Make makes a segment with a ring of size bytes, all of which there are from then on: where the memory is short, that
// is an error now and no fault later. SameUser says that the peer is trusted with writing where the kernel, before 5.1,
// cannot keep it from that.
func Make(size int, id ring.Identity, sameUser bool) (*Segment, error) {
	if !ring.ValidSize(size) {
		return nil, fmt.Errorf("a ring of %d bytes: want a power of two from %d to %d", size, ring.MinSize, ring.MaxSize)
	}
	size += ring.HeaderSize
	fd, err := create()
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	s := &Segment{fd: fd}
	if err := s.fill(size, id, sameUser); err != nil {
		s.Release()
		return nil, fmt.Errorf("a memfd of %d bytes: %w", size, err)
	}
	return s, nil
}

func create() (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("ipcgen", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("ipcgen", flags)
	}
	return fd, err
}

func (s *Segment) fill(size int, id ring.Identity, sameUser bool) error {
	if err := enlarge(s.fd, size); err != nil {
		return err
	}
	if err := retry(func() error { return unix.Fallocate(s.fd, 0, 0, int64(size)) }); err != nil {
		return fmt.Errorf("fallocate: %w", err)
	}
	mem, err := unix.Mmap(s.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	s.mem = mem
	ring.Init(mem, id)
	_, err = unix.FcntlInt(uintptr(s.fd), unix.F_ADD_SEALS, seals|sealFuture)
	if errors.Is(err, unix.EINVAL) && sameUser {
		_, err = unix.FcntlInt(uintptr(s.fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	return nil
}

// enlarge gives an empty file its size.
func enlarge(fd, size int) error {
	// Growing a file over the limit for files would not only fail but raise SIGXFSZ, which ends the process.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err == nil && limit.Cur < uint64(size) {
		return fmt.Errorf("the limit for the size of files (ulimit -f) is %d: %w", limit.Cur, unix.EFBIG)
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return fmt.Errorf("ftruncate: %w", err)
	}
	return nil
}

func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Size is how many bytes the segment has, with its header.
func (s *Segment) Size() int { return len(s.mem) }

// Sent closes the descriptor, which the peer has by now.
func (s *Segment) sent() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}

// Release gives the segment up. It may be called again.
func (s *Segment) Release() {
	s.sent()
	if s.mem != nil {
		unix.Munmap(s.mem)
		s.mem = nil
	}
}

// attach maps a peer's segment to be read, after checking that it is one, of size bytes, and belongs to id.
func attach(fd, size int, id ring.Identity) (*Segment, error) {
	has, err := inspect(fd, seals)
	if err != nil {
		return nil, err
	}
	if has != int64(size) {
		return nil, fmt.Errorf("the memfd has %d bytes, the offer said %d", has, size)
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	if err := ring.Check(mem, id); err != nil {
		unix.Munmap(mem)
		return nil, err
	}
	return &Segment{mem: mem, fd: -1}, nil
}

// inspect returns the size of a memfd, after checking that it is one and has the seals.
func inspect(fd, seals int) (size int64, err error) {
	has, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	var stat unix.Stat_t // whose size cannot change any more, if the seals are there
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, fmt.Errorf("fstat: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return 0, fmt.Errorf("fstatfs: %w", err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG || fs.Type != unix.TMPFS_MAGIC {
		return 0, fmt.Errorf("the descriptor is not of a memfd (mode %#o, file system %#x)", stat.Mode, fs.Type)
	}
	if err != nil || has&seals != seals {
		return 0, fmt.Errorf("the memfd has the seals %#x, want %#x: %v", has, seals, err)
	}
	return stat.Size, nil
}
