package ring

import (
	"syscall"
	"testing"
)

func init() {
	memories["mapped"] = func(t *testing.T, size int) []byte {
		t.Helper()
		b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANONYMOUS)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Munmap(b) })
		return b
	}
}
