package ipc

import (
	"context"
	"errors"
	"io"
	"sync"
	"weak"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/internal/session"
)

// A Caller is what generated clients call through: a *Conn, or what Local returns.
type Caller interface {
	// Call does a whole call of one request and at most one response; a oneway method has none, and it returns nil. Errors
	// are *Error, unless a hook made another one of it.
	Call(ctx context.Context, m *Method, req Message) (Message, error)
	// Open starts a call of any other shape. Req is nil where requests are streamed.
	Open(ctx context.Context, m *Method, req Message) (*RawStream, error)
}

// Metadata is what travels beside the messages of a call. Names are 1 to 255 characters of a-z, 0-9, '-', '_' and '.';
// values are any bytes. A call has at most 64 entries and 8 KiB of them (32 and 4 KiB where the peer is another user).
type Metadata map[string]string

type metadataKey struct{}

// WithMetadata returns a context whose calls carry md beside the request. It replaces what ctx had.
func WithMetadata(ctx context.Context, md Metadata) context.Context {
	return context.WithValue(ctx, metadataKey{}, md)
}

type trailersKey struct{}

// WithTrailers returns a context whose call stores in *trailers what its handler set by SetTrailer. It is for one call
// at a time; *trailers is set when the call has ended, to nil where none came.
func WithTrailers(ctx context.Context, trailers *Metadata) context.Context {
	return context.WithValue(ctx, trailersKey{}, trailers)
}

// MetadataOf returns what the caller sent beside the request, in a handler. It is not to be changed.
func MetadataOf(ctx context.Context) Metadata {
	if in, ok := session.FromContext(ctx); ok {
		return Metadata(in.Metadata())
	}
	return nil
}

// SetTrailer adds a value to what goes back to the caller when the handler of ctx returns. It fails where the name is
// not allowed, the limits are reached, or ctx is not a handler's.
func SetTrailer(ctx context.Context, name, value string) error {
	in, ok := session.FromContext(ctx)
	if !ok {
		return errors.New("ipc.SetTrailer: the context is not a handler's")
	}
	return in.SetTrailer(name, value)
}

// outgoing is what a call of m starts with.
func (m *Method) outgoing(ctx context.Context) session.Outgoing {
	o := session.Outgoing{Method: m.id}
	if md, ok := ctx.Value(metadataKey{}).(Metadata); ok {
		o.Metadata = frame.Metadata(md)
	}
	if m.timeout > 0 {
		if _, ok := ctx.Deadline(); !ok {
			o.Timeout = m.timeout
		}
	}
	o.Trailers = (*frame.Metadata)(noTrailers(ctx))
	return o
}

// noTrailers empties what the trailers of ctx's next call go to, and returns it; nil: they go nowhere.
func noTrailers(ctx context.Context) *Metadata {
	t, _ := ctx.Value(trailersKey{}).(*Metadata)
	if t != nil {
		*t = nil
	}
	return t
}

// Call is Caller's.
func (c *Conn) Call(ctx context.Context, m *Method, req Message) (Message, error) {
	if len(c.e.hooks.call) == 0 {
		return c.call(ctx, m, req)
	}
	ctx, end, err := runHooks(ctx, c.e.hooks.call, &CallInfo{Method: m, Peer: c.Peer(), Request: req})
	if err != nil {
		c.s.Drop(req)
		return m.failed(end(err))
	}
	res, err := c.call(ctx, m, req)
	herr := end(err)
	if err == nil && herr == nil {
		return res, nil
	}
	if err == nil {
		c.e.discard(res) // its caller does not get it
	}
	return m.failed(herr)
}

// failed is what the caller gets of a call of one response that has failed, of which the hooks have made err: an empty response
// where that is none.
func (m *Method) failed(err error) (Message, error) {
	if err == nil && m.response != nil {
		return m.response(), nil
	}
	return nil, err
}

func (c *Conn) call(ctx context.Context, m *Method, req Message) (res Message, err error) {
	var f *session.Failure
	if m.shape == OnewayShape {
		f = c.s.Oneway(ctx, m.outgoing(ctx), req)
	} else {
		res, f = c.s.Unary(ctx, m.outgoing(ctx), req, m.response)
	}
	if f != nil {
		return nil, m.fromFailure(f)
	}
	return res, nil
}

