//go:build unix

package pipe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ipcgen/ipcgen/runtime/transport"
)

// Each session has a pair of FIFOs of its own, so that one that ends badly leaves nothing to the next. PATH.in, towards
// the listener, and PATH.out are those of the next session:
//
//	the listener  makes the pair and opens both ends of both, so that it waits where it would see an end of file
//	a dialer      locks PATH.lock, opens PATH.out to read and PATH.in to write, and writes a nonce
//	the listener  reads it, puts a new pair into the places, lets go of the dialer's ends and writes the nonce back
//	the dialer    reads it and unlocks; the session begins
//
// A dialer that dies on the way may leave its nonce to the next one, who gets a wrong answer, or an end, and begins
// anew. For the same case the listener moves PATH.in before PATH.out and the dialer opens them the other way round:
// whoever writes to the new PATH.in then reads from the new PATH.out, or from an old one that ends.

// answerLimit is how long a listener may take to answer a dialer whose turn it is.
const answerLimit = 5 * time.Second

const nonceSize = 8

// names are the three files of a path, and what they may be.
func names(path string) (in, out, lock string) { return path + ".in", path + ".out", path + ".lock" }

// DialFIFO connects to the listener at path. It fails at once where nobody listens; it waits within ctx while others
// dial, and at most 5 s for the answer.
func DialFIFO(ctx context.Context, path string) (transport.Conn, error) {
	fail := func(err error) (transport.Conn, error) { return nil, fmt.Errorf("dial fifo:%s: %w", path, err) }
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	_, _, lockName := names(path)
	lock, err := lockFile(ctx, lockName, 0)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("no such FIFO: is the server running? %w", err)
	}
	if err != nil {
		return fail(err)
	}
	defer lock.Close()
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	for {
		c, err := knock(limited, path)
		switch {
		case err == nil:
			return c, nil
		case ctx.Err() != nil:
			return fail(ctx.Err())
		case limited.Err() != nil:
			return fail(fmt.Errorf("the server has not answered within %v: %w", answerLimit, limited.Err()))
		case !errors.Is(err, errAgain):
			return fail(err)
		}
	}
}

// errAgain says that an answer was not this dialer's.
var errAgain = errors.New("not this dialer's session")

// knock asks for a session once.
func knock(ctx context.Context, path string) (transport.Conn, error) {
	in, out, _ := names(path)
	var mine ends
	var err error
	if mine.r, err = os.OpenFile(out, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		return nil, err
	}
	// Opening to write without waiting fails where nobody has it open to read.
	if mine.w, err = os.OpenFile(in, os.O_WRONLY|syscall.O_NONBLOCK, 0); err != nil {
		mine.close()
		if errors.Is(err, syscall.ENXIO) {
			return nil, fmt.Errorf("nobody listens there: the server has died and left the files behind: %w", err)
		}
		return nil, err
	}
	stop := context.AfterFunc(ctx, mine.close)
	err = mine.ask()
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		mine.close()
		return nil, err
	}
	return newConn(transport.Peer{Address: "fifo:" + path, SameUser: private(mine.w)}, mine.r, mine.w)
}

// ask sends a nonce and reads the answer.
func (e *ends) ask() error {
	var nonce, answer [nonceSize]byte
	rand.Read(nonce[:])
	if _, err := e.w.Write(nonce[:]); err != nil {
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	if _, err := io.ReadFull(e.r, answer[:]); err != nil {
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	if answer != nonce {
		return errAgain
	}
	return nil
}

// private says whether f is this user's and open to nobody else.
func private(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid() && info.Mode().Perm()&0o077 == 0
}

// lockFile locks the file at path, which it makes if create is os.O_CREATE. It waits within ctx.
func lockFile(ctx context.Context, path string, create int) (*os.File, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|create, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && inPlace(f, path) {
			return f, nil
		}
		f.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting while others dial: %w", ctx.Err())
		case <-time.After(wait):
		}
	}
}

// inPlace says whether f is what stands at path.
func inPlace(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}

type fifoListener struct {
	path string

	mu     sync.Mutex
	closed bool
	next   *pair // of the next session
}

// A pair is the FIFOs of one session. The nonce that comes through them belongs to the caller of Accept.
type pair struct {
	in, out ends
	nonce   [nonceSize]byte
	got     int // bytes of nonce
}

func (p *pair) close() {
	p.in.close()
	p.out.close()
}

