package bench

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/cloudwego/shmipc-go"
)

// shmipc-go, as its documentation advises: a stream a caller, kept for the next call. It carries bytes, here a length of 4
// bytes and so many others, and encodes nothing.

func shmipcConfig() *shmipc.Config {
	shmipc.SetLogLevel(4) // errors only: it warns of memory that it tidies up
	c := shmipc.DefaultConfig()
	c.MemMapType = shmipc.MemMapTypeMemFd
	c.LogOutput = io.Discard
	return c
}

func serveShmipc(address string, ready func()) error {
	_, where, _ := strings.Cut(address, ":")
	l, err := net.Listen("unix", where)
	if err != nil {
		return err
	}
	ready()
	c, err := l.Accept()
	if err != nil {
		return err
	}
	s, err := shmipc.Server(c, shmipcConfig())
	if err != nil {
		return err
	}
	for {
		stream, err := s.AcceptStream()
		if err != nil {
			return err
		}
		go func() {
			defer stream.Close()
			for echoShmipc(stream) == nil {
			}
		}()
	}
}

func echoShmipc(stream *shmipc.Stream) error {
	b, err := readShmipc(stream)
	if err != nil {
		return err
	}
	if err := writeShmipc(stream, b); err != nil {
		return err
	}
	stream.ReleaseReadAndReuse()
	return nil
}

func readShmipc(stream *shmipc.Stream) ([]byte, error) {
	head, err := stream.BufferReader().ReadBytes(4)
	if err != nil {
		return nil, err
	}
	return stream.BufferReader().ReadBytes(int(binary.LittleEndian.Uint32(head)))
}

func writeShmipc(stream *shmipc.Stream, b []byte) error {
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(b)))
	if _, err := stream.BufferWriter().WriteBytes(head); err != nil {
		return err
	}
	if _, err := stream.BufferWriter().WriteBytes(b); err != nil {
		return err
	}
	return stream.Flush(false)
}

// dialShmipc returns a call of size bytes, for any number of callers.
func dialShmipc(b *testing.B, address string, size int) func() error {
	c := shmipc.DefaultSessionManagerConfig()
	c.Config = shmipcConfig()
	c.Network, c.Address, c.SessionNum = "unix", strings.TrimPrefix(address, "unix:"), 1
	m, err := shmipc.NewSessionManager(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	request := make([]byte, size)
	return func() error {
		stream, err := m.GetStream()
		if err != nil {
			return err
		}
		defer m.PutBack(stream)
		if err := writeShmipc(stream, request); err != nil {
			return err
		}
		got, err := readShmipc(stream)
		if err == nil && len(got) != size {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
}
