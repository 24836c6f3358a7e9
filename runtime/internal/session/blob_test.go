//go:build linux && (amd64 || arm64)

package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ipcgen/ipcgen/runtime/codec"
	"github.com/ipcgen/ipcgen/runtime/internal/frame"
	"github.com/ipcgen/ipcgen/runtime/transport/shm"
	"github.com/ipcgen/ipcgen/runtime/transport/socket"
	blobsv0 "github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/v0"
	blobsv1 "github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/v1"
)

// Methods whose messages have blobs.
const (
	mSwap   uint64 = 200 + iota // gives back what it gets
	mOld                        // knows an older schema
	mMirror                     // gives back each message of a stream
	mRepeat                     // sends what it gets until it is told to stop
	mKeep                       // takes no message of a stream before it is told to
	mNote                       // has no answer
	mTwice                      // answers, and does so again
)

// A gallery serves them.
type gallery struct {
	keep    chan struct{} // ends mKeep
	started chan struct{} // has an element for each mKeep that has begun
	methods map[uint64]*Method
}

func newGallery() *gallery {
	g := &gallery{keep: make(chan struct{}), started: make(chan struct{}, 100)}
	fresh := func() codec.Message { return new(blobsv1.Picture) }
	g.methods = map[uint64]*Method{
		mSwap: {Path: "swap", NewRequest: func() codec.Message { return new(blobsv1.Album) }, Unary: func(_ *Incoming, m codec.Message) (codec.Message, *Failure) {
			album := m.(*blobsv1.Album)
			defer releaseAlbum(album)
			return album.Clone(), nil
		}},
		mOld: {Path: "old", NewRequest: func() codec.Message { return new(blobsv0.Album) }, Unary: func(_ *Incoming, m codec.Message) (codec.Message, *Failure) {
			return m, nil
		}},
		mNote: {Path: "note", NewRequest: fresh, Unary: func(_ *Incoming, m codec.Message) (codec.Message, *Failure) {
			Release(m.(*blobsv1.Picture).Data)
			return nil, nil
		}},
		mMirror: {Path: "mirror", Stream: func(in *Incoming) (codec.Message, *Failure) {
			for {
				p := new(blobsv1.Picture)
				if err := in.Receive(p); err != nil {
					return nil, nil
				}
				err := in.Send(p)
				Release(p.Data)
				if err != nil {
					return nil, nil
				}
			}
		}},
		mRepeat: {Path: "repeat", Stream: func(in *Incoming) (codec.Message, *Failure) {
			p := new(blobsv1.Picture)
			if err := in.Receive(p); err != nil {
				return nil, nil
			}
			defer Release(p.Data)
			for in.Send(p) == nil {
			}
			return nil, nil
		}},
		mTwice: {Path: "twice", Stream: func(in *Incoming) (codec.Message, *Failure) {
			in.Send(picture(70_000))
			return picture(70_000), nil
		}},
		mKeep: {Path: "keep", Stream: func(in *Incoming) (codec.Message, *Failure) {
			g.started <- struct{}{}
			select {
			case <-g.keep:
			case <-in.Done():
			}
			return nil, nil
		}},
	}
	return g
}

func releaseAlbum(m *blobsv1.Album) {
	parts := codec.Parts{All: true}
	m.AppendApart(nil, &parts)
	for _, p := range parts.List {
		Release(p.Bytes)
	}
}

// inMemory starts two sessions that share memory, the second of which serves. They end with the test.
func inMemory(t *testing.T, configs [2]Config) (client, server *Session, g *gallery) {
	t.Helper()
	g = newGallery()
	configs[1].Methods = g.methods
	sessions := sharing(t, configs)
	return sessions[0], sessions[1], g
}

// sharing starts two sessions that share memory. They end with the test.
func sharing(t *testing.T, configs [2]Config) (sessions [2]*Session) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	accept := listenUnix(t, path)
	conn, err := socket.DialUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var errs [2]error
	var wg sync.WaitGroup
	for i := range configs {
		configs[i].Side = uint8(i)
		configs[i].Memory.Use = MemoryAsked
		wg.Go(func() {
			if i == 1 {
				conn := accept()
				sessions[1], errs[1] = Start(t.Context(), conn, configs[1])
				return
			}
			sessions[0], errs[0] = Start(t.Context(), conn, configs[0])
		})
	}
	wg.Wait()
	for i, s := range sessions {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		t.Cleanup(func() {
			s.Close()
			s.Wait()
		})
	}
	return sessions
}

