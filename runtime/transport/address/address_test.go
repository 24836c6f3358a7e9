package address_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/address"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestBadAddresses: what cannot be meant is refused with what can.
func TestBadAddresses(t *testing.T) {
	const forms = "want one of unix:PATH, shm:PATH, tcp:HOST:PORT, tls:HOST:PORT, stdio:, fd:N or fd:R,W, fifo:PATH, exec:PROGRAM ARGS"
	withTLS := address.Options{TLS: &tls.Config{}}
	for _, c := range []struct {
		address string
		o       address.Options
		want    string // behind `address "…"`
	}{
		{"", address.Options{}, ": " + forms},
		{":", address.Options{}, ": " + forms},
		{"localhost", address.Options{}, ": " + forms},
		{"http://example.com/", address.Options{}, ": " + forms},
		{`C:\run\echo`, address.Options{}, ": " + forms},
		{"/run/echo.sock", address.Options{}, ` has no scheme: for a unix socket write "unix:/run/echo.sock"`},
		{"./echo", address.Options{}, ` has no scheme: for a unix socket write "unix:./echo"`},
		{"echo.sock", address.Options{}, ` has no scheme: for a unix socket write "unix:echo.sock"`},
		{"localhost:4242", address.Options{}, ` has no scheme: for TCP write "tcp:localhost:4242"`},
		{":4242", address.Options{}, ` has no scheme: for TCP write "tcp::4242"`},
		{"Unix:/run/x", address.Options{}, `: there is no scheme "Unix": did you mean "unix:/run/x"?`},
		{"unxi:/run/x", address.Options{}, `: there is no scheme "unxi": did you mean "unix:/run/x"?`},
		{"uni:/run/x", address.Options{}, `: there is no scheme "uni": did you mean "unix:/run/x"?`},
		{"tpc:localhost:1", address.Options{}, `: there is no scheme "tpc": did you mean "tcp:localhost:1"?`},
		{"tcp4:localhost:1", address.Options{}, `: there is no scheme "tcp4": did you mean "tcp:localhost:1"?`},
		{"exce:cat", address.Options{}, `: there is no scheme "exce": did you mean "exec:cat"?`},
		{"studio:", address.Options{}, `: there is no scheme "studio": did you mean "stdio:"?`},
		{"signal:1", address.Options{}, ": this version of ipcgen has no signal: transport yet, write unix:PATH"},
		{"unix:///run/x", address.Options{}, ` is not a URL: write "unix:/run/x"`},
		{"tcp://localhost:1", address.Options{}, ` is not a URL: write "tcp:localhost:1"`},
		{"unix:", address.Options{}, ": want unix:PATH: the path is missing"},
		{"fifo:", address.Options{}, ": want fifo:PATH: the path is missing"},
		{"unix:~/echo.sock", address.Options{}, ": want unix:PATH: ~ is not expanded, and there is no directory of this name: write out which one is meant"},
		{"fifo:~ada/echo", address.Options{}, ": want fifo:PATH: ~ada is not expanded"},
		{"tcp:", address.Options{}, ": want tcp:HOST:PORT: missing port in address"},
		{"tcp:localhost", address.Options{}, ": want tcp:HOST:PORT: address localhost: missing port in address"},
		{"tcp:localhost:", address.Options{}, ": want tcp:HOST:PORT: the port is missing"},
		{"tcp:::1:80", address.Options{}, ": want tcp:HOST:PORT: an IPv6 host stands in brackets: address ::1:80: too many colons in address"},
		{"tcp:[::1:80", address.Options{}, ": want tcp:HOST:PORT: address [::1:80: missing ']' in address"},
		{"tls:localhost:1", address.Options{}, ": want tls:HOST:PORT: it needs a TLS configuration: set the endpoint's TLS"},
		{"tls:localhost", withTLS, ": want tls:HOST:PORT: address localhost: missing port in address"},
		{"stdio:3", address.Options{}, ": want stdio:: nothing follows the colon"},
		{"fd:", address.Options{}, ": want fd:N or fd:R,W: want the numbers of descriptors that are open: fd:3, or fd:3,4 to read from 3 and write to 4"},
		{"fd:3,", address.Options{}, ": want fd:N or fd:R,W: want the numbers"},
		{"fd:3,4,5", address.Options{}, ": want fd:N or fd:R,W: want the numbers"},
		{"fd:three", address.Options{}, ": want fd:N or fd:R,W: want the numbers"},
		{"exec:", address.Options{}, ": want exec:PROGRAM ARGS: the program is missing"},
		{"exec:   ", address.Options{}, ": want exec:PROGRAM ARGS: the program is missing"},
		{"exec:''", address.Options{}, ": want exec:PROGRAM ARGS: the program is missing"},
		{"exec:a 'b", address.Options{}, ": want exec:PROGRAM ARGS: the quote ' is not closed"},
		{`exec:a "b\"`, address.Options{}, `: want exec:PROGRAM ARGS: the quote " is not closed`},
		{`exec:a \`, address.Options{}, ": want exec:PROGRAM ARGS: a backslash at the end"},
	} {
		want := fmt.Sprintf("address %q%s", c.address, c.want)
		if conn, err := address.Dial(t.Context(), c.address, c.o); err == nil {
			conn.Close()
			t.Errorf("Dial(%q): no error, want %q", c.address, want)
		} else if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Dial(%q):\n got %v\nwant %s", c.address, err, want)
		}
		if l, err := address.Listen(t.Context(), c.address, c.o); err == nil {
			l.Close()
			t.Errorf("Listen(%q): no error, want %q", c.address, want)
		} else if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Listen(%q):\n got %v\nwant %s", c.address, err, want)
		}
	}
}

// TestErrorsNameTheAddress: also those of the transports.
func TestErrorsNameTheAddress(t *testing.T) {
	dir := t.TempDir()
	o := address.Options{TLS: &tls.Config{}}
	for _, addr := range []string{
		"unix:" + dir + "/none", "unix:@x", "shm:" + dir + "/none", "tcp:127.0.0.1:nosuchport", "tls:127.0.0.1:nosuchport", "fd:10000", "fd:10000,10001",
		"fifo:" + dir + "/none", "exec:ipcgen-no-such-program",
	} {
		if conn, err := address.Dial(t.Context(), addr, o); err == nil {
			conn.Close()
			t.Errorf("%s: no error", addr)
		} else if !strings.Contains(err.Error(), addr) {
			t.Errorf("%s: got %v", addr, err)
		}
	}
	for _, addr := range []string{"unix:" + dir + "/none/s", "shm:" + dir + "/none/s", "tcp:127.0.0.1:nosuchport", "tls:127.0.0.1:1", "fd:10000", "fifo:" + dir + "/none/f"} {
		if l, err := address.Listen(t.Context(), addr, o); err == nil {
			l.Close()
			t.Errorf("listening on %s: no error", addr)
		} else if !strings.Contains(err.Error(), addr) {
			t.Errorf("listening on %s: got %v", addr, err)
		}
	}
}

// TestListenAndDial: what a listener says of itself is what is dialed.
func TestListenAndDial(t *testing.T) {
	server, client, err := transporttest.TLS()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, addr := range []string{"unix:" + filepath.Join(dir, "s p a c e"), "tcp:127.0.0.1:0", "tls:127.0.0.1:0", "fifo:" + filepath.Join(dir, "f")} {
		l, err := address.Listen(t.Context(), addr, address.Options{TLS: server})
		if err != nil {
			t.Fatal(err)
		}
		if host, zero := strings.CutSuffix(addr, ":0"); zero != (l.Address() != addr) || !strings.HasPrefix(l.Address(), host) {
			t.Errorf("%s listens on %s", addr, l.Address())
		}
		echoed := make(chan error, 1)
		go func() {
			c, err := l.Accept(t.Context())
			if err == nil {
				_, err = io.Copy(c, c)
				c.Close()
			}
			echoed <- err
		}()
		c, err := address.Dial(t.Context(), l.Address(), address.Options{TLS: client})
		if err != nil {
			t.Fatal(err)
		}
		checkEcho(t, addr, c)
		c.Close()
		if err := <-echoed; err != nil {
			t.Errorf("%s: the server: %v", addr, err)
		}
		l.Close()
	}
}

func checkEcho(t *testing.T, name string, c transport.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("%s: got %q, %v", name, got, err)
	}
}

// TestListenerOfOne: an address that has one peer can be listened on too.
func TestListenerOfOne(t *testing.T) {
	l, err := address.Listen(t.Context(), "exec:cat", address.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if l.Address() != "exec:cat" {
		t.Errorf("the address is %s", l.Address())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Accept(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Accept in a context that has ended: %v", err)
	}
	c, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(t.Context()); err != io.EOF {
		t.Errorf("a second Accept: %v", err)
	}
	l.Close()
	l.Close()
	if _, err := l.Accept(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	checkEcho(t, "after Close of the listener", c)
	c.Close()

	l, err = address.Listen(t.Context(), "exec:cat", address.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // with the peer nobody has accepted
	if _, err := l.Accept(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close at once: %v", err)
	}
}
