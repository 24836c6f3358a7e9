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
	c := newTLS(raw.(*net.TCPConn), tls.Client, &tls.Config{ServerName: "x"})
	err = c.shake(t.Context(), time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "no answer within 1ms: is it a TLS server?") {
		t.Errorf("got %v", err)
	}
}