// both are two configurations that are the same.
func both(c Config) [2]Config { return [2]Config{c, c} }

// allFree says that s has lent nothing. Where it has no arena it has not.
func allFree(s *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.blobs.arena
	if a == nil {
		return true
	}
	s.blobs.takeAll()
	offset, _, ok := a.Take(s.limits.Arena)
	if ok {
		a.Give(offset)
	}
	return ok
}

// wantAllFree waits until neither session has anything of the other: a PING each way takes what is given back along.
func wantAllFree(t *testing.T, sessions ...*Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, s := range sessions {
		for !allFree(s) {
			for _, p := range sessions {
				if err := p.Ping(ctx); err != nil {
					t.Fatalf("what was lent has not come back: %v", err)
				}
			}
			runtime.Gosched()
		}
	}
}

// lentSome says that a session has made an arena, without which a test of it shows nothing.
func lentSome(t *testing.T, s *Session) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blobs == nil || s.blobs.arena == nil {
		t.Error("no blob was lent")
	}
}

func picture(n int) *blobsv1.Picture {
	return &blobsv1.Picture{Name: "name", Data: bytes.Repeat([]byte{7}, n)}
}

// TestLentComesBack: whatever becomes of a message, what was lent with it comes back.
func TestLentComesBack(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		for name, do := range map[string]func(t *testing.T, client, server *Session, g *gallery){
			"a call": func(t *testing.T, client, _ *Session, _ *gallery) {
				album := &blobsv1.Album{Title: "t", First: picture(100_000), Cover: make([]byte, 3000), Inner: &blobsv1.Album{Cover: make([]byte, 5000)}}
				for range 3 {
					res := new(blobsv1.Album)
					if f := ask(client, t.Context(), Outgoing{Method: mSwap}, album, res); f != nil || !res.Equal(album) {
						t.Fatalf("got %.100v, %v", res, f)
					}
					if inBorrowed := lenderIs(res.First.Data); inBorrowed != inPlace {
						t.Errorf("the response has its blob in place: %v, want %v", inBorrowed, inPlace)
					}
					releaseAlbum(res)
				}
			},
			"an older schema": func(t *testing.T, client, _ *Session, _ *gallery) {
				album := &blobsv1.Album{First: picture(100_000), More: []*blobsv1.Picture{picture(70_000)}}
				res := new(blobsv1.Album)
				if f := ask(client, t.Context(), Outgoing{Method: mOld}, album, res); f != nil || !res.Equal(album) {
					t.Fatalf("got %.100v, %v", res, f)
				}
			},
			"a response that is nothing of the kind": func(t *testing.T, client, _ *Session, _ *gallery) {
				res := new(blobsv1.Old)
				f := ask(client, t.Context(), Outgoing{Method: mSwap}, &blobsv1.Album{First: picture(100_000)}, res)
				if f == nil || f.Code != CodeInternal {
					t.Errorf("got %.100v, %v", res, f)
				}
			},
			"two responses in place of one": func(t *testing.T, client, server *Session, _ *gallery) {
				f := ask(client, t.Context(), Outgoing{Method: mTwice}, picture(100_000), new(blobsv1.Picture))
				if f == nil || f.Code != CodeInternal {
					t.Error(f)
				}
				lentSome(t, server)
			},
			"a method that is not served": func(t *testing.T, client, _ *Session, _ *gallery) {
				f := ask(client, t.Context(), Outgoing{Method: 999}, picture(100_000), new(blobsv1.Picture))
				if f == nil || f.Code != CodeUnimplemented {
					t.Error(f)
				}
			},
			"a call that nobody waits for": func(t *testing.T, client, _ *Session, _ *gallery) {
				if f := client.Oneway(t.Context(), Outgoing{Method: mSwap}, &blobsv1.Album{First: picture(100_000)}); f != nil {
					t.Error(f)
				}
				if f := client.Oneway(t.Context(), Outgoing{Method: mNote}, picture(100_000)); f != nil {
					t.Error(f)
				}
			},
			"messages that the handler does not take": func(t *testing.T, client, _ *Session, g *gallery) {
				c, f := client.Open(t.Context(), Outgoing{Method: mKeep}, picture(70_000), false)
				if f != nil {
					t.Fatal(f)
				}
				for range 10 {
					if err := c.Send(t.Context(), picture(100_000)); err != nil {
						t.Fatal(err)
					}
				}
				<-g.started
				close(g.keep)
				if err := c.Receive(t.Context(), new(blobsv1.Picture)); err != io.EOF {
					t.Error(err)
				}
			},
			"a call that is given up": func(t *testing.T, client, _ *Session, g *gallery) {
				c, f := client.Open(t.Context(), Outgoing{Method: mKeep}, picture(70_000), false)
				if f != nil {
					t.Fatal(f)
				}
				<-g.started
				if err := c.Send(t.Context(), picture(100_000)); err != nil {
					t.Fatal(err)
				}
				c.Cancel()
			},
			"responses that nobody wants any more": func(t *testing.T, client, _ *Session, _ *gallery) {
				c, f := client.Open(t.Context(), Outgoing{Method: mRepeat}, picture(100_000), true)
				if f != nil {
					t.Fatal(f)
				}
				p := new(blobsv1.Picture)
				if err := c.Receive(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				Release(p.Data)
				c.Cancel()
			},
			"a stream both ways": func(t *testing.T, client, _ *Session, _ *gallery) {
				c, f := client.Open(t.Context(), Outgoing{Method: mMirror}, nil, false)
				if f != nil {
					t.Fatal(f)
				}
				for n := range 20 {
					if err := c.Send(t.Context(), picture(10_000*n)); err != nil {
						t.Fatal(err)
					}
				}
				c.CloseSend(t.Context())
				n := 0
				for ; ; n++ {
					p := new(blobsv1.Picture)
					if err := c.Receive(t.Context(), p); err != nil {
						break
					}
					if !p.Equal(picture(10_000 * n)) {
						t.Errorf("message %d: %.50v", n, p)
					}
					Release(p.Data)
				}
				if n != 20 {
					t.Errorf("%d messages came", n)
				}
			},
		} {
			t.Run(name+map[bool]string{true: ", in place"}[inPlace], func(t *testing.T) {
				checkLeaks(t)
				client, server, g := inMemory(t, both(Config{Memory: Memory{InPlace: inPlace}}))
				do(t, client, server, g)
				lentSome(t, client)
				wantAllFree(t, client, server)
			})
		}
	}
}

