//go:build linux && (amd64 || arm64)

package session

import (
	"fmt"
	"io"
	"sync"
	"testing"
)

// lent starts two sessions in shared memory, both of which serve, the first one with the role lent to its lone callers.
// Nothing but doorbells brings it back: there are no ticks.
func lent(t *testing.T) (s, peer *Session) {
	t.Helper()
	sessions := sharing(t, [2]Config{{Methods: newServer().methods}, {Methods: newServer().methods}})
	s, peer = sessions[0], sessions[1]
	s.mu.Lock()
	s.ticker.Stop()
	s.ticking = true
	s.mu.Unlock()
	for range 2 * loneAnswers {
		if _, f := call(s, mEcho, "x"); f != nil {
			t.Fatal(f)
		}
	}
	if !isVacant(s) {
		t.Fatal("the role has not been lent")
	}
	return s, peer
}

func isVacant(s *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.role == vacant
}

// TestLentWhileServing: a session that lends the role to its callers reads what the peer sends meanwhile, at once.
func TestLentWhileServing(t *testing.T) {
	for name, then := range map[string]func(t *testing.T, s, peer *Session){
		"the peer calls": func(t *testing.T, s, peer *Session) {
			for range 100 {
				if got, f := call(peer, mEcho, "y"); f != nil || got != "y" {
					t.Fatalf("got %q, %v", got, f)
				}
			}
			if isVacant(s) {
				t.Error("nobody reads, though the peer calls")
			}
		},
		"the peer calls back": func(t *testing.T, s, peer *Session) {
			for range 2 * loneAnswers {
				if got, f := call(s, mCallBack, "z"); f != nil || got != "back: z" {
					t.Fatalf("got %q, %v", got, f)
				}
			}
		},
		"the peer pings": func(t *testing.T, _, peer *Session) {
			if err := peer.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"the peer goes": func(t *testing.T, s, peer *Session) {
			peer.Close()
			<-s.Done()
		},
		"the peer drains": func(t *testing.T, s, peer *Session) {
			if err := peer.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			<-s.Done()
		},
		"this side drains": func(t *testing.T, s, _ *Session) {
			if err := s.Drain(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"this side closes": func(t *testing.T, s, _ *Session) {
			s.Close()
			s.Wait()
		},
		"a stream": func(t *testing.T, s, _ *Session) {
			c, f := s.Open(t.Context(), Outgoing{Method: mCount}, text("10000 10"), true)
			if f != nil {
				t.Fatal(f)
			}
			n := 0
			var err error
			for ; err == nil; n++ {
				err = c.Receive(t.Context(), new(blob))
			}
			if err != io.EOF || n-1 != 10000 {
				t.Errorf("got %d messages and %v", n-1, err)
			}
		},
		"both call": func(t *testing.T, s, peer *Session) {
			var wg sync.WaitGroup
			for i := range 4 {
				for _, side := range []*Session{s, peer} {
					wg.Go(func() {
						for n := range 500 {
							method, want := mEcho, fmt.Sprint(i, n)
							if n%100 == 99 {
								method, want = mCallBack, "back: "+want
							}
							if got, f := call(side, method, fmt.Sprint(i, n)); f != nil || got != want {
								t.Errorf("got %q, %v", got, f)
								return
							}
						}
					})
				}
			}
			wg.Wait()
			for range 3 * loneAnswers {
				if _, f := call(s, mEcho, "x"); f != nil {
					t.Fatal(f)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			s, peer := lent(t)
			then(t, s, peer)
		})
	}
}

// TestNotLentWithCallbacks: where each call makes the peer call back the role stays with the session.
func TestNotLentWithCallbacks(t *testing.T) {
	s, _ := lent(t)
	for range 2 * loneAnswers {
		if _, f := call(s, mCallBack, "z"); f != nil {
			t.Fatal(f)
		}
	}
	if isVacant(s) {
		t.Error("the role is lent though the peer calls")
	}
}