// ListenFIFO waits for peers at path. It makes PATH.in, PATH.out and PATH.lock, for this user alone. What a dead
// listener left there is taken over; where one is alive, or something else stands, that is an error. Closing the
// listener removes them, unless somebody else has put others there.
func ListenFIFO(ctx context.Context, path string) (transport.Listener, error) {
	fail := func(err error) (transport.Listener, error) { return nil, fmt.Errorf("listen fifo:%s: %w", path, err) }
	if err := checkFree(path); err != nil {
		return fail(err)
	}
	_, _, lockName := names(path)
	for {
		lock, err := lockFile(ctx, lockName, os.O_CREATE)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("make the directory first: %w", err)
		}
		if err != nil {
			return fail(err)
		}
		defer lock.Close()
		if err := checkFree(path); err != nil { // again, now that nobody else starts
			return fail(err)
		}
		if !inPlace(lock, lockName) {
			continue // a listener that was closed meanwhile has removed it, and does nothing more
		}
		l := &fifoListener{path: path}
		if err := l.prepare(); err != nil {
			return fail(err)
		}
		return l, nil
	}
}

// checkFree says why the files at path cannot be taken.
func checkFree(path string) error {
	in, out, lock := names(path)
	for _, f := range []struct {
		name string
		kind fs.FileMode
		what string
	}{{in, fs.ModeNamedPipe, "a FIFO"}, {out, fs.ModeNamedPipe, "a FIFO"}, {lock, 0, "a plain file"}} {
		info, err := os.Lstat(f.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode().Type() != f.kind {
			return fmt.Errorf("%s is not %s: remove it, or choose another path", f.name, f.what)
		}
	}
	f, err := os.OpenFile(in, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	switch {
	case err == nil:
		f.Close()
		return fmt.Errorf("another server listens there: stop it, or choose another path: %w", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ENXIO), errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return fmt.Errorf("asking whether another server listens there: %w", err)
	}
}

// prepare puts the pair of the next session in its place. Called with the mutex held, or before anybody has l.
func (l *fifoListener) prepare() (err error) {
	in, out, _ := names(l.path)
	p := &pair{}
	if p.in, err = makeFIFO(in + ".new"); err != nil {
		return err
	}
	if p.out, err = makeFIFO(out + ".new"); err == nil {
		if err = os.Rename(in+".new", in); err == nil {
			err = os.Rename(out+".new", out)
		}
	}
	if err != nil {
		p.close()
		os.Remove(in + ".new")
		os.Remove(out + ".new")
		return err
	}
	l.next = p
	return nil
}

// makeFIFO makes a FIFO and opens both of its ends.
func makeFIFO(name string) (e ends, err error) {
	if info, err := os.Lstat(name); err == nil && info.Mode().Type() == fs.ModeNamedPipe {
		os.Remove(name) // a listener that died left it
	}
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		return e, &os.PathError{Op: "mkfifo", Path: name, Err: err}
	}
	if e.r, err = os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
		if e.w, err = os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			err = e.r.SetReadDeadline(time.Time{}) // says whether the poller knows it
		}
	}
	if err != nil {
		e.close()
		os.Remove(name)
	}
	return e, err
}

// Accept waits for a dialer and answers it.
func (l *fifoListener) Accept(ctx context.Context) (transport.Conn, error) {
	fail := func(err error) (transport.Conn, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("accept on fifo:%s: %w", l.path, err)
	}
	for {
		p, err := l.current()
		if err != nil {
			return fail(err)
		}
		if err := p.await(ctx); err != nil && !errors.Is(err, os.ErrClosed) {
			return fail(err)
		}
		if err := l.replace(); err != nil {
			return fail(err)
		}
		if p.answer() == nil {
			return newConn(transport.Peer{Address: l.Address(), SameUser: true}, p.in.r, p.out.w)
		}
		p.close() // the dialer is gone
	}
}

// current returns the pair of the next session.
func (l *fifoListener) current() (*pair, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, net.ErrClosed
	}
	return l.next, nil
}

// await reads a dialer's nonce.
func (p *pair) await(ctx context.Context) error {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.in.r.SetReadDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	n, err := io.ReadFull(p.in.r, p.nonce[p.got:])
	p.got += n
	if !stop() {
		<-interrupted // else its deadline would fail the next Accept
		p.in.r.SetReadDeadline(time.Time{})
		return ctx.Err()
	}
	return err
}

// replace puts a new pair in the place of the current one, whose dialer has come. Where it fails, the dialer waits on,
// for the next Accept.
func (l *fifoListener) replace() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	return l.prepare()
}

// answer lets go of the dialer's ends and returns its nonce, which tells whether it is there still.
func (p *pair) answer() error {
	p.in.w.Close()
	p.out.r.Close()
	_, err := p.out.w.Write(p.nonce[:])
	return err
}

func (l *fifoListener) Address() string { return "fifo:" + l.path }

// Close removes the files before it closes them, PATH.in last: as long as that is there and open, no other listener
// takes the place.
func (l *fifoListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if in, out, lock := names(l.path); inPlace(l.next.in.r, in) {
		os.Remove(out)
		os.Remove(lock)
		os.Remove(in)
	}
	l.next.close()
	return nil
}
