// Package socket is the transport over unix sockets and TCP, with and without TLS.
package socket

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// listener is a transport.Listener over any net.Listener.
type listener struct {
	net.Listener
	address string
	wrap    func(net.Conn) transport.Conn
	remove  func() // what Listen made in the file system; may be nil
	once    sync.Once
}

func (l *listener) Accept(ctx context.Context) (transport.Conn, error) {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		l.setDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	c, err := l.Listener.Accept()
	if !stop() {
		<-interrupted // else its deadline would fail the next Accept
		l.setDeadline(time.Time{})
		if c != nil {
			c.Close()
		}
		return nil, ctx.Err()
	}
	if err != nil {
		if op, ok := err.(*net.OpError); ok {
			err = op.Err // its address is where a unix socket's file was made
		}
		return nil, fmt.Errorf("accept on %s: %w", l.address, err)
	}
	return l.wrap(c), nil
}

func (l *listener) setDeadline(t time.Time) {
	l.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(t)
}

// Close removes the file only once: its number may be that of another server's file by the second time.
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		if l.remove != nil {
			l.remove() // while it still listens: nobody else can have taken the place
		}
		err = l.Listener.Close()
	})
	return err
}

func (l *listener) Address() string { return l.address }
