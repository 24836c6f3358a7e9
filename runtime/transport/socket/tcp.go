package socket

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// A TCP peer that is gone without a word - its machine has lost power, the network is cut - is noticed within goneAfter:
// after 15 s of silence it is asked every 5 s and given up after 3 questions. Where something was sent that it has not
// acknowledged, or has had no room for, Linux gives up after the same time; other systems take what they take, often
// minutes, and there the session's limit for stalled writes comes first. Unix sockets need none of this: the kernel
// knows.
const goneAfter = 30 * time.Second

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: goneAfter / 2, Interval: goneAfter / 6, Count: 3}

// shakeLimit is how long a server may take for its part of TLS's handshake, as it may for the session's.
const shakeLimit = 5 * time.Second

// DialTCP connects to "HOST:PORT", with TLS when config is not nil. The handshake of TLS is over when it returns, and
// takes at most 5 s.
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
		return newTCP(raw.(*net.TCPConn), scheme+hostport), nil
	}
	config = modern(config)
	if config.ServerName == "" && !config.InsecureSkipVerify {
		config.ServerName, _, _ = net.SplitHostPort(hostport)
	}
	c := newTLS(raw.(*net.TCPConn), scheme+hostport, tls.Client, config)
	if err := c.shake(ctx, shakeLimit); err != nil {
		raw.Close()
		return nil, fmt.Errorf("dial tls:%s: handshake: %w", hostport, err)
	}
	return c, nil
}

// ListenTCP waits for peers on "HOST:PORT", with TLS when config is not nil. Port 0 takes a free one, which Address
// tells. The handshake of TLS happens with the first Read or Write of the Conn, so that a slow peer keeps no other
// one waiting; a deadline that passes meanwhile ends the connection.
func ListenTCP(ctx context.Context, hostport string, config *tls.Config) (transport.Listener, error) {
	scheme, wrap := "tcp:", func(c net.Conn) transport.Conn {
		return newTCP(c.(*net.TCPConn), "tcp:"+c.RemoteAddr().String())
	}
	if config != nil {
		if len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil {
			return nil, fmt.Errorf("listen tls:%s: the TLS configuration has no certificate", hostport)
		}
		config = modern(config)
		// No tickets to resume by: a client that closes before it has read them would reset the connection.
		config.SessionTicketsDisabled = true
		scheme, wrap = "tls:", func(c net.Conn) transport.Conn {
			return newTLS(c.(*net.TCPConn), "tls:"+c.RemoteAddr().String(), tls.Server, config)
		}
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := lc.Listen(ctx, "tcp", hostport)
	if err != nil {
		return nil, fmt.Errorf("listen %s%s: %w", scheme, hostport, err)
	}
	return &listener{Listener: l, address: scheme + l.Addr().String(), wrap: wrap}, nil
}
