package ipc

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/internal/session"
)

// A Code says what kind of failure a call had. The codes and their numbers are gRPC's.
type Code uint32

// The codes.
const (
	OK                 Code = iota
	Canceled                // the caller gave up
	Unknown                 // the handler failed and did not say how
	InvalidArgument         // the request is wrong, whatever the state of the system
	DeadlineExceeded        // no answer came in time
	NotFound                // what the request names does not exist
	AlreadyExists           // what the request would make exists
	PermissionDenied        // the caller may not do this
	ResourceExhausted       // a limit or quota is reached
	FailedPrecondition      // the system is not in the state that the request needs
	Aborted                 // a conflict with another call; try the whole again
	OutOfRange              // past the end of something that may grow
	Unimplemented           // the peer does not have the method
	Internal                // something is broken
	Unavailable             // the peer cannot be reached now
	DataLoss                // data is lost for good
	Unauthenticated         // the caller is not known
)

var codeNames = [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
	"ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
	"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}

// String returns the code's name on every language's side: "NOT_FOUND".
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("CODE_%d", uint32(c))
}

// An Error is how a call failed. Handlers return one, made by Errorf, to say what the caller sees; callers get one from
// every call that fails, unless a hook of theirs made another error of it.
type Error struct {
	Code Code
	// Message is for people. A handler's travels to the caller, at most 1 KiB of it.
	Message string
	// Method is the method that was called: "echo.v1.Echo/Say". It is set by the runtime.
	Method string
	// NotExecuted says that the handler has certainly not run, so that the call can be repeated whatever it does.
	// Where it is false, the handler may have run. A handler sets it to say that it did nothing.
	NotExecuted bool
	// Remote says that the peer answered so; otherwise the failure was found on this side.
	Remote bool

	causes []error
}

// Errorf returns an error with a code and a message for the caller. What is wrapped with %w can be found by errors.Is
// and errors.As on this side; to the caller travel the message and those wrapped errors that are messages of the
// method's option "errors". A handler that returns one with OK has failed all the same: its caller sees Unknown.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), causes: []error{err}}
}

// Error returns the method, the code and the message.
func (e *Error) Error() string {
	text := e.Code.String() + ": " + e.Message
	if e.Method != "" {
		return e.Method + ": " + text
	}
	return text
}

// Unwrap returns the typed errors that came with the error, and its causes on this side.
func (e *Error) Unwrap() []error { return e.causes }

// Is makes a call that ended with the caller's deadline or cancellation match the errors of package context, on
// whichever side it was noticed first.
func (e *Error) Is(target error) bool {
	return e.Code == DeadlineExceeded && target == context.DeadlineExceeded || e.Code == Canceled && target == context.Canceled
}

// CodeOf returns the code of an error of a call: OK for nil, that of the *Error that err holds, Canceled and DeadlineExceeded
// for the errors of package context, and Unknown for others.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Unknown
}

// A Reason says why a session ended.
type Reason uint32

// The reasons.
const (
	Closed      = Reason(session.Closed)      // this side closed it
	PeerGone    = Reason(session.PeerGone)    // the peer closed it or died
	Drained     = Reason(session.Drained)     // it ended as planned, after its calls
	Protocol    = Reason(session.Protocol)    // the peer broke the protocol
	Foreign     = Reason(session.Foreign)     // the peer speaks something else
	Version     = Reason(session.Version)     // the peers have no protocol version in common
	NoHandshake = Reason(session.NoHandshake) // the peer did not say hello in time
	Stalled     = Reason(session.Stalled)     // the peer took nothing for too long
	Broken      = Reason(session.Broken)      // the transport failed
	Refused     = Reason(session.Refused)     // the peer ended it and said why
)

// String returns the reason in words.
func (r Reason) String() string { return session.Reason(r).String() }

// A SessionError is why a session ended. Errors of calls that ended with it wrap it.
type SessionError struct {
	Reason Reason
	Peer   string // the peer's address, as Peer.Address
	Err    error  // what was found
}

// Error returns the peer's address, the reason, and what was found.
func (e *SessionError) Error() string {
	return session.EndText(e.Peer, session.Reason(e.Reason), e.Err)
}

// Unwrap returns what was found.
func (e *SessionError) Unwrap() error { return e.Err }

// sessionError makes the public form of the error that ended a session, wherever it stands in err.
func sessionError(err error) error {
	var e *session.EndError
	if errors.As(err, &e) {
		return &SessionError{Reason: Reason(e.Reason), Peer: e.Peer, Err: e.Err}
	}
	return err
}

// fromFailure makes what a caller sees of a failed call.
func (m *Method) fromFailure(f *session.Failure) error {
	e := &Error{Code: Code(f.Code), Message: f.Text, Method: m.path, NotExecuted: f.NotExecuted, Remote: f.Remote}
	for _, d := range f.Details {
		for _, t := range m.errors {
			if t.name == d.Type {
				if err, ok := t.decode(d.Value); ok {
					e.causes = append(e.causes, err)
				}
			}
		}
	}
	if f.Err != nil {
		e.causes = append(e.causes, sessionError(f.Err))
	}
	return e
}

// public makes an error of a session one of this package.
func (m *Method) public(err error) error {
	if err == nil {
		return nil
	}
	var f *session.Failure
	if errors.As(err, &f) {
		return m.fromFailure(f)
	}
	return err
}

// toFailure makes of a handler's error what goes to the caller: what was written for it, and nothing else. Authored is
// false where that is nothing.
func (m *Method) toFailure(err error) (f *session.Failure, authored bool) {
	f = &session.Failure{}
	for _, t := range m.errors {
		if d, text, ok := t.encode(err); ok {
			f.Details = append(f.Details, frame.Detail{Type: t.name, Value: d})
			f.Code, f.Text = uint32(Unknown), text
		}
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		f.Code, f.Text = uint32(e.Code), e.Message
		if e.Code == OK {
			f.Code = uint32(Unknown)
		}
	case f.Details != nil:
	case errors.Is(err, context.DeadlineExceeded):
		f.Code, f.Text = uint32(DeadlineExceeded), "the handler ran out of time"
	case errors.Is(err, context.Canceled):
		f.Code, f.Text = uint32(Canceled), "the handler was canceled"
	default:
		f.Code, f.Text = uint32(Unknown), "the handler failed; its process's log says how"
		return f, false
	}
	return f, true
}
