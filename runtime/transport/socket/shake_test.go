package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// TestSilentTLSServer: Dial does not wait for ever for a server that accepts and says nothing.
func TestSilentTLSServer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	raw, err := net.Dial("tcp", silent.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := newTLS(raw.(*net.TCPConn), "tls:x", tls.Client, &tls.Config{ServerName: "x"})
	err = c.shake(t.Context(), time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "no answer within 1ms: is it a TLS server?") {
		t.Errorf("got %v", err)
	}
}

// slowDeadline is a connection whose first write deadline takes until other is closed to be set.
type slowDeadline struct {
	net.Conn
	begun, other chan struct{}
	last         time.Time
}

func (c *slowDeadline) SetWriteDeadline(t time.Time) error {
	if begun := c.begun; begun != nil {
		c.begun = nil
		close(begun)
		<-c.other
	}
	c.last = t
	return nil
}

// TestLastDeadline: the alert has its time also where a writer takes its own deadline back meanwhile.
func TestLastDeadline(t *testing.T) {
	c := &slowDeadline{begun: make(chan struct{}), other: make(chan struct{})}
	begun, done := c.begun, make(chan struct{})
	r := &resumable{Conn: c}
	go func() {
		defer close(done)
		r.SetWriteDeadline(time.Time{})
	}()
	<-begun
	if !r.leave() {
		t.Error("no alert may be written")
	}
	close(c.other)
	<-done
	if c.last.IsZero() {
		t.Error("the alert may take for ever")
	}
}
