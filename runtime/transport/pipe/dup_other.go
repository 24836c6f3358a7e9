//go:build unix && !linux

package pipe

import "golang.org/x/sys/unix"

// dupTo makes the number "to" stand for what from stands for; children inherit it.
func dupTo(from, to int) error { return unix.Dup2(from, to) }
