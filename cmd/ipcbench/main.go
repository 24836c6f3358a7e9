// Ipcbench measures what calls between two processes of this machine cost, transport by transport, for whoever has to
// choose one. Its help tells how: ipcbench --help.
//
// It is two processes: the client, which measures and reports, and for each transport a server, which is the same program
// started again. What they say to each other is in bench.proto; the code on both sides is what ipcgen generates of it, and
// every setting is the default, so that the figures are those that users get.
package main

//go:generate go run ../ipcgen generate -I . --lang go --out benchv1 bench.proto

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// What the process ends with.
const (
	exitOK     = 0
	exitFailed = 1 // nothing was measured, or not all
	exitUsage  = 2 // the command line is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// A usageError is a command line that is wrong.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run runs a command line and returns what the process is to end with.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := newApp(stdout, stderr).RunContext(ctx, args)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "ipcbench: %v\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "ipcbench: %v\n", err)
		return exitFailed
	}
}

const help = `For each kind of call, number of callers, size of message and transport ipcbench starts a server, calls it from this
process, and prints latencies, rates and processor time. The transports take turns, in rounds, so that what else the
machine does meets them alike; each figure is the median of the rounds'. Interrupted, it prints what it has by then.

TRANSPORTS:
%s   Beside them stand floors, which show what the protocol costs: the same bytes over a bare unix or TCP socket, written
   together where there are several; and two goroutines that spin on memory which both processes have mapped.

KINDS:
%s
SIZES are of one message as it is encoded: 32, 4KiB, 1MiB. MB/s are the messages' bytes, in both directions. CALLERS
share one connection.

EXAMPLES:
   ipcbench                                        choose a transport: 20 seconds
   ipcbench --quick                                a first impression: 3 seconds
   ipcbench --svg plot.svg --json result.json      to look at, and to compare with later
   ipcbench -t unix,tcp -k unary -s 200 -c 1,8,64  what my program does
   ipcbench -t all -k all --duration 2m            everything`

func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:            "ipcbench",
		Usage:           "measure calls between two processes on this machine, by transport",
		UsageText:       "ipcbench [OPTIONS]",
		Description:     fmt.Sprintf(help, describe(transports, func(t transport) (string, string) { return t.name, t.what }), describe(kinds, func(k kind) (string, string) { return k.name, k.what })),
		HideVersion:     true,
		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       stderr,
		ExitErrHandler:  func(*cli.Context, error) {}, // run decides
		OnUsageError: func(c *cli.Context, err error, _ bool) error {
			return usagef("%w; see ipcbench --help", err)
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "transport", Aliases: []string{"t"}, Value: "unix,shm,tcp,exec", Usage: "measure `TRANSPORTS`, separated by commas, or all"},
			&cli.StringFlag{Name: "kind", Aliases: []string{"k"}, Value: "unary,server-stream", Usage: "measure `KINDS` of calls, separated by commas, or all"},
			&cli.StringFlag{Name: "size", Aliases: []string{"s"}, Value: "32,512,8KiB,128KiB,1MiB", Usage: "with messages of `SIZES`, separated by commas"},
			&cli.StringFlag{Name: "callers", Aliases: []string{"c"}, Value: "1,64", Usage: "with so many callers at a time: `NUMBERS`, separated by commas"},
			&cli.DurationFlag{Name: "duration", Aliases: []string{"d"}, Value: standardDuration, Usage: "take about `TIME` in all; longer where that does not suffice to measure everything once"},
			&cli.BoolFlag{Name: "quick", Aliases: []string{"q"}, Usage: fmt.Sprintf("the same as --duration %v", quickDuration)},
			&cli.BoolFlag{Name: "no-floors", Usage: "measure no floors"},
			&cli.StringFlag{Name: "json", Usage: "write all results to `FILE` as JSON; - is stdout, in place of the tables"},
			&cli.StringFlag{Name: "svg", Usage: "write a plot of latency and throughput by size to `FILE`; - is stdout, in place of the tables"},
		},
		Commands: []*cli.Command{{Name: "serve", Hidden: true, HideHelpCommand: true, Action: func(c *cli.Context) error { return serve(c.Context) }}},
		Action: func(c *cli.Context) error {
			s, err := settingsOf(c)
			if err != nil {
				return err
			}
			return s.run(c.Context, stdout, stderr)
		},
	}
}

// describe lists names with what they are, for the help.
func describe[T any](all []T, of func(T) (name, what string)) string {
	var b strings.Builder
	for _, x := range all {
		name, what := of(x)
		fmt.Fprintf(&b, "   %-14s %s\n", name, what)
	}
	return b.String()
}
