// Package address turns addresses into connections. There is one syntax for dialing and listening:
//
//	unix:PATH              a unix socket
//	shm:PATH               a unix socket whose sessions move into shared memory; Linux only
//	tcp:HOST:PORT          TCP; an IPv6 host stands in brackets; listening on port 0 takes a free one
//	tls:HOST:PORT          TCP with TLS, as Options.TLS says
//	stdio:                 this process's stdin and stdout, for a program that its peer started
//	fd:N or fd:R,W         descriptors that this process inherited: one socket, or one to read and one to write
//	fifo:PATH              FIFOs: PATH.in and PATH.out, and the file PATH.lock
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
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/pipe"
	"github.com/ipcgen/ipcgen/runtime/transport/shm"
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
	check      func(rest string, o Options) error
	dial       func(ctx context.Context, rest string, o Options) (transport.Conn, error)
	listen     func(ctx context.Context, rest string, o Options) (transport.Listener, error)
}

var schemes = []scheme{
	{"unix", "unix:PATH", path,
		func(ctx context.Context, rest string, _ Options) (transport.Conn, error) {
			return socket.DialUnix(ctx, rest)
		},
		func(ctx context.Context, rest string, _ Options) (transport.Listener, error) {
			return socket.ListenUnix(ctx, rest)
		}},
	{"shm", "shm:PATH", pathOnLinux,
		func(ctx context.Context, rest string, _ Options) (transport.Conn, error) {
			return socket.DialShm(ctx, rest)
		},
		func(ctx context.Context, rest string, _ Options) (transport.Listener, error) {
			return socket.ListenShm(ctx, rest)
		}},
	{"tcp", "tcp:HOST:PORT", hostPort,
		func(ctx context.Context, rest string, _ Options) (transport.Conn, error) {
			return socket.DialTCP(ctx, rest, nil)
		},
		func(ctx context.Context, rest string, _ Options) (transport.Listener, error) {
			return socket.ListenTCP(ctx, rest, nil)
		}},
	{"tls", "tls:HOST:PORT", hostPortTLS,
		func(ctx context.Context, rest string, o Options) (transport.Conn, error) {
			return socket.DialTCP(ctx, rest, o.TLS)
		},
		func(ctx context.Context, rest string, o Options) (transport.Listener, error) {
			return socket.ListenTCP(ctx, rest, o.TLS)
		}},
	{"stdio", "stdio:", nothing,
		func(context.Context, string, Options) (transport.Conn, error) { return pipe.Stdio() }, nil},
	{"fd", "fd:N or fd:R,W", func(rest string, _ Options) error {
		_, _, err := descriptors(rest)
		return err
	},
		func(_ context.Context, rest string, _ Options) (transport.Conn, error) {
			r, w, _ := descriptors(rest)
			return pipe.FD(r, w)
		}, nil},
	{"fifo", "fifo:PATH", path,
		func(ctx context.Context, rest string, _ Options) (transport.Conn, error) {
			return pipe.DialFIFO(ctx, rest)
		},
		func(ctx context.Context, rest string, _ Options) (transport.Listener, error) {
			return pipe.ListenFIFO(ctx, rest)
		}},
	{"exec", "exec:PROGRAM ARGS", func(rest string, _ Options) error {
		_, err := words(rest)
		return err
	},
		func(ctx context.Context, rest string, o Options) (transport.Conn, error) {
			argv, _ := words(rest)
			if o.Stderr == nil {
				o.Stderr = os.Stderr
			}
			return pipe.Exec(ctx, argv, o.Stderr)
		}, nil},
}

// Dial connects to address, within ctx.
func Dial(ctx context.Context, address string, o Options) (transport.Conn, error) {
	s, rest, err := split(address, o)
	if err != nil {
		return nil, err
	}
	return s.dial(ctx, rest, o)
}

// Listen waits for peers at address.
func Listen(ctx context.Context, address string, o Options) (transport.Listener, error) {
	s, rest, err := split(address, o)
	if err != nil {
		return nil, err
	}
	if s.listen != nil {
		return s.listen(ctx, rest, o)
	}
	c, err := s.dial(ctx, rest, o)
	if err != nil {
		return nil, err
	}
	return &single{address: address, conn: c}, nil
}

// OfOne says whether a listener at address, which Listen has taken, has one peer only.
func OfOne(address string) bool {
	name, _, _ := strings.Cut(address, ":")
	return slices.ContainsFunc(schemes, func(s scheme) bool { return s.name == name && s.listen == nil })
}