func lenderIs(p []byte) bool {
	b, _ := borrowers.find(p, inPeers)
	return b != nil
}

// TestArenaIsFull: what there is no room for comes like other bytes, until there is room again.
func TestArenaIsFull(t *testing.T) {
	checkLeaks(t)
	client, server, _ := inMemory(t, both(Config{Limits: Limits{Arena: 256 << 10}, Memory: Memory{InPlace: true}}))
	swap := func() *blobsv1.Picture {
		t.Helper()
		res := new(blobsv1.Album)
		if f := ask(client, t.Context(), Outgoing{Method: mSwap}, &blobsv1.Album{First: picture(100_000)}, res); f != nil || !res.First.Equal(picture(100_000)) {
			t.Fatalf("got %.100v, %v", res, f)
		}
		return res.First
	}
	first, second, third := swap(), swap(), swap()
	if !lenderIs(first.Data) || !lenderIs(second.Data) || lenderIs(third.Data) {
		t.Errorf("in place: %v, %v, %v; want the first two", lenderIs(first.Data), lenderIs(second.Data), lenderIs(third.Data))
	}
	Release(third.Data)
	Release(first.Data)
	if err := client.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	fourth := swap()
	if !lenderIs(fourth.Data) {
		t.Error("there is room again, and it was not used")
	}
	Release(second.Data)
	Release(fourth.Data)
	Release(fourth.Data) // once too often
	wantAllFree(t, client, server)
}

