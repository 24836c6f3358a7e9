package ipc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipcgen/ipcgen/runtime/internal/session"
	"github.com/ipcgen/ipcgen/runtime/transport"
	"github.com/ipcgen/ipcgen/runtime/transport/address"
)

// An Endpoint is one side of sessions: what it serves and how it behaves. Its zero value serves nothing and has the
// default of everything. It is not to be changed once in use.
type Endpoint struct {
	Services []Service
	Limits   Limits
	TLS      *tls.Config  // for tls: addresses; for mutual TLS set ClientAuth and ClientCAs, or Certificates
	Logger   *slog.Logger // what the runtime has to say; nil is slog.Default()
	// CallHooks see the calls that this side makes, HandlerHooks those that it handles; the first one is outermost.
	CallHooks    []Hook
	HandlerHooks []Hook
	// Connected is called with each new session of a listener, on a goroutine of its own, so that this side can call
	// before it is called. It is to return when the session has ended, which Conn.Done tells. Nil does nothing.
	Connected func(*Conn)
	// Stderr is that of a program started by an exec: address; nil is this process's.
	Stderr io.Writer
	// SharedMemory says which sessions over unix sockets move into shared memory. Each that does takes two segments, one of
	// each side, of Limits.Ring and 4 KiB, and in each process one goroutine and no descriptor more than over the socket:
	// with the limits' defaults 520 KiB, and some 40 KiB of the process's own. Where blobs travel, each side takes as much of
	// Limits.Arena as was ever in use at a time, until the session ends.
	SharedMemory SharedMemory
	// Spin is how long a wait in shared memory may keep a processor busy before it parks: 0 is as long as it takes on this
	// machine that two parked sides wake each other, estimated from what is measured once and at most 400 µs; less than 0 is
	// not at all. One goroutine of a process spins at a time, none where it has one processor, and one wait in eight where it
	// does not pay.
	Spin time.Duration
	// BlobsInPlace leaves the contents of blobs, fields with the option (ipcgen.v1.field).blob, where they are when they
	// come through shared memory: in memory of the peer's, which nobody copies. Such bytes can only be read - writing to
	// them is a fault that ends the program - and stay valid, also after the end of the session, until they are given back
	// by Release or ReleaseAll, which every receiver must do sooner or later, handlers too: what is not released keeps its
	// room in the peer's memory, and when there is no more, the peer sends its blobs like other bytes. The same program
	// is right over every transport; where blobs do not come so, their bytes are ordinary ones.
	//
	// A process of the same user, and no other is trusted with it, could change such bytes while they are read. Do not
	// check them and then read them again.
	BlobsInPlace bool
}

// SharedMemory says which sessions over unix sockets move into shared memory, by which calls are several times faster.
// It takes both sides; where one does not want to, or cannot, the session goes on over the socket.
type SharedMemory uint8

// Which sessions do.
const (
	// SharedMemoryAsked: those that are dialed by a shm: address, and those of a listener whose peer asks for it. It is
	// the default.
	SharedMemoryAsked SharedMemory = iota
	// SharedMemoryAuto: those that are dialed by a unix: address as well, where the peer is able.
	SharedMemoryAuto
	// SharedMemoryOff: none; a shm: address is an error.
	SharedMemoryOff
)

// memory is what to do with a session of address, which this side dials or listens on.
func (e *Endpoint) memory(address string, dialed bool) (session.Memory, error) {
	m := session.Memory{Use: session.MemoryAllowed, Spin: e.Spin, InPlace: e.BlobsInPlace}
	asked := strings.HasPrefix(address, "shm:")
	switch {
	case e.SharedMemory == SharedMemoryOff && asked:
		return m, errors.New("the endpoint's SharedMemory is off: write unix:PATH, or leave it as it is by default")
	case e.SharedMemory == SharedMemoryOff, dialed && !asked && e.SharedMemory != SharedMemoryAuto:
		m.Use = session.NoMemory
	case dialed && asked:
		m.Use = session.MemoryAsked
	}
	return m, nil
}

