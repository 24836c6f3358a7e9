//go:build unix

package ipc_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
)

var kills = flag.Int("kills", 3, "how often TestKillServer and TestKillClient kill over each transport")

// journalVar names the file in which a worker notes the calls that it has begun, before it answers.
const journalVar = "IPCGEN_IPC_TEST_JOURNAL"

// journal is an echo service that notes what it was asked before it answers: what stands before the first space.
type journal struct {
	echov1.UnimplementedEcho
	note func(id string) error
}

// openJournal notes in a file, a line each. Once the write has returned, the line is there, whatever becomes of the
// process.
func openJournal(path string) (journal, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return journal{note: func(id string) error {
		_, err := f.WriteString(id + "\n")
		return err
	}}, err
}

func (j journal) answer(text string) (*echov1.SayResponse, error) {
	id, _, _ := strings.Cut(text, " ")
	return &echov1.SayResponse{Text: text}, j.note(id)
}

func (j journal) Say(_ context.Context, req *echov1.SayRequest) (*echov1.SayResponse, error) {
	return j.answer(req.Text)
}

func (j journal) Chat(_ context.Context, in iter.Seq2[*echov1.SayRequest, error], send func(*echov1.SayResponse) error) error {
	for req, err := range in {
		if err != nil {
			return err
		}
		res, err := j.answer(req.Text)
		if err == nil {
			err = send(res)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (j journal) Repeat(_ context.Context, req *echov1.SayRequest, send func(*echov1.SayResponse) error) error {
	res, err := j.answer(req.Text)
	for range req.Times {
		if err == nil {
			err = send(res)
		}
	}
	return err
}

// A load is a caller that goes on until it fails. It tells each call by a word of its own, what was acknowledged, and
// the error.
type load func(ctx context.Context, c *echov1.EchoClient, next func() string, acknowledged func(id string)) error

var loads = map[string]load{
	"unary": func(ctx context.Context, c *echov1.EchoClient, next func() string, acknowledged func(string)) error {
		for {
			id := next()
			if _, err := c.Say(ctx, &echov1.SayRequest{Text: id}); err != nil {
				return err
			}
			acknowledged(id)
		}
	},
	"large": func(ctx context.Context, c *echov1.EchoClient, next func() string, acknowledged func(string)) error {
		for rest := text(300_000); ; {
			id := next()
			if _, err := c.Say(ctx, &echov1.SayRequest{Text: id + " " + rest}); err != nil {
				return err
			}
			acknowledged(id)
		}
	},
	"chat": func(ctx context.Context, c *echov1.EchoClient, next func() string, acknowledged func(string)) error {
		chat, err := c.Chat(ctx)
		if err != nil {
			return err
		}
		defer chat.Close()
		for {
			id := next()
			if err := chat.Send(&echov1.SayRequest{Text: id}); err != nil && err != io.EOF {
				return err
			}
			if _, err := chat.Receive(); err != nil {
				return err
			}
			acknowledged(id)
		}
	},
	"stream": func(ctx context.Context, c *echov1.EchoClient, next func() string, acknowledged func(string)) error {
		for {
			id := next()
			for _, err := range c.Repeat(ctx, &echov1.SayRequest{Text: id + " " + text(5000), Times: 50}) {
				if err != nil {
					return err
				}
			}
			acknowledged(id)
		}
	},
}

// A tally is what the callers of one session have to say.
type tally struct {
	mu           sync.Mutex
	last         int
	acknowledged []string
	notExecuted  []string
	errs         []error
}

// run runs all loads until they fail, and calls kill when so many calls have been acknowledged.
func (y *tally) run(c *echov1.EchoClient, most int, kill func()) {
	var once sync.Once
	if most == 0 {
		once.Do(kill)
	}
	var wg sync.WaitGroup
	for _, l := range loads {
		wg.Go(func() {
			var id string
			err := l(context.Background(), c, func() string {
				y.mu.Lock()
				defer y.mu.Unlock()
				y.last++
				id = fmt.Sprint("call-", y.last)
				return id
			}, func(id string) {
				y.mu.Lock()
				y.acknowledged = append(y.acknowledged, id)
				reached := len(y.acknowledged) >= most
				y.mu.Unlock()
				if reached {
					once.Do(kill)
				}
			})
			y.mu.Lock()
			defer y.mu.Unlock()
			y.errs = append(y.errs, err)
			var e *ipc.Error
			if errors.As(err, &e) && e.NotExecuted {
				y.notExecuted = append(y.notExecuted, id)
			}
		})
	}
	wg.Wait()
}

// killWays are the transports of deathWays, and one whose end looks different still.
func killWays() map[string]func(t *testing.T) mortal {
	all := map[string]func(t *testing.T) mortal{
		"fifo": func(t *testing.T) mortal { return startWorker(t, "fifo:"+filepath.Join(t.TempDir(), "f")) },
	}
	for name, start := range deathWays {
		all[name] = start
	}
	return all
}

// TestKillServer kills the server at any moment, in the middle of calls of all kinds. Each call ends with an error that
// says so; what was acknowledged has been done, and what the error says was not done was not.
func TestKillServer(t *testing.T) {
	for name, start := range killWays() {
		for round := range *kills {
			t.Run(fmt.Sprint(name, "/", round), func(t *testing.T) {
				transporttest.CheckLeaks(t)
				checkMappings(t)
				path := filepath.Join(t.TempDir(), "journal")
				t.Setenv(journalVar, path)
				v, m := visitMortal(t, start(t), ipc.Limits{})
				var y tally
				y.run(v.echo, rand.IntN(300), func() { m.kill(t) })
				for _, err := range y.errs {
					var e *ipc.Error
					if !errors.As(err, &e) || e.Code != ipc.Unavailable || e.Remote {
						t.Errorf("got %v, want UNAVAILABLE of this side", err)
					}
					wantReason(t, err, ipc.PeerGone)
				}
				<-v.Done()
				compareJournal(t, path, &y)
			})
		}
	}
}

func compareJournal(t *testing.T, path string, y *tally) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	noted := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		noted[strings.TrimSpace(line)] = true
	}
	for _, id := range y.acknowledged {
		if !noted[id] {
			t.Errorf("%s was acknowledged and is not in the journal", id)
		}
	}
	for _, id := range y.notExecuted {
		if noted[id] {
			t.Errorf("%s is in the journal, and its error says that it was not executed", id)
		}
	}
}

// TestKillClient kills a client at any moment, in the middle of calls of all kinds: nothing of it is left in the server,
// which serves the next one.
func TestKillClient(t *testing.T) {
	for _, scheme := range visitorSchemes {
		t.Run(scheme, func(t *testing.T) {
			transporttest.CheckLeaks(t)
			checkMappings(t)
			address := scheme + ":" + filepath.Join(t.TempDir(), "x")
			if scheme == "tcp" {
				address = "tcp:127.0.0.1:0"
			}
			var left atomic.Int64
			reached := make(chan struct{}, 1)
			counting := journal{note: func(string) error {
				if left.Add(-1) == 0 {
					reached <- struct{}{}
				}
				return nil
			}}
			conns := make(chan *ipc.Conn, 1)
			e := &ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(counting)}, Logger: quiet(),
				Connected: func(c *ipc.Conn) { conns <- c }}
			ctx, stop := context.WithCancel(t.Context())
			l, err := e.Listen(ctx, address)
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- l.Serve(ctx) }()
			for range *kills {
				left.Store(1 + rand.Int64N(300))
				g := startGuest(t, "everything", l.Address())
				c := await(t, g, conns)
				await(t, g, reached)
				g.kill()
				<-c.Done()
				wantReason(t, c.Err(), ipc.PeerGone)
			}
			stop()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

// everything is what a client does that is killed.
func everything(_ context.Context, c *echov1.EchoClient) { new(tally).run(c, -1, func() {}) }