// Open is Caller's.
func (c *Conn) Open(ctx context.Context, m *Method, req Message) (*RawStream, error) {
	end := func(err error) error { return err }
	if len(c.e.hooks.call) > 0 {
		var err error
		if ctx, end, err = runHooks(ctx, c.e.hooks.call, &CallInfo{Method: m, Peer: c.Peer(), Request: req}); err != nil {
			c.s.Drop(req)
			return nil, notBegun(end, err)
		}
	}
	o := m.outgoing(ctx)
	st := &RawStream{ctx: ctx, e: c.e, m: m, next: func(int) Message { return m.response() }, end: end, trailers: o.Trailers, cancel: func() {}}
	if m.responses != nil {
		st.next = m.responses()
	}
	if o.Timeout > 0 {
		st.ctx, st.cancel = context.WithTimeout(ctx, o.Timeout)
	}
	call, f := c.s.Open(st.ctx, o, req, req != nil)
	if f != nil {
		st.cancel()
		return nil, notBegun(end, m.fromFailure(f))
	}
	st.call = call
	if ctx := st.ctx; ctx.Done() != nil { // which may end while the program neither sends nor receives
		lost := weak.Make(call) // for ctx is not to keep what the program has lost at the end of the session
		stop, cancel := context.AfterFunc(ctx, func() {
			if call := lost.Value(); call != nil {
				call.GiveUp(ctx.Err())
			}
		}), st.cancel
		st.cancel = func() {
			stop()
			cancel()
		}
	}
	return st, nil
}

// notBegun is how a stream fails that there is none of, whatever the hooks make of err.
func notBegun(end func(error) error, err error) error {
	if herr := end(err); herr != nil {
		return herr
	}
	return err
}

// A RawStream is a call whose messages are streamed, without their types. Generated clients put the types on. One goroutine
// may send while another one receives. Errors are as those of Caller.Call.
type RawStream struct {
	ctx      context.Context
	e        *built
	m        *Method
	next     maker
	call     *session.Call
	trailers *frame.Metadata
	cancel   func()
	end      func(error) error
	once     sync.Once
}

// Send sends a message; it waits while the peer is behind. It returns io.EOF when the peer has ended the call. Behind
// CloseSend it returns a FailedPrecondition; any other error has ended the call.
func (s *RawStream) Send(m Message) error { return s.m.public(s.call.Send(s.ctx, m)) }

// CloseSend tells the peer that no more messages come.
func (s *RawStream) CloseSend() { s.call.CloseSend(s.ctx) }

// Receive decodes the next message into m. It returns io.EOF when the call has ended well.
func (s *RawStream) Receive(m Message) error {
	if err := s.call.Receive(s.ctx, m); err != nil {
		return s.ended(err)
	}
	return nil
}

// receiveNew is Receive that makes the message.
func (s *RawStream) receiveNew() (Message, error) {
	m, err := s.call.ReceiveNew(s.ctx, s.next)
	if err != nil {
		return nil, s.ended(err)
	}
	return m, nil
}

// ended is how the call has ended, when receiving has failed with err.
func (s *RawStream) ended(err error) error {
	err = s.m.public(err)
	s.finish(&err)
	return err
}

// finish runs once, when the call has ended.
func (s *RawStream) finish(err *error) {
	s.once.Do(func() {
		if s.trailers != nil {
			*s.trailers = s.call.Trailers()
		}
		s.cancel()
		if *err == io.EOF {
			if herr := s.end(nil); herr != nil {
				*err = herr
			}
			return
		}
		if *err = s.end(*err); *err == nil {
			*err = io.EOF // the hooks say that it ended well
		}
	})
}

// Close ends the call if it has not ended.
func (s *RawStream) Close() {
	s.fail(&Error{Code: Canceled, Message: "closed by the caller", Method: s.m.path})
}

// fail ends the call with err if it has not ended, and returns what the caller gets.
func (s *RawStream) fail(err error) error {
	s.call.Cancel()
	s.finish(&err)
	return err
}

// receiveOnly returns the message of a call of one response, when the call has ended.
func (s *RawStream) receiveOnly() (Message, error) {
	m, err := s.call.ReceiveNew(s.ctx, s.next)
	if err == io.EOF {
		return s.without(s.fail(&Error{Code: Internal, Method: s.m.path, Message: "the peer ended the call without a response"}))
	}
	if err != nil {
		return s.without(s.ended(err))
	}
	another, err := s.call.ReceiveNew(s.ctx, s.next)
	if err == nil {
		s.e.discard(another)
		err = s.fail(&Error{Code: Internal, Method: s.m.path, Message: "the peer answered a call of one response with several"})
	} else {
		err = s.ended(err)
	}
	if err == io.EOF {
		return m, nil
	}
	s.e.discard(m)
	return nil, err
}

// without is what the caller gets of a call of one response that has ended with err and without one.
func (s *RawStream) without(err error) (Message, error) {
	if err == io.EOF {
		return s.m.failed(nil)
	}
	return nil, err
}
