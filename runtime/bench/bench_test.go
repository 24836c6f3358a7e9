// Package bench measures calls between two processes beside what the same bytes cost without a protocol, and beside
// grpc-go. It is a module of its own so that users of ipcgen download none of the peers.
//
//	go test -bench . -benchtime 2s
//
// Every figure of a benchmark is taken in turns with those it is compared with, in one run, with default settings on
// both sides. The server is another process: this test binary, started again.
package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
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

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

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
	"floor":  serveFloor,
	"ipcgen": serveIPC,
	"grpc":   serveGRPC,
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

// The floor: a length of 4 bytes and so many bytes, sent back.

func serveFloor(address string, ready func()) error {
	network, where, _ := strings.Cut(address, ":")
	l, err := net.Listen(network, where)
	if err != nil {
		return err
	}
	ready()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			buf := make([]byte, 2<<20)
			for {
				n, err := readFrame(c, buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// readFrame reads a length and what follows; it returns the length of both.
func readFrame(c net.Conn, buf []byte) (int, error) {
	n := 0
	for {
		k, err := c.Read(buf[n:])
		if err != nil {
			return 0, err
		}
		n += k
		if n >= 4 {
			if size := 4 + int(binary.LittleEndian.Uint32(buf)); n >= size {
				return size, nil
			}
		}
	}
}

type floorClient struct {
	c        net.Conn
	out, buf []byte
}

func dialFloor(b *testing.B, address string, size int) *floorClient {
	network, where, _ := strings.Cut(address, ":")
	c, err := net.Dial(network, where)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	f := &floorClient{c: c, out: make([]byte, 4+size), buf: make([]byte, 2<<20)}
	binary.LittleEndian.PutUint32(f.out, uint32(size))
	return f
}

func (f *floorClient) call() error {
	if _, err := f.c.Write(f.out); err != nil {
		return err
	}
	_, err := readFrame(f.c, f.buf)
	return err
}

// ipcgen.

type echo struct{ echov1.UnimplementedEcho }

func (echo) Say(_ context.Context, req *echov1.SayRequest) (*echov1.SayResponse, error) {
	return &echov1.SayResponse{Text: req.Text}, nil
}

func (echo) Repeat(_ context.Context, req *echov1.SayRequest, send func(*echov1.SayResponse) error) error {
	res := &echov1.SayResponse{Text: req.Text}
	for range req.Times {
		if err := send(res); err != nil {
			return err
		}
	}
	return nil
}

func (echo) Join(_ context.Context, in iter.Seq2[*echov1.SayRequest, error]) (*echov1.SayResponse, error) {
	for _, err := range in {
		if err != nil {
			return nil, err
		}
	}
	return &echov1.SayResponse{}, nil
}

func serveIPC(address string, ready func()) error {
	l, err := (&ipc.Endpoint{Services: []ipc.Service{echov1.NewEchoService(echo{})}}).Listen(context.Background(), address)
	if err != nil {
		return err
	}
	ready()
	return l.Serve(context.Background())
}

func dialIPC(b *testing.B, address string) *echov1.EchoClient {
	conn, err := ipc.Dial(context.Background(), address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return echov1.NewEchoClient(conn)
}

// grpc-go, with a message of its own library.

type grpcServer interface{}

func grpcEcho(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(wrapperspb.BytesValue)
	if err := dec(in); err != nil {
		return nil, err
	}
	return &wrapperspb.BytesValue{Value: in.Value}, nil
}

func grpcRepeat(_ any, stream grpc.ServerStream) error {
	in := new(wrapperspb.BytesValue)
	if err := stream.RecvMsg(in); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(in.Value)
	res := &wrapperspb.BytesValue{Value: in.Value}
	for range n {
		if err := stream.SendMsg(res); err != nil {
			return err
		}
	}
	return nil
}

var grpcDesc = grpc.ServiceDesc{ServiceName: "bench.Echo", HandlerType: (*grpcServer)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: grpcEcho}},
	Streams: []grpc.StreamDesc{{StreamName: "Repeat", Handler: grpcRepeat, ServerStreams: true}}}

func serveGRPC(address string, ready func()) error {
	network, where, _ := strings.Cut(address, ":")
	l, err := net.Listen(network, where)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	s.RegisterService(&grpcDesc, struct{}{})
	ready()
	return s.Serve(l)
}

func dialGRPC(b *testing.B, address string) *grpc.ClientConn {
	_, where, _ := strings.Cut(address, ":")
	c, err := grpc.NewClient("unix:"+where, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// A subject is one thing that is measured.
type subject struct {
	name string
	call func() error
}

// textOf returns a text that takes size bytes in a message: with its tag and length.
func textOf(size int) string {
	return strings.Repeat("x", size-1-len(binary.AppendUvarint(nil, uint64(size))))
}

// subjects are the floor, ipcgen over address and grpc-go, each with a server of its own, for messages of size bytes.
func subjects(b *testing.B, size int) []subject {
	dir := b.TempDir()
	at := func(name string) string { return "unix:" + filepath.Join(dir, name) }
	start(b, "floor", at("floor"))
	start(b, "ipcgen", at("ipcgen"))
	start(b, "grpc", at("grpc"))
	tcpAddress := freeTCP(b)
	start(b, "ipcgen", tcpAddress)
	floor := dialFloor(b, at("floor"), size)
	req := &echov1.SayRequest{Text: textOf(size)}
	unix, tcp, g := dialIPC(b, at("ipcgen")), dialIPC(b, tcpAddress), dialGRPC(b, at("grpc"))
	shm := dialIPC(b, "shm:"+filepath.Join(dir, "ipcgen")) // the same server
	greq := &wrapperspb.BytesValue{Value: []byte(req.Text)}
	say := func(c *echov1.EchoClient) func() error {
		return func() error {
			_, err := c.Say(context.Background(), req)
			return err
		}
	}
	return []subject{
		{"floor", floor.call},
		{"unix", say(unix)},
		{"shm", say(shm)},
		{"tcp", say(tcp)},
		{"grpc", func() error {
			return g.Invoke(context.Background(), "/bench.Echo/Say", greq, new(wrapperspb.BytesValue))
		}},
	}
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

// BenchmarkUnary has one caller. It reports the median of each subject in microseconds, and unix/floor.
func BenchmarkUnary(b *testing.B) {
	for _, size := range []int{32, 4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size, "B"), func(b *testing.B) {
			all := subjects(b, size)
			round := max(10, min(500, 4<<20/size))
			times := make([][]time.Duration, len(all))
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
			}
			b.ReportMetric(0, "ns/op")
			for i, s := range all {
				b.ReportMetric(micros(median(times[i])), s.name+"-p50-µs")
			}
			b.ReportMetric(float64(median(times[1]))/float64(median(times[0])), "unix/floor")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// BenchmarkCallers has 64 callers of 32 bytes on one connection. It reports thousands of calls a second.
func BenchmarkCallers(b *testing.B) {
	const callers = 64
	all := subjects(b, 32)
	all = slices.DeleteFunc(all, func(s subject) bool { return s.name == "floor" }) // one connection, one caller
	total := make([]time.Duration, len(all))
	count := make([]int, len(all))
	for b.Loop() {
		for i, s := range all {
			const each = 200
			begin := time.Now()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range each {
						if err := s.call(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			total[i] += time.Since(begin)
			count[i] += callers * each
		}
	}
	b.ReportMetric(0, "ns/op")
	rate := map[string]float64{}
	for i, s := range all {
		rate[s.name] = float64(count[i]) / total[i].Seconds()
		b.ReportMetric(rate[s.name]/1000, s.name+"-kcalls/s")
	}
	b.ReportMetric(rate["unix"]/rate["grpc"], "unix/grpc")
}

// BenchmarkStream is a server stream. It reports thousands of messages a second.
func BenchmarkStream(b *testing.B) {
	for _, c := range []struct{ size, n int }{{32, 100000}, {1 << 20, 100}} {
		b.Run(fmt.Sprint(c.size, "B"), func(b *testing.B) {
			dir := b.TempDir()
			at := func(name string) string { return "unix:" + filepath.Join(dir, name) }
			start(b, "ipcgen", at("ipcgen"))
			start(b, "grpc", at("grpc"))
			client, g := dialIPC(b, at("ipcgen")), dialGRPC(b, at("grpc"))
			data := make([]byte, c.size)
			binary.LittleEndian.PutUint64(data, uint64(c.n))
			var ours, theirs time.Duration
			rounds := 0
			for b.Loop() {
				rounds++
				begin := time.Now()
				n := 0
				for _, err := range client.Repeat(context.Background(), &echov1.SayRequest{Text: textOf(c.size), Times: uint32(c.n)}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				ours += time.Since(begin)
				begin = time.Now()
				st, err := g.NewStream(context.Background(), &grpcDesc.Streams[0], "/bench.Echo/Repeat")
				if err != nil {
					b.Fatal(err)
				}
				st.SendMsg(&wrapperspb.BytesValue{Value: data})
				st.CloseSend()
				m := 0
				for {
					if err := st.RecvMsg(new(wrapperspb.BytesValue)); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
					m++
				}
				theirs += time.Since(begin)
				if n != c.n || m != c.n {
					b.Fatalf("got %d and %d messages, want %d", n, m, c.n)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(rounds*c.n)/ours.Seconds()/1000, "unix-kmsg/s")
			b.ReportMetric(float64(rounds*c.n)/theirs.Seconds()/1000, "grpc-kmsg/s")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "unix/grpc")
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
	address := "unix:" + filepath.Join(b.TempDir(), "s")
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
