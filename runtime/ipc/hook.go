package ipc

import "context"

// A Hook sees each call begin and end: to log, measure, trace, add metadata, check who calls, translate errors. The
// same kind serves calls that this side makes and calls that it handles.
//
// It is called before the call, and returns the context that the call gets; an error refuses the call. The function it
// returns is called once with the outcome, and returns the outcome that the next one sees; it may be nil. A stream ends
// when its last message has been received, or when it was closed. What the first of Endpoint.CallHooks returns is what the
// caller gets, which need not be an *Error: where it is nil for a call that failed, an empty response, or the end of the stream,
// but the error of a stream that did not begin. What that of HandlerHooks returns goes to the caller as a handler's error does. The
// outcome of a handler that panicked is INTERNAL, for the caller too, whatever the hooks return.
type Hook func(ctx context.Context, call *CallInfo) (context.Context, func(error) error, error)

// CallInfo is what a hook is told of a call.
type CallInfo struct {
	Method  *Method
	Peer    Peer
	Request Message // nil where requests are streamed; of a server stream that is handled, not yet read
}

// runHooks begins a call. End, which is never nil, hands the outcome to the hooks that began it, the last one first.
func runHooks(ctx context.Context, hooks []Hook, call *CallInfo) (context.Context, func(error) error, error) {
	ends := make([]func(error) error, 0, len(hooks))
	end := func(err error) error {
		for i := len(ends) - 1; i >= 0; i-- {
			err = ends[i](err)
		}
		return err
	}
	for _, h := range hooks {
		next, done, err := h(ctx, call)
		if err != nil {
			return ctx, end, err
		}
		if next != nil {
			ctx = next
		}
		if done != nil {
			ends = append(ends, done)
		}
	}
	return ctx, end, nil
}