// Limits bound what a peer may cost. Zero is the default, which is smaller for peers that are not known to be the same
// user (in brackets), and so is less than zero, but for Arena. What is outside the range that PROTOCOL.md, section 3, gives is
// brought into it. Of the first four, both sides keep to the smaller value; the others are each side's own.
type Limits struct {
	MaxMessage int           // bytes of a message: 4 MiB (1 MiB); at most 2040 MiB
	MaxFrame   int           // bytes of a frame on the wire: 128 KiB (16 KiB)
	Calls      int           // calls of each side that may run at a time: 256 (32)
	Window     int           // bytes of a stream that may be on their way: 128 KiB (32 KiB)
	Assembly   int           // bytes of messages larger than a frame that a session may hold: 16 MiB (2 MiB)
	Ring       int           // bytes that may be on their way to the peer in shared memory, rounded up to a power of two: 256 KiB (128 KiB)
	Arena      int           // bytes of blobs that the peer has at a time in shared memory, rounded up to a power of two: 64 MiB (none); less than 0: they travel like other bytes, both ways
	Depth      int           // how deep messages may nest: 64 (32)
	Handshake  time.Duration // for the peer to say hello: 5 s
	Stall      time.Duration // for the peer to take something of what is sent: 30 s (10 s)
	Grace      time.Duration // for running calls when a listener stops: 5 s
	// Sessions is how many a listener has at most at a time: 1024; SessionsOfUser how many of them are of processes of one
	// user, where the kernel tells: 256 (16). Peers that have not said hello yet are 64 at most.
	Sessions, SessionsOfUser int
}

func (l Limits) internal() session.Limits {
	return session.Limits{MaxFrame: l.MaxFrame, MaxMessage: l.MaxMessage, Slots: l.Calls, Window: l.Window,
		Assembly: l.Assembly, Ring: l.Ring, Arena: l.Arena, Depth: l.Depth, Handshake: l.Handshake, Stall: l.Stall, Grace: l.Grace}
}

// Dial connects to address, serving services to the peer, and is short for an Endpoint's Dial.
//
//	unix:PATH             a unix socket
//	shm:PATH              a unix socket whose session moves into shared memory, on Linux
//	tcp:HOST:PORT         TCP
//	tls:HOST:PORT         TCP with TLS, which needs an Endpoint's TLS
//	stdio:                this process's stdin and stdout, for a program that its peer started
//	fd:N, fd:R,W          inherited descriptors: a socket, or one to read and one to write
//	fifo:PATH             FIFOs: PATH.in and PATH.out, a new pair for each session, and the file PATH.lock
//	exec:PROGRAM ARGS     starts a program that speaks on its stdin and stdout
func Dial(ctx context.Context, address string, services ...Service) (*Conn, error) {
	return (&Endpoint{Services: services}).Dial(ctx, address)
}

// Serve serves services to whoever connects to address, until ctx ends, and is short for an Endpoint's Serve.
func Serve(ctx context.Context, address string, services ...Service) error {
	return (&Endpoint{Services: services}).Serve(ctx, address)
}

// Dial connects to address within ctx, which does not matter afterwards. The error says what was tried and, as a
// *SessionError, why the peer was no good.
func (e *Endpoint) Dial(ctx context.Context, addr string) (*Conn, error) {
	b, err := e.build()
	if err == nil {
		b.memory, err = e.memory(addr, true)
	}
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	raw, err := address.Dial(ctx, addr, e.addressOptions())
	if err != nil {
		return nil, err
	}
	c, err := b.start(ctx, context.Background(), raw, 0)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return c, nil
}

func (e *Endpoint) addressOptions() address.Options {
	return address.Options{TLS: e.TLS, Stderr: e.Stderr}
}

type connKey struct{}

// A connOf is what handlers' contexts know of their session: the one Conn that everybody gets.
type connOf struct {
	e    *built
	conn atomic.Pointer[Conn]
}

// of returns the Conn of s, which is made when first asked for: a handler may be before Dial has returned.
func (o *connOf) of(s *session.Session) *Conn {
	if c := o.conn.Load(); c != nil {
		return c
	}
	o.conn.CompareAndSwap(nil, &Conn{s: s, e: o.e})
	return o.conn.Load()
}

// start makes a session of raw, whose handlers' contexts have the values of parent.
func (b *built) start(ctx, parent context.Context, raw transport.Conn, side uint8) (*Conn, error) {
	o := &connOf{e: b}
	s, err := session.Start(ctx, raw, session.Config{Side: side, Limits: b.limits, Methods: b.methods,
		Services: b.services, Logger: b.logger, Context: context.WithValue(parent, connKey{}, o), Memory: b.memory})
	if err != nil {
		if program, ok := raw.(transport.Killer); ok {
			program.Kill() // it was started for nothing
		}
		return nil, sessionError(err)
	}
	return o.of(s), nil
}

