package main

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHistogram(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h, other histogram
	var all []time.Duration
	for i := range 100_000 {
		d := time.Duration(math.Exp(r.Float64() * math.Log(float64(30*time.Second)))) // as many of each order of magnitude
		all = append(all, d)
		if i%3 == 0 {
			other.add(d)
		} else {
			h.add(d)
		}
	}
	h.merge(&other)
	slices.Sort(all)
	for _, q := range []float64{0.00001, 0.01, 0.25, 0.5, 0.9, 0.99, 1} {
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		if got := h.quantile(q); math.Abs(float64(got-want)) > 0.01*float64(want) {
			t.Errorf("quantile %v: got %v, want %v within 1 %%", q, got, want)
		}
	}
}

// TestBuckets: buckets follow each other without a gap, and what has none is in the last.
func TestBuckets(t *testing.T) {
	last := bucket(0)
	for v := uint64(1); v < 1<<16; v++ {
		b := bucket(v)
		if b != last && b != last+1 {
			t.Fatalf("%d is in bucket %d, and %d in %d", v-1, last, v, b)
		}
		last = b
	}
	var h histogram
	h.add(-1)
	h.add(math.MaxInt64)
	if h.counts[0] != 1 || h.counts[len(h.counts)-1] != 1 {
		t.Errorf("got %d below and %d above", h.counts[0], h.counts[len(h.counts)-1])
	}
	if got := (&histogram{}).quantile(0.5); got != 0 {
		t.Errorf("the median of nothing is %v", got)
	}
}

// clocked is a subject whose operations take so long, by what it says.
func clocked(name string, each time.Duration, runs *[]string) *subject {
	return &subject{name: name, run: func(_ context.Context, c cell, n int) (s sample, err error) {
		*runs = append(*runs, name)
		for range n * c.callers {
			s.latencies.add(each)
		}
		s.elapsed = time.Duration(n) * each
		return s, nil
	}}
}

// TestRounds: subjects take turns, each for about a slice of each round, and the figures are theirs.
func TestRounds(t *testing.T) {
	var runs []string
	s := settings{kinds: kinds[:1], callers: []int{2}, sizes: []int{32}, duration: time.Hour}
	lanes := s.lanes([]*subject{clocked("slow", time.Second, &runs), clocked("fast", 10*time.Millisecond, &runs)})
	done, err := s.rounds(t.Context(), lanes, newProgress(io.Discard))
	if err != nil || done != rounds {
		t.Fatalf("got %d rounds, %v; want %d", done, err, rounds)
	}
	turns := slices.Compact(runs)
	if want := slices.Repeat([]string{"slow", "fast"}, rounds); !slices.Equal(turns, want) {
		t.Errorf("got turns %q", turns)
	}
	turn := time.Hour / (rounds + 1) / 2
	for _, l := range lanes {
		for _, s := range l.slices {
			if s.elapsed < turn*9/10 || s.elapsed > turn*11/10 {
				t.Errorf("%s was measured for %v, want %v", l.subject.name, s.elapsed, turn)
			}
		}
	}
	r := lanes[1].result()
	if *r.Calls < 199 || *r.Calls > 201 || *r.P50 < 9900 || *r.P50 > 10100 || r.Messages != 2**r.Calls || r.Bytes != 32*r.Messages {
		t.Errorf("two callers of 10 ms: %v calls, %v messages, %v bytes a second, p50 %v µs", *r.Calls, r.Messages, r.Bytes, *r.P50)
	}
}

// TestInterrupted: what was measured before is in the report, which says that it is not complete.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var runs []string
	whole, half := clocked("whole", time.Millisecond, &runs), clocked("half", time.Millisecond, &runs)
	half.run = func(ctx context.Context, _ cell, _ int) (sample, error) {
		cancel()
		return sample{}, ctx.Err()
	}
	tr := func(s *subject) transport {
		return transport{name: s.name, open: func(context.Context, transport, string) (*subject, error) { return s, nil }}
	}
	s := settings{transports: []transport{tr(whole), tr(half)}, kinds: kinds[:1], callers: []int{1}, sizes: []int{32}, duration: time.Second}
	var stdout strings.Builder
	err := s.run(ctx, &stdout, io.Discard)
	if err == nil || err.Error() != "interrupted before the end" {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(stdout.String(), "whole") || strings.Contains(stdout.String(), "half") {
		t.Errorf("printed %s", &stdout)
	}
}

// TestFill: messages are of the size that is asked for, but for those that no length gives.
func TestFill(t *testing.T) {
	for _, size := range []int{8, 32, 129, 512, 8 << 10, 1 << 20, 4 << 20} {
		if got := dataOf(size).Size(); got != size {
			t.Errorf("a message of %d bytes has %d", size, got)
		}
	}
}

