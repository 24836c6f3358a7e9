// Package socket is the transport over unix sockets and TCP, with and without TLS.
package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// KeepAlive finds a TCP peer that is gone without a word: after 15 s of silence it is asked every 5 s, and given up
// after 3 questions. Unix sockets need none: the kernel knows.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// DialUnix connects to the socket at path.
func DialUnix(ctx context.Context, path string) (transport.Conn, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("dial unix:%s: no such socket: is the server running? %w", path, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("dial unix:%s: nobody listens there: the server has died and left the file behind: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("dial unix:%s: %w", path, err)
	}
	return newUnix(c.(*net.UnixConn), "unix:"+path), nil
}

// DialTCP connects to "HOST:PORT", with TLS when config is not nil. The handshake of TLS is over when it returns.
func DialTCP(ctx context.Context, hostport string, config *tls.Config) (transport.Conn, error) {
	scheme := "tcp:"
	if config != nil {
		scheme = "tls:"
	}
	d := net.Dialer{KeepAliveConfig: keepAlive}
	raw, err := d.DialContext(ctx, "tcp", hostport)
	if err != nil {
		return nil, fmt.Errorf("dial %s%s: %w", scheme, hostport, err)
	}
	if config == nil {
		return newTCP(raw.(*net.TCPConn)), nil
	}
	config = config.Clone()
	if config.ServerName == "" && !config.InsecureSkipVerify {
		config.ServerName, _, _ = net.SplitHostPort(hostport)
	}
	c := tls.Client(raw, modern(config))
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("dial tls:%s: handshake: %w", hostport, err)
	}
	return &tlsConn{c}, nil
}

// modern returns config with TLS 1.3 as the least version unless it says something else.
func modern(config *tls.Config) *tls.Config {
	if config.MinVersion == 0 {
		config = config.Clone()
		config.MinVersion = tls.VersionTLS13
	}
	return config
}

// ListenTCP waits for peers on "HOST:PORT", with TLS when config is not nil. Port 0 takes a free one, which Address
// tells. The handshake of TLS happens with the first Read or Write of the Conn, so that a slow peer keeps no other
// one waiting.
func ListenTCP(ctx context.Context, hostport string, config *tls.Config) (transport.Listener, error) {
	scheme := "tcp:"
	if config != nil {
		scheme = "tls:"
		if len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil {
			return nil, fmt.Errorf("listen tls:%s: the TLS configuration has no certificate", hostport)
		}
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := lc.Listen(ctx, "tcp", hostport)
	if err != nil {
		return nil, fmt.Errorf("listen %s%s: %w", scheme, hostport, err)
	}
	return &listener{Listener: l, address: scheme + l.Addr().String(), wrap: func(c net.Conn) transport.Conn {
		if config == nil {
			return newTCP(c.(*net.TCPConn))
		}
		return &tlsConn{tls.Server(c, modern(config))}
	}}, nil
}

// listener is a transport.Listener over any net.Listener.
type listener struct {
	net.Listener
	address string
	wrap    func(net.Conn) transport.Conn
	remove  func() // what Listen made in the file system; may be nil
}

func (l *listener) Accept(ctx context.Context) (transport.Conn, error) {
	stop := context.AfterFunc(ctx, func() { l.setDeadline(time.Unix(1, 0)) })
	c, err := l.Listener.Accept()
	if !stop() {
		if c != nil {
			c.Close()
		}
		l.setDeadline(time.Time{})
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("accept on %s: %w", l.address, err)
	}
	return l.wrap(c), nil
}

func (l *listener) setDeadline(t time.Time) {
	l.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(t)
}

func (l *listener) Close() error {
	if l.remove != nil {
		l.remove() // while it still listens: nobody else can have taken the place
	}
	return l.Listener.Close()
}

func (l *listener) Address() string { return l.address }

// tlsConn cannot tell who the peer is: what its certificate says is for the user to judge, in the tls.Config.
type tlsConn struct{ *tls.Conn }

func (c *tlsConn) Peer() transport.Peer {
	return transport.Peer{Address: "tls:" + c.RemoteAddr().String()}
}

// Close ends the connection at once: the closing alert of TLS is sent if that needs no waiting.
func (c *tlsConn) Close() error {
	c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	return c.Conn.Close()
}
