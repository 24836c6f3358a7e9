package ipc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"time"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/session"
)

// A Message is what ipcgen generates for a message of a schema.
type Message = codec.Message

// A Method describes a method of a service. Generated code makes one for each, through NewUnary and its like, whose
// types add nothing but the messages' types to it.
type Method struct {
	path     string
	id       uint64
	shape    Shape
	timeout  time.Duration
	errors   []errorType
	request  func() Message
	response func() Message // nil: nothing comes back
	// Each returns what makes the messages of one stream.
	requests, responses func() maker
}

// Path is the method's name: "echo.v1.Echo/Say".
func (m *Method) Path() string { return m.path }

// Shape says what flows in a call and which way.
func (m *Method) Shape() Shape { return m.shape }

// Unimplemented is the error of a handler that is not there.
func (m *Method) Unimplemented() error {
	e := Errorf(Unimplemented, "the peer knows the method and does not implement it")
	e.NotExecuted = true
	return e
}

// A Shape is what flows in a call and which way.
type Shape uint8

// The shapes.
const (
	UnaryShape Shape = iota
	ServerStreamShape
	ClientStreamShape
	BidiShape
	OnewayShape
)

var shapeNames = [...]string{"unary", "server stream", "client stream", "bidi", "oneway"}

// String returns the shape in words.
func (s Shape) String() string {
	if int(s) < len(shapeNames) {
		return shapeNames[s]
	}
	return fmt.Sprintf("shape %d", uint8(s))
}

// A MethodOption is an option of the schema. They are for generated code.
type MethodOption func(*Method)

// Timeout is how long a call may take whose context does not say so.
func Timeout(d time.Duration) MethodOption { return func(m *Method) { m.timeout = d } }

// errorType is a message that travels as a typed error.
type errorType struct {
	name   string
	encode func(err error) (value []byte, text string, ok bool)
	decode func(value []byte) (error, bool)
}

// Errors declares a message that travels as a typed error of the method.
func Errors[T interface {
	*M
	Message
	error
}, M any](name string) MethodOption {
	t := errorType{
		name: name,
		encode: func(err error) ([]byte, string, bool) {
			var e T
			if !errors.As(err, &e) || e == nil {
				return nil, "", false
			}
			b, merr := e.MarshalAppend(nil)
			return b, e.Error(), merr == nil
		},
		decode: func(value []byte) (error, bool) {
			e := T(new(M))
			if e.Unmarshal(value) != nil {
				return nil, false
			}
			return e, true
		},
	}
	return func(m *Method) { m.errors = append(m.errors, t) }
}

// pointer is a pointer to a generated message.
type pointer[M any] interface {
	*M
	Message
}

func newMethod(path string, shape Shape, request, response func() Message, options []MethodOption) Method {
	sum := sha256.Sum256([]byte(path))
	m := Method{path: path, id: binary.LittleEndian.Uint64(sum[:]), shape: shape, request: request, response: response}
	for _, o := range options {
		o(&m)
	}
	return m
}

// A maker makes the next message of a stream, which has so many bytes.
type maker func(size int) Message

// Bounds of how many messages of a stream are made at once: one that is kept keeps the others in memory, and what is in them.
const (
	slabMessages = 16
	slabBytes    = 2 << 10
	slabContents = 1 << 10 // a message of more bytes than this is made by itself
)

// inSlabs returns a maker that makes several at once where there are many: to make each by itself takes as long as decoding
// it.
func inSlabs[T pointer[M], M any]() maker {
	var slab []M
	n, most := 1, slabMessages
	if size := int(reflect.TypeFor[M]().Size()); size > slabBytes/slabMessages {
		most = max(slabBytes/size, 1)
	}
	return func(size int) Message {
		if size > slabContents {
			return T(new(M))
		}
		if len(slab) == 0 {
			slab = make([]M, n)
			n = min(2*n, most)
		}
		m := T(&slab[0])
		slab = slab[1:]
		return m
	}
}

// errNoResponse is a handler's mistake.
var errNoResponse = errors.New("the handler returned neither a response nor an error")

// Unary is a method of one request and one response.
type Unary[Req, Res Message] struct{ Method }

// NewUnary describes a method. It is for generated code.
func NewUnary[Req pointer[Q], Res pointer[S], Q, S any](path string, options ...MethodOption) *Unary[Req, Res] {
	return &Unary[Req, Res]{newMethod(path, UnaryShape, func() Message { return Req(new(Q)) }, func() Message { return Res(new(S)) }, options)}
}

