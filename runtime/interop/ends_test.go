//go:build unix

package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

var bothCases = []testCase{
	{feature: "both ends call", name: "a handler calls its caller", run: func(t *testing.T, v *visit) {
		res := v.unary(t, &interopv1.Request{Action: interopv1.Action_ACTION_CALL_BACK, Data: []byte("there and back")})
		wantCode(t, res, ipc.OK)
		if string(res.Responses[0].Data) != "there and back" {
			t.Errorf("got %v", res)
		}
	}},
	{feature: "both ends call", name: "a handler of a chat calls its caller", run: func(t *testing.T, v *visit) {
		req := &interopv1.Request{Action: interopv1.Action_ACTION_CALL_BACK, Data: []byte("x")}
		res := v.call(t, &interopv1.CallRequest{Method: "Chat", Requests: one(req), Rounds: 20})
		wantCode(t, res, ipc.OK)
		if string(dataOf(res)) != strings.Repeat("x", 20) {
			t.Errorf("got %q", dataOf(res))
		}
	}},
	{feature: "both ends call", name: "who was dialed calls who dialed", run: func(t *testing.T, v *visit) {
		for _, method := range []string{"Unary", "Download", "Upload", "Chat"} {
			req := &interopv1.CallRequest{Session: v.accepted, Method: method, Requests: one(&interopv1.Request{Data: []byte("hello"), Count: 1})}
			res := v.server.start(t, req).wait()
			wantCode(t, res, ipc.OK)
			if string(dataOf(res)) != "hello" {
				t.Errorf("%s: got %v", method, res)
			}
		}
	}},
	{feature: "both ends call", name: "at the same time", run: func(t *testing.T, v *visit) {
		var calls []*call
		for range 50 {
			req := one(&interopv1.Request{Data: pattern(10_000), Count: 10})
			calls = append(calls,
				v.start(t, &interopv1.CallRequest{Method: "Unary", Requests: req}),
				v.server.start(t, &interopv1.CallRequest{Session: v.accepted, Method: "Unary", Requests: req}),
				v.start(t, &interopv1.CallRequest{Method: "Download", Requests: req, CountOnly: true}),
				v.server.start(t, &interopv1.CallRequest{Session: v.accepted, Method: "Download", Requests: req, CountOnly: true}))
		}
		for _, c := range calls {
			wantCode(t, c.wait(), ipc.OK)
		}
	}},
}

// waitEverywhere begins a call of each shape whose handler waits, and returns them and the handlers' names.
func (v *visit) waitEverywhere(t *testing.T) (calls []*call, names []string) {
	t.Helper()
	for _, method := range []string{"Unary", "Download", "Upload", "Chat"} {
		name := newName("waits in " + method)
		calls = append(calls, v.start(t, &interopv1.CallRequest{Method: method, Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_WAIT, Name: name})}))
		names = append(names, name)
		v.server.waiting(t, name)
	}
	return calls, names
}

// lost wants the calls to have failed with the session, and new ones to be refused.
func (v *visit) lost(t *testing.T, calls []*call) {
	t.Helper()
	for _, c := range calls {
		res := c.wait()
		wantCode(t, res, ipc.Unavailable)
		wantExecuted(t, res, true)
	}
	res := v.unary(t, &interopv1.Request{})
	wantCode(t, res, ipc.Unavailable)
	wantExecuted(t, res, false)
}

// wantReason wants the session to have ended so on one side.
func wantReason(t *testing.T, e *testee, session uint64, want ...ipc.Reason) {
	t.Helper()
	if got := e.sessionEnded(t, session); !slices.Contains(want, got) {
		t.Errorf("to %s the session ended with %v, want %v", e.language.name, got, want)
	}
}

// hold begins a call that waits at its gate.
func (v *visit) hold(t *testing.T) *call {
	t.Helper()
	name := newName("held")
	c := v.start(t, &interopv1.CallRequest{Name: name, Method: "Unary", Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_HOLD, Name: name})})
	v.server.waiting(t, name)
	return c
}

