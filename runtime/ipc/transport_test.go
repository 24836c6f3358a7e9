//go:build unix

package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
)

// TestEveryShape sends messages of many sizes through every shape of call, over every transport.
func TestEveryShape(t *testing.T) {
	overEach(t, func(t *testing.T, v *visit) {
		for _, n := range []int{0, 1, 1000, 20_000, 70_000, 1 << 20} {
			for shape, call := range shapes {
				if err := call(patient(t), v, text(n)); err != nil {
					t.Errorf("%s of %d bytes: %v", shape, n, err)
				}
			}
		}
	})
}

// shapes are a call of each shape, with the text in every message.
var shapes = map[string]func(ctx context.Context, v *visit, text string) error{
	"unary": func(ctx context.Context, v *visit, text string) error {
		res, err := v.echo.Say(ctx, &echov1.SayRequest{Text: text})
		return same(res, err, text)
	},
	"server stream": func(ctx context.Context, v *visit, text string) error {
		n := 0
		for res, err := range v.echo.Repeat(ctx, &echov1.SayRequest{Text: text, Times: 3}) {
			if err := same(res, err, text); err != nil {
				return err
			}
			n++
		}
		return same(&echov1.SayResponse{Text: fmt.Sprint(n)}, nil, "3")
	},
	"client stream": func(ctx context.Context, v *visit, text string) error {
		res, err := v.echo.Join(ctx, said(text, text, text))
		return same(res, err, fmt.Sprint(3*len(text)))
	},
	"bidi": func(ctx context.Context, v *visit, text string) error {
		chat, err := v.echo.Chat(ctx)
		if err != nil {
			return err
		}
		defer chat.Close()
		for range 3 {
			if err := chat.Send(&echov1.SayRequest{Text: text}); err != nil {
				return err
			}
			res, err := chat.Receive()
			if err := same(res, err, text); err != nil {
				return err
			}
		}
		chat.CloseSend()
		if _, err := chat.Receive(); err != io.EOF {
			return fmt.Errorf("the end is %v, want io.EOF", err)
		}
		return nil
	},
	"oneway": func(ctx context.Context, v *visit, text string) error {
		if err := v.echo.Note(ctx, &echov1.SayRequest{Text: text}); err != nil {
			return err
		}
		return same(&echov1.SayResponse{Text: <-v.notes}, nil, "noted: "+text)
	},
}

func same(res *echov1.SayResponse, err error, want string) error {
	if err == nil && res.Text != want {
		err = fmt.Errorf("got %d bytes that begin with %.20q, want %d that begin with %.20q", len(res.Text), res.Text, len(want), want)
	}
	return err
}

