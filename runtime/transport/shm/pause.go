//go:build linux && (amd64 || arm64)

package shm

// pause does nothing n times, at least once, in a way that leaves the processor's other thread the time.
//
//go:noescape
func pause(n uint32)
