package ipc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/internal/session"
)

// A Binding is a method with its handler.
type Binding struct {
	method *Method
	unary  func(ctx context.Context, req Message) (Message, error)
	stream func(ctx context.Context, in *session.Incoming) (Message, error)
}

// A Service is an implementation of a service of a schema, ready to be served.
type Service struct {
	name     string
	bindings []Binding
}

// NewService makes a service of its methods. It is for generated code.
func NewService(name string, methods ...Binding) Service { return Service{name, methods} }

// Name is the service's full name: "echo.v1.Echo".
func (s Service) Name() string { return s.name }

// hash says what the service's methods are, so that two sides can tell whether they were made from the same schema:
// the first 8 bytes, little-endian, of the SHA-256 of "path shape\n" of each method, sorted.
func (s Service) hash() uint64 {
	lines := make([]string, len(s.bindings))
	for i, b := range s.bindings {
		lines[i] = fmt.Sprintf("%s %d\n", b.method.path, b.method.shape)
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, l := range lines {
		h.Write([]byte(l))
	}
	return binary.LittleEndian.Uint64(h.Sum(nil))
}

// built is an endpoint in use.
type built struct {
	methods  map[uint64]*session.Method
	services []frame.ServiceHash
	limits   session.Limits
	memory   session.Memory
	logger   *slog.Logger
	hooks    struct{ call, handle []Hook }
}

// build checks e and prepares it.
func (e *Endpoint) build() (*built, error) {
	b := &built{methods: map[uint64]*session.Method{}, limits: e.Limits.internal(), logger: e.Logger}
	b.hooks.call, b.hooks.handle = slices.Clone(e.CallHooks), slices.Clone(e.HandlerHooks)
	if b.logger == nil {
		b.logger = slog.Default()
	}
	for _, s := range e.Services {
		if s.name == "" {
			return nil, errors.New("a service is empty: make it with the generated New…Service")
		}
		if slices.ContainsFunc(b.services, func(h frame.ServiceHash) bool { return h.Name == s.name }) {
			return nil, fmt.Errorf("the service %s is there twice", s.name)
		}
		b.services = append(b.services, frame.ServiceHash{Name: s.name, Hash: s.hash()})
		for _, m := range s.bindings {
			if other := b.methods[m.method.id]; other != nil {
				return nil, fmt.Errorf("the methods %s and %s have the same id %#x: rename one", other.Path, m.method.path, m.method.id)
			}
			b.methods[m.method.id] = b.bind(m)
		}
	}
	return b, nil
}

// bind makes of a handler what the session runs.
func (b *built) bind(m Binding) *session.Method {
	sm := &session.Method{Path: m.method.path}
	if m.unary != nil {
		sm.NewRequest = m.method.request
		sm.Unary = func(in *session.Incoming, req Message) (Message, *session.Failure) {
			if len(b.hooks.handle) == 0 {
				res, err := m.unary(in, req)
				return b.outcome(in, m.method, res, err)
			}
			return b.hooked(in, m.method, req, func(ctx context.Context) (Message, error) { return m.unary(ctx, req) })
		}
		return sm
	}
	sm.Stream = func(in *session.Incoming) (Message, *session.Failure) {
		if len(b.hooks.handle) == 0 {
			res, err := m.stream(in, in)
			return b.outcome(in, m.method, res, err)
		}
		return b.hooked(in, m.method, nil, func(ctx context.Context) (Message, error) { return m.stream(ctx, in) })
	}
	return sm
}

// hooked runs a handler between the hooks.
func (b *built) hooked(in *session.Incoming, m *Method, req Message, run func(context.Context) (Message, error)) (Message, *session.Failure) {
	ctx, end, err := runHooks(in, b.hooks.handle, &CallInfo{Method: m, Peer: connOfCall(in).Peer(), Request: req})
	if err != nil {
		b.discard(req) // its handler does not get it
		return b.outcome(in, m, nil, end(err))
	}
	returned := false
	defer func() {
		if !returned { // the session recovers, and answers the caller
			end(Errorf(Internal, "the handler panicked, or ended its goroutine"))
		}
	}()
	res, err := run(ctx)
	returned = true
	if missing(res, err) {
		err = errNoResponse
	}
	return b.outcome(in, m, res, end(err))
}

// missing says that a handler returned neither a response nor an error.
func missing(res Message, err error) bool {
	return err == nil && res != nil && reflect.ValueOf(res).IsNil()
}

// outcome makes of what a handler returned what goes to the caller.
func (b *built) outcome(in *session.Incoming, m *Method, res Message, err error) (Message, *session.Failure) {
	if err == nil && res == nil {
		return nil, nil // a shape without a response
	}
	if missing(res, err) {
		err = errNoResponse
	}
	if err == nil {
		return res, nil
	}
	in.Session().Drop(res) // it does not leave
	f, authored := m.toFailure(err)
	if !authored || m.shape == OnewayShape {
		b.logger.Error("ipc handler failed", "method", m.path, "error", err)
	}
	if m.shape == OnewayShape {
		return nil, nil // not even an error comes back
	}
	var e *Error
	if errors.As(err, &e) && e.NotExecuted && e.Method == "" {
		f.NotExecuted = true
	}
	return nil, f
}
