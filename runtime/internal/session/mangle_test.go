//go:build linux && (amd64 || arm64)

package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/internal/ring"
	"github.com/ipcgen/ipcgen/runtime/transport/shm"
)

// A mangler is a peer that has moved into shared memory with a session, and can write everything in its segment.
type mangler struct {
	*rawPeer
	fd      int
	mine    []byte
	writer  *ring.Writer
	reader  *ring.Reader
	returns *ring.Returns
}

// mangle starts a session and moves into shared memory with it. All that it needs ends with the test.
func mangle(t *testing.T) (*mangler, *Session) {
	t.Helper()
	return mangleWith(t, frame.FeatureShm)
}

func mangleWith(t *testing.T, features uint32) (*mangler, *Session) {
	t.Helper()
	p, began, failed := victim(t, tight)
	p.hello(features)
	fd, err := unix.MemfdCreate("peer", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	fill(t, fd, goodSize, p.id[0], goodSeals)
	p.sendFiles(offerOf(1, goodSize), fd)
	m := &mangler{rawPeer: p, fd: fd, mine: mapped(t, fd, goodSize, unix.PROT_READ|unix.PROT_WRITE)}
	theirs := p.theirSegment()
	m.writer, m.reader = ring.New(m.mine, theirs)
	m.returns = ring.NewReturns(m.mine, theirs)
	if kind, text := p.next(); kind != frame.ShmAccept {
		t.Fatalf("got %s %q, want SHM_ACCEPT", kind, text)
	}
	p.Write(frame.AppendShm(nil, frame.ShmAccept, 0, nil))
	select {
	case s := <-began:
		t.Cleanup(func() {
			s.Close()
			s.Wait()
		})
		return m, s
	case err := <-failed:
		t.Fatal(err)
	}
	return nil, nil
}

// theirSegment reads the session's offer and maps it.
func (p *rawPeer) theirSegment() []byte {
	p.t.Helper()
	b, oob := make([]byte, frame.HeaderSize+4), make([]byte, syscall.CmsgSpace(4))
	n, oobn, _, _, err := p.ReadMsgUnix(b, oob)
	if err == nil {
		_, err = io.ReadFull(p, b[n:])
	}
	if err != nil {
		p.t.Fatal(err)
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		p.t.Fatalf("%d control messages came with the offer, %v", len(messages), err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		p.t.Fatalf("%d descriptors came with the offer, %v", len(fds), err)
	}
	defer unix.Close(fds[0])
	if _, err := unix.Mmap(fds[0], 0, ring.HeaderSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != unix.EPERM {
		p.t.Errorf("mapping the session's segment to write: got %v, want EPERM", err)
	}
	for what, err := range map[string]error{
		"writing":   second(unix.Pwrite(fds[0], []byte{1}, 0)),
		"cutting":   unix.Ftruncate(fds[0], 0),
		"growing":   unix.Ftruncate(fds[0], 1<<20),
		"punching":  unix.Fallocate(fds[0], unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, ring.HeaderSize),
		"unsealing": second(unix.FcntlInt(uintptr(fds[0]), unix.F_ADD_SEALS, unix.F_SEAL_WRITE)),
	} {
		if err != unix.EPERM {
			p.t.Errorf("%s the session's segment: got %v, want EPERM", what, err)
		}
	}
	return mapped(p.t, fds[0], int(binary.LittleEndian.Uint32(b[frame.HeaderSize:])), unix.PROT_READ)
}

func second[T any](_ T, err error) error { return err }

func mapped(t *testing.T, fd, size, prot int) []byte {
	t.Helper()
	mem, err := unix.Mmap(fd, 0, size, prot, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}

// set writes a word of the peer's segment.
func (m *mangler) set(offset int, v uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&m.mine[offset])), v)
}

// publish sends b through the ring, as far as there is room, and rings.
func (m *mangler) publish(b []byte) {
	m.writer.Write(b)
	m.Write([]byte{0})
}

var pingFrame = frame.Header{Type: frame.Ping}.Append(nil)

// receive reads n bytes from the session's ring, or returns why it has ended.
func (m *mangler) receive(s *Session, n int) ([]byte, error) {
	b := make([]byte, n)
	for rest := b; ; {
		k, err := m.reader.Read(rest)
		if rest = rest[k:]; err != nil || len(rest) == 0 {
			return b, err
		}
		ready, err := m.reader.Park()
		if err == nil && !ready {
			_, err = m.Read(make([]byte, 10))
		}
		if m.reader.Unpark(); err != nil {
			<-s.Done()
			return nil, s.Err()
		}
	}
}

// insist has calls answered until the session ends, and lies each time about how much of the answers was read.
func (m *mangler) insist(s *Session, head uint32) error {
	for generation := 1; ; generation++ {
		m.publish(callOf(mEcho, 0, generation, frame.Msg|frame.End, make([]byte, 1000)))
		header, err := m.receive(s, frame.HeaderSize)
		if err == nil {
			_, err = m.receive(s, int(binary.LittleEndian.Uint32(header[4:])))
		}
		if err != nil {
			return err
		}
		m.set(0x100, head)
	}
}

// TestMangledWords writes every word to extreme values. What is impossible ends the session; what misleads only the peer
// does not.
func TestMangledWords(t *testing.T) {
	const tail, head = 0x080, 0x100
	for _, c := range []struct {
		name   string
		offset int
		values []uint32
	}{
		{"tail", tail, []uint32{1<<16 + 1, 1<<16 + 17, 1 << 31, 1<<31 - 1, 1<<32 - 1}},
		{"head", head, []uint32{1 << 30, 1 << 31, 1<<31 - 1, 1<<32 - 1}},
		{"rx_wait", 0x180, []uint32{1, 2, 1<<31 - 1, 1 << 31, 1<<32 - 1}},
		{"tx_wait", 0x200, []uint32{1, 2, 1<<31 - 1, 1 << 31, 1<<32 - 1}},
		{"tx_wake_at", 0x204, []uint32{1, 1<<31 - 1, 1 << 31, 1<<32 - 1}},
		{"the magic", 0x000, []uint32{0}},
		{"the size", 0x010, []uint32{0, 1<<32 - 1}},
		{"what has no meaning", 0x400, []uint32{1<<32 - 1}},
	} {
		for _, v := range c.values {
			t.Run(fmt.Sprintf("%s %#x", c.name, v), func(t *testing.T) {
				checkLeaks(t)
				m, s := mangle(t)
				m.set(c.offset, v)
				switch c.offset {
				case tail:
					m.Write([]byte{0})
					<-s.Done()
					wantBroken(t, s.Err())
					return
				case head:
					wantBroken(t, m.insist(s, v))
					return
				}
				if c.offset == 0x204 {
					m.set(0x200, 1)
				}
				for range 100 {
					m.publish(pingFrame)
					m.wantPong(s)
				}
			})
		}
	}
}

// wantPong waits for the answer to a PING in the session's ring.
func (m *mangler) wantPong(s *Session) {
	m.t.Helper()
	b, err := m.receive(s, frame.HeaderSize)
	if err != nil || frame.Type(b[0]) != frame.Ping || frame.Flags(b[1]) != frame.Ack {
		m.t.Fatalf("got % x, %v, want the answer to a PING", b, err)
	}
}

// wantBroken wants the end for words that cannot be.
func wantBroken(t *testing.T, err error) {
	t.Helper()
	if wantEnd(t, err, Protocol); !errors.Is(err, shm.ErrBroken) {
		t.Errorf("got %v, want an end for what is in shared memory", err)
	}
}

// TestMangledSocket: on the socket nothing comes but doorbells.
func TestMangledSocket(t *testing.T) {
	for name, b := range map[string][]byte{"a byte": {1}, "a frame": pingFrame, "a byte behind doorbells": {0, 0, 0, 0xff}} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			m, s := mangle(t)
			m.Write(b)
			<-s.Done()
			wantBroken(t, s.Err())
		})
	}
}

