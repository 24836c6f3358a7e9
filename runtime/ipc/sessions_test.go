//go:build unix

package ipc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/ipc"
)

// TestSessions: a listener has as many sessions as it may, all together and of one user.
func TestSessions(t *testing.T) {
	for _, c := range []struct {
		limits ipc.Limits
		want   string
	}{
		{ipc.Limits{Sessions: 2, SessionsOfUser: 3}, "2 sessions are open, which is the limit"},
		{ipc.Limits{SessionsOfUser: 2}, fmt.Sprintf("user %d has 2 sessions open, which is the limit", os.Getuid())},
	} {
		server, address := workerEndpoint(), "unix:"+filepath.Join(t.TempDir(), "s")
		server.Limits.Sessions, server.Limits.SessionsOfUser = c.limits.Sessions, c.limits.SessionsOfUser
		serve(t, address, server, new(ipc.Endpoint))
		second, err := ipc.Dial(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		if third, err := ipc.Dial(t.Context(), address); err == nil {
			third.Close()
			t.Errorf("a third session began, want %q", c.want)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("the third session was refused with %q, want %q", err, c.want)
		}
	}
}