// made is a report of two subjects, one of which was measured with one size alone.
func made() *report {
	res := func(transport string, size int, p50 float64) result {
		return result{Kind: "unary", Callers: 1, Size: size, Transport: transport, Floor: strings.HasPrefix(transport, "bare"),
			P50: pointer(p50), P90: pointer(10 * p50), P99: pointer(100 * p50),
			Calls: pointer(1e6 / p50), Messages: 2e6 / p50, Bytes: 2e6 / p50 * float64(size), Client: p50 / 2, Server: pointer(p50 / 4)}
	}
	r := &report{Machine: machine{"<Abacus> & Sons", 2, "linux", "arm", "go1.0"}, Rounds: 1, Seconds: 20.4, Complete: true}
	r.Results = []result{res("unix", 32, 10), res("bare unix", 32, 0.5), res("unix", 4096, 20), res("local", 4096, 2e6)}
	r.Results[3].Server = nil
	return r
}

const wantTable = `<Abacus> & Sons, 2 processors, linux/arm, go1.0; 1 round in 20 s

unary, 1 caller
              size      p50      p90      p99  calls/s  messages/s  MB/s  client CPU  server CPU
  unix        32 B  10.0 µs   100 µs  1.00 ms    100 k       200 k  6.40     5.00 µs     2.50 µs
  bare unix   32 B   500 ns  5.00 µs  50.0 µs   2.00 M      4.00 M   128      250 ns      125 ns

  unix       4 KiB  20.0 µs   200 µs  2.00 ms   50.0 k       100 k   410     10.0 µs     5.00 µs
  local      4 KiB   2.00 s   20.0 s    200 s     0.50        1.00  0.00      1.00 s           -

unary, 1 caller: p50 latency of a call
                32 B    4 KiB
  unix       10.0 µs  20.0 µs
  bare unix   500 ns        -
  local            -   2.00 s

unary, 1 caller: calls a second
               32 B   4 KiB
  unix        100 k  50.0 k
  bare unix  2.00 M       -
  local           -    0.50
`

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := writeTable(&b, made()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wantTable, b.String()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestPlot(t *testing.T) {
	r := made()
	var b strings.Builder
	if err := writeSVG(&b, r); err != nil {
		t.Fatal(err)
	}
	checkSVG(t, []byte(b.String()), r)
	if !strings.Contains(b.String(), "&lt;Abacus&gt; &amp; Sons") {
		t.Error("the processor's name is not text")
	}
	p := r.panels()[0]
	const top, bottom = plotTop, panelHeight - plotBottom
	if p.low != -1 || p.high != 7 || p.y(0.1) != bottom || p.y(1e7) != top || p.y(1e3) != (top+bottom)/2.0 {
		t.Errorf("0.1 to 1e7 is %d to %d; 0.1 is at %v, 1000 at %v, 1e7 at %v", p.low, p.high, p.y(0.1), p.y(1e3), p.y(1e7))
	}
	left, right := p.x(32), p.x(4096)
	if left < plotLeft || right > panelWidth-plotRight || math.Abs(p.x(362.04)-(left+right)/2) > 0.1 {
		t.Errorf("32 is at %v, 362 at %v, 4096 at %v", left, p.x(362.04), right)
	}
}

// TestPlotOfOne: one size and one value have a place as well.
func TestPlotOfOne(t *testing.T) {
	r := made()
	r.Results = r.Results[:1]
	r.Results[0].P50 = pointer(10)
	var b strings.Builder
	if err := writeSVG(&b, r); err != nil {
		t.Fatal(err)
	}
	checkSVG(t, []byte(b.String()), r)
}

func TestSizeName(t *testing.T) {
	for size, want := range map[int]string{8: "8 B", 1023: "1023 B", 1024: "1 KiB", 1025: "1025 B", 1 << 20: "1 MiB", 3 << 19: "1536 KiB"} {
		got := sizeName(size)
		back, err := parseSize(strings.Replace(got, " ", "", 1))
		if got != want || back != size || err != nil {
			t.Errorf("%d is %q, which is read as %d, %v; want %q", size, got, back, err, want)
		}
	}
}

// TestDisturbed: a round in which the machine did something else changes no figure.
func TestDisturbed(t *testing.T) {
	good := slice{operations: 100, elapsed: time.Millisecond, p50: 10 * time.Microsecond, p90: 11 * time.Microsecond,
		p99: 12 * time.Microsecond, client: time.Millisecond, server: 2 * time.Millisecond}
	bad := slice{operations: 1, elapsed: time.Second, p50: time.Second, p90: time.Second, p99: time.Second, client: time.Second, server: time.Second}
	l := &lane{subject: &subject{name: "unix"}, cell: cell{&kinds[0], 1, 32}, slices: []slice{good, bad, good}}
	want := result{Kind: "unary", Callers: 1, Size: 32, Transport: "unix", Operations: 201, P50: pointer(10), P90: pointer(11),
		P99: pointer(12), Calls: pointer(100_000), Messages: 200_000, Bytes: 6_400_000, Client: 10}
	if d := cmp.Diff(want, l.result()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
