package socket_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/socket"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

func TestMain(m *testing.M) {
	transporttest.Main(m, map[string]transporttest.Role{
		"listen": func(path string) (any, error) { return socket.ListenUnix(context.Background(), path) },
		"dial":   func(path string) (any, error) { return socket.DialUnix(context.Background(), path) },
	})
}

func self(address string) transport.Peer {
	return transport.Peer{Address: address, Identified: true, PID: os.Getpid(), UID: os.Getuid(), GID: os.Getgid(), SameUser: true}
}

func dialUnix(ctx context.Context, address string) (transport.Conn, error) {
	return socket.DialUnix(ctx, strings.TrimPrefix(address, "unix:"))
}

func TestUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	transporttest.Run(t, transporttest.Transport{
		Listen: func(ctx context.Context) (transport.Listener, error) { return socket.ListenUnix(ctx, path) },
		Dial:   dialUnix,
		Dialed: self("unix:" + path), Accepted: self("unix:" + path),
		HalfClose: func() (transport.Conn, io.ReadWriteCloser, func() error, error) {
			l, err := socket.ListenUnix(t.Context(), path)
			if err != nil {
				return nil, nil, nil, err
			}
			defer l.Close()
			peer, err := net.Dial("unix", path)
			if err != nil {
				return nil, nil, nil, err
			}
			c, err := l.Accept(t.Context())
			return c, peer, peer.(*net.UnixConn).CloseWrite, err
		},
	})
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}

func TestTCP(t *testing.T) {
	transporttest.Run(t, transporttest.Transport{
		Listen: func(ctx context.Context) (transport.Listener, error) {
			return socket.ListenTCP(ctx, "127.0.0.1:0", nil)
		},
		Dial: func(ctx context.Context, address string) (transport.Conn, error) {
			return socket.DialTCP(ctx, strings.TrimPrefix(address, "tcp:"), nil)
		},
		Dialed: transport.Peer{Address: "tcp:127.0.0.1:"}, Accepted: transport.Peer{Address: "tcp:127.0.0.1:"},
		HalfClose: func() (transport.Conn, io.ReadWriteCloser, func() error, error) {
			l, err := socket.ListenTCP(t.Context(), "127.0.0.1:0", nil)
			if err != nil {
				return nil, nil, nil, err
			}
			defer l.Close()
			peer, err := net.Dial("tcp", strings.TrimPrefix(l.Address(), "tcp:"))
			if err != nil {
				return nil, nil, nil, err
			}
			c, err := l.Accept(t.Context())
			return c, peer, peer.(*net.TCPConn).CloseWrite, err
		},
	})
}

// shaking is a listener whose connections shake hands at once, as those do that a session is made of.
type shaking struct{ transport.Listener }

func (l shaking) Accept(ctx context.Context) (transport.Conn, error) {
	c, err := l.Listener.Accept(ctx)
	if err == nil {
		go c.Read(nil)
	}
	return c, err
}

func TestTLS(t *testing.T) {
	server, client, err := transporttest.TLS()
	if err != nil {
		t.Fatal(err)
	}
	transporttest.Run(t, transporttest.Transport{
		Listen: func(ctx context.Context) (transport.Listener, error) {
			l, err := socket.ListenTCP(ctx, "127.0.0.1:0", server)
			return shaking{l}, err
		},
		Dial: func(ctx context.Context, address string) (transport.Conn, error) {
			return socket.DialTCP(ctx, strings.TrimPrefix(address, "tls:"), client)
		},
		Dialed: transport.Peer{Address: "tls:127.0.0.1:"}, Accepted: transport.Peer{Address: "tls:127.0.0.1:"},
	})
}
