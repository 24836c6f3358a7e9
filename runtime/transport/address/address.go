// Package address turns addresses into connections. There is one syntax for dialing and listening:
//
//	unix:PATH              a unix socket
//	tcp:HOST:PORT          TCP; an IPv6 host stands in brackets; listening on port 0 takes a free one
//	tls:HOST:PORT          TCP with TLS, as Options.TLS says
//	stdio:                 this process's stdin and stdout, for a program that its peer started
//	fd:N or fd:R,W         descriptors that this process inherited: one socket, or one to read and one to write
//	fifo:PATH              a pair of FIFOs, PATH.in and PATH.out
//	exec:PROGRAM ARGS      a program to start, over its stdin and stdout; quotes and backslashes as in a shell
//
// An address of one connection (stdio, fd, exec) can be listened on as well: its listener has that one peer.
package address

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/pipe"
	"github.com/ipcgen/ipcgen/runtime/transport/socket"
)

// Options are what an address cannot say.
type Options struct {
	TLS    *tls.Config // for tls: addresses, where it must be set
	Stderr io.Writer   // of a program that exec: starts; nil is this process's
}

// A scheme is a kind of address. One of a single connection has no listen.
type scheme struct {
	name, form string
	dial       func(ctx context.Context, rest string, o Options) (transport.Conn, error)
	listen     func(ctx context.Context, rest string, o Options) (transport.Listener, error)
}

var schemes = []scheme{
	{"unix", "unix:PATH",
		func(ctx context.Context, rest string, _ Options) (transport.Conn, error) {
			return socket.DialUnix(ctx, rest)
		},
		func(ctx context.Context, rest string, _ Options) (transport.Listener, error) {
			return socket.ListenUnix(ctx, rest)
		}},
	{"tcp", "tcp:HOST:PORT",
		func(ctx context.Context, rest string, _ Options) (transport.Conn, error) {
			return socket.DialTCP(ctx, rest, nil)
		},
		func(ctx context.Context, rest string, _ Options) (transport.Listener, error) {
			return socket.ListenTCP(ctx, rest, nil)
		}},
	{"tls", "tls:HOST:PORT",
		func(ctx context.Context, rest string, o Options) (transport.Conn, error) {
			if o.TLS == nil {
				return nil, errors.New("needs a TLS configuration: set the endpoint's TLS")
			}
			return socket.DialTCP(ctx, rest, o.TLS)
		},
		func(ctx context.Context, rest string, o Options) (transport.Listener, error) {
			if o.TLS == nil {
				return nil, errors.New("needs a TLS configuration: set the endpoint's TLS")
			}
			return socket.ListenTCP(ctx, rest, o.TLS)
		}},
	{"stdio", "stdio:",
		func(_ context.Context, rest string, _ Options) (transport.Conn, error) {
			if rest != "" {
				return nil, errors.New("nothing follows the colon")
			}
			return pipe.Stdio()
		}, nil},
	{"fd", "fd:N or fd:R,W", dialFD, nil},
	{"fifo", "fifo:PATH",
		func(ctx context.Context, rest string, _ Options) (transport.Conn, error) {
			return pipe.DialFIFO(ctx, rest)
		},
		func(ctx context.Context, rest string, _ Options) (transport.Listener, error) {
			return pipe.ListenFIFO(ctx, rest)
		}},
	{"exec", "exec:PROGRAM ARGS",
		func(ctx context.Context, rest string, o Options) (transport.Conn, error) {
			argv, err := words(rest)
			if err != nil {
				return nil, err
			}
			if o.Stderr == nil {
				o.Stderr = os.Stderr
			}
			return pipe.Exec(ctx, argv, o.Stderr)
		}, nil},
}

// Dial connects to address, within ctx.
func Dial(ctx context.Context, address string, o Options) (transport.Conn, error) {
	s, rest, err := split(address)
	if err != nil {
		return nil, err
	}
	c, err := s.dial(ctx, rest, o)
	if err != nil {
		return nil, placed(address, err)
	}
	return c, nil
}

