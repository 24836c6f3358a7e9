//go:build linux && (amd64 || arm64)

package ipc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/store"
	blobsv1 "github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/v1"
)

const keeperVar = "IPCGEN_IPC_TEST_KEEPER"

// TestKeeper is no test but a server of blobs, where this process is a child. It ends with its parent.
func TestKeeper(t *testing.T) {
	address := os.Getenv(keeperVar)
	if address == "" {
		return
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	e := &ipc.Endpoint{Logger: quiet(), Services: []ipc.Service{store.NewStoreService(new(keeper))}}
	l, err := e.Listen(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	l.Serve(context.Background())
}

// startKeeper starts a server of blobs behind a shell's command, and returns a client of it, that has blobs in place.
func startKeeper(t *testing.T, limit string) (*store.StoreClient, *exec.Cmd, *ipc.Conn) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address := "shm:" + filepath.Join(t.TempDir(), "s")
	cmd := exec.Command("sh", "-c", limit+` && exec "$0" -test.run='^TestKeeper$'`, exe)
	cmd.Env = append(os.Environ(), keeperVar+"="+address)
	startChild(t, cmd)
	conn, err := (&ipc.Endpoint{BlobsInPlace: true, Logger: quiet()}).Dial(patient(t), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if used, why := conn.SharedMemory(); !used {
		t.Fatal("the session is not in shared memory: ", why)
	}
	return store.NewStoreClient(conn), cmd, conn
}

// inPlace says whether p lies in memory of a peer's.
func inPlace(t *testing.T, p []byte) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	at := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p))))
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		fmt.Sscanf(line, "%x-%x", &from, &to)
		if from <= at && at < to {
			return strings.Contains(line, "/memfd:ipcgen")
		}
	}
	return false
}

// TestBlobsOutliveTheirPeer: what is in place stays readable when the process is killed that it came from.
func TestBlobsOutliveTheirPeer(t *testing.T) {
	checkMappings(t)
	client, server, conn := startKeeper(t, "true")
	res, err := client.Swap(patient(t), &blobsv1.Album{First: photo(1, 1_000_000)})
	if err != nil || !inPlace(t, res.First.Data) {
		t.Fatalf("got %.100v, %v, in place: %v", res, err, err == nil && inPlace(t, res.First.Data))
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-conn.Done()
	conn.Close()
	if !bytes.Equal(res.First.Data, photo(1, 1_000_000).Data) {
		t.Error("the bytes are other ones")
	}
	ipc.ReleaseAll(res)
}

// TestBlobsOfALimitedProcess: blobs of a process that may have no arena come like other bytes.
func TestBlobsOfALimitedProcess(t *testing.T) {
	checkMappings(t)
	client, _, _ := startKeeper(t, "ulimit -f 4000") // which is enough for a ring, and not for an arena
	for range 3 {
		res, err := client.Swap(patient(t), &blobsv1.Album{First: photo(1, 1_000_000)})
		if err != nil || !res.First.Equal(photo(1, 1_000_000)) || inPlace(t, res.First.Data) {
			t.Fatalf("got %.100v, %v", res, err)
		}
		ipc.ReleaseAll(res)
	}
}

// roomy tells, for each Note, whether all of its session's arena is free.
type roomy struct {
	keeper
	t    *testing.T
	free chan bool
}

func (r *roomy) Note(ctx context.Context, _ *blobsv1.Picture) error {
	r.free <- allFree(r.t, ipc.ConnOf(ctx))
	return nil
}

const smallArena = 1 << 20

// allFree says whether a connection can lend all of a small arena.
func allFree(t *testing.T, conn *ipc.Conn) bool {
	p := conn.NewBlob(smallArena)
	defer ipc.Release(p)
	return inPlace(t, p)
}

// TestHooksRefuseBlobs: what a hook keeps from the program is released, and what it keeps from being sent is freed.
func TestHooksRefuseBlobs(t *testing.T) {
	refused := errors.New("refused")
	before := func(ctx context.Context, call *ipc.CallInfo) (context.Context, func(error) error, error) {
		return ctx, nil, refused
	}
	after := func(ctx context.Context, call *ipc.CallInfo) (context.Context, func(error) error, error) {
		return ctx, func(error) error { return refused }, nil
	}
	unaryOnly := func(h ipc.Hook) ipc.Hook {
		return func(ctx context.Context, call *ipc.CallInfo) (context.Context, func(error) error, error) {
			if call.Method.Path() != "blobs.store.Store/Swap" {
				return ctx, nil, nil
			}
			return h(ctx, call)
		}
	}
	for name, hooks := range map[string][2]ipc.Hook{
		"of the caller, before":  {before},
		"of the caller, after":   {after},
		"of the handler, before": {nil, before},
		"of the handler, after":  {nil, after},
	} {
		t.Run(name, func(t *testing.T) {
			checkMappings(t)
			r := &roomy{t: t, free: make(chan bool, 1)}
			endpoint := func() *ipc.Endpoint {
				return &ipc.Endpoint{BlobsInPlace: true, Logger: quiet(), Limits: ipc.Limits{Arena: smallArena}}
			}
			client, server := endpoint(), endpoint()
			server.Services = []ipc.Service{store.NewStoreService(r)}
			if hooks[0] != nil {
				client.CallHooks = []ipc.Hook{unaryOnly(hooks[0])}
			}
			if hooks[1] != nil {
				server.HandlerHooks = []ipc.Hook{unaryOnly(hooks[1])}
			}
			conn := serve(t, "shm:"+filepath.Join(t.TempDir(), "s"), server, client)
			c := store.NewStoreClient(conn)
			for range 5 {
				data := conn.NewBlob(300_000)
				if _, err := c.Swap(patient(t), &blobsv1.Album{First: &blobsv1.Picture{Data: data}, Last: photo(1, 300_000)}); err == nil {
					t.Fatal("it was not refused")
				}
			}
			if err := c.Note(patient(t), photo(1, 1)); err != nil {
				t.Fatal(err)
			}
			if theirs, mine := <-r.free, allFree(t, conn); !theirs || !mine {
				t.Errorf("all is free again: at the server %v, at the client %v", theirs, mine)
			}
		})
	}
}
