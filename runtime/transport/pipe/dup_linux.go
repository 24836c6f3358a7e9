package pipe

import "syscall"

// dupTo makes the number "to" stand for what from stands for; children inherit it.
func dupTo(from, to int) error { return syscall.Dup3(from, to, 0) }