// TestCallsAtOnce: many calls of all shapes share a session, with both ends calling.
func TestCallsAtOnce(t *testing.T) {
	overEach(t, func(t *testing.T, v *visit) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 5 {
					for shape, call := range shapes {
						if shape == "oneway" {
							continue // the notes of several would mix
						}
						if err := call(patient(t), v, text(i*7000+j)); err != nil {
							t.Errorf("%s: %v", shape, err)
						}
					}
					res, err := v.echo.Say(patient(t), &echov1.SayRequest{Text: "back"})
					if err := same(res, err, "visited: back"); err != nil {
						t.Errorf("a call back: %v", err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestReaderThatStalls: a stream whose reader takes nothing stops its sender within the window, and nothing else.
func TestReaderThatStalls(t *testing.T) {
	overEach(t, func(t *testing.T, v *visit) {
		const size = 1000
		for res, err := range v.echo.Repeat(patient(t), &echov1.SayRequest{Text: text(size), Times: 1 << 31}) {
			if err := same(res, err, text(size)); err != nil {
				t.Fatal(err)
			}
			for range 100 { // the sender has all the time it could want
				res, err := v.echo.Say(patient(t), &echov1.SayRequest{Text: text(size)})
				if err := same(res, err, text(size)); err != nil {
					t.Fatal(err)
				}
			}
			break
		}
		var sent int
		if n, err := fmt.Sscanf(<-v.notes, "sent %d", &sent); n != 1 || err != nil {
			t.Fatal(err)
		}
		if most := 2 * limits.Window / size; sent > most {
			t.Errorf("the sender got %d messages of %d bytes away before it was canceled, want at most %d", sent, size, most)
		}
	})
}

// TestWorkerThatStalls is the same the other way, for a sender that gives up.
func TestWorkerThatStalls(t *testing.T) {
	overEach(t, func(t *testing.T, v *visit) {
		ctx, cancel := context.WithCancel(t.Context())
		sent := 0
		_, err := v.echo.Join(ctx, func(yield func(*echov1.SayRequest) bool) {
			if !yield(&echov1.SayRequest{Text: "enough"}) {
				return
			}
			<-v.notes
			go func() {
				for range 100 {
					v.echo.Say(patient(t), &echov1.SayRequest{Text: text(1000)})
				}
				cancel()
			}()
			for yield(&echov1.SayRequest{Text: text(1000)}) {
				sent++
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if most := 2 * limits.Window / 1000; sent > most {
			t.Errorf("%d messages of 1000 bytes were sent, want at most %d", sent, most)
		}
	})
}

func TestCancelAndDeadline(t *testing.T) {
	overEach(t, func(t *testing.T, v *visit) {
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := v.echo.Say(ctx, &echov1.SayRequest{Text: "wait"})
			failed <- err
		}()
		wantNote(t, v, "waiting")
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) || ipc.CodeOf(err) != ipc.Canceled {
			t.Errorf("canceled: got %v", err)
		}
		wantNote(t, v, "ended: context canceled")

		for sent := false; !sent; { // its time may be over before it is
			ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err := v.echo.Say(ctx, &echov1.SayRequest{Text: "wait"})
			if !errors.Is(err, context.DeadlineExceeded) || ipc.CodeOf(err) != ipc.DeadlineExceeded {
				t.Errorf("out of time: got %v", err)
			}
			var e *ipc.Error
			sent = !errors.As(err, &e) || !e.NotExecuted
			cancel()
		}
		wantNote(t, v, "waiting")
		wantNote(t, v, "ended: context deadline exceeded")
	})
}

func wantNote(t *testing.T, v *visit, want string) {
	t.Helper()
	select {
	case got := <-v.notes:
		if got != want {
			t.Errorf("the worker notes %q, want %q", got, want)
		}
	case <-v.Done():
		t.Fatalf("the session ended before the worker noted %q: %v", want, v.Err())
	}
}

// TestShutdown: what runs is finished, what comes is refused.
func TestShutdown(t *testing.T) {
	overEach(t, func(t *testing.T, v *visit) {
		held := make(chan error, 1)
		go func() {
			res, err := v.echo.Say(patient(t), &echov1.SayRequest{Text: "hold"})
			held <- same(res, err, "released")
		}()
		<-v.asked
		down := make(chan error, 1)
		go func() { down <- v.Shutdown(t.Context()) }()
		var err error
		for err == nil { // until Shutdown has begun
			_, err = v.echo.Say(patient(t), &echov1.SayRequest{Text: "x"})
		}
		var e *ipc.Error
		if !errors.As(err, &e) || e.Code != ipc.Unavailable || !e.NotExecuted {
			t.Errorf("a call during the shutdown: %+v", err)
		}
		v.answer <- "released"
		if err := <-held; err != nil {
			t.Errorf("the call that ran: %v", err)
		}
		if err := <-down; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		<-v.Done()
		var ended *ipc.SessionError
		if !errors.As(v.Err(), &ended) || ended.Reason != ipc.Drained && ended.Reason != ipc.PeerGone {
			t.Errorf("the session ended with %v", v.Err())
		}
	})
}

// TestGivenUpCallsEndNothingElse: calls that end at any moment of a large request or answer fail alone.
func TestGivenUpCallsEndNothingElse(t *testing.T) {
	text := strings.Repeat("x", 300_000)
	overEach(t, func(t *testing.T, v *visit) {
		var wg sync.WaitGroup
		for caller := range uint64(6) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(caller, 0))
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(8000))*time.Microsecond)
					res, err := v.echo.Say(ctx, &echov1.SayRequest{Text: text})
					if err == nil && res.Text != text || err != nil && ipc.CodeOf(err) != ipc.DeadlineExceeded {
						t.Errorf("got %d bytes, %v", len(res.GetText()), err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
		if res, err := v.echo.Say(patient(t), &echov1.SayRequest{Text: text}); err != nil || res.Text != text {
			t.Errorf("afterwards: got %d bytes, %v", len(res.GetText()), err)
		}
	})
}
