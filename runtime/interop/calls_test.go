//go:build unix

package interop

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

// pattern is data of n bytes of which none can be mistaken for its neighbour.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func one(req *interopv1.Request) []*interopv1.Request { return []*interopv1.Request{req} }

// echo calls Unary with so much data and wants it back.
func (v *visit) echo(t *testing.T, n int) {
	t.Helper()
	res := v.unary(t, &interopv1.Request{Data: pattern(n)})
	wantCode(t, res, ipc.OK)
	if len(res.Responses) != 1 || !bytes.Equal(res.Responses[0].Data, pattern(n)) {
		t.Fatalf("%d bytes came back changed", n)
	}
}

var small = &interopv1.Options{MaxMessage: 20_000, MaxFrame: 4096, Calls: 4, Window: 16384}

var callCases = []testCase{
	{feature: "unary", name: "sizes around those of frames", run: func(t *testing.T, v *visit) {
		for _, frame := range []int{0, 4 << 10, 16 << 10, 64 << 10, 128 << 10} {
			for n := max(0, frame-40); n < frame+8; n += 7 {
				v.echo(t, n)
			}
		}
	}},
	{feature: "unary", name: "100 at a time", run: func(t *testing.T, v *visit) {
		var calls []*call
		for i := range 100 {
			req := &interopv1.Request{Data: fmt.Appendf(nil, "call %d", i)}
			calls = append(calls, v.start(t, &interopv1.CallRequest{Method: "Unary", Requests: one(req)}))
		}
		for i, c := range calls {
			res := c.wait()
			wantCode(t, res, ipc.OK)
			if got := string(res.Responses[0].Data); got != fmt.Sprintf("call %d", i) {
				t.Errorf("call %d was answered %q", i, got)
			}
		}
	}},
	{feature: "unary", name: "more at a time than there are slots", options: small, run: func(t *testing.T, v *visit) {
		var calls []*call
		names := map[string]bool{}
		for range 12 {
			req := &interopv1.Request{Action: interopv1.Action_ACTION_HOLD, Name: newName("held")}
			names[req.Name] = true
			calls = append(calls, v.start(t, &interopv1.CallRequest{Method: "Unary", Requests: one(req)}))
		}
		for len(names) > 0 {
			o := v.server.await(t, "a handler waits", func(o *interopv1.Observation) bool { return names[o.GetWaiting()] })
			delete(names, o.GetWaiting())
			v.server.open(t, o.GetWaiting())
		}
		for _, c := range calls {
			wantCode(t, c.wait(), ipc.OK)
		}
	}},
	{feature: "unary", name: "a slow one holds up no other", run: func(t *testing.T, v *visit) {
		name := newName("held")
		slow := v.start(t, &interopv1.CallRequest{Method: "Unary", Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_HOLD, Name: name})})
		v.server.waiting(t, name)
		v.lives(t)
		v.server.open(t, name)
		wantCode(t, slow.wait(), ipc.OK)
	}},
	{feature: "unary", name: "a method that is not implemented", run: func(t *testing.T, v *visit) {
		res := v.call(t, &interopv1.CallRequest{Method: "Unimplemented", Requests: one(&interopv1.Request{})})
		wantCode(t, res, ipc.Unimplemented)
		wantExecuted(t, res, false)
	}},
	{feature: "version skew", name: "a service that only the caller knows", run: func(t *testing.T, v *visit) {
		res := v.call(t, &interopv1.CallRequest{Method: "Newer/Unary", Requests: one(&interopv1.Request{})})
		wantCode(t, res, ipc.Unimplemented)
		wantExecuted(t, res, false)
	}},
	{feature: "large messages", name: "almost as large as the limit of other users", run: func(t *testing.T, v *visit) { v.echo(t, 1<<20-100) }},
	{feature: "large messages", name: "of 3 MiB", options: &interopv1.Options{MaxMessage: 4 << 20}, run: func(t *testing.T, v *visit) { v.echo(t, 3<<20) }},
	{feature: "large messages", name: "several at a time", run: func(t *testing.T, v *visit) {
		var calls []*call
		for range 8 {
			calls = append(calls, v.start(t, &interopv1.CallRequest{Method: "Unary", Requests: one(&interopv1.Request{Data: pattern(700_000)})}))
		}
		for _, c := range calls {
			res := c.wait()
			wantCode(t, res, ipc.OK)
			if !bytes.Equal(res.Responses[0].Data, pattern(700_000)) {
				t.Error("the data came back changed")
			}
		}
	}},
	{feature: "large messages", name: "in small frames", options: small, run: func(t *testing.T, v *visit) { v.echo(t, 19_000) }},
	{feature: "large messages", name: "a request over the limit", options: small, run: func(t *testing.T, v *visit) {
		res := v.unary(t, &interopv1.Request{Data: pattern(20_001)})
		wantCode(t, res, ipc.ResourceExhausted)
		wantExecuted(t, res, false)
	}},
	{feature: "large messages", name: "a response over the limit", options: small, run: func(t *testing.T, v *visit) {
		res := v.call(t, &interopv1.CallRequest{Method: "Upload", Requests: one(&interopv1.Request{Data: pattern(9_000)}), Rounds: 3})
		wantCode(t, res, ipc.ResourceExhausted)
	}},
	{feature: "large messages", name: "a request of a stream over the limit", options: small, run: func(t *testing.T, v *visit) {
		res := v.call(t, &interopv1.CallRequest{Method: "Upload", Requests: []*interopv1.Request{{Data: []byte("a")}, {Data: pattern(20_001)}}})
		wantCode(t, res, ipc.ResourceExhausted)
	}},
	{feature: "oneway", name: "messages arrive", run: func(t *testing.T, v *visit) {
		want := map[string]bool{}
		for i := range 20 {
			text := fmt.Sprintf("told %d over %d", i, v.session)
			want[text] = true
			wantCode(t, v.call(t, &interopv1.CallRequest{Method: "Tell", Requests: one(&interopv1.Request{Data: []byte(text)})}), ipc.OK)
		}
		for len(want) > 0 {
			o := v.server.await(t, "it was told", func(o *interopv1.Observation) bool { return want[string(o.GetTold())] })
			delete(want, string(o.GetTold()))
		}
	}},
	{feature: "oneway", name: "a large message", run: func(t *testing.T, v *visit) {
		wantCode(t, v.call(t, &interopv1.CallRequest{Method: "Tell", Requests: one(&interopv1.Request{Data: pattern(500_000)})}), ipc.OK)
		v.server.await(t, "it was told", func(o *interopv1.Observation) bool { return bytes.Equal(o.GetTold(), pattern(500_000)) })
	}},
	{feature: "metadata", name: "reaches the handler", run: func(t *testing.T, v *visit) {
		want := map[string][]byte{"lang": []byte("en"), "a-b_c.9": allBytes(), "empty": {}, "__proto__": []byte("x")}
		v.metadata(t, &interopv1.CallRequest{Metadata: want}, want, nil)
	}},
	{feature: "metadata", name: "as much as every peer takes", run: func(t *testing.T, v *visit) {
		want := map[string][]byte{}
		for i := range 32 {
			want[fmt.Sprintf("%08d", i)] = pattern(120)
		}
		v.metadata(t, &interopv1.CallRequest{Metadata: want}, want, nil)
	}},
	{feature: "metadata", name: "trailers reach the caller", run: func(t *testing.T, v *visit) {
		want := map[string][]byte{"took": allBytes(), "none": {}}
		v.metadata(t, &interopv1.CallRequest{}, nil, want)
	}},
	{feature: "metadata", name: "of each request of a chat is the call's", run: func(t *testing.T, v *visit) {
		md := map[string][]byte{"k": []byte("v")}
		req := &interopv1.Request{Action: interopv1.Action_ACTION_METADATA, Trailers: map[string][]byte{"t": []byte("u")}}
		res := v.call(t, &interopv1.CallRequest{Method: "Chat", Requests: one(req), Rounds: 2, Metadata: md})
		wantCode(t, res, ipc.OK)
		if len(res.Responses) != 2 || string(res.Responses[1].Metadata["k"]) != "v" || string(res.Trailers["t"]) != "u" {
			t.Errorf("got %v", res)
		}
	}},
	refusedMetadata("a name that is not allowed", map[string][]byte{"Lang": []byte("en")}),
	refusedMetadata("an empty name", map[string][]byte{"": []byte("en")}),
	refusedMetadata("too many entries", entries(65, 1)),
	refusedMetadata("too many bytes", entries(10, 1000)),
}

