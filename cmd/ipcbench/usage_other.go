//go:build !unix

package main

import "time"

// processorTime is not known: exec:, by which servers are started, needs a Unix system too.
func processorTime() time.Duration { return 0 }
