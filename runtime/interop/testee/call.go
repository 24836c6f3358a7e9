package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

// A call is one that the suite wants.
type call struct {
	*interopv1.CallRequest
	named  *named
	client *interopv1.TestClient
	newer  *interopv1.NewerClient
	result interopv1.CallResponse
}

// Call is the suite's.
func (t *testee) Call(ctx context.Context, req *interopv1.CallRequest) (*interopv1.CallResponse, error) {
	conn, err := t.session(req.Session)
	if err != nil {
		return nil, err
	}
	c := &call{CallRequest: req, named: t.name(req.Name), client: interopv1.NewTestClient(conn), newer: interopv1.NewNewerClient(conn)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.named.calls(cancel)
	if req.TimeoutMs > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, time.Duration(req.TimeoutMs)*time.Millisecond)
		defer stop()
	}
	if len(req.Metadata) > 0 {
		md := ipc.Metadata{}
		for k, v := range req.Metadata {
			md[k] = string(v)
		}
		ctx = ipc.WithMetadata(ctx, md)
	}
	var trailers ipc.Metadata
	c.fail(c.do(ipc.WithTrailers(ctx, &trailers)))
	for k, v := range trailers {
		if c.result.Trailers == nil {
			c.result.Trailers = map[string][]byte{}
		}
		c.result.Trailers[k] = []byte(v)
	}
	return &c.result, nil
}

// do makes the call.
func (c *call) do(ctx context.Context) error {
	switch c.Method {
	case "Unary":
		return c.one(ctx, c.client.Unary)
	case "Brief":
		return c.one(ctx, c.client.Brief)
	case "Unimplemented":
		return c.one(ctx, c.client.Unimplemented)
	case "Newer/Unary":
		return c.one(ctx, c.newer.Unary)
	case "Tell":
		return c.client.Tell(ctx, c.Requests[0])
	case "Download":
		return c.download(ctx)
	case "Upload":
		res, err := c.client.Upload(ctx, c.requests())
		if err == nil {
			c.received(res)
		}
		return err
	case "Chat":
		return c.chat(ctx)
	}
	return errors.New("there is no method " + c.Method)
}

func (c *call) one(ctx context.Context, do func(context.Context, *interopv1.Request) (*interopv1.Response, error)) error {
	res, err := do(ctx, c.Requests[0])
	if err == nil {
		c.received(res)
	}
	return err
}

// requests are all that the call sends. They count as sent when the next one is asked for.
func (c *call) requests() iter.Seq[*interopv1.Request] {
	return func(yield func(*interopv1.Request) bool) {
		for range max(1, c.Rounds) {
			for _, req := range c.Requests {
				if !yield(req) {
					return
				}
				c.named.count(1, 0)
			}
		}
	}
}

// received takes a response.
func (c *call) received(res *interopv1.Response) {
	c.named.count(0, 1)
	c.result.Received++
	if !c.CountOnly {
		c.result.Responses = append(c.result.Responses, res)
	}
}

// stays waits where the caller is to pause, and tells whether it is to go on.
func (c *call) stays(ctx context.Context) (bool, error) {
	if c.PauseAfter != nil && c.result.Received == uint64(*c.PauseAfter) {
		if err := c.named.pass(ctx); err != nil {
			return false, err
		}
	}
	return c.LeaveAfter == nil || c.result.Received < uint64(*c.LeaveAfter), nil
}

func (c *call) download(ctx context.Context) error {
	for res, err := range c.client.Download(ctx, c.Requests[0]) {
		if err != nil {
			return err
		}
		c.received(res)
		if stays, err := c.stays(ctx); !stays {
			return err
		}
	}
	return nil
}

func (c *call) chat(ctx context.Context) error {
	stream, err := c.client.Chat(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	if !c.InTurn {
		sent := make(chan struct{})
		defer func() { <-sent }()
		go func() {
			defer close(sent)
			for req := range c.requests() {
				if stream.Send(req) != nil {
					return // how the call ended, Receive tells
				}
			}
			stream.CloseSend()
		}()
		return c.receive(ctx, stream)
	}
	for req := range c.requests() {
		if err := stream.Send(req); err != nil && err != io.EOF {
			return err
		}
		res, err := stream.Receive()
		if err != nil {
			return err
		}
		c.received(res)
		if stays, err := c.stays(ctx); !stays {
			return err
		}
	}
	stream.CloseSend()
	return c.receive(ctx, stream)
}

// receive takes what comes until the call ends.
func (c *call) receive(ctx context.Context, stream *ipc.Stream[*interopv1.Request, *interopv1.Response]) error {
	defer stream.Close() // so that who sends stops, too
	for {
		res, err := stream.Receive()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		c.received(res)
		if stays, err := c.stays(ctx); !stays {
			return err
		}
	}
}

// fail makes of the error of a call what the suite is told.
func (c *call) fail(err error) {
	var e *ipc.Error
	switch {
	case err == nil:
		return
	case errors.As(err, &e):
		c.result.Code, c.result.Message, c.result.NotExecuted = uint32(e.Code), e.Message, e.NotExecuted
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		c.result.Code = uint32(ipc.CodeOf(err))
	default:
		c.result.Code, c.result.Message = uint32(ipc.Unknown), "testee: "+err.Error()
	}
	errors.As(err, &c.result.Refused)
	errors.As(err, &c.result.Busy)
}
