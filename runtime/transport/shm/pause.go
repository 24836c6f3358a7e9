//go:build linux && (amd64 || arm64)

package shm

// pause does nothing n times, at least once, in a way that leaves the processor's other thread the time. Then it begins to
// fetch the 128 bytes that begin in next's cache line, which may be nil, without waiting for them.
//
//go:noescape
func pause(n uint32, next *byte)
