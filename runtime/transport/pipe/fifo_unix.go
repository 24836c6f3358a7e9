//go:build unix

package pipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// A FIFO session has two FIFOs: PATH.in carries bytes to the listener, PATH.out from it. One peer at a time: PATH.lock
// is locked by the peer that has the session.

// DialFIFO opens the FIFOs that a listener made at path. It fails at once where nobody listens, and waits within ctx
// while another peer has the session.
func DialFIFO(ctx context.Context, path string) (transport.Conn, error) {
	address := "fifo:" + path
	lock, err := lockFile(ctx, path+".lock")
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	// Opening for writing without waiting fails with ENXIO where no listener has it open.
	w, err := os.OpenFile(path+".in", os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		lock.Close()
		if errors.Is(err, syscall.ENXIO) {
			return nil, fmt.Errorf("dial %s: nobody listens there: is the server running? %w", address, err)
		}
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	r, err := os.OpenFile(path+".out", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		lock.Close()
		w.Close()
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	c, err := newConn(address, r, w)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &locked{Conn: c, TryWriter: c.(transport.TryWriter), lock: lock}, nil
}

// locked is a Conn that gives the place free when it is closed.
type locked struct {
	transport.Conn
	transport.TryWriter
	lock *os.File
}

func (c *locked) Close() error {
	err := c.Conn.Close()
	c.lock.Close()
	return err
}

// lockFile waits for the lock of the file at path, within ctx.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("another peer has the session: %w", ctx.Err())
		case <-time.After(wait):
		}
	}
}

type fifoListener struct {
	path   string
	files  []string
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex
	inUse chan struct{} // closed when the last peer's Conn was closed; nil at first
}

// ListenFIFO makes the FIFOs for path, for this user alone, and takes one peer after the other. What a dead listener
// left behind is taken over; what is not a FIFO is not touched.
func ListenFIFO(path string) (transport.Listener, error) {
	l := &fifoListener{path: path, closed: make(chan struct{})}
	fail := func(err error) (transport.Listener, error) {
		l.remove()
		return nil, fmt.Errorf("listen fifo:%s: %w", path, err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fail(err)
	}
	lock.Close()
	for _, name := range []string{path + ".in", path + ".out"} {
		if info, err := os.Lstat(name); err == nil {
			if info.Mode().Type() != os.ModeNamedPipe {
				return fail(fmt.Errorf("%s is not a FIFO: remove it, or choose another path", name))
			}
			if name == path+".in" {
				if f, err := os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
					f.Close()
					return fail(fmt.Errorf("another server listens there: stop it, or choose another path: %w", syscall.EADDRINUSE))
				}
			}
			if err := os.Remove(name); err != nil {
				return fail(err)
			}
		}
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			return fail(&os.PathError{Op: "mkfifo", Path: name, Err: err})
		}
		l.files = append(l.files, name)
	}
	l.files = append(l.files, path+".lock")
	return l, nil
}

// Accept waits for the end of the session before and for the first bytes of the next.
func (l *fifoListener) Accept(ctx context.Context) (transport.Conn, error) {
	l.mu.Lock()
	inUse := l.inUse
	l.mu.Unlock()
	if inUse != nil {
		select {
		case <-inUse:
		case <-l.closed:
			return nil, fmt.Errorf("accept on fifo:%s: %w", l.path, os.ErrClosed)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r, err := os.OpenFile(l.path+".in", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("accept on fifo:%s: %w", l.path, err)
	}
	first, err := l.firstByte(ctx, r)
	if err != nil {
		r.Close()
		return nil, err
	}
	w, err := os.OpenFile(l.path+".out", os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("accept on fifo:%s: the peer is gone: %w", l.path, err)
	}
	c, err := newConn("fifo:"+l.path, r, w)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	l.mu.Lock()
	l.inUse = done
	l.mu.Unlock()
	return &fifoConn{Conn: c, TryWriter: c.(transport.TryWriter), first: first, done: done}, nil
}

// firstByte waits until a peer has written something: an open FIFO does not tell otherwise.
func (l *fifoListener) firstByte(ctx context.Context, r *os.File) ([]byte, error) {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-l.closed:
			cancel()
		case <-wait.Done():
		}
	}()
	stop := context.AfterFunc(wait, func() { r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, 1)
	for {
		n, err := r.Read(b)
		switch {
		case n > 0:
			stop()
			r.SetReadDeadline(time.Time{})
			return b, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case wait.Err() != nil:
			return nil, fmt.Errorf("accept on fifo:%s: %w", l.path, os.ErrClosed)
		case errors.Is(err, io.EOF):
			// No writer is there yet. A FIFO says so by an end that is none, and wakes nobody when one comes.
			select {
			case <-wait.Done():
			case <-time.After(5 * time.Millisecond):
			}
		default:
			return nil, fmt.Errorf("accept on fifo:%s: %w", l.path, err)
		}
	}
}

// fifoConn is a Conn whose first byte was read to see that it is there.
type fifoConn struct {
	transport.Conn
	transport.TryWriter
	first []byte
	done  chan struct{}
	once  sync.Once
}

func (c *fifoConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 && len(p) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *fifoConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.done) })
	return err
}

func (l *fifoListener) Address() string { return "fifo:" + l.path }

func (l *fifoListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.remove()
	})
	return nil
}

func (l *fifoListener) remove() {
	for _, name := range l.files {
		os.Remove(name)
	}
}