// TestNoArena: where there is no memory, and where this side is to lend none, blobs come like other bytes, and the log
// says once why.
func TestNoArena(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		told   int
	}{
		"no memory": {Config{Memory: Memory{InPlace: true, MakeArena: func(int) (*shm.Arena, error) { return nil, syscall.ENOSPC }}}, 1},
		"none":      {Config{Limits: Limits{Arena: -1}, Memory: Memory{InPlace: true}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			var log strings.Builder
			c.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
			client, _, _ := inMemory(t, [2]Config{c.config, {Memory: Memory{InPlace: true}}})
			for range 3 {
				c, f := client.Open(t.Context(), Outgoing{Method: mMirror}, picture(100_000), true)
				if f != nil {
					t.Fatal(f)
				}
				p := new(blobsv1.Picture)
				if err := c.Receive(t.Context(), p); err != nil || !p.Equal(picture(100_000)) {
					t.Errorf("got %.100v, %v", p, err)
				}
				Release(p.Data)
				c.Cancel()
			}
			if told := strings.Count(log.String(), "no memory for them: no space left on device"); told != c.told {
				t.Errorf("the log told it %d times, want %d: %s", told, c.told, &log)
			}
		})
	}
}

// TestBlobsOutliveTheSession: bytes in place stay readable until they are released, whatever the peer does.
func TestBlobsOutliveTheSession(t *testing.T) {
	checkLeaks(t)
	client, server, _ := inMemory(t, both(Config{Memory: Memory{InPlace: true}}))
	res := new(blobsv1.Album)
	if f := ask(client, t.Context(), Outgoing{Method: mSwap}, &blobsv1.Album{First: picture(100_000)}, res); f != nil {
		t.Fatal(f)
	}
	server.Close()
	<-client.Done()
	client.Wait()
	server.Wait()
	if !lenderIs(res.First.Data) || !res.First.Equal(picture(100_000)) {
		t.Errorf("got %.100v", res)
	}
	Release(res.First.Data)
	if n := mappings(t); n > 0 {
		t.Errorf("%d segments are mapped", n)
	}
}

// TestBlobsAtTheEnd: a session may end at any moment of many calls, and leaves nothing.
func TestBlobsAtTheEnd(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		for range 10 {
			checkLeaks(t)
			client, server, _ := inMemory(t, both(Config{Limits: Limits{Arena: 1 << 20}, Memory: Memory{InPlace: inPlace}}))
			var wg sync.WaitGroup
			done := make(chan struct{}, 100)
			for range 4 {
				wg.Go(func() {
					for {
						res := new(blobsv1.Album)
						f := ask(client, context.Background(), Outgoing{Method: mSwap}, &blobsv1.Album{First: picture(100_000)}, res)
						if f != nil {
							return
						}
						releaseAlbum(res)
						select {
						case done <- struct{}{}:
						default:
						}
					}
				})
				wg.Go(func() {
					c, f := client.Open(context.Background(), Outgoing{Method: mRepeat}, picture(100_000), true)
					for f == nil {
						p := new(blobsv1.Picture)
						if err := c.Receive(context.Background(), p); err != nil {
							return
						}
						Release(p.Data)
					}
				})
			}
			for range 10 {
				<-done
			}
			server.Close()
			wg.Wait()
			client.Wait()
			server.Wait()
		}
	}
}

// TestForgottenStreams: messages that wait in a stream which the program has lost leave nothing mapped.
func TestForgottenStreams(t *testing.T) {
	client, server, _ := inMemory(t, both(Config{Limits: Limits{Window: 16 << 10}}))
	func() {
		c, f := client.Open(t.Context(), Outgoing{Method: mMirror}, picture(100_000), true)
		if f != nil {
			t.Fatal(f)
		}
		// The second one has come when the first one is taken.
		if err := c.Receive(t.Context(), new(blobsv1.Picture)); err != nil {
			t.Fatal(err)
		}
	}()
	if c, f := client.Open(t.Context(), Outgoing{Method: mRepeat}, picture(100_000), true); f != nil || c.Receive(t.Context(), new(blobsv1.Picture)) != nil {
		t.Fatal(f)
	}
	func() {
		c, f := client.Open(t.Context(), Outgoing{Method: mRepeat}, picture(100_000), true)
		if f != nil {
			t.Fatal(f)
		}
		for range 1000 { // for which credit is returned
			if err := c.Receive(t.Context(), new(blobsv1.Picture)); err != nil {
				t.Fatal(err)
			}
		}
	}()
	client.Close()
	client.Wait()
	server.Wait()
	for mappings(t) > 0 { // until the collector has found it
		runtime.GC()
	}
}

