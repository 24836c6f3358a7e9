package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// asProgram makes the test binary the program.
const asProgram = "IPCBENCH_TEST_MAIN"

// TestMain lets the test be what is started as a server.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" || len(os.Args) == 2 && os.Args[1] == "serve" {
		main()
		return
	}
	// A server is not waited for, and with the race detector it takes a second to end; TestEnd sees that it does.
	const pipe = "github.com/ipcgen/ipcgen/runtime/transport/pipe."
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(pipe+"Exec.func2"), goleak.IgnoreAnyFunction(pipe+"(*child).killAfter"))
}

func needPipes(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the runtime has no pipes on Windows yet")
	}
}

// measured runs the program and returns its three outputs.
func measured(t *testing.T, args ...string) (table string, r *report, svg []byte) {
	t.Helper()
	needPipes(t)
	tmp, dir := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	jsonFile, svgFile := filepath.Join(dir, "result.json"), filepath.Join(dir, "plot.svg")
	var stdout, stderr bytes.Buffer
	args = append([]string{"ipcbench", "--json", jsonFile, "--svg", svgFile}, args...)
	if code := run(t.Context(), args, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Fatalf("ended with %d and said %q", code, &stderr)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	b, err := os.ReadFile(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	r = &report{}
	if err := d.Decode(r); err != nil {
		t.Fatal(err)
	}
	if svg, err = os.ReadFile(svgFile); err != nil {
		t.Fatal(err)
	}
	return stdout.String(), r, svg
}

// TestRun measures every kind of call over two transports and a floor, briefly.
func TestRun(t *testing.T) {
	table, r, svg := measured(t, "-t", "unix,exec", "-k", "all", "-s", "32,4KiB", "-c", "1,3", "-d", "100ms")
	var got, want []string
	for _, res := range r.Results {
		got = append(got, fmt.Sprint(res.Kind, res.Callers, res.Size, res.Transport))
		checkResult(t, res)
	}
	for _, kind := range []string{"unary", "oneway", "server-stream", "client-stream", "bidi"} {
		for _, callers := range []int{1, 3} {
			for _, size := range []int{32, 4096} {
				for _, transport := range []string{"unix", "bare unix", "exec"} {
					if transport != "bare unix" || kind != "oneway" && kind != "client-stream" {
						want = append(want, fmt.Sprint(kind, callers, size, transport))
					}
				}
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("what was measured (-want +got):\n%s", d)
	}
	if !r.Complete || r.Rounds < 1 || r.Seconds <= 0 {
		t.Errorf("complete %t, %d rounds, %v s", r.Complete, r.Rounds, r.Seconds)
	}
	if r.Machine.Processors != runtime.NumCPU() || r.Machine.Go != runtime.Version() {
		t.Errorf("the machine is said to be %v", r.Machine)
	}
	for _, s := range r.sections() {
		if !strings.Contains(table, "\n"+s.title()+"\n") {
			t.Errorf("the table has no section %q:\n%s", s.title(), table)
		}
	}
	checkSVG(t, svg, r)
}

// checkResult checks what must hold of any measurement.
func checkResult(t *testing.T, r result) {
	t.Helper()
	name := fmt.Sprintf("%s, %d callers, %d B, %s", r.Kind, r.Callers, r.Size, r.Transport)
	k := kindNamed(r.Kind)
	if r.Operations < r.Callers || r.Operations%r.Callers != 0 || r.Messages <= 0 || r.Client <= 0 {
		t.Errorf("%s: %d operations, %v messages a second, %v µs of processor time", name, r.Operations, r.Messages, r.Client)
	}
	if r.Server == nil || *r.Server <= 0 {
		t.Errorf("%s: the server has used no processor time", name)
	}
	if r.Floor != (r.Transport == "bare unix") {
		t.Errorf("%s: floor is %t", name, r.Floor)
	}
	if got := r.Bytes / r.Messages; got < float64(r.Size)*0.999 || got > float64(r.Size)*1.001 {
		t.Errorf("%s: %v bytes a message", name, got)
	}
	if (r.P50 != nil) != k.timed || (r.P90 != nil) != k.timed || (r.P99 != nil) != k.timed || (r.Calls != nil) != k.isCall {
		t.Errorf("%s has p50 %v, p90 %v, p99 %v, calls %v", name, r.P50, r.P90, r.P99, r.Calls)
		return
	}
	if k.isCall && *r.Calls*float64(k.messages) != r.Messages {
		t.Errorf("%s: %v calls and %v messages a second", name, *r.Calls, r.Messages)
	}
	if !k.timed {
		return
	}
	if *r.P50 <= 0 || *r.P50 > *r.P90 || *r.P90 > *r.P99 {
		t.Errorf("%s: p50 %v, p90 %v, p99 %v", name, *r.P50, *r.P90, *r.P99)
	}
	// Half of the operations take p50 or longer, so that a caller does not do more than 2 in that time.
	if most := 2.05 * float64(r.Callers) * 1e6 / *r.P50; r.Messages/float64(k.messages) > most {
		t.Errorf("%s: p50 %v µs, but %v operations a second", name, *r.P50, r.Messages/float64(k.messages))
	}
}

// checkSVG checks that each subject has its line in each panel, with a point for each size, within the picture.
func checkSVG(t *testing.T, svg []byte, r *report) {
	t.Helper()
	var texts []string
	var points []int
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.CharData:
			texts = append(texts, string(token))
		case xml.StartElement:
			for _, a := range token.Attr {
				if a.Name.Local == "points" {
					points = append(points, len(strings.Fields(a.Value)))
				}
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("%s has %s=%q", token.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
	var want []int
	for _, s := range r.sections() {
		sizes := map[string]int{}
		for _, res := range s.results {
			sizes[res.Transport]++
		}
		for _, n := range sizes {
			want = append(want, n)
			if s.kind.timed {
				want = append(want, n)
			}
		}
		if what := s.title() + ": throughput"; !slices.Contains(texts, what) {
			t.Errorf("the plot does not say %q", what)
		}
	}
	slices.Sort(points)
	slices.Sort(want)
	if d := cmp.Diff(want, points); d != "" {
		t.Errorf("points of lines (-want +got):\n%s", d)
	}
	for _, name := range r.subjects() {
		if !slices.Contains(texts, name) {
			t.Errorf("the legend has no %q", name)
		}
	}
}

// TestTransports: the others can be measured as well, each with its floor.
func TestTransports(t *testing.T) {
	args := []string{"-t", "tcp,fifo,local", "-k", "unary", "-s", "32", "-c", "1", "-d", "20ms"}
	want := []string{"tcp", "bare tcp", "fifo", "local"}
	if runtime.GOOS == "linux" {
		args[1], want = "shm,"+args[1], append([]string{"shm"}, want...)
		if runtime.GOMAXPROCS(0) > 1 {
			want = slices.Insert(want, 1, "bare shm")
		} else {
			args = append(args, "--no-floors")
			want = slices.DeleteFunc(want, func(s string) bool { return s == "bare tcp" })
		}
	}
	_, r, svg := measured(t, args...)
	if got := r.subjects(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, res := range r.Results {
		if (res.Server == nil) != (res.Transport == "local") {
			t.Errorf("the processor time of the server of %s is %v", res.Transport, res.Server)
		}
	}
	checkSVG(t, svg, r)
}

func TestNoFloors(t *testing.T) {
	table, r, _ := measured(t, "-t", "unix", "-k", "server-stream", "-s", "32", "-c", "1", "-d", "20ms", "--no-floors")
	if got := r.subjects(); !slices.Equal(got, []string{"unix"}) {
		t.Errorf("got %q, want only unix", got)
	}
	if strings.Contains(table, "p50") {
		t.Errorf("messages of a stream have no latency:\n%s", table)
	}
}

// TestStdout: what is asked for on stdout comes alone.
func TestStdout(t *testing.T) {
	needPipes(t)
	var stdout, stderr bytes.Buffer
	args := []string{"ipcbench", "-t", "exec", "-k", "unary", "-s", "32", "-c", "1", "-d", "20ms", "--json", "-"}
	if code := run(t.Context(), args, &stdout, &stderr); code != exitOK {
		t.Fatalf("ended with %d and said %q", code, &stderr)
	}
	if !json.Valid(stdout.Bytes()) {
		t.Errorf("not JSON alone: %s", &stdout)
	}
}

// TestUsage: what is wrong with a command line is said before anything is started.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-t unix,carrier", exitUsage, `--transport unix,carrier: there is no "carrier"; want some of unix, shm, tcp, exec, fifo, local, separated by commas, or all`},
		{"-k sonata", exitUsage, `--kind sonata: there is no "sonata"; want some of unary, oneway, server-stream, client-stream, bidi, separated by commas, or all`},
		{"-t=", exitUsage, `--transport : there is no ""; want some of`},
		{"-s 32,4KB", exitUsage, `--size 32,4KB: "4KB": want bytes, such as 32, 4KiB or 1MiB`},
		{"-s 0", exitUsage, `--size 0: "0": want 8 B to 4 MiB`},
		{"-s -4KiB", exitUsage, `--size -4KiB: "-4KiB": want 8 B to 4 MiB`},
		{"-s 9007199254740993KiB", exitUsage, `"9007199254740993KiB": want 8 B to 4 MiB`},
		{"-s 5MiB", exitUsage, `"5MiB": want 8 B to 4 MiB`},
		{"-t tcp -s 2MiB", exitUsage, "--size 2 MiB: over tcp a message has at most 1 MiB by default; leave out the one or the other"},
		{"-c 1,0", exitUsage, `--callers 1,0: "0": want a number from 1 to 1024`},
		{"-c many", exitUsage, `--callers many: "many": want a number from 1 to 1024`},
		{"-d 0s", exitUsage, "--duration 0s: want more than nothing, such as 20s"},
		{"-d 5", exitUsage, "see ipcbench --help"},
		{"-q -d 5s", exitUsage, "--quick and --duration are both given"},
		{"--json - --svg -", exitUsage, "--json and --svg both write to -"},
		{"--fast", exitUsage, "flag provided but not defined: -fast; see ipcbench --help"},
		{"unix", exitUsage, `"unix": there are only options; see ipcbench --help`},
		{"--svg no/such/folder/plot.svg", exitFailed, "no/such/folder/plot.svg"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // should it be taken for right, it still measures nothing
			code := run(ctx, append([]string{"ipcbench"}, strings.Fields(c.args)...), &stdout, &stderr)
			if code != c.code || !strings.Contains(stderr.String(), c.want) || stdout.Len() > 0 {
				t.Errorf("ended with %d, said %q, printed %q; want %d and %q", code, &stderr, &stdout, c.code, c.want)
			}
		})
	}
}

// TestHelp: the help names all there is, and its examples are right.
func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"ipcbench", "--help"}, &stdout, &stderr); code != exitOK {
		t.Fatalf("ended with %d: %s", code, &stderr)
	}
	for _, tr := range transports {
		if !strings.Contains(stdout.String(), tr.what) {
			t.Errorf("no word about %s", tr.name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Chdir(t.TempDir()) // where some write
	examples := 0
	for line := range strings.Lines(stdout.String()) {
		command, _, isExample := strings.Cut(strings.TrimSpace(line), "  ")
		if !isExample || !strings.HasPrefix(command, "ipcbench") {
			continue
		}
		examples++
		stderr.Reset()
		if code := run(ctx, strings.Fields(command), io.Discard, &stderr); code == exitUsage {
			t.Errorf("%s: %s", command, &stderr)
		}
	}
	if examples < 3 {
		t.Errorf("found %d examples", examples)
	}
}

// TestFiles: a file that nothing is written to is as it was before.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.json")
	if err := os.WriteFile(old, []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	args := []string{"ipcbench", "-t", "exec", "--json", old, "--svg", filepath.Join(dir, "new.svg")}
	var stdout, stderr bytes.Buffer
	if code := run(ctx, args, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("ended with %d and said %q", code, &stderr)
	}
	if b, err := os.ReadFile(old); err != nil || string(b) != "{}" {
		t.Errorf("the old file is %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "new.svg")); !os.IsNotExist(err) {
		t.Errorf("the new file is there: %v", err)
	}
}
