//go:build amd64 || arm64

package codec

import "unsafe"

// same returns p. It is written in assembly so that the compiler does not see that.
//
//go:noescape
func same(p unsafe.Pointer) unsafe.Pointer
