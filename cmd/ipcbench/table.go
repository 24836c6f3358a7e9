package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// writeTable prints everything, and then the two things by which transports are chosen, side by side.
func writeTable(w io.Writer, r *report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s in %.0f s\n", r.Machine, count(r.Rounds, "round"), r.Seconds)
	sections := r.sections()
	for _, s := range sections {
		fmt.Fprintf(&b, "\n%s\n", s.title())
		s.details().print(&b)
	}
	for _, s := range sections {
		if s.kind.timed {
			fmt.Fprintf(&b, "\n%s: p50 latency of a %s\n", s.title(), s.kind.operation)
			s.matrix(func(r result) string { return duration(*r.P50) }).print(&b)
		}
		fmt.Fprintf(&b, "\n%s: %ss a second\n", s.title(), s.kind.operation)
		s.matrix(func(r result) string { return rate(r.Messages / float64(s.kind.messages)) }).print(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// A table is lines of columns, the first of which is aligned to the left.
type table [][]string

func (t table) print(b *strings.Builder) {
	var widths []int
	for _, line := range t {
		for i, word := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(word))
		}
	}
	for _, line := range t {
		for i, word := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(word))
			if i == 0 {
				b.WriteString("  " + word + pad)
			} else {
				b.WriteString("  " + pad + word)
			}
		}
		b.WriteString("\n")
	}
}

// details are all results of the section, a block for each size.
func (s section) details() table {
	var head []string
	for _, c := range s.columns() {
		head = append(head, c.name)
	}
	t := table{head}
	for i, r := range s.results {
		if i > 0 && r.Size != s.results[i-1].Size {
			t = append(t, nil)
		}
		var line []string
		for _, c := range s.columns() {
			line = append(line, c.value(r))
		}
		t = append(t, line)
	}
	return t
}

// A column is what it is called, and what it says of a result.
type column struct {
	name  string
	value func(result) string
}

// columns are those that the section's kind has.
func (s section) columns() []column {
	all := []column{
		{"", func(r result) string { return r.Transport }},
		{"size", func(r result) string { return sizeName(r.Size) }},
	}
	if s.kind.timed {
		all = append(all,
			column{"p50", func(r result) string { return duration(*r.P50) }},
			column{"p90", func(r result) string { return duration(*r.P90) }},
			column{"p99", func(r result) string { return duration(*r.P99) }})
	}
	if s.kind.isCall {
		all = append(all, column{"calls/s", func(r result) string { return rate(*r.Calls) }})
	}
	return append(all,
		column{"messages/s", func(r result) string { return rate(r.Messages) }},
		column{"MB/s", func(r result) string { return digits(r.Bytes / 1e6) }},
		column{"client CPU", func(r result) string { return duration(r.Client) }},
		column{"server CPU", func(r result) string {
			if r.Server == nil {
				return "-"
			}
			return duration(*r.Server)
		}})
}

// matrix has a line for each subject and a column for each size.
func (s section) matrix(value func(result) string) table {
	head := []string{""}
	columns, lines := map[int]int{}, map[string]int{}
	t := table{nil}
	for _, r := range s.results {
		if columns[r.Size] == 0 {
			columns[r.Size] = len(head)
			head = append(head, sizeName(r.Size))
		}
		if lines[r.Transport] == 0 {
			lines[r.Transport] = len(t)
			t = append(t, []string{r.Transport})
		}
		line := &t[lines[r.Transport]]
		for len(*line) < columns[r.Size] {
			*line = append(*line, "-")
		}
		*line = append(*line, value(r))
	}
	t[0] = head
	for i := range t { // what was not measured
		for len(t[i]) < len(head) {
			t[i] = append(t[i], "-")
		}
	}
	return t
}

// duration writes microseconds with the unit that suits them.
func duration(micros float64) string {
	switch {
	case micros < 1:
		return fmt.Sprintf("%.0f ns", micros*1000)
	case micros < 1000:
		return digits(micros) + " µs"
	case micros < 1e6:
		return digits(micros/1000) + " ms"
	}
	return digits(micros/1e6) + " s"
}

// rate writes a number of things a second.
func rate(v float64) string {
	switch {
	case v < 1000:
		return digits(v)
	case v < 1e6:
		return digits(v/1000) + " k"
	}
	return digits(v/1e6) + " M"
}

// digits writes a number with three significant ones, or more before the point.
func digits(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
