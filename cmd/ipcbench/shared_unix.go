//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// shared is memory of two processes. The counters are on pages of their own, far from each other and the messages.
type shared struct {
	all                 []byte
	requests, responses *atomic.Uint64
	request, response   []byte
}

// mapShared maps the file at path, which it makes if need be.
func mapShared(path string, size int) (*shared, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const page = 4096
	room := (size + page - 1) / page * page
	if err := f.Truncate(int64(2*page + 2*room)); err != nil {
		return nil, err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, 2*page+2*room, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	return &shared{all: b,
		requests:  (*atomic.Uint64)(unsafe.Pointer(&b[0])),
		responses: (*atomic.Uint64)(unsafe.Pointer(&b[page])),
		request:   b[2*page:][:size],
		response:  b[2*page+room:][:size],
	}, nil
}

func (m *shared) unmap() { syscall.Munmap(m.all) }

// await spins until a counter has a value, within ctx.
func await(ctx context.Context, counter *atomic.Uint64, value uint64) error {
	for spins := 0; counter.Load() != value; spins++ {
		if spins%1024 == 1023 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
