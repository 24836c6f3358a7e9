package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"time"
)

// The floor of a socket: frames of a header and so many bytes, as an RPC would send at least. The server sends a frame
// back when it has all of it, as many as it finds there in one write. A header is two numbers of 4 bytes: how many bytes
// follow, and 0; or, where not 0, how many frames of so many bytes the server is to send, and nothing follows.

const (
	bareHeader = 8
	bareBatch  = 64 << 10 // bytes that are written together
)

func appendBareHeader(b []byte, size, count int) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, uint32(size)), uint32(count))
}

func serveBare(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer c.Close()
			answerBare(c)
		}()
	}
}

// answerBare answers until the client is gone.
func answerBare(c net.Conn) error {
	f := frames{conn: c}
	for {
		b, _, err := f.next()
		if err != nil {
			return err
		}
		if size, count := header(b); count > 0 {
			err = sendBare(c, size, count)
		} else {
			_, err = c.Write(b)
		}
		if err != nil {
			return err
		}
	}
}

// sendBare sends count frames, as many in one write as make a batch.
func sendBare(c net.Conn, size, count int) error {
	frame := append(appendBareHeader(nil, size, 0), make([]byte, size)...)
	together := min(count, max(1, bareBatch/len(frame)))
	batch := make([]byte, 0, together*len(frame))
	for range together {
		batch = append(batch, frame...)
	}
	for count > 0 {
		n := min(count, together)
		if _, err := c.Write(batch[:n*len(frame)]); err != nil {
			return err
		}
		count -= n
	}
	return nil
}

// frames reads frames.
type frames struct {
	conn  net.Conn
	buf   []byte
	n     int // bytes of buf that were read
	taken int // bytes of them that next has returned
}

func header(b []byte) (size, count int) {
	return int(binary.LittleEndian.Uint32(b)), int(binary.LittleEndian.Uint32(b[4:]))
}

// next returns whole frames, at least one, and how many. They are valid until it is called again.
func (f *frames) next() (b []byte, number int, err error) {
	f.n = copy(f.buf, f.buf[f.taken:f.n])
	for f.taken = 0; ; {
		need := bareHeader
		for f.n-f.taken >= bareHeader {
			size, count := header(f.buf[f.taken:])
			if count > 0 {
				size = 0
			}
			if need = bareHeader + size; f.n-f.taken < need {
				break
			}
			f.taken, number, need = f.taken+need, number+1, bareHeader
		}
		if number > 0 {
			return f.buf[:f.taken], number, nil
		}
		if len(f.buf) < max(need, bareBatch) {
			f.buf = append(f.buf, make([]byte, max(need, bareBatch)-len(f.buf))...)
		}
		k, err := f.conn.Read(f.buf[f.n:])
		if err != nil {
			return nil, 0, err
		}
		f.n += k
	}
}

// read reads count frames.
func (f *frames) read(count int) error {
	for count > 0 {
		_, n, err := f.next()
		if err != nil {
			return err
		}
		count -= n
	}
	return nil
}

// bareClient is the client's end. It is for one goroutine at a time.
type bareClient struct {
	conn net.Conn
	in   frames
}

func dialBare(ctx context.Context, address string) (*bareClient, error) {
	network, where, _ := strings.Cut(address, ":")
	c, err := (&net.Dialer{}).DialContext(ctx, network, where)
	if err != nil {
		return nil, err
	}
	return &bareClient{conn: c, in: frames{conn: c}}, nil
}

// bareKinds are the kinds of calls that have a floor.
var bareKinds = map[string]func(b *bareClient, c cell, n int, h *histogram) error{
	"unary": (*bareClient).echo, "bidi": (*bareClient).echo, "server-stream": (*bareClient).download,
}

// run ends with ctx, after which the client is no longer of use.
func (b *bareClient) run(ctx context.Context, c cell, n int) (s sample, err error) {
	stop := context.AfterFunc(ctx, func() { b.conn.Close() })
	defer stop()
	begin := time.Now()
	err = bareKinds[c.kind.name](b, c, n, &s.latencies)
	s.elapsed = time.Since(begin)
	if err != nil {
		err = fmt.Errorf("over the bare socket: %w", err)
	}
	return s, err
}

// echo sends a frame and reads it back, n times for each caller.
func (b *bareClient) echo(c cell, n int, h *histogram) error {
	frame := append(appendBareHeader(nil, c.size, 0), make([]byte, c.size)...)
	if c.callers > 1 {
		return echoTogether(b, frame, c.callers, n, h)
	}
	last := time.Now()
	for range n {
		if _, err := b.conn.Write(frame); err != nil {
			return err
		}
		if err := b.in.read(1); err != nil {
			return err
		}
		now := time.Now()
		h.add(now.Sub(last))
		last = now
	}
	return nil
}

// download asks for n frames for each caller.
func (b *bareClient) download(c cell, n int, _ *histogram) error {
	if _, err := b.conn.Write(appendBareHeader(nil, c.size, n*c.callers)); err != nil {
		return err
	}
	return b.in.read(n * c.callers)
}
