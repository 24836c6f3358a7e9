package session

import "runtime"

// exitGoroutine ends a handler as a failed assertion in it would.
func exitGoroutine() { runtime.Goexit() }