// Call calls the method through c.
func (u *Unary[Req, Res]) Call(ctx context.Context, c Caller, req Req) (Res, error) {
	return typed[Res](c.Call(ctx, &u.Method, req))
}

// typed is a response with its type.
func typed[Res Message](res Message, err error) (Res, error) {
	if err != nil {
		var none Res
		return none, err
	}
	return res.(Res), nil
}

// Handle makes fn the method's handler.
func (u *Unary[Req, Res]) Handle(fn func(context.Context, Req) (Res, error)) Binding {
	return Binding{method: &u.Method, unary: func(ctx context.Context, req Message) (Message, error) {
		return fn(ctx, req.(Req))
	}}
}

// Oneway is a method whose caller does not wait and gets nothing back.
type Oneway[Req Message] struct{ Method }

// NewOneway describes a method. It is for generated code.
func NewOneway[Req pointer[Q], Q any](path string, options ...MethodOption) *Oneway[Req] {
	return &Oneway[Req]{newMethod(path, OnewayShape, func() Message { return Req(new(Q)) }, nil, options)}
}

// Call sends req through c. It returns when the message is on its way, before it has arrived.
func (o *Oneway[Req]) Call(ctx context.Context, c Caller, req Req) error {
	_, err := c.Call(ctx, &o.Method, req)
	return err
}

// Handle makes fn the method's handler. Its error is logged; nobody else sees it.
func (o *Oneway[Req]) Handle(fn func(context.Context, Req) error) Binding {
	return Binding{method: &o.Method, unary: func(ctx context.Context, req Message) (Message, error) {
		return nil, fn(ctx, req.(Req))
	}}
}

// ServerStream is a method of one request and a stream of responses.
type ServerStream[Req, Res Message] struct{ Method }

// NewServerStream describes a method. It is for generated code.
func NewServerStream[Req pointer[Q], Res pointer[S], Q, S any](path string, options ...MethodOption) *ServerStream[Req, Res] {
	s := &ServerStream[Req, Res]{newMethod(path, ServerStreamShape, func() Message { return Req(new(Q)) }, func() Message { return Res(new(S)) }, options)}
	s.responses = inSlabs[Res]
	return s
}

// Call calls the method through c when the sequence is ranged over, each time anew. Leaving the loop ends the call. An
// error is the last element.
func (s *ServerStream[Req, Res]) Call(ctx context.Context, c Caller, req Req) iter.Seq2[Res, error] {
	return func(yield func(Res, error) bool) {
		st, err := c.Open(ctx, &s.Method, req)
		if err != nil {
			var none Res
			yield(none, err)
			return
		}
		receiveAll(st, yield)
	}
}

// receiveAll yields what comes until the end, and ends the call when yield wants no more.
func receiveAll[Res Message](st *RawStream, yield func(Res, error) bool) {
	defer st.Close()
	for {
		res, err := st.receiveNew()
		if err == io.EOF {
			return
		}
		if err != nil {
			var none Res
			yield(none, err)
			return
		}
		if !yield(res.(Res), nil) {
			return
		}
	}
}

// Handle makes fn the method's handler.
func (s *ServerStream[Req, Res]) Handle(fn func(context.Context, Req, func(Res) error) error) Binding {
	return Binding{method: &s.Method, stream: func(ctx context.Context, in *session.Incoming) (Message, error) {
		req := s.request()
		if err := receiveOne(in, req); err != nil {
			return nil, err
		}
		return nil, fn(ctx, req.(Req), func(res Res) error { return s.public(in.Send(res)) })
	}}
}

// receiveOne reads the request of a server stream.
func receiveOne(in *session.Incoming, req Message) error {
	switch err := in.Receive(req); {
	case err == io.EOF:
		return Errorf(InvalidArgument, "the call came without a request")
	case in.Err() != nil:
		if err == nil {
			ReleaseAll(req)
		}
		return in.Err()
	case err != nil:
		return Errorf(InvalidArgument, "%w", err)
	}
	return nil
}

// ClientStream is a method of a stream of requests and one response.
type ClientStream[Req, Res Message] struct{ Method }

// NewClientStream describes a method. It is for generated code.
func NewClientStream[Req pointer[Q], Res pointer[S], Q, S any](path string, options ...MethodOption) *ClientStream[Req, Res] {
	s := &ClientStream[Req, Res]{newMethod(path, ClientStreamShape, func() Message { return Req(new(Q)) }, func() Message { return Res(new(S)) }, options)}
	s.requests = inSlabs[Req]
	return s
}