// Listen waits for peers at address.
func Listen(ctx context.Context, address string, o Options) (transport.Listener, error) {
	s, rest, err := split(address)
	if err != nil {
		return nil, err
	}
	if s.listen == nil {
		c, err := s.dial(ctx, rest, o)
		if err != nil {
			return nil, placed(address, err)
		}
		return &single{address: address, conn: c}, nil
	}
	l, err := s.listen(ctx, rest, o)
	if err != nil {
		return nil, placed(address, err)
	}
	return l, nil
}

// placed puts the address before an error that does not name it.
func placed(address string, err error) error {
	scheme, _, _ := strings.Cut(address, ":")
	if strings.Contains(err.Error(), scheme+":") {
		return err
	}
	return fmt.Errorf("address %q: %w", address, err)
}

// split finds the scheme of address.
func split(address string) (scheme, string, error) {
	name, rest, ok := strings.Cut(address, ":")
	i := slices.IndexFunc(schemes, func(s scheme) bool { return s.name == name })
	switch {
	case !ok && strings.ContainsAny(address, "/\\"):
		return scheme{}, "", fmt.Errorf("address %q has no scheme: for a unix socket write %q", address, "unix:"+address)
	case name == "shm" || name == "signal":
		return scheme{}, "", fmt.Errorf("address %q: this version of ipcgen has no %s: transport yet, write unix:PATH", address, name)
	case i < 0 && ok && isPort(rest):
		return scheme{}, "", fmt.Errorf("address %q has no scheme: for TCP write %q", address, "tcp:"+address)
	case i < 0:
		forms := make([]string, len(schemes))
		for i, s := range schemes {
			forms[i] = s.form
		}
		return scheme{}, "", fmt.Errorf("address %q: want one of %s", address, strings.Join(forms, ", "))
	case strings.HasPrefix(rest, "//"):
		return scheme{}, "", fmt.Errorf("address %q is not a URL: write %q", address, name+":"+strings.TrimPrefix(rest, "//"))
	}
	if (name == "unix" || name == "fifo" || name == "exec") && rest == "" {
		return scheme{}, "", fmt.Errorf("address %q: want %s", address, schemes[i].form)
	}
	if name == "tcp" || name == "tls" {
		if _, _, err := net.SplitHostPort(rest); err != nil {
			return scheme{}, "", fmt.Errorf("address %q: want %s: %w", address, schemes[i].form, err)
		}
	}
	return schemes[i], rest, nil
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func dialFD(_ context.Context, rest string, _ Options) (transport.Conn, error) {
	first, second, two := strings.Cut(rest, ",")
	r, err := strconv.Atoi(first)
	w := r
	if err == nil && two {
		w, err = strconv.Atoi(second)
	}
	if err != nil {
		return nil, errors.New("want the numbers of descriptors: fd:3, or fd:3,4 to read from 3 and write to 4")
	}
	return pipe.FD(r, w)
}

// words splits a command line: words are separated by spaces, 'single' quotes keep everything, "double" quotes all but
// \" and \\, and a backslash outside of them keeps the next character.
func words(line string) ([]string, error) {
	var argv []string
	var word strings.Builder
	in, quote := false, rune(0)
	escaped := false
	for _, c := range line {
		switch {
		case escaped:
			if quote == '"' && c != '"' && c != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, in = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == ' ' || c == '\t':
			if in {
				argv = append(argv, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteRune(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c is not closed", quote)
	}
	if escaped {
		return nil, errors.New("a backslash at the end")
	}
	if in {
		argv = append(argv, word.String())
	}
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("want a program: exec:PROGRAM ARGS")
	}
	return argv, nil
}

// single is the listener of an address that has one peer.
type single struct {
	address string

	mu   sync.Mutex
	conn transport.Conn // nil once it was accepted
}

func (l *single) Accept(context.Context) (transport.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil, io.EOF
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

func (l *single) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
	return nil
}

func (l *single) Address() string { return l.address }
