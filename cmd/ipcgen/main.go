// Ipcgen generates typed clients and servers from .proto files. Its help tells how: ipcgen help generate.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"
)

// What the process ends with.
const (
	exitOK    = 0
	exitInput = 1 // what was to be generated is wrong, or --check found differences
	exitUsage = 2 // the command line is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200) // an eighth of the time for thousands of files; the process ends before its garbage matters
	}
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// A usageError is a command line that is wrong.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errReported is for what was said on stderr already.
var errReported = errors.New("reported")

// run runs a command line and returns what the process is to end with.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := newApp(stdout, stderr).RunContext(ctx, args)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitInput
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "ipcgen: %v\n", err)
		return exitUsage
	case errors.Is(err, context.Canceled): // not ctx.Err: that may have ended while another error came about
		fmt.Fprintln(stderr, "ipcgen: interrupted; nothing was written")
		return exitInput
	default:
		fmt.Fprintf(stderr, "ipcgen: %v\n", err)
		return exitInput
	}
}

func newApp(stdout, stderr io.Writer) *cli.App {
	onUsage := func(c *cli.Context, err error, _ bool) error {
		hint := "see ipcgen help " + c.Command.Name
		if bad, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: "); ok {
			if dir, ok := strings.CutPrefix(bad, "-I"); ok && c.Command.Name == "generate" {
				return usagef("%s: write it with a space: -I %s", bad, dir) // protoc takes it without
			}
			var names []string
			for _, f := range c.Command.VisibleFlags() {
				names = append(names, "--"+f.Names()[0])
			}
			hint = "there is: " + strings.Join(names, ", ")
		}
		return usagef("%w; %s", err, hint)
	}
	app := &cli.App{
		Name:                 "ipcgen",
		Usage:                "typed clients and servers between processes, from .proto files",
		UsageText:            "ipcgen COMMAND [OPTIONS] [FILE...]",
		HideVersion:          true,
		EnableBashCompletion: true,
		Flags:                []cli.Flag{&cli.BoolFlag{Name: "version", Usage: "print the version"}},
		Writer:               stdout,
		ErrWriter:            stderr,
		ExitErrHandler:       func(*cli.Context, error) {}, // run decides
		OnUsageError:         onUsage,
		Commands: []*cli.Command{
			generateCommand(stderr),
			optionsCommand(),
			completionCommand(),
			{Name: "version", Usage: "print the version", Action: printVersion},
		},
	}
	app.Action = func(c *cli.Context) error {
		if c.Bool("version") {
			return printVersion(c)
		}
		if !c.Args().Present() {
			return cli.ShowAppHelp(c)
		}
		var names []string
		for _, command := range app.VisibleCommands() {
			names = append(names, command.Name)
		}
		return usagef("there is no command %q; there is: %s", c.Args().First(), strings.Join(names, ", "))
	}
	for _, c := range app.Commands {
		c.OnUsageError = onUsage
	}
	return app
}

// printVersion prints the version of the module, of Go, and of the platform.
func printVersion(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("version takes no argument, but %s is given", c.Args().First())
	}
	version := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	_, err := fmt.Fprintf(c.App.Writer, "ipcgen %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