// Call calls the method through c with all of in, and returns the response. It stops ranging over in when the peer
// has ended the call.
func (s *ClientStream[Req, Res]) Call(ctx context.Context, c Caller, in iter.Seq[Req]) (Res, error) {
	st, err := c.Open(ctx, &s.Method, nil)
	if err != nil {
		return typed[Res](nil, err)
	}
	defer st.Close()
	for req := range in {
		if err := st.Send(req); err == io.EOF {
			break
		} else if err != nil {
			return typed[Res](st.without(st.fail(err)))
		}
	}
	st.CloseSend()
	return typed[Res](st.receiveOnly())
}

// Handle makes fn the method's handler. An error of the sequence says that the caller gave up or is gone; it is the
// last element. The sequence can be ranged over once.
func (s *ClientStream[Req, Res]) Handle(fn func(context.Context, iter.Seq2[Req, error]) (Res, error)) Binding {
	return Binding{method: &s.Method, stream: func(ctx context.Context, in *session.Incoming) (Message, error) {
		return fn(ctx, requests[Req](&s.Method, in))
	}}
}

// requests is the stream of requests as a handler sees it.
func requests[Req Message](m *Method, in *session.Incoming) iter.Seq2[Req, error] {
	return func(yield func(Req, error) bool) {
		for next := m.requests(); ; {
			req, err := in.ReceiveNew(next)
			if err == io.EOF {
				return
			}
			if err != nil {
				var none Req
				yield(none, m.public(err))
				return
			}
			if !yield(req.(Req), nil) {
				return
			}
		}
	}
}

// Bidi is a method of a stream of requests and a stream of responses.
type Bidi[Req, Res Message] struct{ Method }

// NewBidi describes a method. It is for generated code.
func NewBidi[Req pointer[Q], Res pointer[S], Q, S any](path string, options ...MethodOption) *Bidi[Req, Res] {
	b := &Bidi[Req, Res]{newMethod(path, BidiShape, func() Message { return Req(new(Q)) }, func() Message { return Res(new(S)) }, options)}
	b.requests, b.responses = inSlabs[Req], inSlabs[Res]
	return b
}

// Call starts a call through c.
func (b *Bidi[Req, Res]) Call(ctx context.Context, c Caller) (*Stream[Req, Res], error) {
	st, err := c.Open(ctx, &b.Method, nil)
	if err != nil {
		return nil, err
	}
	return &Stream[Req, Res]{st}, nil
}

// Handle makes fn the method's handler. It may range over the sequence in one goroutine and send in another.
func (b *Bidi[Req, Res]) Handle(fn func(context.Context, iter.Seq2[Req, error], func(Res) error) error) Binding {
	return Binding{method: &b.Method, stream: func(ctx context.Context, in *session.Incoming) (Message, error) {
		return nil, fn(ctx, requests[Req](&b.Method, in), func(res Res) error { return b.public(in.Send(res)) })
	}}
}

// A Stream is the caller's end of a bidirectional call. One goroutine may send while another receives. It must be
// closed, or its context ended.
type Stream[Req, Res Message] struct{ raw *RawStream }

// Send sends a message; it waits while the peer is behind. It returns io.EOF when the peer has ended the call: Receive
// tells how. Behind CloseSend it returns a FailedPrecondition; any other error has ended the call.
func (s *Stream[Req, Res]) Send(req Req) error { return s.raw.Send(req) }

// CloseSend tells the peer that no more messages come. Receive goes on.
func (s *Stream[Req, Res]) CloseSend() { s.raw.CloseSend() }

// Receive returns the next message, and io.EOF when the call has ended well.
func (s *Stream[Req, Res]) Receive() (Res, error) {
	res, err := s.raw.receiveNew()
	if err != nil {
		var none Res
		return none, err
	}
	return res.(Res), nil
}

// All yields what comes until the call ends. Leaving the loop ends the call. An error is the last element.
func (s *Stream[Req, Res]) All() iter.Seq2[Res, error] {
	return func(yield func(Res, error) bool) { receiveAll(s.raw, yield) }
}

// Close ends the call if it has not ended: the handler's context is canceled.
func (s *Stream[Req, Res]) Close() { s.raw.Close() }