// Serve listens on address and serves until ctx ends; then it takes no new calls, lets the running ones finish within
// the grace of Limits, after which their contexts end, and returns nil when all have returned, and so has Connected. It does
// not wait for longer than a second for those that go on regardless: it logs which they are.
//
// The context of a handler says nothing of a shutdown before the grace is over. A handler of a long stream that is idle holds
// Serve for so long, unless it learns otherwise that it is to return: from ctx itself, for one.
//
// On an address of one peer (stdio, fd, exec) it also returns when that peer is gone, and the handlers have had the same grace,
// or with the error by which the session did not begin.
func (e *Endpoint) Serve(ctx context.Context, address string) error {
	l, err := e.Listen(ctx, address)
	if err != nil {
		return err
	}
	return l.Serve(ctx)
}

// Listen listens on address; Serve of what it returns then serves. Peers that connect in between wait.
func (e *Endpoint) Listen(ctx context.Context, addr string) (*Listener, error) {
	b, err := e.build()
	if err == nil {
		b.memory, err = e.memory(addr, false)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	l, err := address.Listen(ctx, addr, e.addressOptions())
	if err != nil {
		return nil, err
	}
	grace := e.Limits.Grace
	if grace <= 0 {
		grace = 5 * time.Second
	}
	return &Listener{l: l, b: b, one: address.OfOne(addr), connected: e.Connected, most: e.Limits.Sessions, mostOfUser: e.Limits.SessionsOfUser, grace: grace,
		users: map[int]int{}, shaking: make(chan struct{}, mostShaking)}, nil
}

const (
	mostSessions  = 1024
	mostSameUser  = 256
	mostOtherUser = 16
	mostShaking   = 64
)

// A Listener waits for peers and serves them.
type Listener struct {
	l          transport.Listener
	b          *built
	one        bool // there is one peer, whose failure Serve returns
	connected  func(*Conn)
	most       int
	mostOfUser int
	grace      time.Duration
	shaking    chan struct{} // one element a peer that has not said hello

	mu       sync.Mutex
	sessions int
	users    map[int]int // sessions of each user that the kernel named
	failed   error       // why the session with the one peer did not begin
	wg       sync.WaitGroup
}

// Address is where the listener can be dialed, with the port filled in that the system chose.
func (l *Listener) Address() string { return l.l.Address() }

// Close stops listening. It is for a listener that does not get to Serve, which closes it itself.
func (l *Listener) Close() error { return l.l.Close() }

// Serve serves until ctx ends, as Endpoint.Serve says. It is called once. Where Close was called, it fails with an error that is
// net.ErrClosed.
func (l *Listener) Serve(ctx context.Context) error {
	defer l.l.Close()
	err := l.accept(ctx)
	l.l.Close()
	l.wg.Wait()
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, io.EOF):
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.failed
	case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed):
		return fmt.Errorf("serve %s: the listener was closed: %w", l.Address(), net.ErrClosed)
	}
	return err
}