// TestMangledMemory: what the peer does with the memory while it is read ends the session at most.
func TestMangledMemory(t *testing.T) {
	call := callOf(mEcho, 0, 1, frame.Msg|frame.End, make([]byte, 1000))
	t.Run("flipped", func(t *testing.T) {
		for seed := range uint64(20) {
			checkLeaks(t)
			m, s := mangle(t)
			ctx, stop := context.WithCancel(t.Context())
			flipped := make(chan struct{})
			go func() {
				defer close(flipped)
				for rng := rand.New(rand.NewPCG(seed, 0)); ctx.Err() == nil; {
					word := (*uint32)(unsafe.Pointer(&m.mine[ring.HeaderSize+4*rng.IntN(300)]))
					atomic.StoreUint32(word, atomic.LoadUint32(word)^1<<rng.IntN(32))
				}
			}()
			for done := false; !done; {
				m.publish(call)
				select {
				case <-s.Done():
					done = true
				default:
				}
			}
			stop()
			<-flipped
			wantEnd(t, s.Err(), Protocol)
		}
	})
	t.Run("punched", func(t *testing.T) {
		checkLeaks(t)
		m, s := mangle(t)
		if err := unix.Ftruncate(m.fd, 0); err == nil {
			t.Error("the segment could be cut")
		}
		copy(m.mine[ring.HeaderSize:], call)
		if err := unix.Fallocate(m.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, ring.HeaderSize, 64<<10); err != nil {
			t.Fatal(err)
		}
		m.set(0x080, uint32(len(call))) // published only now: the session, which may be spinning, has not read it before
		m.Write([]byte{0})
		<-s.Done() // the frame is zeros now
		wantEnd(t, s.Err(), Protocol)
	})
	t.Run("the header punched", func(t *testing.T) {
		checkLeaks(t)
		m, s := mangle(t)
		m.publish(pingFrame)
		m.wantPong(s)
		if err := unix.Fallocate(m.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, ring.HeaderSize); err != nil {
			t.Fatal(err)
		}
		m.Write([]byte{0})
		<-s.Done() // its tail has gone back
		wantBroken(t, s.Err())
	})
	t.Run("dead in the middle of a frame", func(t *testing.T) {
		checkLeaks(t)
		m, s := mangle(t)
		m.publish(call[:20])
		m.Close()
		<-s.Done()
		wantEnd(t, s.Err(), PeerGone)
	})
}