func entries(n, size int) map[string][]byte {
	m := map[string][]byte{}
	for i := range n {
		m[fmt.Sprint("k", i)] = pattern(size)
	}
	return m
}

// metadata makes a call with metadata and wants it to reach the handler, and trailers to come back.
func (v *visit) metadata(t *testing.T, req *interopv1.CallRequest, metadata, trailers map[string][]byte) {
	t.Helper()
	req.Method = "Unary"
	req.Requests = one(&interopv1.Request{Action: interopv1.Action_ACTION_METADATA, Trailers: trailers})
	res := v.call(t, req)
	wantCode(t, res, ipc.OK)
	if len(res.Responses) != 1 {
		t.Fatalf("got %v", res)
	}
	if diff := cmp.Diff(texts(metadata), texts(res.Responses[0].Metadata)); diff != "" {
		t.Errorf("metadata that reached the handler, - want, + got:\n%s", diff)
	}
	if diff := cmp.Diff(texts(trailers), texts(res.Trailers)); diff != "" {
		t.Errorf("trailers, - want, + got:\n%s", diff)
	}
}

func texts(m map[string][]byte) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

// refusedMetadata is the case of metadata that the caller's side does not send: the session goes on.
func refusedMetadata(name string, md map[string][]byte) testCase {
	return testCase{feature: "metadata", name: name, run: func(t *testing.T, v *visit) {
		res := v.call(t, &interopv1.CallRequest{Method: "Unary", Requests: one(&interopv1.Request{}), Metadata: md})
		wantCode(t, res, ipc.InvalidArgument)
		wantExecuted(t, res, false)
	}}
}

