package socket_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/socket"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
)

const answer = "not a TLS record"

// talk has the client send a byte and the server an answer, and returns the first error of each side.
func talk(t *testing.T, l transport.Listener, dial func() (transport.Conn, error)) (server, client error) {
	t.Helper()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept(t.Context())
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
			if err == nil {
				_, err = c.Write([]byte(answer))
				io.Copy(io.Discard, c) // else closing would reset what the client has not read
			}
			c.Close()
		}
		served <- err
	}()
	c, client := dial()
	if client == nil {
		_, client = c.Write([]byte("x"))
		if client == nil {
			_, client = io.ReadFull(c, make([]byte, len(answer)))
		}
		c.Close()
	}
	return <-served, client
}

// TestWhoTLSTrusts: both sides refuse who they have no reason to trust, and their errors say why.
func TestWhoTLSTrusts(t *testing.T) {
	server, client, err := transporttest.TLS()
	if err != nil {
		t.Fatal(err)
	}
	strangeServer, strangeClient, err := transporttest.TLS()
	if err != nil {
		t.Fatal(err)
	}
	with := func(config *tls.Config, change func(*tls.Config)) *tls.Config {
		config = config.Clone()
		change(config)
		return config
	}
	for _, c := range []struct {
		name           string
		server, client *tls.Config
		wantServer     string // "" is no error
		wantClient     string
	}{
		{"each other", server, client, "", ""},
		{"no certificate asked for", with(server, func(c *tls.Config) { c.ClientAuth = tls.NoClientCert }),
			with(client, func(c *tls.Config) { c.Certificates = nil }), "", ""},
		{"a client without a certificate", server, with(client, func(c *tls.Config) { c.Certificates = nil }),
			"client didn't provide a certificate", "certificate required"},
		{"a client with a stranger's certificate", server, with(client, func(c *tls.Config) { c.Certificates = strangeClient.Certificates }),
			"certificate signed by unknown authority", "certificate"},
		{"a server with a stranger's certificate", with(server, func(c *tls.Config) { c.Certificates = strangeServer.Certificates }), client,
			"bad certificate", "certificate signed by unknown authority"},
		{"a server of another name", server, with(client, func(c *tls.Config) { c.ServerName = "example.com" }),
			"bad certificate", "wanted to match example.com"},
		{"an old version", server, with(client, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }),
			"client offered only unsupported versions", "protocol version not supported"},
		{"an old version that the server allows", with(server, func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }),
			with(client, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := socket.ListenTCP(t.Context(), "127.0.0.1:0", c.server)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			gotServer, gotClient := talk(t, l, func() (transport.Conn, error) {
				return socket.DialTCP(t.Context(), strings.TrimPrefix(l.Address(), "tls:"), c.client)
			})
			for _, side := range []struct {
				name, want string
				got        error
			}{{"server", c.wantServer, gotServer}, {"client", c.wantClient, gotClient}} {
				if (side.want == "") != (side.got == nil) || (side.got != nil && !strings.Contains(side.got.Error(), side.want)) {
					t.Errorf("%s: got %v, want %q", side.name, side.got, side.want)
				}
			}
		})
	}
}

// TestPlainAndTLS: one side speaks TLS and the other does not.
func TestPlainAndTLS(t *testing.T) {
	server, client, err := transporttest.TLS()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		server, client *tls.Config
		wantServer     string
		wantClient     string
	}{
		{"a plain client", server, nil, "first record does not look like a TLS handshake", ""},
		{"a plain server", nil, client, "", "first record does not look like a TLS handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := socket.ListenTCP(t.Context(), "127.0.0.1:0", c.server)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			gotServer, gotClient := talk(t, l, func() (transport.Conn, error) {
				_, hostport, _ := strings.Cut(l.Address(), ":")
				conn, err := socket.DialTCP(t.Context(), hostport, c.client)
				if err == nil {
					_, err = conn.Write([]byte("not TLS"))
				}
				return conn, err
			})
			if gotServer != nil && !strings.Contains(gotServer.Error(), c.wantServer) || gotServer == nil && c.wantServer != "" {
				t.Errorf("server: got %v, want %q", gotServer, c.wantServer)
			}
			if c.wantClient != "" && (gotClient == nil || !strings.Contains(gotClient.Error(), c.wantClient)) {
				t.Errorf("client: got %v, want %q", gotClient, c.wantClient)
			}
		})
	}
}

func TestTLSNeedsACertificate(t *testing.T) {
	_, err := socket.ListenTCP(t.Context(), "127.0.0.1:0", &tls.Config{})
	if err == nil || !strings.Contains(err.Error(), "the TLS configuration has no certificate") {
		t.Errorf("got %v", err)
	}
}

// TestDialGivesUp: Dial ends with its context while a server that accepts says nothing.
func TestDialGivesUp(t *testing.T) {
	_, client, err := transporttest.TLS()
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := silent.Accept()
		if err != nil {
			return
		}
		io.ReadFull(c, make([]byte, 1)) // the handshake has begun
		cancel()
		io.Copy(io.Discard, c)
		c.Close()
	}()
	if _, err := socket.DialTCP(ctx, silent.Addr().String(), client); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// TestDialedName: who dials a host by its name has the peer's address by that name.
func TestDialedName(t *testing.T) {
	server, client, err := transporttest.TLS()
	if err != nil {
		t.Fatal(err)
	}
	client.ServerName = "127.0.0.1" // which its certificate is for
	for _, c := range []struct {
		name           string
		server, client *tls.Config
	}{{"tcp", nil, nil}, {"tls", server, client}} {
		t.Run(c.name, func(t *testing.T) {
			l, err := socket.ListenTCP(t.Context(), "127.0.0.1:0", c.server)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			named := strings.Replace(l.Address(), "127.0.0.1", "localhost", 1)
			gotServer, gotClient := talk(t, l, func() (transport.Conn, error) {
				conn, err := socket.DialTCP(t.Context(), named[len("tcp:"):], c.client)
				if err == nil && conn.Peer().Address != named {
					t.Errorf("the peer's address is %q, want %q", conn.Peer().Address, named)
				}
				return conn, err
			})
			if gotServer != nil || gotClient != nil {
				t.Errorf("server: %v, client: %v", gotServer, gotClient)
			}
		})
	}
}

// TestDialTCPErrors: what is wrong with an address is said before what the system says.
func TestDialTCPErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	for _, c := range []struct{ hostport, want string }{
		{free, "dial tcp:" + free + ": "},
		{"127.0.0.1:nosuchport", "dial tcp:127.0.0.1:nosuchport: "},
	} {
		if conn, err := socket.DialTCP(t.Context(), c.hostport, nil); err == nil {
			conn.Close()
			t.Errorf("%s: no error", c.hostport)
		} else if !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.hostport, err, c.want)
		}
	}
	if l, err := socket.ListenTCP(t.Context(), "127.0.0.1:nosuchport", nil); err == nil {
		l.Close()
		t.Error("listening on no port: no error")
	} else if !strings.HasPrefix(err.Error(), "listen tcp:127.0.0.1:nosuchport: ") {
		t.Errorf("listening on no port: %v", err)
	}
}
