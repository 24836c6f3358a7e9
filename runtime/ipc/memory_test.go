//go:build linux && (amd64 || arm64)

package ipc_test

import (
	"path/filepath"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/ipc"
)

// What is tested over every transport is tested in shared memory too.
func init() {
	ways = append(ways, way{"shm", func(t *testing.T, client *ipc.Endpoint) *ipc.Conn {
		conn := serve(t, "shm:"+filepath.Join(t.TempDir(), "s"), workerEndpoint(), client)
		if used, why := conn.SharedMemory(); !used {
			t.Fatalf("the session is not in shared memory: %s", why)
		}
		return conn
	}})
	deathWays["shm"] = func(t *testing.T) mortal { return startWorker(t, "shm:"+filepath.Join(t.TempDir(), "s")) }
	visitorSchemes = append(visitorSchemes, "shm")
}