// letGo opens the gate of the last call of a session that drains. Over exec the program may be gone before it has answered.
func (v *visit) letGo(t *testing.T, held *call) {
	t.Helper()
	_, err := v.server.Open(limited(t), &interopv1.OpenRequest{Name: held.name})
	if err != nil && v.transport != "exec" {
		t.Fatal(err)
	}
}

// refusedSoon makes calls until one is refused: some may still go through.
func (v *visit) refusedSoon(t *testing.T) {
	t.Helper()
	ctx := limited(t)
	for ctx.Err() == nil {
		if res := v.unary(t, &interopv1.Request{}); ipc.Code(res.Code) != ipc.OK {
			wantCode(t, res, ipc.Unavailable)
			wantExecuted(t, res, false)
			return
		}
	}
	t.Error("calls go through while the session drains")
}

// in does something, and returns what waits for it.
func in(do func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- do() }()
	return func() error { return <-done }
}

var endCases = []testCase{
	{feature: "drain", name: "by the server finishes what runs", fresh: true, run: func(t *testing.T, v *visit) {
		held := v.hold(t)
		ctx := limited(t)
		stopped := in(func() error { _, err := v.server.Stop(ctx, &interopv1.StopRequest{}); return err })
		v.refusedSoon(t)
		v.letGo(t, held)
		wantCode(t, held.wait(), ipc.OK)
		wantReason(t, v.client, v.session, ipc.PeerGone, ipc.Drained)
		if v.transport != "exec" { // where the program is gone, too
			wantReason(t, v.server, v.accepted, ipc.Drained)
			if err := stopped(); err != nil {
				t.Error(err)
			}
		}
	}},
	{feature: "drain", name: "by the client finishes what runs", own: true, run: func(t *testing.T, v *visit) {
		held := v.hold(t)
		ctx := limited(t)
		done := in(func() error {
			_, err := v.client.Shutdown(ctx, &interopv1.ShutdownRequest{Session: v.session})
			return err
		})
		v.refusedSoon(t)
		v.letGo(t, held)
		wantCode(t, held.wait(), ipc.OK)
		if err := done(); err != nil {
			t.Error(err)
		}
		wantReason(t, v.client, v.session, ipc.Drained)
	}},
	{feature: "drain", name: "waits no longer than its grace", own: true, options: &interopv1.Options{GraceMs: 50}, run: func(t *testing.T, v *visit) {
		calls, _ := v.waitEverywhere(t)
		v.client.Shutdown(limited(t), &interopv1.ShutdownRequest{Session: v.session}) // languages differ in whether that is an error
		v.lost(t, calls)
	}},
	{feature: "close", name: "by the client", own: true, run: func(t *testing.T, v *visit) {
		calls, names := v.waitEverywhere(t)
		if _, err := v.client.Close(limited(t), &interopv1.CloseRequest{Session: v.session}); err != nil {
			t.Fatal(err)
		}
		v.lost(t, calls)
		wantReason(t, v.client, v.session, ipc.Closed)
		if v.transport == "exec" {
			return // what the program sees in its last moment, nobody is there to be told
		}
		for _, name := range names {
			v.server.handlerEnded(t, name)
		}
		wantReason(t, v.server, v.accepted, ipc.PeerGone)
	}},
	{feature: "close", name: "by the server", own: true, run: func(t *testing.T, v *visit) {
		calls, _ := v.waitEverywhere(t)
		v.server.Close(limited(t), &interopv1.CloseRequest{Session: v.accepted}) // the program may end with it
		v.lost(t, calls)
		wantReason(t, v.client, v.session, ipc.PeerGone)
	}},
	{feature: "close", name: "and dial again", own: true, run: func(t *testing.T, v *visit) {
		if v.transport == "exec" {
			t.Skip("a program that was started for one session serves no other")
		}
		for range 3 {
			if _, err := v.client.Close(limited(t), &interopv1.CloseRequest{Session: v.session}); err != nil {
				t.Fatal(err)
			}
			v.dial(t)
			v.accepted = v.server.connected(t)
			v.lives(t)
		}
	}},
	{feature: "close", name: "several sessions at a time", run: func(t *testing.T, v *visit) {
		if v.transport == "exec" {
			t.Skip("a program that was started for one session serves no other")
		}
		before, accepted := v.session, v.accepted
		defer func() { v.session, v.accepted = before, accepted }()
		for range 5 {
			v.dial(t)
			v.server.connected(t)
			v.lives(t)
		}
	}},
	{feature: "death", name: "of the server ends its callers' calls", fresh: true, run: func(t *testing.T, v *visit) {
		calls, _ := v.waitEverywhere(t)
		v.server.kill(t)
		v.lost(t, calls)
		wantReason(t, v.client, v.session, ipc.PeerGone)
	}},
	{feature: "death", name: "of the server while streams flow", fresh: true, run: func(t *testing.T, v *visit) {
		down, up, chat := newName("download"), newName("upload"), newName("chat")
		calls := []*call{
			v.start(t, &interopv1.CallRequest{Method: "Download", Requests: one(&interopv1.Request{Name: down, Data: pattern(1000), Count: 1 << 30}), CountOnly: true}),
			v.start(t, &interopv1.CallRequest{Method: "Upload", Requests: one(&interopv1.Request{Name: up, Data: pattern(1000)}), Rounds: 1 << 30}),
			v.start(t, &interopv1.CallRequest{Method: "Chat", Requests: one(&interopv1.Request{Name: chat, Data: pattern(1000)}), Rounds: 1 << 30, CountOnly: true}),
		}
		for _, name := range []string{down, up, chat} {
			v.reach(t, v.server, name, 100) // by the handlers: what was sent may still be on its way
		}
		v.server.kill(t)
		v.lost(t, calls)
	}},
	{feature: "death", name: "of the client is told to handlers, and others are served", fresh: true, run: func(t *testing.T, v *visit) {
		_, names := v.waitEverywhere(t)
		v.client.kill(t)
		if v.transport == "exec" {
			<-v.server.conn.Done() // the program ends with who started it
			return
		}
		for _, name := range names {
			v.server.handlerEnded(t, name)
		}
		wantReason(t, v.server, v.accepted, ipc.PeerGone)
		v.client = startTestee(t, v.client.language)
		v.dial(t)
		v.server.connected(t)
		v.lives(t)
	}},
	{feature: "close", name: "where nobody listens", run: func(t *testing.T, v *visit) {
		address := map[string]string{"unix": "unix:/nowhere/s", "shm": "shm:/nowhere/s", "tcp": "tcp:127.0.0.1:1", "tls": "tls:127.0.0.1:1", "exec": "exec:/nowhere/program"}[v.transport]
		res, err := v.client.Dial(limited(t), &interopv1.DialRequest{Address: address, Options: v.endOptions(nil)})
		if err != nil || res.Failure == nil {
			t.Fatalf("got %v, %v", res, err)
		}
		_, place, _ := strings.Cut(address, ":")
		if !strings.Contains(res.Failure.Message, place) {
			t.Errorf("the error %q does not say where: %s", res.Failure.Message, place)
		}
	}},
	{feature: "handshake", name: "of a program that is no testee", run: func(t *testing.T, v *visit) {
		res, err := v.client.Dial(limited(t), &interopv1.DialRequest{Address: "exec:echo hello"})
		if err != nil || res.Failure == nil {
			t.Fatalf("got %v, %v", res, err)
		}
		if got := ipc.Reason(res.Failure.Reason); got != ipc.Foreign {
			t.Errorf("got %v: %s", fmt.Sprint(got), res.Failure.Message)
		}
	}},
}
