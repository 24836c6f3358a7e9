//go:build linux && (amd64 || arm64)

package shm

import (
	"errors"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// How long to measure, at most.
const (
	measureTime   = time.Millisecond
	measureRounds = 30
)

// measure returns how long it takes that two threads on two processors, as two processes are that speak with each other,
// go to sleep and wake each other: once around, each of them once.
func measure() (time.Duration, error) {
	var there, back [2]int
	if err := unix.Pipe2(there[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer closeAll(there[:])
	if err := unix.Pipe2(back[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer closeAll(back[:])
	cpus, err := twoProcessors()
	if err != nil {
		return 0, err
	}
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		pinned(cpus[1], func() {
			for passByte(there[0], back[1]) {
			}
		})
	}()
	var samples []time.Duration
	pinned(cpus[0], func() {
		for end := time.Now().Add(measureTime); len(samples) < measureRounds && time.Now().Before(end); {
			start := time.Now()
			unix.Write(there[1], zero)
			if n, err := unix.Read(back[0], make([]byte, 1)); n != 1 || err != nil {
				return
			}
			samples = append(samples, time.Since(start))
		}
	})
	unix.Close(there[1])
	there[1] = -1
	<-echoed
	if len(samples) == 0 {
		return 0, errors.New("nothing was measured")
	}
	slices.Sort(samples)
	return samples[len(samples)/2], nil
}

func passByte(from, to int) bool {
	b := make([]byte, 1)
	n, err := unix.Read(from, b)
	for err == unix.EINTR {
		n, err = unix.Read(from, b)
	}
	if n != 1 || err != nil {
		return false
	}
	n, err = unix.Write(to, b)
	return n == 1 && err == nil
}

// twoProcessors returns two of those that this process may use.
func twoProcessors() (two [2]int, err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return two, err
	}
	found := 0
	for cpu := 0; found < 2 && cpu < len(all)*64; cpu++ {
		if all.IsSet(cpu) {
			two[found] = cpu
			found++
		}
	}
	if found < 2 {
		return two, errors.New("there is one processor")
	}
	return two, nil
}

// pinned runs f on one processor.
func pinned(cpu int, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err == nil {
		one.Set(cpu)
		unix.SchedSetaffinity(0, &one)
		defer unix.SchedSetaffinity(0, &before)
	}
	f()
}

func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
