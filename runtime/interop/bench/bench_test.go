//go:build unix

// Package bench measures calls between two processes of Python and of Node, beside those of grpcio and @grpc/grpc-js, all
// over unix sockets and in one run. README.md says what it needs; what is missing is skipped with the reason.
package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:generate go run ../../../cmd/ipcgen generate -I . --lang python --out python bench.proto
//go:generate go run ../../../cmd/ipcgen generate -I . --lang typescript --out node bench.proto

// A program is a server and a client: two commands that know the same arguments.
type program struct {
	name           string
	server, client []string
	missing        string // why it cannot run
}

// programs returns those that are compared: each of ours stands before what it is to be held against.
func programs() []program {
	python := os.Getenv("IPCGEN_PYTHON")
	if python == "" {
		python = "python3"
	}
	script := func(name string) []string {
		paths := strings.Join([]string{"../../python/src", "python"}, string(os.PathListSeparator))
		return []string{"env", "PYTHONPATH=" + paths, python, filepath.Join("python", name+".py")}
	}
	compiled := func(name string) []string {
		return []string{"node", "--preserve-symlinks", filepath.Join("node", "dist", name+".js")}
	}
	noPython := missing("pip install -r runtime/interop/bench/python/requirements.txt", python, "-c", "import grpc, google.protobuf")
	noNode := missing("(cd runtime/interop/bench/node && npm ci && npm run build)", "test", "-f", "node/dist/grpc.js")
	return []program{
		{"python asyncio/ipcgen", script("ipcgen_async"), script("ipcgen_async"), noPython},
		{"python asyncio/grpc.aio", script("grpc_async"), script("grpc_async"), noPython},
		{"python blocking/ipcgen", script("ipcgen_async"), script("ipcgen_sync"), noPython},
		{"python blocking/grpcio", script("grpc_sync"), script("grpc_sync"), noPython},
		{"node/ipcgen", compiled("ipcgen"), compiled("ipcgen"), noNode},
		{"node/grpc-js", compiled("grpc"), compiled("grpc"), noNode},
	}
}

// missing returns what installs what a command needs, where it fails.
func missing(remedy string, command ...string) string {
	if exec.Command(command[0], command[1:]...).Run() != nil {
		return "first: " + remedy
	}
	return ""
}

// A measurement is what a client prints.
type measurement struct {
	Count   int
	Seconds float64
	P50     float64 // seconds
}

// BenchmarkUnary has one caller make one call after the other, with 32 bytes each way.
func BenchmarkUnary(b *testing.B) {
	for _, p := range programs() {
		b.Run(p.name, func(b *testing.B) {
			m := p.measure(b, "call", 5000, 32)
			b.ReportMetric(float64(m.Count)/m.Seconds, "calls/s")
			b.ReportMetric(m.P50*1e6, "p50-µs")
		})
	}
}

// BenchmarkStream has a server send messages of 1 MiB.
func BenchmarkStream(b *testing.B) {
	for _, p := range programs() {
		b.Run(p.name, func(b *testing.B) {
			m := p.measure(b, "stream", 300, 1<<20)
			b.ReportMetric(float64(m.Count)/m.Seconds, "MiB/s")
		})
	}
}

// measure starts the server and, once an iteration, the client, each a process of its own, and returns what the clients
// have measured: all calls, and the median of the last one.
func (p program) measure(b *testing.B, what string, count, size int) (all measurement) {
	b.Helper()
	if p.missing != "" {
		b.Skip(p.missing)
	}
	address := "unix:" + filepath.Join(b.TempDir(), "s")
	serve(b, append(p.server, "serve", address, "0", "0"))
	for b.Loop() {
		client := exec.Command(p.client[0], append(p.client[1:], what, address, fmt.Sprint(count), fmt.Sprint(size))...)
		client.Stderr = os.Stderr
		out, err := client.Output()
		var m measurement
		if err == nil {
			err = json.Unmarshal(out, &m)
		}
		if err != nil {
			b.Fatalf("%s: %v: %s", p.name, err, out)
		}
		all = measurement{all.Count + m.Count, all.Seconds + m.Seconds, m.P50}
	}
	b.ReportMetric(0, "ns/op") // has the start of the clients in it
	return all
}

// serve starts a server, and returns when it listens. It ends with the benchmark.
func serve(b *testing.B, command []string) {
	b.Helper()
	server := exec.Command(command[0], command[1:]...)
	server.Stderr = os.Stderr
	stdout, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		rest, _ := io.ReadAll(stdout)
		b.Fatalf("the server says %q, %v", line+string(rest), err)
	}
}