// split finds the scheme of address and checks what follows it.
func split(address string, o Options) (s *scheme, rest string, err error) {
	name, rest, found := strings.Cut(address, ":")
	i := slices.IndexFunc(schemes, func(s scheme) bool { return s.name == name })
	if !found || i < 0 {
		return nil, "", unknown(address, name, rest, found)
	}
	s = &schemes[i]
	if strings.HasPrefix(rest, "//") {
		return nil, "", fmt.Errorf("address %q is not a URL: write %q", address, name+":"+strings.TrimPrefix(rest, "//"))
	}
	if err := s.check(rest, o); err != nil {
		return nil, "", fmt.Errorf("address %q: want %s: %w", address, s.form, err)
	}
	return s, rest, nil
}

// unknown says what was probably meant by an address without a scheme, or with one that is none.
func unknown(address, name, rest string, colon bool) error {
	forms := make([]string, len(schemes))
	for i, s := range schemes {
		forms[i] = s.form
		if colon && oneEdit(strings.ToLower(name), s.name) {
			return fmt.Errorf("address %q: there is no scheme %q: did you mean %q?", address, name, s.name+":"+rest)
		}
	}
	switch {
	case name == "signal":
		return fmt.Errorf("address %q: this version of ipcgen has no %s: transport yet, write unix:PATH", address, name)
	case colon && isPort(rest):
		return fmt.Errorf("address %q has no scheme: for TCP write %q", address, "tcp:"+address)
	case !colon && (strings.ContainsAny(address, "/\\") || strings.HasSuffix(address, ".sock")):
		return fmt.Errorf("address %q has no scheme: for a unix socket write %q", address, "unix:"+address)
	}
	return fmt.Errorf("address %q: want one of %s", address, strings.Join(forms, ", "))
}

// oneEdit says whether a and b are the same but for one character more, less or other, or two in the wrong order.
func oneEdit(a, b string) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func path(rest string, _ Options) error {
	if rest == "" {
		return errors.New("the path is missing")
	}
	if home, _, below := strings.Cut(rest, "/"); below && strings.HasPrefix(home, "~") {
		if _, err := os.Lstat(home); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is not expanded, and there is no directory of this name: write out which one is meant", home)
		}
	}
	return nil
}

func pathOnLinux(rest string, o Options) error {
	if err := shm.Available(); err != nil {
		return fmt.Errorf("%w: write unix:PATH", err)
	}
	return path(rest, o)
}

func nothing(rest string, _ Options) error {
	if rest != "" {
		return errors.New("nothing follows the colon")
	}
	return nil
}

func hostPort(rest string, _ Options) error {
	_, port, err := net.SplitHostPort(rest)
	switch {
	case err != nil && strings.Count(rest, ":") > 1 && !strings.Contains(rest, "["):
		return fmt.Errorf("an IPv6 host stands in brackets: %w", err)
	case err == nil && port == "":
		return errors.New("the port is missing")
	}
	return err
}

func hostPortTLS(rest string, o Options) error {
	if o.TLS == nil {
		return errors.New("it needs a TLS configuration: set the endpoint's TLS")
	}
	return hostPort(rest, o)
}

// descriptors reads "N" or "R,W".
func descriptors(rest string) (r, w int, err error) {
	first, second, two := strings.Cut(rest, ",")
	if !two {
		second = first
	}
	r, err = strconv.Atoi(first)
	if err == nil {
		w, err = strconv.Atoi(second)
	}
	if err != nil {
		return 0, 0, errors.New("want the numbers of descriptors that are open: fd:3, or fd:3,4 to read from 3 and write to 4")
	}
	return r, w, nil
}

// words splits a command line: words are separated by spaces, 'single' quotes keep everything, "double" quotes all but
// \" and \\, and a backslash outside of them keeps the next character.
func words(line string) ([]string, error) {
	var argv []string
	var word strings.Builder
	in, quote := false, byte(0)
	escaped := false
	for i := range len(line) { // by bytes: a path need not be UTF-8
		c := line[i]
		switch {
		case escaped:
			if quote == '"' && c != '"' && c != '\\' {
				word.WriteByte('\\')
			}
			word.WriteByte(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, in = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == ' ' || c == '\t':
			if in {
				argv = append(argv, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteByte(c)
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
		return nil, errors.New("the program is missing")
	}
	return argv, nil
}

// single is the listener of an address that has one peer.
type single struct {
	address string

	mu     sync.Mutex
	conn   transport.Conn // nil once it was accepted
	closed bool
}

func (l *single) Accept(ctx context.Context) (transport.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch c := l.conn; {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case l.closed:
		return nil, fmt.Errorf("accept on %s: %w", l.address, net.ErrClosed)
	case c == nil:
		return nil, io.EOF
	default:
		l.conn = nil
		return c, nil
	}
}

func (l *single) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.conn
	l.conn, l.closed = nil, true
	if c != nil {
		return c.Close()
	}
	return nil
}

func (l *single) Address() string { return l.address }
