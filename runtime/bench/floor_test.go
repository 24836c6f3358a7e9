package bench

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// The floor: a length of 4 bytes and so many bytes, sent back.

func serveFloor(address string, ready func()) error {
	network, where, _ := strings.Cut(address, ":")
	l, err := net.Listen(network, where)
	if err != nil {
		return err
	}
	ready()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			buf := make([]byte, 2<<20)
			for {
				n, err := readFrame(c, buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// readFrame reads a length and what follows; it returns the length of both.
func readFrame(c net.Conn, buf []byte) (int, error) {
	n := 0
	for {
		k, err := c.Read(buf[n:])
		if err != nil {
			return 0, err
		}
		n += k
		if n >= 4 {
			if size := 4 + int(binary.LittleEndian.Uint32(buf)); n >= size {
				return size, nil
			}
		}
	}
}

type floorClient struct {
	c        net.Conn
	out, buf []byte
}

func dialFloor(b *testing.B, address string, size int) *floorClient {
	network, where, _ := strings.Cut(address, ":")
	c, err := net.Dial(network, where)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	f := &floorClient{c: c, out: make([]byte, 4+size), buf: make([]byte, 2<<20)}
	binary.LittleEndian.PutUint32(f.out, uint32(size))
	return f
}

func (f *floorClient) call() error {
	if _, err := f.c.Write(f.out); err != nil {
		return err
	}
	_, err := readFrame(f.c, f.buf)
	return err
}

// The floor of many callers: one bare socket, on which their messages, each behind a number of 4 bytes, share writes, and
// a server that sends back what it gets.

func serveBytes(address string, ready func()) error {
	network, where, _ := strings.Cut(address, ":")
	l, err := net.Listen(network, where)
	if err != nil {
		return err
	}
	ready()
	c, err := l.Accept()
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 64<<10)) // not by splice
	return err
}

type sharedSocket struct {
	c       net.Conn
	size    int
	free    chan int // numbers of callers that do not call
	answers []chan struct{}

	mu         sync.Mutex
	out, spare []byte
	writing    bool
}

func dialBytes(b *testing.B, address string, size, callers int) *sharedSocket {
	network, where, _ := strings.Cut(address, ":")
	c, err := net.Dial(network, where)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	s := &sharedSocket{c: c, size: 4 + size, free: make(chan int, callers)}
	for i := range callers {
		s.free <- i
		s.answers = append(s.answers, make(chan struct{}, 1))
	}
	go s.read()
	return s
}

func (s *sharedSocket) read() {
	buf := make([]byte, 64<<10)
	for have := 0; ; {
		n, err := s.c.Read(buf[have:])
		if err != nil {
			return
		}
		at := 0
		for have += n; have-at >= s.size; at += s.size {
			s.answers[binary.LittleEndian.Uint32(buf[at:])] <- struct{}{}
		}
		have = copy(buf, buf[at:have])
	}
}

func (s *sharedSocket) call() error {
	i := <-s.free
	defer func() { s.free <- i }()
	s.mu.Lock()
	n := len(s.out)
	s.out = append(s.out, make([]byte, s.size)...)
	binary.LittleEndian.PutUint32(s.out[n:], uint32(i))
	if err := s.flush(); err != nil {
		return err
	}
	<-s.answers[i]
	return nil
}

// flush writes what there is, and what others add meanwhile. Called with the mutex held, which it gives up.
func (s *sharedSocket) flush() error {
	defer s.mu.Unlock()
	if s.writing {
		return nil
	}
	s.writing = true
	defer func() { s.writing = false }()
	s.mu.Unlock()
	runtime.Gosched() // let others add to it
	s.mu.Lock()
	for len(s.out) > 0 {
		b := s.out
		s.out = s.spare[:0]
		s.mu.Unlock()
		_, err := s.c.Write(b)
		s.mu.Lock()
		if s.spare = b; err != nil {
			return err
		}
	}
	return nil
}
