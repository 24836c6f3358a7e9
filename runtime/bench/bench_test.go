// Package bench measures calls between two processes beside what the same bytes cost without a protocol, and beside
// grpc-go and shmipc-go. It is a module of its own so that users of ipcgen download none of the peers.
//
//	go test -bench . -benchtime 2s
//
// Every figure of a benchmark is taken in turns with those it is compared with, in one run, with default settings on
// both sides. The server is another process: this test binary, started again. The figures of C need a C compiler, cc.
package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ipcgen/ipcgen/runtime/ipc"
	echov1 "github.com/ipcgen/ipcgen/testdata/services/go/echo/v1"
)

const serverEnv = "IPCGEN_BENCH_SERVER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(serverEnv); kind != "" {
		address := os.Args[len(os.Args)-1]
		ready := func() { fmt.Println("ready") }
		// The server ends with its parent, which holds the other end of stdin.
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
		if err := servers[kind](address, ready); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

var servers = map[string]func(address string, ready func()) error{
	"floor":   serveFloor,
	"bytes":   serveBytes,
	"ipcgen":  serveIPC,
	"parking": serveParking,
	"grpc":    serveGRPC,
	"shmipc":  serveShmipc,
	"busy":    beBusy,
	"gallery": serveGallery,
}

// start starts a server of a kind and returns its address and its process.
func start(b *testing.B, kind, address string) *os.Process {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$", address)
	cmd.Env = append(os.Environ(), serverEnv+"="+kind)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		b.Fatalf("the %s server said %q, %v", kind, line, err)
	}
	return cmd.Process
}

// A subject is one thing that is measured.
type subject struct {
	name   string
	call   func() error
	server *os.Process
}

// textOf returns a text that takes size bytes in a message: with its tag and length.
func textOf(size int) string {
	return strings.Repeat("x", size-1-len(binary.AppendUvarint(nil, uint64(size))))
}

// subjects are the floor, ipcgen over each transport, and the peers, each with a server of its own, for messages of size
// bytes and so many callers.
func subjects(b *testing.B, size, callers int) []subject {
	dir := b.TempDir()
	at := func(name string) string { return "unix:" + filepath.Join(dir, name) }
	req := &echov1.SayRequest{Text: textOf(size)}
	say := func(address string) func() error {
		c := dialIPC(b, address)
		return func() error {
			_, err := c.Say(context.Background(), req)
			return err
		}
	}
	var all []subject
	add := func(name string, server *os.Process, call func() error) {
		all = append(all, subject{name, call, server})
	}
	if callers == 1 {
		p := start(b, "floor", at("floor"))
		add("floor", p, dialFloor(b, at("floor"), size).call)
	} else {
		p := start(b, "bytes", at("floor"))
		add("floor", p, dialBytes(b, at("floor"), size, callers).call)
	}
	p := start(b, "ipcgen", at("unix"))
	add("unix", p, say(at("unix")))
	p = start(b, "ipcgen", at("shm"))
	add("shm", p, say("shm:"+filepath.Join(dir, "shm")))
	tcp := freeTCP(b)
	p = start(b, "ipcgen", tcp)
	add("tcp", p, say(tcp))
	p = start(b, "grpc", at("grpc"))
	add("grpc", p, callGRPC(dialGRPC(b, at("grpc")), []byte(req.Text)))
	p = start(b, "shmipc", at("shmipc"))
	add("shmipc", p, dialShmipc(b, at("shmipc"), size))
	return all
}

// freeTCP returns an address that nobody listens at.
func freeTCP(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return "tcp:" + l.Addr().String()
}

