package session

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/ipcgen/ipcgen/runtime/internal/frame"
)

// An Incoming is the context of its handler, so that a call costs one allocation and no timer unless the handler
// asks for what needs one.

// Deadline is context.Context's.
func (in *Incoming) Deadline() (time.Time, bool) {
	if in.deadline == 0 {
		return time.Time{}, false
	}
	return epoch.Add(time.Duration(in.deadline)), true
}

// Done is context.Context's.
func (in *Incoming) Done() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.done == nil {
		in.done = make(chan struct{})
		if in.err != nil {
			close(in.done)
		}
		in.watch()
	}
	return in.done
}

// watch starts the timer of the deadline. Called with in.mu held.
func (in *Incoming) watch() {
	if in.err == nil && in.timer == nil && in.deadline != 0 {
		in.timer = time.AfterFunc(time.Duration(in.deadline-nanos()), func() { in.cancel(context.DeadlineExceeded) })
	}
}

// Err is context.Context's.
func (in *Incoming) Err() error {
	in.mu.Lock()
	err := in.err
	in.mu.Unlock()
	if err == nil && in.deadline != 0 && nanos() >= in.deadline {
		in.cancel(context.DeadlineExceeded)
		return context.DeadlineExceeded
	}
	return err
}

type incomingKey struct{}

// Value is context.Context's: the values of the endpoint's context.
func (in *Incoming) Value(key any) any {
	if key == (incomingKey{}) {
		return in
	}
	return in.s.cfg.Context.Value(key)
}

// FromContext returns the call whose handler has ctx, or a context made from it.
func FromContext(ctx context.Context) (*Incoming, bool) {
	in, ok := ctx.Value(incomingKey{}).(*Incoming)
	return in, ok
}

// AfterFunc lets package context derive contexts without a goroutine for each.
func (in *Incoming) AfterFunc(f func()) (stop func() bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		go f()
		return func() bool { return false }
	}
	if in.after == nil {
		in.after = make(map[*func()]struct{})
	}
	key := &f
	in.after[key] = struct{}{}
	in.watch()
	return func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		_, there := in.after[key]
		delete(in.after, key)
		return there
	}
}

// cancel ends the context and returns the trailers that were set. Only the first cause counts.
func (in *Incoming) cancel(cause error) frame.Metadata {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return in.trailers
	}
	in.err = cause
	if in.timer != nil {
		in.timer.Stop()
	}
	if in.done != nil {
		close(in.done)
	}
	for f := range in.after {
		go (*f)()
	}
	in.after = nil
	return in.trailers
}

// cutText returns text as a frame may carry it: at most so many bytes of UTF-8.
func cutText(text string, most int) string {
	if len(text) > most {
		for most > 0 && !utf8.RuneStart(text[most]) {
			most--
		}
		text = text[:most]
	}
	if !utf8.ValidString(text) {
		return "(the error's text is not UTF-8)"
	}
	return text
}

// cutDetails returns the details that fit into a STATUS, first ones first.
func cutDetails(details []frame.Detail) []frame.Detail {
	size := 0
	for i, d := range details {
		if size += len(d.Type) + len(d.Value); size > frame.MaxDetails {
			return details[:i]
		}
	}
	return details
}