// accept takes peers until ctx ends or the listener fails.
func (l *Listener) accept(ctx context.Context) error {
	for pause := time.Duration(0); ; {
		select {
		case l.shaking <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		raw, err := l.l.Accept(ctx)
		if err == nil {
			pause = 0
			l.wg.Go(func() { l.serve(ctx, raw) })
			continue
		}
		<-l.shaking
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF) {
			return err
		}
		// Out of descriptors, or a peer that was gone already: others may do better.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		l.b.logger.Warn("ipc accept failed; trying again", "address", l.Address(), "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// serve serves one peer until it is gone or ctx ends.
func (l *Listener) serve(ctx context.Context, raw transport.Conn) {
	leave, err := l.admit(raw.Peer())
	if err != nil {
		l.b.logger.Warn("ipc peer refused", "peer", raw.Peer().Address, "error", err)
		session.Refuse(raw, err)
		<-l.shaking
		return
	}
	c, err := l.b.start(ctx, context.WithoutCancel(ctx), raw, 1)
	<-l.shaking
	if err != nil {
		leave()
		if l.one {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.failed = err
			return
		}
		level := slog.LevelWarn
		if ended := (*SessionError)(nil); ctx.Err() != nil || errors.As(err, &ended) && ended.Reason == PeerGone {
			level = slog.LevelDebug // perhaps another server that looked whether this one lives
		}
		l.b.logger.Log(ctx, level, "ipc session did not begin", "peer", raw.Peer().Address, "error", err)
		return
	}
	returned := make(chan struct{}) // all that runs for the session
	var connected sync.WaitGroup
	if l.connected != nil {
		connected.Go(func() { l.callConnected(c) })
	}
	go func() {
		defer close(returned)
		defer leave()
		c.s.Wait()
		connected.Wait()
	}()
	patience := l.grace
	select {
	case <-c.Done():
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.grace)
		defer cancel()
		c.Shutdown(drain)
		patience = stubborn // they have had their grace
	}
	select {
	case <-returned:
	case <-time.After(patience):
		l.b.logger.Warn("ipc handlers, or Connected, go on after the end of their session and of their contexts",
			"peer", raw.Peer().Address, "handlers", c.s.Running())
	}
}

// stubborn is how long Serve waits for handlers whose contexts have ended after the grace.
const stubborn = time.Second

// callConnected calls Connected, whose panic is not the end of everything, as a handler's is not.
func (l *Listener) callConnected(c *Conn) {
	defer func() {
		if p := recover(); p != nil {
			l.b.logger.Error("ipc Connected panicked", "peer", c.Peer().Address, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	l.connected(c)
}

// admit counts a new peer, or says why there is no room for it.
func (l *Listener) admit(p transport.Peer) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	most, ofUser := l.most, l.mostOfUser
	if most <= 0 {
		most = mostSessions
	}
	switch {
	case ofUser > 0:
	case p.SameUser:
		ofUser = mostSameUser
	default:
		ofUser = mostOtherUser
	}
	if l.sessions >= most {
		return nil, fmt.Errorf("%d sessions are open, which is the limit", l.sessions)
	}
	if p.Identified && l.users[p.UID] >= ofUser {
		return nil, fmt.Errorf("user %d has %d sessions open, which is the limit", p.UID, ofUser)
	}
	l.sessions++
	if p.Identified {
		l.users[p.UID]++
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sessions--
		if p.Identified {
			if l.users[p.UID]--; l.users[p.UID] == 0 {
				delete(l.users, p.UID)
			}
		}
	}, nil
}

// A Conn is a session with a peer: what clients call through.
type Conn struct {
	s *session.Session
	e *built
}

// ConnOf returns the session by which the call came whose handler has ctx, to call the peer back: always the same, which is
// also that of Connected. It returns nil where ctx is not a handler's.
func ConnOf(ctx context.Context) *Conn {
	in, ok := session.FromContext(ctx)
	if !ok {
		return nil
	}
	return connOfCall(in)
}

func connOfCall(in *session.Incoming) *Conn {
	return in.Value(connKey{}).(*connOf).of(in.Session())
}

// A Peer is who is at the other end of a session.
type Peer struct {
	// Address is where the peer is, for people: as it can be written to Dial where the peer listens or was dialed, but of a
	// program that was started only its name.
	Address string
	// Identified says that the kernel named the peer's process and user; without it PID, UID and GID mean nothing.
	Identified    bool
	PID, UID, GID int
	SameUser      bool // known to be this process's user
	// Services are the full names of the services that the peer serves.
	Services []string
}

func publicPeer(p transport.Peer) Peer {
	return Peer{Address: p.Address, Identified: p.Identified, PID: p.PID, UID: p.UID, GID: p.GID, SameUser: p.SameUser}
}

// Peer tells who is at the other end.
func (c *Conn) Peer() Peer {
	p := publicPeer(c.s.Peer())
	for _, s := range c.s.PeerHello().Services {
		p.Services = append(p.Services, s.Name)
	}
	return p
}

// SharedMemory says whether the session is in shared memory; where it is not, the reason says why, for people.
func (c *Conn) SharedMemory() (used bool, reason string) { return c.s.Memory() }

// PeerOf tells who made the call whose handler has ctx.
func PeerOf(ctx context.Context) Peer {
	if c := ConnOf(ctx); c != nil {
		return c.Peer()
	}
	return Peer{}
}

// Done is closed when the session has ended.
func (c *Conn) Done() <-chan struct{} { return c.s.Done() }

// Err returns a *SessionError that says why the session ended, or nil while it lives.
func (c *Conn) Err() error {
	if e := c.s.Err(); e != nil {
		return sessionError(e)
	}
	return nil
}

// Ping returns when the peer's runtime has answered. It fails with the error of ctx, or a *SessionError where the session has
// ended.
func (c *Conn) Ping(ctx context.Context) error {
	if err := c.s.Ping(ctx); err != nil {
		return fmt.Errorf("ping: %w", sessionError(err))
	}
	return nil
}

// Shutdown ends the session when the calls of both sides have finished; new ones are refused as not executed. When ctx
// ends first, the calls that still run fail, and its error is returned.
func (c *Conn) Shutdown(ctx context.Context) error { return c.s.Drain(ctx) }

// Close ends the session now; calls that run fail. It returns when the handlers of the peer's calls have returned, so
// a handler must not call it. It does not wait for a program that an exec: address started, whose stdin it closes: that has 5 s
// to end before it is killed, and is left alone where this process ends sooner.
func (c *Conn) Close() error {
	c.s.Close()
	c.s.Wait()
	return nil
}