// BenchmarkUnary has one caller. It reports the median of each subject in microseconds, and ratios of them.
func BenchmarkUnary(b *testing.B) {
	for _, size := range []int{32, 4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size, "B"), func(b *testing.B) {
			all := subjects(b, size, 1)
			pingpong := cProgram(b, "pingpong")
			round := max(10, min(500, 4<<20/size))
			times := make([][]time.Duration, len(all))
			var spins []time.Duration
			for _, s := range all { // warm up
				for range round {
					if err := s.call(); err != nil {
						b.Fatal(err)
					}
				}
			}
			for b.Loop() {
				for i, s := range all {
					for range round {
						t := time.Now()
						if err := s.call(); err != nil {
							b.Fatal(err)
						}
						times[i] = append(times[i], time.Since(t))
					}
				}
				if pingpong != nil {
					spins = append(spins, time.Duration(pingpong(size, max(1, round/20))))
				}
			}
			b.ReportMetric(0, "ns/op")
			p50 := map[string]float64{}
			for i, s := range all {
				p50[s.name] = micros(median(times[i]))
				b.ReportMetric(p50[s.name], s.name+"-p50-µs")
			}
			b.ReportMetric(p50["unix"]/p50["floor"], "unix/floor")
			b.ReportMetric(p50["grpc"]/p50["shm"], "grpc/shm")
			b.ReportMetric(p50["shmipc"]/p50["shm"], "shmipc/shm")
			if pingpong != nil {
				p50["c"] = micros(median(spins))
				b.ReportMetric(p50["c"], "c-p50-µs")
				b.ReportMetric(p50["shm"]/p50["c"], "shm/c")
			}
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// beBusy uses a processor, for as long as its parent lives.
func beBusy(_ string, ready func()) error {
	ready()
	//lint:ignore SA5002 to use a whole processor is what it is for
	for {
	}
}

// BenchmarkNeighbours has one caller of 32 bytes in shared memory, while 8 other processes use all the processor time that
// they get: once as by default, once with both sides parking at once in place of spinning. It reports medians and 99th
// percentiles in microseconds.
func BenchmarkNeighbours(b *testing.B) {
	dir := b.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	start(b, "ipcgen", "unix:"+at("spinning"))
	start(b, "parking", "unix:"+at("parking"))
	spinning := dialIPC(b, "shm:"+at("spinning"))
	parking := dialWith(b, &ipc.Endpoint{Spin: -1}, "shm:"+at("parking"))
	for range 8 {
		start(b, "busy", "")
	}
	req := &echov1.SayRequest{Text: textOf(32)}
	var times [2][]time.Duration
	for b.Loop() {
		for i, c := range []*echov1.EchoClient{spinning, parking} {
			for range 100 {
				t := time.Now()
				if _, err := c.Say(context.Background(), req); err != nil {
					b.Fatal(err)
				}
				times[i] = append(times[i], time.Since(t))
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	var p99 [2]float64
	for i, name := range []string{"spinning", "parking"} {
		b.ReportMetric(micros(median(times[i])), name+"-p50-µs")
		p99[i] = micros(times[i][len(times[i])*99/100])
		b.ReportMetric(p99[i], name+"-p99-µs")
	}
	b.ReportMetric(p99[0]/p99[1], "p99-spinning/parking")
}

// BenchmarkCallers has 64 callers of 32 bytes on one connection. It reports thousands of calls a second, the processor time
// of a call in both processes together, and ratios of calls a second.
func BenchmarkCallers(b *testing.B) {
	const callers = 64
	all := subjects(b, 32, callers)
	total := make([]time.Duration, len(all))
	busy := make([]time.Duration, len(all))
	count := make([]int, len(all))
	for b.Loop() {
		for i, s := range all {
			const each = 400
			before, begin := cpu()+cpuOf(b, s.server), time.Now()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range each {
						if err := s.call(); err != nil {
							b.Error(s.name, err)
							return
						}
					}
				})
			}
			wg.Wait()
			total[i] += time.Since(begin)
			busy[i] += cpu() + cpuOf(b, s.server) - before
			count[i] += callers * each
		}
	}
	b.ReportMetric(0, "ns/op")
	rate := map[string]float64{}
	for i, s := range all {
		rate[s.name] = float64(count[i]) / total[i].Seconds()
		b.ReportMetric(rate[s.name]/1000, s.name+"-kcalls/s")
		b.ReportMetric(micros(busy[i])/float64(count[i]), s.name+"-cpu-µs/call")
	}
	b.ReportMetric(rate["unix"]/rate["grpc"], "unix/grpc")
	b.ReportMetric(rate["unix"]/rate["floor"], "unix/floor")
	b.ReportMetric(rate["shm"]/rate["grpc"], "shm/grpc")
	b.ReportMetric(rate["shm"]/rate["shmipc"], "shm/shmipc")
}

// BenchmarkStream is a server stream. It reports thousands of messages a second; beside those of 1 MiB, what two processes
// in C move through a ring of the same size.
func BenchmarkStream(b *testing.B) {
	for _, c := range []struct{ size, n int }{{32, 200000}, {1 << 20, 200}} {
		b.Run(fmt.Sprint(c.size, "B"), func(b *testing.B) {
			dir := b.TempDir()
			at := func(name string) string { return "unix:" + filepath.Join(dir, name) }
			start(b, "ipcgen", at("ipcgen"))
			start(b, "grpc", at("grpc"))
			repeat := func(address string) func() (int, error) { return repeatIPC(dialIPC(b, address), c.size, c.n) }
			all := []struct {
				name string
				run  func() (int, error)
			}{
				{"unix", repeat(at("ipcgen"))},
				{"shm", repeat("shm:" + filepath.Join(dir, "ipcgen"))},
				{"grpc", repeatGRPC(dialGRPC(b, at("grpc")), c.size, c.n)},
			}
			mover := cProgram(b, "mover")
			took := make([]time.Duration, len(all))
			var moved []float64
			rounds := 0
			for b.Loop() {
				rounds++
				for i, s := range all {
					begin := time.Now()
					if n, err := s.run(); err != nil || n != c.n {
						b.Fatalf("%s: got %d messages, want %d: %v", s.name, n, c.n, err)
					}
					took[i] += time.Since(begin)
				}
				if mover != nil {
					moved = append(moved, mover(c.size, c.n, 256<<10))
				}
			}
			b.ReportMetric(0, "ns/op")
			rate := map[string]float64{}
			for i, s := range all {
				rate[s.name] = float64(rounds*c.n) / took[i].Seconds()
				b.ReportMetric(rate[s.name]/1000, s.name+"-kmsg/s")
			}
			b.ReportMetric(rate["unix"]/rate["grpc"], "unix/grpc")
			if mover != nil {
				slices.Sort(moved)
				middle := moved[len(moved)/2]
				b.ReportMetric(middle/1000, "c-kmsg/s")
				b.ReportMetric(rate["shm"]/middle, "shm/c")
			}
		})
	}
}

// BenchmarkAllocs counts the objects that a unary call allocates in the caller's process. The messages themselves are
// among them: a request is made before, a response and its text are two.
func BenchmarkAllocs(b *testing.B) {
	address := "unix:" + filepath.Join(b.TempDir(), "s")
	start(b, "ipcgen", address)
	client := dialIPC(b, address)
	req := &echov1.SayRequest{Text: strings.Repeat("x", 32)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Say(context.Background(), req); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAllocsBoth has caller and server in one process, so that the objects of both are counted: of them, the
// messages are five (a request's struct and text decoded, a response made, a response's struct and text decoded).
func BenchmarkAllocsBoth(b *testing.B) {
	address := "unix:" + filepath.Join(b.TempDir(), "s")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	l, err := (&ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(echo{})}}).Listen(ctx, address)
	if err != nil {
		b.Fatal(err)
	}
	go l.Serve(ctx)
	client := dialIPC(b, address)
	req := &echov1.SayRequest{Text: strings.Repeat("x", 32)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Say(ctx, req); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIdle measures the processor time of this process in microseconds a second, first without a session and then
// while one that was used is idle. What there is without one is the Go runtime's own.
func BenchmarkIdle(b *testing.B) {
	for _, scheme := range []string{"unix", "shm"} {
		b.Run(scheme, func(b *testing.B) { benchmarkIdle(b, scheme+":"+filepath.Join(b.TempDir(), "s")) })
	}
}

func benchmarkIdle(b *testing.B, address string) {
	start(b, "ipcgen", address)
	const span = 3 * time.Second
	idle := func() float64 {
		runtime.GC()
		<-time.After(100 * time.Millisecond) // what the collection left to do
		before := cpu()
		<-time.After(span)
		return micros(cpu()-before) / span.Seconds()
	}
	var without, with []float64
	for b.Loop() {
		without = append(without, idle())
		client := dialIPC(b, address)
		for range 1000 {
			if _, err := client.Say(context.Background(), &echov1.SayRequest{Text: "x"}); err != nil {
				b.Fatal(err)
			}
		}
		with = append(with, idle())
	}
	slices.Sort(without)
	slices.Sort(with)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(without[len(without)/2], "without-µs/s")
	b.ReportMetric(with[len(with)/2], "with-µs/s")
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf returns the processor time that another process has used so far.
func cpuOf(b *testing.B, p *os.Process) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // behind the name
	var user, system int
	fields := strings.Fields(rest)
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}