// TestForgottenEnds: messages that wait in a stream which has ended, and which the program has lost, are given back.
func TestForgottenEnds(t *testing.T) {
	checkLeaks(t)
	client, server, _ := inMemory(t, both(Config{Limits: Limits{Arena: 256 << 10}}))
	func() {
		c, f := client.Open(t.Context(), Outgoing{Method: mMirror}, nil, false)
		if f != nil {
			t.Fatal(f)
		}
		for range 4 { // for two there is room in the arena, and credit for the last is asked for
			if err := c.Send(t.Context(), picture(100_000)); err != nil {
				t.Fatal(err)
			}
		}
		c.CloseSend(t.Context())
		for ended := false; !ended; runtime.Gosched() {
			client.mu.Lock()
			ended = c.finished
			client.mu.Unlock()
		}
	}()
	lentSome(t, server)
	for !allFree(server) { // until the collector has found it
		runtime.GC()
		if err := client.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNewBlob: what a program has filled in place is sent from there, once, and comes back whatever becomes of it.
func TestNewBlob(t *testing.T) {
	checkLeaks(t)
	client, server, _ := inMemory(t, both(Config{}))
	draft := func(n int) []byte {
		t.Helper()
		p := client.NewBlob(n)
		if b, _ := drafters.find(p, inOwn); len(p) != n || b == nil {
			t.Fatalf("%d bytes, in the arena: %v", len(p), b != nil)
		}
		for i := range p {
			p[i] = 7
		}
		return p
	}
	swap := func(first *blobsv1.Picture) *Failure {
		res := new(blobsv1.Album)
		f := ask(client, t.Context(), Outgoing{Method: mSwap}, &blobsv1.Album{First: first}, res)
		if f == nil && !res.First.Equal(picture(len(first.Data))) {
			t.Errorf("got %.100v", res)
		}
		return f
	}
	for name, do := range map[string]func(){
		"sent": func() {
			if f := swap(&blobsv1.Picture{Name: "name", Data: draft(100_000)}); f != nil {
				t.Error(f)
			}
		},
		"less than travels apart": func() {
			p := &blobsv1.Picture{Name: "name", Data: draft(10)}
			if f := swap(p); f != nil {
				t.Error(f)
			}
			if b, offset := drafters.find(p.Data, inOwn); b == nil || b.drafts[offset] {
				t.Error("it is the program's")
			}
		},
		"a part of it": func() {
			if f := swap(&blobsv1.Picture{Name: "name", Data: draft(100_000)[:99_999]}); f != nil {
				t.Error(f)
			}
		},
		"its end, which is copied": func() {
			p := draft(200_000)
			if f := swap(&blobsv1.Picture{Name: "name", Data: p[50_000:]}); f != nil {
				t.Error(f)
			}
			Release(p)
		},
		"twice in a message": func() {
			p := draft(100_000)
			album := &blobsv1.Album{First: &blobsv1.Picture{Data: p}, Last: &blobsv1.Picture{Data: p}}
			res := new(blobsv1.Album)
			if f := ask(client, t.Context(), Outgoing{Method: mSwap}, album, res); f != nil || !bytes.Equal(res.First.Data, res.Last.Data) || res.Last.Data[99_999] != 7 {
				t.Errorf("got %.100v, %v", res, f)
			}
		},
		"released":       func() { Release(draft(100_000)) },
		"released twice": func() { p := draft(100_000); Release(p); Release(p) },
		"in a stream": func() {
			c, f := client.Open(t.Context(), Outgoing{Method: mMirror}, nil, false)
			if f != nil {
				t.Fatal(f)
			}
			for range 3 {
				p := new(blobsv1.Picture)
				if err := c.Send(t.Context(), &blobsv1.Picture{Name: "name", Data: draft(100_000)}); err != nil {
					t.Fatal(err)
				}
				if err := c.Receive(t.Context(), p); err != nil || !p.Equal(picture(100_000)) {
					t.Fatalf("got %.100v, %v", p, err)
				}
			}
			c.Cancel()
			if err := c.Send(t.Context(), &blobsv1.Picture{Data: draft(100_000)}); err == nil {
				t.Error("sent, after the call was given up")
			}
		},
		"too large together": func() {
			if f := swap(&blobsv1.Picture{Data: draft(4_000_000), Digest: make([]byte, 1_000_000)}); f == nil || f.Code != CodeResourceExhausted {
				t.Error(f)
			}
		},
		"with much beside it": func() {
			p := &blobsv1.Picture{Data: draft(100_000), Digest: make([]byte, 100_000)}
			res := new(blobsv1.Album)
			f := ask(client, t.Context(), Outgoing{Method: mSwap}, &blobsv1.Album{First: p}, res)
			if f != nil || len(res.First.Digest) != 100_000 || len(res.First.Data) != 100_000 || res.First.Data[99_999] != 7 {
				t.Errorf("got %.100v, %v", res, f)
			}
		},
		"of a call that is late": func() {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			p := draft(100_000)
			if f := ask(client, ctx, Outgoing{Method: mSwap}, &blobsv1.Album{First: &blobsv1.Picture{Data: p}}, new(blobsv1.Album)); f == nil {
				t.Error("it was called")
			}
		},
	} {
		do()
		if wantAllFree(t, client, server); t.Failed() {
			t.Fatal(name)
		}
	}
	last := draft(100_000)
	client.Close()
	last[0] = 8 // it stays the program's
	if p := client.NewBlob(100); len(p) != 100 {
		t.Errorf("after the end: %d bytes", len(p))
	}
	if f := swap(&blobsv1.Picture{Data: last}); f == nil {
		t.Error("called after the end")
	}
	client.Wait()
	server.Wait()
	if n := mappings(t); n > 0 {
		t.Errorf("%d segments are mapped", n)
	}
}

// TestNewBlobElsewhere: where there is no room, and no arena, the bytes are ordinary ones.
func TestNewBlobElsewhere(t *testing.T) {
	checkLeaks(t)
	client, _, _ := inMemory(t, [2]Config{{Limits: Limits{Arena: 64 << 10}}, {}})
	apart, _, _ := inMemory(t, [2]Config{{Limits: Limits{Arena: -1}}, {}})
	for i, p := range [][]byte{client.NewBlob(100_000), apart.NewBlob(100), client.NewBlob(0), client.NewBlob(60_000), client.NewBlob(10_000)} {
		if b, _ := drafters.find(p, inOwn); (b != nil) != (i == 3) {
			t.Errorf("%d: %d bytes are in an arena: %v", i, len(p), b != nil)
		}
		Release(p)
	}
	wantAllFree(t, client)
}

// A lender is a mangler with an arena.
type lender struct {
	*mangler
	session *Session
	arena   int // its descriptor
}

// goodArena is a descriptor of an arena of size bytes, with the seals.
func goodArena(t *testing.T, size int64, seals int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("peer", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err == nil {
		err = unix.Ftruncate(fd, size)
	}
	if err == nil {
		_, err = unix.Pwrite(fd, []byte("contents"), 0)
	}
	if err == nil && seals != 0 {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

const allSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SEAL

// callApart is a CALL whose message has parts.
func callApart(rest []byte, parts ...frame.Part) []byte {
	return callOf(mEcho, 0, 1, frame.Msg|frame.End|frame.Apart, frame.AppendParts(bytes.Clone(rest), parts))
}

// TestBadBlobs: what a peer's runtime cannot have meant ends the session, and leaves no descriptor and no mapping.
func TestBadBlobs(t *testing.T) {
	const size = 1 << 20
	one := frame.Part{Offset: 0, Length: 8, At: 1}
	send := func(l *lender) { l.sendFiles([]byte{1}, l.arena) }
	for _, c := range []struct {
		name, want string
		size       int64
		seals      int
		do         func(l *lender)
	}{
		{"without an arena", "an arena that it has not sent", size, allSeals, func(l *lender) { l.publish(callApart([]byte("abc"), one)) }},
		{"a byte without a descriptor", "0 descriptors came", size, allSeals, func(l *lender) { l.Write([]byte{1}) }},
		{"a descriptor with another byte", "1 descriptors came", size, allSeals, func(l *lender) { l.sendFiles([]byte{0}, l.arena) }},
		{"two descriptors", "2 descriptors came", size, allSeals, func(l *lender) { l.sendFiles([]byte{1}, l.arena, l.arena) }},
		{"many descriptors", "4 descriptors came", size, allSeals, func(l *lender) {
			l.sendFiles([]byte{1}, l.arena, l.arena, l.arena, l.arena, l.arena, l.arena, l.arena, l.arena, l.arena, l.arena, l.arena, l.arena)
		}},
		{"two arenas", "1 descriptors came", size, allSeals, func(l *lender) { send(l); send(l) }},
		{"another byte", "the byte 0x02", size, allSeals, func(l *lender) { l.Write([]byte{2}) }},
		{"no seals", "has the seals", size, 0, func(l *lender) { send(l); l.publish(callApart([]byte("abc"), one)) }},
		{"a seal less", "has the seals", size, allSeals &^ unix.F_SEAL_FUTURE_WRITE, func(l *lender) { send(l); l.publish(callApart([]byte("abc"), one)) }},
		{"an odd size", "an arena of 1048577 bytes", size + 1, allSeals, func(l *lender) { send(l); l.publish(callApart([]byte("abc"), one)) }},
		{"too small", "an arena of 4096 bytes", 4096, allSeals, func(l *lender) { send(l); l.publish(callApart([]byte("abc"), one)) }},
		{"too large", "an arena of 2147483648 bytes", 2 << 30, allSeals, func(l *lender) { send(l); l.publish(callApart([]byte("abc"), one)) }},
		{"behind the arena", "no free range", size, allSeals, func(l *lender) { send(l); l.publish(callApart(nil, frame.Part{Offset: size, Length: 1})) }},
		{"over its end", "no free range", size, allSeals, func(l *lender) { send(l); l.publish(callApart(nil, frame.Part{Offset: size - 4096, Length: 4097})) }},
		{"over the end of numbers", "no free range", size, allSeals, func(l *lender) {
			send(l)
			l.publish(callApart(nil, frame.Part{Offset: 1<<32 - 4096, Length: 1<<32 - 1}))
		}},
		{"not at a unit", "no free range", size, allSeals, func(l *lender) { send(l); l.publish(callApart(nil, frame.Part{Offset: 8, Length: 1})) }},
		{"twice", "no free range", size, allSeals, func(l *lender) {
			send(l)
			l.publish(callApart([]byte("abc"), frame.Part{Length: 8, At: 1}, frame.Part{Length: 8, At: 2}))
		}},
		{"empty", "blob 0 is empty", size, allSeals, func(l *lender) { send(l); l.publish(callApart([]byte("abc"), frame.Part{})) }},
		{"behind the message", "belongs at 4 of a message of 3", size, allSeals, func(l *lender) { send(l); l.publish(callApart([]byte("abc"), frame.Part{Length: 8, At: 4})) }},
		{"out of order", "belongs at 1, the one before at 1", size, allSeals, func(l *lender) {
			send(l)
			l.publish(callApart([]byte("abc"), frame.Part{Length: 8, At: 1}, frame.Part{Offset: 4096, Length: 8, At: 1}))
		}},
		{"too large together", "over the limit of 40000", size, allSeals, func(l *lender) {
			send(l)
			l.publish(callApart([]byte("abc"), frame.Part{Length: 20_000, At: 1}, frame.Part{Offset: 20480, Length: 20_000, At: 2}))
		}},
		{"no table", "payload ends in the middle", size, allSeals, func(l *lender) { send(l); l.publish(callOf(mEcho, 0, 1, frame.Msg|frame.End|frame.Apart, nil)) }},
		{"half a table", "payload ends in the middle", size, allSeals, func(l *lender) {
			send(l)
			l.publish(callOf(mEcho, 0, 1, frame.Msg|frame.End|frame.Apart, []byte{0, 0, 0, 9, 0}))
		}},
		{"without a blob", "APART without a blob", size, allSeals, func(l *lender) { send(l); l.publish(callApart([]byte("abc"))) }},
		{"without MSG", "APART goes with MSG", size, allSeals, func(l *lender) { l.publish(callOf(mEcho, 0, 1, frame.End|frame.Apart, nil)) }},
		{"inside a message", "inside a message", size, allSeals, func(l *lender) {
			send(l)
			id := frame.NewStreamID(0, 0, 1)
			l.publish(callOf(mEchoes, 0, 1, 0, nil))
			l.publish(frameOf(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.More, Stream: id}, append([]byte{0, 16, 0, 0}, make([]byte, 100)...)...))
			l.publish(frameOf(frame.Header{Type: frame.Data, Flags: frame.Msg | frame.Apart, Stream: id}, frame.AppendParts([]byte("abc"), []frame.Part{one})...))
		}},
		{"freeing what is not out", "that the peer does not have", size, allSeals, func(l *lender) { l.publish(frame.Header{Type: frame.ShmFree, Arg: 4096}.Append(nil)) }},
		{"giving back what is not out", "that it does not have", size, allSeals, func(l *lender) {
			l.returns.Give(4096)
			Release(l.session.NewBlob(100)) // which looks for room
		}},
		{"giving back more than there is room for", "513 ranges at once", size, allSeals, func(l *lender) {
			l.set(0x280, 513)
			Release(l.session.NewBlob(100)) // which looks for room
		}},
		{"SHM_FREE of a stream", "in its header that must be 0", size, allSeals, func(l *lender) { l.publish(frame.Header{Type: frame.ShmFree, Stream: 1 << 16}.Append(nil)) }},
		{"another frame apart", "PING frame with the flags 0x20", size, allSeals, func(l *lender) { l.publish(frame.Header{Type: frame.Ping, Flags: frame.Apart}.Append(nil)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &lender{arena: goodArena(t, c.size, c.seals)}
			checkLeaks(t)
			var s *Session
			l.mangler, s = mangleWith(t, frame.FeatureShm|frame.FeatureBlobs)
			l.session = s
			c.do(l)
			<-s.Done()
			var e *EndError
			if err := s.Err(); !errors.As(err, &e) || e.Reason != Protocol || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a violation with %q", err, c.want)
			}
		})
	}
}

// TestBlobsNotAgreed: without the feature both are unknown.
func TestBlobsNotAgreed(t *testing.T) {
	for name, b := range map[string][]byte{
		"APART":    callApart([]byte("abc"), frame.Part{Length: 8, At: 1}),
		"SHM_FREE": frame.Header{Type: frame.ShmFree}.Append(nil),
	} {
		t.Run(name, func(t *testing.T) {
			m, s := mangle(t)
			m.publish(b)
			<-s.Done()
			wantEnd(t, s.Err(), Protocol)
		})
	}
}

// TestFreedDraft: a peer cannot free what the program is filling.
func TestFreedDraft(t *testing.T) {
	checkLeaks(t)
	m, s := mangleWith(t, frame.FeatureShm|frame.FeatureBlobs)
	p := s.NewBlob(100)
	m.publish(frame.Header{Type: frame.ShmFree}.Append(nil))
	<-s.Done()
	wantEnd(t, s.Err(), Protocol)
	p[0] = 1
	Release(p)
}

// TestUnwrittenPages: a peer may name pages of its arena that it has never touched.
func TestUnwrittenPages(t *testing.T) {
	l := &lender{arena: goodArena(t, 1<<20, allSeals)}
	checkLeaks(t)
	var s *Session
	l.mangler, s = mangleWith(t, frame.FeatureShm|frame.FeatureBlobs)
	l.sendFiles([]byte{1}, l.arena)
	l.publish(callApart([]byte("abc"), frame.Part{Offset: 0, Length: 10, At: 0}, frame.Part{Offset: 1<<20 - 8192, Length: 5, At: 3}))
	want := "contents\x00\x00abc\x00\x00\x00\x00\x00"
	header, err := l.receive(s, frame.HeaderSize)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := l.receive(s, int(binary.LittleEndian.Uint32(header[4:])))
	if err != nil || frame.Type(header[0]) != frame.Status || string(payload[6:]) != want {
		t.Errorf("got % x %q, %v, want %q", header, payload, err, want)
	}
	for _, want := range []uint32{0, 1<<20 - 8192} {
		if offset, ok, err := l.returns.Take(); !ok || offset != want {
			t.Errorf("%d came back, %v, %v, want %d", offset, ok, err, want)
		}
	}
}

// TestReturnsAreFull: what there is no room for in the segment comes back by frames.
func TestReturnsAreFull(t *testing.T) {
	checkLeaks(t)
	client, server, _ := inMemory(t, both(Config{}))
	album := new(blobsv1.Album)
	for range 1000 {
		album.Pages = append(album.Pages, []byte{1})
	}
	for range 3 {
		res := new(blobsv1.Album)
		if f := ask(client, t.Context(), Outgoing{Method: mSwap}, album, res); f != nil || !res.Equal(album) {
			t.Fatalf("got %.100v, %v", res, f)
		}
	}
	wantAllFree(t, client, server)
}
