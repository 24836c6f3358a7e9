//go:build unix

package pipe

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestChildThatStays: one that does not end with its stdin is killed when the grace is over.
func TestChildThatStays(t *testing.T) {
	c, err := Exec(t.Context(), []string{"/bin/sh", "-c", "exec sleep 1000"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go c.(*child).killAfter(0)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("got %v", err)
	}
}