// fail makes a call that is to fail so.
func (v *visit) fail(t *testing.T, method string, f *interopv1.Failure) *interopv1.CallResponse {
	t.Helper()
	return v.call(t, &interopv1.CallRequest{Method: method, Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_FAIL, Failure: f})})
}

var errorCases = []testCase{
	{feature: "errors", name: "each code", run: func(t *testing.T, v *visit) {
		for code := ipc.Canceled; code <= ipc.Unauthenticated; code++ {
			res := v.fail(t, "Unary", &interopv1.Failure{Code: uint32(code), Message: "on purpose \u8a9e"})
			wantCode(t, res, code)
			wantExecuted(t, res, true)
			if res.Message != "on purpose \u8a9e" {
				t.Errorf("%v: the message is %q", code, res.Message)
			}
		}
	}},
	{feature: "errors", name: "a code that nobody knows", run: func(t *testing.T, v *visit) {
		wantCode(t, v.fail(t, "Unary", &interopv1.Failure{Code: 77, Message: "?"}), 77)
	}},
	{feature: "errors", name: "without a message", run: func(t *testing.T, v *visit) {
		res := v.fail(t, "Unary", &interopv1.Failure{Code: uint32(ipc.Aborted)})
		wantCode(t, res, ipc.Aborted)
		if res.Message != "" {
			t.Errorf("the message is %q", res.Message)
		}
	}},
	{feature: "errors", name: "a message over the limit is cut between characters", run: func(t *testing.T, v *visit) {
		long := "x" + strings.Repeat("\u8a9e", 1000)
		res := v.fail(t, "Unary", &interopv1.Failure{Code: uint32(ipc.Aborted), Message: long})
		wantCode(t, res, ipc.Aborted)
		if !strings.HasPrefix(long, res.Message) || !utf8.ValidString(res.Message) || len(res.Message) < 1000 || len(res.Message) > 1024 {
			t.Errorf("%d bytes came: %q", len(res.Message), res.Message)
		}
	}},
	{feature: "errors", name: "what was not written for the caller stays where it is", run: func(t *testing.T, v *visit) {
		for _, method := range []string{"Unary", "Download", "Upload", "Chat"} {
			req := &interopv1.Request{Action: interopv1.Action_ACTION_THROW, Data: []byte("the password is")}
			res := v.call(t, &interopv1.CallRequest{Method: method, Requests: one(req)})
			wantCode(t, res, ipc.Unknown)
			if strings.Contains(res.Message, "password") {
				t.Errorf("%s: the caller reads %q", method, res.Message)
			}
		}
	}},
	{feature: "errors", name: "of each shape", run: func(t *testing.T, v *visit) {
		for _, method := range []string{"Unary", "Brief", "Download", "Upload", "Chat"} {
			res := v.fail(t, method, &interopv1.Failure{Code: uint32(ipc.NotFound), Message: method})
			wantCode(t, res, ipc.NotFound)
			if res.Message != method {
				t.Errorf("%s: the message is %q", method, res.Message)
			}
		}
	}},
	{feature: "typed errors", name: "one, of each shape", run: func(t *testing.T, v *visit) {
		want := &interopv1.Refused{Why: "rules", Rules: []int32{1, -2, 3}}
		for _, method := range []string{"Unary", "Download", "Upload", "Chat"} {
			res := v.fail(t, method, &interopv1.Failure{Code: uint32(ipc.FailedPrecondition), Message: "no", Refused: want})
			wantCode(t, res, ipc.FailedPrecondition)
			if !res.Refused.Equal(want) || res.Message != "no" {
				t.Errorf("%s: got %v: %s", method, res.Refused, res.Message)
			}
		}
	}},
	{feature: "typed errors", name: "two, one of them empty", run: func(t *testing.T, v *visit) {
		res := v.fail(t, "Unary", &interopv1.Failure{Code: uint32(ipc.Unavailable), Message: "later", Refused: &interopv1.Refused{Why: "x"}, Busy: &interopv1.Busy{}})
		wantCode(t, res, ipc.Unavailable)
		if res.Refused.GetWhy() != "x" || res.Busy == nil {
			t.Errorf("got %v and %v", res.Refused, res.Busy)
		}
	}},
	{feature: "typed errors", name: "one that the method does not declare", run: func(t *testing.T, v *visit) {
		res := v.fail(t, "Download", &interopv1.Failure{Code: uint32(ipc.Unavailable), Message: "later", Busy: &interopv1.Busy{}})
		wantCode(t, res, ipc.Unavailable)
		if res.Busy != nil {
			t.Error("it came")
		}
	}},
	{feature: "deadlines", name: "of the caller", run: func(t *testing.T, v *visit) {
		for _, method := range []string{"Unary", "Download", "Upload", "Chat"} {
			name := newName("waits")
			res := v.call(t, &interopv1.CallRequest{Method: method, TimeoutMs: 50, Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_WAIT, Name: name})})
			wantCode(t, res, ipc.DeadlineExceeded)
			wantExecuted(t, res, true)
			if code := v.server.handlerEnded(t, name); code != ipc.DeadlineExceeded && code != ipc.Canceled {
				t.Errorf("%s: the handler was told %v", method, code)
			}
		}
	}},
	{feature: "deadlines", name: "of the schema", run: func(t *testing.T, v *visit) {
		name := newName("waits")
		res := v.call(t, &interopv1.CallRequest{Method: "Brief", Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_WAIT, Name: name})})
		wantCode(t, res, ipc.DeadlineExceeded)
		v.server.handlerEnded(t, name)
	}},
	{feature: "deadlines", name: "the caller's counts, not the schema's", run: func(t *testing.T, v *visit) {
		// A call that has the schema's deadline, and begins later, is over while this one goes on.
		name, later := newName("held"), newName("waits")
		c := v.start(t, &interopv1.CallRequest{Method: "Brief", TimeoutMs: 100_000, Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_HOLD, Name: name})})
		v.server.waiting(t, name)
		res := v.call(t, &interopv1.CallRequest{Method: "Brief", Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_WAIT, Name: later})})
		wantCode(t, res, ipc.DeadlineExceeded)
		v.server.open(t, name)
		wantCode(t, c.wait(), ipc.OK)
	}},
	{feature: "deadlines", name: "responses that came before it are kept", run: func(t *testing.T, v *visit) {
		name := newName("waits")
		req := &interopv1.Request{Action: interopv1.Action_ACTION_WAIT, Name: name, Count: 5, Data: []byte("x")}
		res := v.call(t, &interopv1.CallRequest{Method: "Download", TimeoutMs: 1000, Requests: one(req)})
		wantCode(t, res, ipc.DeadlineExceeded)
		if res.Received != 5 {
			t.Errorf("%d responses came, want 5", res.Received)
		}
		v.server.handlerEnded(t, name)
	}},
	{feature: "cancellation", name: "of each shape reaches the handler", run: func(t *testing.T, v *visit) {
		for _, method := range []string{"Unary", "Download", "Upload", "Chat"} {
			name := newName("waits")
			c := v.start(t, &interopv1.CallRequest{Method: method, Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_WAIT, Name: name})})
			v.server.waiting(t, name)
			c.cancel()
			res := c.wait()
			wantCode(t, res, ipc.Canceled)
			wantExecuted(t, res, true)
			if code := v.server.handlerEnded(t, name); code != ipc.Canceled {
				t.Errorf("%s: the handler was told %v", method, code)
			}
		}
	}},
	{feature: "cancellation", name: "while a call waits for a slot", options: small, run: func(t *testing.T, v *visit) {
		var held []*call
		name := newName("held")
		for range small.Calls {
			held = append(held, v.start(t, &interopv1.CallRequest{Method: "Unary", Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_HOLD, Name: name})}))
			v.server.waiting(t, name)
		}
		c := v.start(t, &interopv1.CallRequest{Method: "Unary", Requests: one(&interopv1.Request{})})
		c.cancel()
		res := c.wait()
		wantCode(t, res, ipc.Canceled)
		wantExecuted(t, res, false)
		v.server.open(t, name)
		for _, h := range held {
			wantCode(t, h.wait(), ipc.OK)
		}
	}},
	{feature: "cancellation", name: "1000 calls that are given up", run: func(t *testing.T, v *visit) {
		name := newName("waits")
		c := v.start(t, &interopv1.CallRequest{Method: "Unary", Requests: one(&interopv1.Request{Action: interopv1.Action_ACTION_HOLD, Name: name})})
		v.server.waiting(t, name)
		var calls []*call
		for range 1000 {
			req := &interopv1.Request{Data: []byte("x")}
			calls = append(calls, v.start(t, &interopv1.CallRequest{Method: "Unary", TimeoutMs: 1, Requests: one(req)}))
		}
		for _, c := range calls {
			if code := ipc.Code(c.wait().Code); code != ipc.OK && code != ipc.DeadlineExceeded {
				t.Errorf("a call ended with %v", code)
			}
		}
		v.server.open(t, name)
		wantCode(t, c.wait(), ipc.OK)
	}},
}
