package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/ipcgen/ipcgen/cmd/ipcbench/benchv1"
)

// A kind is a kind of call. What is counted and timed is an operation: a call, or a message of a stream.
type kind struct {
	name, what string
	operation  string // what latency and processor time are of
	isCall     bool   // the operation is a call
	messages   int    // of an operation
	timed      bool   // an operation has a latency
	// do is one caller, which does n operations one after the other.
	do func(ctx context.Context, c *benchv1.BenchClient, data *benchv1.Data, n int, h *histogram) error
}

var kinds = []kind{
	{"unary", "a call with a request and a response; latency is from one to the other", "call", true, 2, true, doUnary},
	{"oneway", "a call without a response; latency is until the caller may go on", "call", true, 1, true, doOneway},
	{"server-stream", "one call whose responses follow each other without a pause", "message", false, 1, false, doServerStream},
	{"client-stream", "one call whose requests follow each other without a pause", "message", false, 1, false, doClientStream},
	{"bidi", "messages that go back and forth in one call; latency is of the round trip", "round trip", false, 2, true, doBidi},
}

func doUnary(ctx context.Context, c *benchv1.BenchClient, data *benchv1.Data, n int, h *histogram) error {
	last := time.Now()
	for range n {
		res, err := c.Echo(ctx, data)
		if err != nil {
			return err
		}
		now := time.Now()
		h.add(now.Sub(last))
		last = now
		if len(res.Data) != len(data.Data) {
			return fmt.Errorf("sent %d bytes, and got %d back", len(data.Data), len(res.Data))
		}
	}
	return nil
}

// doOneway is done when the calls are made; the subject waits until they are handled.
func doOneway(ctx context.Context, c *benchv1.BenchClient, data *benchv1.Data, n int, h *histogram) error {
	last := time.Now()
	for range n {
		if err := c.Note(ctx, data); err != nil {
			return err
		}
		now := time.Now()
		h.add(now.Sub(last))
		last = now
	}
	return nil
}

func doServerStream(ctx context.Context, c *benchv1.BenchClient, data *benchv1.Data, n int, _ *histogram) error {
	got := 0
	for _, err := range c.Download(ctx, &benchv1.DownloadRequest{Bytes: uint32(len(data.Data)), Count: uint64(n)}) {
		if err != nil {
			return err
		}
		got++
	}
	if got != n {
		return fmt.Errorf("asked for %d messages, and got %d", n, got)
	}
	return nil
}

func doClientStream(ctx context.Context, c *benchv1.BenchClient, data *benchv1.Data, n int, _ *histogram) error {
	res, err := c.Upload(ctx, repeat(data, n))
	if err == nil && res.Count != uint64(n) {
		err = fmt.Errorf("sent %d messages, of which %d came", n, res.Count)
	}
	return err
}

func repeat(data *benchv1.Data, n int) iter.Seq[*benchv1.Data] {
	return func(yield func(*benchv1.Data) bool) {
		for range n {
			if !yield(data) {
				return
			}
		}
	}
}

func doBidi(ctx context.Context, c *benchv1.BenchClient, data *benchv1.Data, n int, h *histogram) error {
	st, err := c.Chat(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	last := time.Now()
	for range n {
		if err := st.Send(data); err != nil {
			if err == io.EOF { // Receive says why the call has ended
				_, err = st.Receive()
			}
			return err
		}
		if _, err := st.Receive(); err != nil {
			return err
		}
		now := time.Now()
		h.add(now.Sub(last))
		last = now
	}
	st.CloseSend()
	if _, err := st.Receive(); err != io.EOF {
		return fmt.Errorf("the call did not end after the last message: %w", err)
	}
	return nil
}
