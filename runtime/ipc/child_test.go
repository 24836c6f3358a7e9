//go:build unix

package ipc_test

import (
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/ipc"
)

// TestChildsEndIsTold: how a program ended that was started to be talked to, is in the error.
func TestChildsEndIsTold(t *testing.T) {
	_, err := ipc.Dial(t.Context(), "exec:sh -c 'exit 3'")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, want an error that has %q", err, "exit status 3")
	}
}
