//go:build unix

package interop

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	interopv1 "github.com/ipcgen/ipcgen/testdata/interop/go/interop/v1"
)

// numbered are n requests that can be told apart.
func numbered(n int) (requests []*interopv1.Request, all []byte) {
	for i := range n {
		data := fmt.Appendf(nil, "%d,", i)
		requests = append(requests, &interopv1.Request{Data: data})
		all = append(all, data...)
	}
	return requests, all
}

// dataOf is the data of all responses.
func dataOf(res *interopv1.CallResponse) (all []byte) {
	for _, r := range res.Responses {
		all = append(all, r.Data...)
	}
	return all
}

var streamCases = []testCase{
	{feature: "download", name: "of 0, 1 and 1000 messages", run: func(t *testing.T, v *visit) {
		for _, n := range []int{0, 1, 1000} {
			res := v.call(t, &interopv1.CallRequest{Method: "Download", Requests: one(&interopv1.Request{Data: []byte("x,"), Count: uint32(n)})})
			wantCode(t, res, ipc.OK)
			if string(dataOf(res)) != string(bytes.Repeat([]byte("x,"), n)) || res.Received != uint64(n) {
				t.Errorf("%d messages: %d came", n, res.Received)
			}
		}
	}},
	{feature: "download", name: "of empty messages", run: func(t *testing.T, v *visit) {
		res := v.call(t, &interopv1.CallRequest{Method: "Download", Requests: one(&interopv1.Request{Count: 5000}), CountOnly: true})
		wantCode(t, res, ipc.OK)
		if res.Received != 5000 {
			t.Errorf("%d messages came", res.Received)
		}
	}},
	{feature: "download", name: "of large messages", run: func(t *testing.T, v *visit) {
		res := v.call(t, &interopv1.CallRequest{Method: "Download", Requests: one(&interopv1.Request{Data: pattern(600_000), Count: 5})})
		wantCode(t, res, ipc.OK)
		if !bytes.Equal(dataOf(res), bytes.Repeat(pattern(600_000), 5)) {
			t.Errorf("%d messages came, and not as they were sent", res.Received)
		}
	}},
	{feature: "download", name: "that fails behind three messages", run: func(t *testing.T, v *visit) {
		req := &interopv1.Request{Action: interopv1.Action_ACTION_FAIL, Data: []byte("x"), Count: 3, Failure: &interopv1.Failure{Code: uint32(ipc.DataLoss), Message: "lost"}}
		res := v.call(t, &interopv1.CallRequest{Method: "Download", Requests: one(req)})
		wantCode(t, res, ipc.DataLoss)
		if res.Received != 3 || res.Message != "lost" {
			t.Errorf("%d messages and %q came", res.Received, res.Message)
		}
	}},
	{feature: "download", name: "that is left tells the handler", run: func(t *testing.T, v *visit) {
		name := newName("waits")
		req := &interopv1.Request{Action: interopv1.Action_ACTION_WAIT, Name: name, Data: []byte("x"), Count: 2}
		// It leaves when it has all: else the handler may learn of that before it has sent the rest, and never come to wait.
		res := v.call(t, &interopv1.CallRequest{Method: "Download", Requests: one(req), LeaveAfter: new(uint32(2))})
		wantCode(t, res, ipc.OK)
		if res.Received != 2 {
			t.Errorf("%d messages came", res.Received)
		}
		v.server.handlerEnded(t, name)
	}},
	{feature: "upload", name: "of 0, 1 and 1000 messages", run: func(t *testing.T, v *visit) {
		for _, n := range []int{0, 1, 1000} {
			requests, all := numbered(n)
			res := v.call(t, &interopv1.CallRequest{Method: "Upload", Requests: requests})
			wantCode(t, res, ipc.OK)
			if len(res.Responses) != 1 || !bytes.Equal(res.Responses[0].Data, all) || res.Responses[0].Count != uint64(n) {
				t.Errorf("%d messages: got %v", n, res)
			}
		}
	}},
	{feature: "upload", name: "of large messages", run: func(t *testing.T, v *visit) {
		res := v.call(t, &interopv1.CallRequest{Method: "Upload", Requests: one(&interopv1.Request{Data: pattern(600_000)}), Rounds: 5})
		wantCode(t, res, ipc.OK)
		if got := res.Responses[0]; got.Count != 5 || got.Total != 5*600_000 {
			t.Errorf("%d messages of %d bytes came", got.Count, got.Total)
		}
	}},
	{feature: "upload", name: "that fails at the first of many", run: func(t *testing.T, v *visit) {
		req := &interopv1.Request{Action: interopv1.Action_ACTION_FAIL, Data: pattern(1000), Failure: &interopv1.Failure{Code: uint32(ipc.OutOfRange), Message: "enough"}}
		res := v.call(t, &interopv1.CallRequest{Method: "Upload", Requests: one(req), Rounds: 10_000})
		wantCode(t, res, ipc.OutOfRange)
		if res.Message != "enough" {
			t.Errorf("the message is %q", res.Message)
		}
	}},
	{feature: "chat", name: "in turn", run: func(t *testing.T, v *visit) {
		requests, all := numbered(100)
		res := v.call(t, &interopv1.CallRequest{Method: "Chat", Requests: requests, InTurn: true})
		wantCode(t, res, ipc.OK)
		if !bytes.Equal(dataOf(res), all) {
			t.Errorf("%d answers: %q", res.Received, dataOf(res))
		}
	}},
	{feature: "chat", name: "as fast as both can", run: func(t *testing.T, v *visit) {
		requests, all := numbered(1000)
		res := v.call(t, &interopv1.CallRequest{Method: "Chat", Requests: requests})
		wantCode(t, res, ipc.OK)
		if !bytes.Equal(dataOf(res), all) {
			t.Errorf("%d answers: %.100q", res.Received, dataOf(res))
		}
	}},
	{feature: "chat", name: "of nothing", run: func(t *testing.T, v *visit) {
		res := v.call(t, &interopv1.CallRequest{Method: "Chat"})
		wantCode(t, res, ipc.OK)
		if res.Received != 0 {
			t.Errorf("%d answers came", res.Received)
		}
	}},
	{feature: "chat", name: "of large messages", run: func(t *testing.T, v *visit) {
		res := v.call(t, &interopv1.CallRequest{Method: "Chat", Requests: one(&interopv1.Request{Data: pattern(600_000)}), Rounds: 5})
		wantCode(t, res, ipc.OK)
		if !bytes.Equal(dataOf(res), bytes.Repeat(pattern(600_000), 5)) {
			t.Errorf("%d answers came, and not as they were sent", res.Received)
		}
	}},
	{feature: "chat", name: "that fails at the third", run: func(t *testing.T, v *visit) {
		requests, _ := numbered(10)
		requests[2] = &interopv1.Request{Action: interopv1.Action_ACTION_FAIL, Failure: &interopv1.Failure{Code: uint32(ipc.Aborted), Message: "no"}}
		res := v.call(t, &interopv1.CallRequest{Method: "Chat", Requests: requests})
		wantCode(t, res, ipc.Aborted)
		if res.Received != 2 || res.Message != "no" {
			t.Errorf("%d answers and %q came", res.Received, res.Message)
		}
	}},
	{feature: "chat", name: "that is left tells the handler", run: func(t *testing.T, v *visit) {
		name := newName("waits")
		requests := []*interopv1.Request{{Data: []byte("x")}, {Action: interopv1.Action_ACTION_WAIT, Name: name}}
		c := v.start(t, &interopv1.CallRequest{Method: "Chat", Requests: requests, PauseAfter: new(uint32(1)), LeaveAfter: new(uint32(1))})
		v.server.waiting(t, name)
		v.client.open(t, c.name)
		wantCode(t, c.wait(), ipc.OK)
		v.server.handlerEnded(t, name)
	}},
}

