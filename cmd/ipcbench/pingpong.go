package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipcgen/ipcgen/cmd/ipcbench/benchv1"
)

// The floor of shared memory: a file that both processes have mapped, in which each side has a counter and room for a
// message. Whoever has written a message counts; the other one does nothing but look at the counter, copies the message
// out, and answers. Nobody ever sleeps, which no program could afford.

// pingPong is the client's side.
type pingPong struct {
	control *benchv1.ControlClient
	path    string
}

// run does one round trip more than n: the first waits for the server to look.
func (p *pingPong) run(ctx context.Context, c cell, n int) (s sample, err error) {
	m, err := mapShared(p.path, c.size)
	if err != nil {
		return s, err
	}
	defer m.unmap()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := p.control.PingPong(ctx, &benchv1.PingPongRequest{Path: p.path, Bytes: uint32(c.size), Count: uint64(n) + 1})
		if err != nil {
			cancel() // nobody answers
		}
		answered <- err
	}()
	err = m.ask(ctx, n, &s)
	if err != nil {
		cancel() // nobody asks
	}
	if serverErr := <-answered; serverErr != nil && !errors.Is(serverErr, context.Canceled) {
		err = serverErr
	}
	if err != nil {
		err = fmt.Errorf("in bare shared memory: %w", err)
	}
	return s, err
}

// ask sends a message and waits for the answer, n+1 times.
func (m *shared) ask(ctx context.Context, n int, s *sample) error {
	message := make([]byte, len(m.request))
	m.requests.Store(0)
	m.responses.Store(0)
	var begin, last time.Time
	for i := range uint64(n) + 1 {
		copy(m.request, message)
		m.requests.Store(i + 1)
		if err := await(ctx, m.responses, i+1); err != nil {
			return err
		}
		copy(message, m.response)
		now := time.Now()
		if i == 0 {
			begin = now
		} else {
			s.latencies.add(now.Sub(last))
		}
		last = now
	}
	s.elapsed = last.Sub(begin)
	return nil
}

// answerPingPong is the server's side.
func answerPingPong(ctx context.Context, path string, size int, count uint64) error {
	m, err := mapShared(path, size)
	if err != nil {
		return err
	}
	defer m.unmap()
	message := make([]byte, size)
	for i := range count {
		if err := await(ctx, m.requests, i+1); err != nil {
			return err
		}
		copy(message, m.request)
		copy(m.response, message)
		m.responses.Store(i + 1)
	}
	return nil
}
