package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

const (
	standardDuration = 20 * time.Second
	quickDuration    = 3 * time.Second
	mostCallers      = 1024
	leastSize        = 8 // bytes: a field's tag, its length, and something
)

// settings are what the command line asks for.
type settings struct {
	transports []transport
	named      bool // the user named them, so each has to be there
	kinds      []kind
	sizes      []int // bytes
	callers    []int
	floors     bool
	duration   time.Duration
	json, svg  string // file names; "" is none
}

func settingsOf(c *cli.Context) (s *settings, err error) {
	if c.Args().Present() {
		return nil, usagef("%q: there are only options; see ipcbench --help", c.Args().First())
	}
	s = &settings{named: c.IsSet("transport"), floors: !c.Bool("no-floors"), duration: c.Duration("duration"),
		json: c.String("json"), svg: c.String("svg")}
	if s.transports, err = chosen(c, "transport", transports, func(t transport) string { return t.name }); err != nil {
		return nil, err
	}
	if s.kinds, err = chosen(c, "kind", kinds, func(k kind) string { return k.name }); err != nil {
		return nil, err
	}
	if s.sizes, err = numbers(c, "size", parseSize); err != nil {
		return nil, err
	}
	if s.callers, err = numbers(c, "callers", parseCallers); err != nil {
		return nil, err
	}
	switch {
	case c.Bool("quick") && c.IsSet("duration"):
		return nil, usagef("--quick and --duration are both given: each says how long it takes")
	case c.Bool("quick"):
		s.duration = quickDuration
	case s.duration <= 0:
		return nil, usagef("--duration %v: want more than nothing, such as 20s", s.duration)
	case s.json != "" && s.json == s.svg:
		return nil, usagef("--json and --svg both write to %s: give each its own", s.json)
	}
	return s, s.checkSizes()
}

// checkSizes finds messages that are larger than a transport takes by default.
func (s *settings) checkSizes() error {
	largest := slices.Max(s.sizes)
	for _, t := range s.transports {
		if largest > t.most {
			return usagef("--size %s: over %s a message has at most %s by default; leave out the one or the other",
				sizeName(largest), t.name, sizeName(t.most))
		}
	}
	return nil
}

// chosen returns those of all that a flag names, in the order of all.
func chosen[T any](c *cli.Context, flag string, all []T, name func(T) string) ([]T, error) {
	value := c.String(flag)
	if value == "all" {
		return all, nil
	}
	words := strings.Split(value, ",")
	var names []string
	var picked []T
	for _, x := range all {
		names = append(names, name(x))
		if slices.Contains(words, name(x)) {
			picked = append(picked, x)
		}
	}
	for _, w := range words {
		if !slices.Contains(names, w) {
			return nil, usagef("--%s %s: there is no %q; want some of %s, separated by commas, or all", flag, value, w, strings.Join(names, ", "))
		}
	}
	return picked, nil
}

// numbers returns what a flag lists, in ascending order, each once.
func numbers(c *cli.Context, flag string, parse func(string) (int, error)) ([]int, error) {
	var all []int
	for word := range strings.SplitSeq(c.String(flag), ",") {
		n, err := parse(word)
		if err != nil {
			return nil, usagef("--%s %s: %q: %w", flag, c.String(flag), word, err)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func parseCallers(word string) (int, error) {
	n, err := strconv.Atoi(word)
	if err != nil || n < 1 || n > mostCallers {
		return 0, fmt.Errorf("want a number from 1 to %d", mostCallers)
	}
	return n, nil
}

// units are what a size may be given in. The longer ones come first.
var units = []struct {
	name  string
	bytes int
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"B", 1}, {"", 1}}

// parseSize reads a number of bytes: 32, 32B, 4KiB, 1MiB.
func parseSize(word string) (int, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(word, u.name)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil {
			break
		}
		if n > mostMessage/u.bytes || n*u.bytes < leastSize {
			return 0, fmt.Errorf("want %d B to %s", leastSize, sizeName(mostMessage))
		}
		return n * u.bytes, nil
	}
	return 0, errors.New("want bytes, such as 32, 4KiB or 1MiB")
}

// sizeName is how a size is written, for people and for parseSize.
func sizeName(bytes int) string {
	switch {
	case bytes >= 1<<20 && bytes%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 1<<10 && bytes%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d B", bytes)
}

// run measures and reports.
func (s *settings) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	outputs, err := s.openOutputs(stdout)
	if err != nil {
		return err
	}
	defer func() {
		for _, o := range outputs {
			err = errors.Join(err, o.close())
		}
	}()
	report, measureErr := s.measure(ctx, stderr)
	if measureErr != nil && len(report.Results) == 0 {
		return measureErr
	}
	for _, o := range outputs {
		if err := o.write(report); err != nil {
			return errors.Join(measureErr, fmt.Errorf("writing %s: %w", o.name, err))
		}
	}
	return measureErr
}

// An output is a form of the report and where it goes.
type output struct {
	name string
	w    io.Writer
	file *os.File // nil is none of its own
	form func(io.Writer, *report) error
}

// openOutputs opens the files before anything is measured, so that what is wrong with them is told at once.
func (s *settings) openOutputs(stdout io.Writer) (outputs []*output, err error) {
	table := true
	for _, f := range []struct {
		name string
		form func(io.Writer, *report) error
	}{{s.json, writeJSON}, {s.svg, writeSVG}} {
		o := &output{name: f.name, w: stdout, form: f.form}
		switch f.name {
		case "":
			continue
		case "-":
			table = false
		default:
			// Not truncated yet: what is there stays until there is something better.
			if o.file, err = os.OpenFile(f.name, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
				for _, o := range outputs {
					o.close()
				}
				return nil, err
			}
			o.w = o.file
		}
		outputs = append(outputs, o)
	}
	if table {
		outputs = append(outputs, &output{name: "stdout", w: stdout, form: writeTable})
	}
	return outputs, nil
}

func (o *output) write(r *report) error {
	if o.file != nil {
		o.file.Truncate(0) // fails where it is no plain file, and then it is not needed
	}
	return o.form(o.w, r)
}

// close removes a file that it made and nothing was written to.
func (o *output) close() error {
	if o.file == nil {
		return nil
	}
	info, err := o.file.Stat()
	if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		err = os.Remove(o.name)
	}
	return errors.Join(err, o.file.Close())
}
