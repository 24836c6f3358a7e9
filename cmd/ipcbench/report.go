package main

import (
	"encoding/json"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report is what a run found, and the form of --json.
type report struct {
	Machine  machine  `json:"machine"`
	Rounds   int      `json:"rounds"` // complete ones
	Seconds  float64  `json:"seconds"`
	Complete bool     `json:"complete"` // it was not interrupted, and nothing failed
	Results  []result `json:"results"`
}

// A machine is where the figures are from.
type machine struct {
	Processor  string `json:"processor"` // its model, where the system tells
	Processors int    `json:"processors"`
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Go         string `json:"go"`
}

// A result is one subject in one cell. Each figure is the median of the rounds', so that one in which the machine was busy
// with something else does not count; latencies are null where an operation of the kind has none, and calls where the
// operations are messages.
type result struct {
	Kind      string `json:"kind"`
	Callers   int    `json:"callers"`
	Size      int    `json:"size_bytes"`
	Transport string `json:"transport"`
	Floor     bool   `json:"floor"`

	Operations int      `json:"operations"` // that were measured, in all rounds
	P50        *float64 `json:"p50_us"`
	P90        *float64 `json:"p90_us"`
	P99        *float64 `json:"p99_us"`
	Calls      *float64 `json:"calls_per_second"`
	Messages   float64  `json:"messages_per_second"` // in both directions
	Bytes      float64  `json:"bytes_per_second"`    // of messages, in both directions
	// The processor time of an operation, in the client's and in the server's process; null where that is the client's.
	Client float64  `json:"client_cpu_us"`
	Server *float64 `json:"server_cpu_us"`
}

func (l *lane) result() result {
	k := l.cell.kind
	rate := l.median(func(s slice) float64 { return float64(s.operations) / s.elapsed.Seconds() })
	r := result{Kind: k.name, Callers: l.cell.callers, Size: l.cell.size, Transport: l.subject.name, Floor: l.subject.floor,
		Messages: rate * float64(k.messages), Bytes: rate * float64(k.messages*l.cell.size),
		Client: l.median(func(s slice) float64 { return micros(s.client) / float64(s.operations) })}
	for _, s := range l.slices {
		r.Operations += s.operations
	}
	if l.subject.control != nil {
		r.Server = pointer(l.median(func(s slice) float64 { return micros(s.server) / float64(s.operations) }))
	}
	if k.timed {
		r.P50 = pointer(l.median(func(s slice) float64 { return micros(s.p50) }))
		r.P90 = pointer(l.median(func(s slice) float64 { return micros(s.p90) }))
		r.P99 = pointer(l.median(func(s slice) float64 { return micros(s.p99) }))
	}
	if k.isCall {
		r.Calls = &rate
	}
	return r
}

// median returns the middle one of the slices' values, the smaller one of two.
func (l *lane) median(value func(slice) float64) float64 {
	var all []float64
	for _, s := range l.slices {
		all = append(all, value(s))
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}

func pointer(v float64) *float64 { return &v }

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func thisMachine() machine {
	return machine{Processor: processor(), Processors: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version()}
}

// processor is the model, as Linux tells it.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m machine) String() string {
	model := m.Processor
	if model == "" {
		model = "unknown processor"
	}
	return model + ", " + count(m.Processors, "processor") + ", " + m.OS + "/" + m.Arch + ", " + m.Go
}

// A section is the results of one kind and number of callers.
type section struct {
	kind    kind
	callers int
	results []result
}

// sections divides the results, whose order is that of the sections.
func (r *report) sections() (all []section) {
	for _, res := range r.Results {
		if n := len(all); n == 0 || all[n-1].kind.name != res.Kind || all[n-1].callers != res.Callers {
			all = append(all, section{kind: kindNamed(res.Kind), callers: res.Callers})
		}
		last := &all[len(all)-1]
		last.results = append(last.results, res)
	}
	return all
}

func kindNamed(name string) kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return kind{name: name}
}

func (s section) title() string { return s.kind.name + ", " + count(s.callers, "caller") }

func writeJSON(w io.Writer, r *report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