// unread is how many bytes of a stream may be on their way that nobody reads: the window, raised to its most on both sides,
// and what either language's buffers of the kernel and its own have, by a generous count.
const unread = 8 << 20

// pressureCases have one side send far more than the other one takes. None of them waits and sees: what has been sent
// is compared with what may have been, whenever that is looked at.
var pressureCases = []testCase{
	{feature: "back-pressure", name: "a download that is not read", run: func(t *testing.T, v *visit) {
		const size, count = 16 << 10, 4096 // 64 MiB
		name := newName("download")
		req := &interopv1.Request{Name: name, Data: pattern(size), Count: count}
		c := v.start(t, &interopv1.CallRequest{Method: "Download", Requests: one(req), PauseAfter: new(uint32(3)), CountOnly: true})
		v.reach(t, v.server, name, 3)
		for range 20 {
			v.lives(t) // it stops itself and no other
		}
		if sent := v.server.progress(t, name).Sent; sent*size > unread {
			t.Errorf("%d bytes were sent to a caller that reads nothing", sent*size)
		}
		v.client.open(t, c.name)
		res := c.wait()
		wantCode(t, res, ipc.OK)
		if res.Received != count {
			t.Errorf("%d messages came", res.Received)
		}
	}},
	{feature: "back-pressure", name: "an upload that is not read", run: func(t *testing.T, v *visit) {
		const size, count = 16 << 10, 4096
		name := newName("held")
		requests := []*interopv1.Request{{Action: interopv1.Action_ACTION_HOLD, Name: name, Data: pattern(size)}}
		for len(requests) < 64 {
			requests = append(requests, &interopv1.Request{Data: pattern(size)})
		}
		c := v.start(t, &interopv1.CallRequest{Method: "Upload", Requests: requests, Rounds: count / 64})
		v.server.waiting(t, name)
		for range 20 {
			v.lives(t)
		}
		if sent := v.client.progress(t, c.name).Sent; sent*size > unread {
			t.Errorf("%d bytes were sent to a handler that reads nothing", sent*size)
		}
		v.server.open(t, name)
		res := c.wait()
		wantCode(t, res, ipc.OK)
		if got := res.Responses[0]; got.Count != count || got.Total != count*size {
			t.Errorf("%d messages of %d bytes came", got.Count, got.Total)
		}
	}},
	{feature: "back-pressure", name: "a chat that neither side reads", run: func(t *testing.T, v *visit) {
		const size, count = 16 << 10, 4096
		c := v.start(t, &interopv1.CallRequest{Method: "Chat", Requests: one(&interopv1.Request{Data: pattern(size)}), Rounds: count,
			PauseAfter: new(uint32(1)), CountOnly: true})
		v.reach(t, v.client, c.name, 2)
		for range 20 {
			v.lives(t)
		}
		if sent := v.client.progress(t, c.name).Sent; sent*size > 2*unread {
			t.Errorf("%d bytes were sent, of which no answer was read", sent*size)
		}
		v.client.open(t, c.name)
		res := c.wait()
		wantCode(t, res, ipc.OK)
		if res.Received != count {
			t.Errorf("%d answers came", res.Received)
		}
	}},
	{feature: "back-pressure", name: "large messages that are not read", run: func(t *testing.T, v *visit) {
		const size, count = 600_000, 60
		name := newName("download")
		c := v.start(t, &interopv1.CallRequest{Method: "Download", Requests: one(&interopv1.Request{Name: name, Data: pattern(size), Count: count}),
			PauseAfter: new(uint32(1)), CountOnly: true})
		v.reach(t, v.server, name, 1)
		v.lives(t)
		if sent := v.server.progress(t, name).Sent; sent*size > 3*unread {
			t.Errorf("%d bytes were sent to a caller that reads nothing", sent*size)
		}
		v.client.open(t, c.name)
		res := c.wait()
		wantCode(t, res, ipc.OK)
		if res.Received != count {
			t.Errorf("%d messages came", res.Received)
		}
	}},
	{feature: "back-pressure", name: "a download that is cancelled while it waits", run: func(t *testing.T, v *visit) {
		name := newName("download")
		req := &interopv1.Request{Name: name, Data: pattern(16 << 10), Count: 4096}
		c := v.start(t, &interopv1.CallRequest{Method: "Download", Requests: one(req), PauseAfter: new(uint32(1)), CountOnly: true})
		v.reach(t, v.server, name, 1)
		c.cancel()
		wantCode(t, c.wait(), ipc.Canceled)
	}},
}

// reach waits until so many messages of a call or handler have been sent, or received.
func (v *visit) reach(t *testing.T, e *testee, name string, n uint64) {
	t.Helper()
	ctx := limited(t)
	for p := e.progress(t, name); p.Sent < n && p.Received < n; p = e.progress(t, name) {
		if ctx.Err() != nil {
			t.Fatalf("%q has not come to %d messages: %v", name, n, p)
		}
	}
}
