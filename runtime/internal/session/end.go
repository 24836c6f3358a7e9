package session

import (
	"errors"
	"fmt"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
)

// A Reason says why a session ended. The numbers travel in GOAWAY frames.
type Reason uint32

// The reasons.
const (
	Closed      Reason = iota // this side closed it
	PeerGone                  // the peer closed it or died
	Drained                   // a drain is over
	Protocol                  // the peer broke the protocol
	Foreign                   // the peer does not speak this protocol
	Version                   // no version that both sides have
	NoHandshake               // the peer's HELLO did not come in time
	Stalled                   // the peer took nothing for too long
	Broken                    // the transport failed
	Refused                   // the peer refused the session
)

var reasonNames = [...]string{"closed", "peer gone", "drained", "protocol violation", "foreign protocol",
	"version mismatch", "no handshake", "stalled", "transport failed", "refused"}

// String returns the reason in words.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint32(r))
}

// An EndError says why and how a session ended.
type EndError struct {
	Reason Reason
	Peer   string // its address; "" where the transport has none
	Err    error  // what was found; never nil
}

func (e *EndError) Error() string { return EndText(e.Peer, e.Reason, e.Err) }

// EndText is the text of an error that says why the session with a peer ended.
func EndText(peer string, r Reason, err error) string {
	if peer == "" {
		return fmt.Sprintf("session ended: %s: %v", r, err)
	}
	return fmt.Sprintf("session with %s ended: %s: %v", peer, r, err)
}

func (e *EndError) Unwrap() error { return e.Err }

func endf(r Reason, format string, args ...any) *EndError {
	return &EndError{Reason: r, Err: fmt.Errorf(format, args...)}
}

// The codes that the session itself gives.
const (
	CodeOK                 uint32 = 0
	CodeCanceled           uint32 = 1
	CodeInvalidArgument    uint32 = 3
	CodeDeadlineExceeded   uint32 = 4
	CodeResourceExhausted  uint32 = 8
	CodeFailedPrecondition uint32 = 9
	CodeUnimplemented      uint32 = 12
	CodeInternal           uint32 = 13
	CodeUnavailable        uint32 = 14
)

// A Failure is how a call failed.
type Failure struct {
	Code    uint32
	Text    string
	Details []frame.Detail
	// NotExecuted says that the handler has certainly not run.
	NotExecuted bool
	// Remote says that the peer said so; otherwise this side found it.
	Remote bool
	Err    error // the cause on this side; may be nil
}

func (f *Failure) Error() string { return f.Text }

func (f *Failure) Unwrap() error { return f.Err }

func failf(code uint32, format string, args ...any) *Failure {
	err := fmt.Errorf(format, args...)
	return &Failure{Code: code, Text: err.Error(), Err: errors.Unwrap(err)}
}

func notExecuted(code uint32, format string, args ...any) *Failure {
	f := failf(code, format, args...)
	f.NotExecuted = true
	return f
}
