//go:build linux && (amd64 || arm64)

package ipc_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	"github.com/ipcgen/ipcgen/runtime/transport/transporttest"
	"github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/store"
	blobsv1 "github.com/ipcgen/ipcgen/testdata/blobs/go/blobs/v1"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
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
	blobAddresses = append(blobAddresses, "shm:")
}

// TestSharedMemory: who asks, and how.
func TestSharedMemory(t *testing.T) {
	for _, c := range []struct {
		listen, dial     string
		server, client   ipc.SharedMemory
		used             bool
		reason, dialFail string
	}{
		{listen: "shm:", dial: "shm:", used: true},
		{listen: "unix:", dial: "shm:", used: true},
		{listen: "shm:", dial: "unix:", reason: "this side does not want it"},
		{listen: "unix:", dial: "unix:", reason: "this side does not want it"},
		{listen: "unix:", dial: "unix:", client: ipc.SharedMemoryAuto, used: true},
		{listen: "unix:", dial: "unix:", client: ipc.SharedMemoryAuto, server: ipc.SharedMemoryOff, reason: "the peer does not want it, or cannot"},
		{listen: "unix:", dial: "shm:", server: ipc.SharedMemoryOff, reason: "the peer does not want it, or cannot"},
		{listen: "unix:", dial: "unix:", client: ipc.SharedMemoryOff, reason: "this side does not want it"},
		{listen: "unix:", dial: "shm:", client: ipc.SharedMemoryOff, dialFail: "the endpoint's SharedMemory is off: write unix:PATH"},
	} {
		t.Run(fmt.Sprintf("%s%d %s%d", c.dial, c.client, c.listen, c.server), func(t *testing.T) {
			transporttest.CheckLeaks(t)
			checkMappings(t)
			path := filepath.Join(t.TempDir(), "s")
			server := workerEndpoint()
			server.SharedMemory = c.server
			ctx, stop := context.WithCancel(t.Context())
			l, err := server.Listen(ctx, c.listen+path)
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- l.Serve(ctx) }()
			defer func() {
				stop()
				<-served
			}()
			if got := l.Address(); got != c.listen+path {
				t.Errorf("the listener is at %s, want %s", got, c.listen+path)
			}
			conn, err := (&ipc.Endpoint{SharedMemory: c.client, Logger: quiet()}).Dial(t.Context(), c.dial+path)
			if c.dialFail != "" {
				if err == nil || !strings.Contains(err.Error(), c.dialFail) {
					t.Errorf("got %v, want %q", err, c.dialFail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if used, reason := conn.SharedMemory(); used != c.used || reason != c.reason {
				t.Errorf("in use: %v, because %q; want %v, %q", used, reason, c.used, c.reason)
			}
			if _, err := echov1.NewEchoClient(conn).Say(t.Context(), &echov1.SayRequest{Text: "hello"}); err != nil {
				t.Error(err)
			}
		})
	}
}

const (
	limitedVar = "IPCGEN_IPC_TEST_LIMITED"
	hostVar    = "IPCGEN_IPC_TEST_HOST"
)

// TestLargeFields: contents that are sent from where they lie arrive in their places, however large they are and whatever
// stands between them, also while several callers send.
func TestLargeFields(t *testing.T) {
	endpoint := func() *ipc.Endpoint { return &ipc.Endpoint{Limits: ipc.Limits{Arena: -1}, Logger: quiet()} } // no blobs apart
	server := endpoint()
	server.Services = []ipc.Service{store.NewStoreService(&keeper{})}
	var handled atomic.Uint32
	server.HandlerHooks = []ipc.Hook{func(ctx context.Context, _ *ipc.CallInfo) (context.Context, func(error) error, error) {
		if handled.Add(1)%4 != 0 {
			return ctx, func(err error) error { return err }, nil
		}
		return ctx, func(err error) error {
			return errors.Join(err, ipc.SetTrailer(ctx, "what", "stands before the message"))
		}, nil
	}}
	client := store.NewStoreClient(serve(t, "shm:"+filepath.Join(t.TempDir(), "s"), server, endpoint()))
	var callers sync.WaitGroup
	for caller := range uint64(4) {
		callers.Go(func() { swapLarge(t, client, rand.New(rand.NewPCG(caller, 0))) })
	}
	callers.Wait()
}

// TestDeathInALargeField: the sender of what is sent from where it lies learns that the peer was killed.
func TestDeathInALargeField(t *testing.T) {
	m := startWorker(t, "shm:"+filepath.Join(t.TempDir(), "s"))
	conn, err := (&ipc.Endpoint{Logger: quiet()}).Dial(t.Context(), m.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := echov1.NewEchoClient(conn)
	text := strings.Repeat("large ", 300_000)
	ctx := patient(t)
	say := func() error {
		_, err := client.Say(ctx, &echov1.SayRequest{Text: text})
		return err
	}
	for range 2 { // from the second on the text is not copied before
		if err := say(); err != nil {
			t.Fatal(err)
		}
	}
	failed := make(chan error, 1)
	go func() {
		err := say()
		for err == nil {
			err = say()
		}
		failed <- err
	}()
	m.kill(t)
	if err := <-failed; ipc.CodeOf(err) != ipc.Unavailable {
		t.Errorf("got %v, want the end of the session", err)
	}
}

func swapLarge(t *testing.T, c *store.StoreClient, rng *rand.Rand) {
	ctx := patient(t)
	most := 0
	large := func() []byte {
		b := make([]byte, rng.IntN(most))
		for i := 0; i < len(b); i += 61 {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	for i := range 60 {
		most = 300_000 >> (i % 6) // down to messages of one frame, of which some fields are not large
		album := &blobsv1.Album{Title: strings.Repeat("title ", rng.IntN(most/15)), Cover: large(), Pages: [][]byte{large(), {1}, large(), large()}}
		if rng.IntN(2) == 0 {
			album.Inner = &blobsv1.Album{Cover: large()}
		}
		if rng.IntN(2) == 0 { // the length of what is behind a short message is given little room
			album.First, album.More = &blobsv1.Picture{Name: "short"}, []*blobsv1.Picture{{Data: large()}, {Data: large()}}
		}
		got, err := c.Swap(ctx, album)
		if err != nil || !got.Equal(album) {
			t.Errorf("got %.100v, %v", got, err)
			return
		}
		sent := []*blobsv1.Picture{{Data: large()}, {Data: large()}}
		for p, err := range c.List(ctx, &blobsv1.Album{More: sent}) {
			if err != nil || !p.Equal(sent[0]) {
				t.Errorf("got the picture %.50v, %v", p, err)
				return
			}
			sent = sent[1:]
		}
		if len(sent) > 0 {
			t.Errorf("%d pictures did not come", len(sent))
		}
	}
}

// TestLimited is no test but a client, where this process is a child that has a limit. It says what comes of its dialing
// by a shm: address and calling.
func TestLimited(t *testing.T) {
	address := os.Getenv(limitedVar)
	if address == "" {
		return
	}
	conn, err := (&ipc.Endpoint{Logger: quiet()}).Dial(context.Background(), address)
	if err == nil {
		_, err = echov1.NewEchoClient(conn).Say(context.Background(), &echov1.SayRequest{Text: text(1 << 20)})
	}
	if err != nil {
		fmt.Println(err)
	} else {
		fmt.Println(conn.SharedMemory())
	}
	os.Exit(0)
}

// TestLimits: where a process may have no shared memory, its sessions go on over the socket.
func TestLimits(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := startWorker(t, "shm:"+filepath.Join(t.TempDir(), "s"))
	for limit, want := range map[string]string{
		"true":        "true ",
		"ulimit -f 1": "false this side could not make its segment: a memfd of 266240 bytes: the limit for the size of files (ulimit -f) is ",
		"ulimit -l 0": "true ", // of locked memory: that is not what it is
	} {
		cmd := exec.Command("sh", "-c", limit+` && exec "$0" -test.run='^TestLimited$'`, exe)
		cmd.Env = append(os.Environ(), limitedVar+"="+m.address, "GORACE=atexit_sleep_ms=0")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if got := string(out); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, %v, want %q", limit, got, err, want)
		}
	}
}

var sessions = flag.Int("sessions", 100, "how many sessions TestIdleSessions has")

// raceEnabled says that the race detector has memory of its own for each byte of this process's.
var raceEnabled = false

// TestHost is no test but a server, where this process is a child.
func TestHost(t *testing.T) {
	address := os.Getenv(hostVar)
	if address == "" {
		return
	}
	e := workerEndpoint()
	e.Limits.Sessions, e.Limits.SessionsOfUser = *sessions, *sessions
	l, err := e.Listen(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	t.Fatal(l.Serve(context.Background()))
}

// TestIdleSessions: many sessions that nobody uses cost a server as much memory as the documentation of an endpoint says,
// and few threads.
func TestIdleSessions(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address := "shm:" + filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(exe, "-test.run=^TestHost$", fmt.Sprint("-sessions=", *sessions))
	cmd.Env = append(os.Environ(), hostVar+"="+address)
	startChild(t, cmd)
	before := status(t, cmd.Process.Pid)
	for range *sessions {
		conn, err := ipc.Dial(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if used, why := conn.SharedMemory(); !used {
			t.Fatal(why)
		}
		for range 10 {
			if _, err := echov1.NewEchoClient(conn).Say(t.Context(), &echov1.SayRequest{Text: "hello"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	after := status(t, cmd.Process.Pid)
	shared, private := (after["RssShmem"]-before["RssShmem"])/(*sessions), (after["RssAnon"]-before["RssAnon"])/(*sessions)
	t.Logf("%d sessions: %d threads; each %d KiB shared, %d KiB of its own", *sessions, after["Threads"], shared, private)
	if after["Threads"] > 100 {
		t.Errorf("%d threads, want at most 100", after["Threads"])
	}
	if want := 2 * (256 + 4); shared > want {
		t.Errorf("a session takes %d KiB of shared memory, want at most %d", shared, want)
	}
	if want := 64; private > want && !raceEnabled {
		t.Errorf("a session takes %d KiB of memory of its own, want at most %d", private, want)
	}
}

// status returns the numbers in a process's status: kilobytes, and how many threads.
func status(t *testing.T, pid int) map[string]int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]int{}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		var n int
		if _, err := fmt.Sscan(rest, &n); err == nil {
			numbers[name] = n
		}
	}
	return numbers
}

// TestLostStream: what waits in a stream that the program has lost at the end of the session is not kept by its context.
func TestLostStream(t *testing.T) {
	server := &ipc.Endpoint{Services: []ipc.Service{store.NewStoreService(&keeper{})}, Logger: quiet()}
	conn := serve(t, "shm:"+filepath.Join(t.TempDir(), "s"), server, &ipc.Endpoint{Logger: quiet()})
	mirror, err := store.NewStoreClient(conn).Mirror(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := mirror.Send(photo(1, 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := mirror.Receive(); err != nil {
		t.Fatal(err)
	}
	for range 10 { // until others have come
		if err := conn.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()
	mirror = nil
	for mappings() > 0 { // until the collector has found it
		runtime.GC()
	}
}
