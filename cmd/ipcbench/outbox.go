package main

import (
	"errors"
	"net"
	"sync"
	"time"
)

// outbox is how several callers share a bare socket: one goroutine writes together what has come since it wrote last, and
// one reads the answers, which come in the order of the requests.
type outbox struct {
	more   chan struct{} // holds an element where something is pending
	failed chan struct{} // closed when there will be no more answers

	mu      sync.Mutex // guards what follows
	pending []byte
	callers []chan struct{} // whose answers have not come
}

// echoTogether has each caller send a frame and wait for its answer, n times.
func echoTogether(b *bareClient, frame []byte, callers, n int, h *histogram) error {
	o := &outbox{more: make(chan struct{}, 1), failed: make(chan struct{})}
	latencies := make([]histogram, callers)
	var writeErr, readErr error
	var all sync.WaitGroup
	all.Go(func() { writeErr = o.write(b.conn, callers*n*len(frame)) })
	all.Go(func() { readErr = o.read(b, callers*n) })
	for i := range callers {
		all.Go(func() { o.call(frame, n, &latencies[i]) })
	}
	all.Wait()
	for i := range latencies {
		h.merge(&latencies[i])
	}
	return errors.Join(writeErr, readErr)
}

func (o *outbox) call(frame []byte, n int, h *histogram) {
	answered := make(chan struct{}, 1)
	last := time.Now()
	for range n {
		o.mu.Lock()
		o.pending = append(o.pending, frame...)
		o.callers = append(o.callers, answered)
		o.mu.Unlock()
		select {
		case o.more <- struct{}{}:
		default: // the writer has not come yet
		}
		select {
		case <-answered:
		case <-o.failed:
			return
		}
		now := time.Now()
		h.add(now.Sub(last))
		last = now
	}
}

// write writes so many bytes. Where it fails, it closes the socket: the reader waits for what nobody asks for any more.
func (o *outbox) write(c net.Conn, total int) error {
	var b []byte
	for total > 0 {
		select {
		case <-o.more:
		case <-o.failed:
			return nil // which the reader tells
		}
		o.mu.Lock()
		b, o.pending = o.pending, b[:0]
		o.mu.Unlock()
		if _, err := c.Write(b); err != nil {
			c.Close()
			return err
		}
		total -= len(b)
	}
	return nil
}

// read reads so many answers.
func (o *outbox) read(b *bareClient, total int) error {
	for total > 0 {
		_, n, err := b.in.next()
		if err != nil {
			b.conn.Close()
			close(o.failed)
			return err
		}
		o.mu.Lock()
		for _, answered := range o.callers[:n] {
			answered <- struct{}{}
		}
		o.callers = o.callers[n:]
		o.mu.Unlock()
		total -= n
	}
	return nil
}
