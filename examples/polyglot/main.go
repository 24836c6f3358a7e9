// Polyglot is one program in three languages: this Go program measures, a Python worker computes, a TypeScript worker
// writes the report. Go starts the two and talks to them over their stdin and stdout; they call it back over the same
// connections; and when one of them dies, Go starts it again and goes on.
//
//	go run ./examples/polyglot
//
// polyglot.proto says what they say to each other. The workers are python/worker.py and typescript/worker.ts; worker.go
// starts them, station.go is what they call back, needs.go says what to install where something is missing.
package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"math"
	"os"
	"os/signal"
	"slices"

	"github.com/ipcgen/ipcgen/examples/polyglot/polyglotv1"
	"github.com/ipcgen/ipcgen/runtime/ipc"
)

//go:generate go run ../../cmd/ipcgen generate -I . --lang go --out polyglotv1 polyglot.proto
//go:generate go run ../../cmd/ipcgen generate -I . --lang python --out python polyglot.proto
//go:generate go run ../../cmd/ipcgen generate -I . --lang typescript --out typescript polyglot.proto

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, log.New(os.Stdout, "", 0)); err != nil {
		fmt.Fprintln(os.Stderr, "polyglot:", err)
		os.Exit(1)
	}
}

// run does all of it, and says what happens. Workers that call back say so in between, on goroutines of their own.
func run(ctx context.Context, out *log.Logger) error {
	commands, err := find()
	if err != nil {
		return err
	}
	out.Printf("This is process %d, a Go program. It has %d samples of its sensors.", os.Getpid(), samplesOfEach*len(sensors))
	house := &station{out: out}
	python := &worker{name: "Python", command: commands.python, station: house, out: out}
	defer python.close()
	node := &worker{name: "TypeScript", command: commands.node, station: house, out: out}
	defer node.close()

	out.Print("\nPython computes, and TypeScript writes")
	summary, err := summarize(ctx, python, samples())
	if err != nil {
		return err
	}
	if err := render(ctx, out, node, summary); err != nil {
		return err
	}

	out.Print("\nAn error of Go, through Python, is still what it was")
	if err := mistake(ctx, out, python); err != nil {
		return err
	}

	out.Print("\nPython is killed while it computes")
	if err := killed(ctx, out, python); err != nil {
		return err
	}
	again, err := summarize(ctx, python, samples())
	if err != nil {
		return err
	}
	if !again.Equal(summary) {
		return errors.New("the new Python worker computes something else")
	}
	out.Print("  the samples sent again      the summary is the same")

	out.Print("\nTypeScript is killed, too")
	if err := node.kill(); err != nil {
		return err
	}
	return render(ctx, out, node, again)
}

const samplesOfEach = 1000

// samples are what the sensors measured: waves, so that the numbers are the same each time.
func samples() iter.Seq[*polyglotv1.Sample] {
	return func(yield func(*polyglotv1.Sample) bool) {
		for i := range samplesOfEach {
			for n, name := range []string{"attic", "cellar", "meter"} {
				value := float64(20*n) + 5*math.Sin(float64(i)/float64(50*(n+1)))
				if !yield(&polyglotv1.Sample{Sensor: name, Value: value}) {
					return
				}
			}
		}
	}
}

// summarize streams samples to Python. A call that a worker's death has ended is made again with the next worker: this
// one changes nothing, so it may be made twice.
func summarize(ctx context.Context, python *worker, in iter.Seq[*polyglotv1.Sample]) (*polyglotv1.Summary, error) {
	var summary *polyglotv1.Summary
	err := python.do(ctx, func(conn *ipc.Conn) (err error) {
		summary, err = polyglotv1.NewStatisticsClient(conn).Summarize(ctx, in)
		return err
	})
	return summary, err
}

// render has TypeScript write the report, and shows it.
func render(ctx context.Context, out *log.Logger, node *worker, summary *polyglotv1.Summary) error {
	var lines []string
	err := node.do(ctx, func(conn *ipc.Conn) error {
		lines = nil
		for line, err := range polyglotv1.NewReporterClient(conn).Render(ctx, summary) {
			if err != nil {
				return err
			}
			lines = append(lines, line.Text)
		}
		return nil
	})
	for _, line := range lines {
		out.Print("    " + line)
	}
	return err
}

// mistake sends a sample of a sensor that is not there. Python asks Go about it, Go answers with an error that the schema
// declares, Python passes that on.
func mistake(ctx context.Context, out *log.Logger, python *worker) error {
	_, err := summarize(ctx, python, slices.Values([]*polyglotv1.Sample{{Sensor: "garage", Value: 1}}))
	var unknown *polyglotv1.UnknownSensor
	if !errors.As(err, &unknown) {
		return fmt.Errorf("want an UnknownSensor, got %w", err)
	}
	out.Printf("  a sample of the garage      %v, and as a Go type: UnknownSensor{Sensor: %q}", ipc.CodeOf(err), unknown.Sensor)
	return nil
}

// killed kills the worker in the middle of a call. The call ends at once, and the error says that it may have been executed.
func killed(ctx context.Context, out *log.Logger, python *worker) error {
	conn, err := python.connect(ctx)
	if err != nil {
		return err
	}
	var died error
	endless := func(yield func(*polyglotv1.Sample) bool) {
		for i := 0; yield(&polyglotv1.Sample{Sensor: "attic"}); i++ {
			if i == samplesOfEach {
				died = python.kill()
			}
		}
	}
	_, err = polyglotv1.NewStatisticsClient(conn).Summarize(ctx, endless)
	if died != nil || ipc.CodeOf(err) != ipc.Unavailable {
		return fmt.Errorf("want UNAVAILABLE, got %w; killing: %v", err, died)
	}
	var e *ipc.Error
	out.Printf("  the call that was running   %v, not executed for certain: %v", ipc.CodeOf(err), errors.As(err, &e) && e.NotExecuted)
	return nil
}
