package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Measures of the plot, in pixels.
const (
	panelWidth, panelHeight = 480, 320
	columns                 = 2
	plotLeft, plotRight     = 76, 20 // from a panel's edges to its axes
	plotTop, plotBottom     = 34, 52
	headHeight, legendLine  = 62, 22
	legendEntry             = 116
)

// svgStyle has the colours that depend on the reader's: those of the transports are readable on both.
const svgStyle = `<style>
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 14px; font-weight: 600 }
.faint { fill: #59636e }
.back { fill: #ffffff }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.minor { stroke: #eaeef2; stroke-width: 1 }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
.floor { stroke-dasharray: 5 4; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.faint { fill: #9198a1 }
.back { fill: #0d1117 }
.grid { stroke: #3d444d }
.minor { stroke: #212830 }
}
</style>
`

// looks are those of the transports, in their order. The marks tell them apart without the colours.
var looks = []struct {
	colour, mark string // the mark is a path around 0,0
}{
	{"#2f81f7", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"},
	{"#e8710a", "M-3.5 -3.5h7v7h-7z"},
	{"#2da44e", "M0 -4.5L4.5 3.5H-4.5z"},
	{"#a371f7", "M0 -5L5 0L0 5L-5 0z"},
	{"#e5534b", "M0 4.5L4.5 -3.5H-4.5z"},
	{"#8b949e", "M-4 -1.5h2.5v-2.5h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5z"},
}

// look returns the index of a result's look.
func look(subject string) int {
	return slices.IndexFunc(transports, func(t transport) bool { return t.name == strings.TrimPrefix(subject, "bare ") })
}

// A panel is one diagram: lines of a value by size, both on logarithmic scales.
type panel struct {
	title  string
	value  func(result) float64
	format func(float64) string
	lines  [][]result // a subject each
	// The edges of the axes: sizes, and powers of ten of the value.
	smallest, largest float64
	low, high         int
}

func writeSVG(w io.Writer, r *report) error {
	panels := r.panels()
	names := r.subjects()
	perLine := columns * panelWidth / legendEntry
	top := headHeight + legendLine*((len(names)+perLine-1)/perLine)
	width, height := columns*panelWidth, top+(len(panels)+columns-1)/columns*panelHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", width, height, width, height)
	b.WriteString("<title>Calls between two processes: latency and throughput by size of message</title>\n" + svgStyle)
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d"/>`+"\n", width, height)
	label(&b, 16, 26, "start", "title", "Calls between two processes, by size of message")
	label(&b, 16, 46, "start", "faint", r.Machine.String())
	for i, name := range names {
		writeLegend(&b, name, 16+i%perLine*legendEntry, headHeight+14+i/perLine*legendLine)
	}
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%columns*panelWidth, top+i/columns*panelHeight)
		p.write(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// subjects are the names of what was measured, in the order of the results.
func (r *report) subjects() (names []string) {
	for _, res := range r.Results {
		if !slices.Contains(names, res.Transport) {
			names = append(names, res.Transport)
		}
	}
	return names
}

// panels are one or two for each section: of latency, where operations have one, and of throughput.
func (r *report) panels() (panels []*panel) {
	for _, s := range r.sections() {
		if s.kind.timed {
			panels = append(panels, newPanel(s, "p50 latency", func(r result) float64 { return *r.P50 }, tick(duration)))
		}
		panels = append(panels, newPanel(s, "throughput", func(r result) float64 { return r.Bytes / 1e6 }, throughput))
	}
	return panels
}

// tick makes a power of ten shorter: 10 ms, not 10.0 ms.
func tick(format func(float64) string) func(float64) string {
	zeros := regexp.MustCompile(`\.0+ `)
	return func(v float64) string { return zeros.ReplaceAllString(format(v), " ") }
}

func throughput(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.4g GB/s", v/1000)
	}
	return fmt.Sprintf("%.4g MB/s", v)
}

func newPanel(s section, what string, value func(result) float64, format func(float64) string) *panel {
	p := &panel{title: s.title() + ": " + what, value: value, format: format, smallest: math.Inf(1), low: math.MaxInt, high: math.MinInt}
	index := map[string]int{}
	for _, r := range s.results {
		if value(r) <= 0 {
			continue // it has no place on a logarithmic scale
		}
		i, ok := index[r.Transport]
		if !ok {
			i = len(p.lines)
			index[r.Transport] = i
			p.lines = append(p.lines, nil)
		}
		p.lines[i] = append(p.lines[i], r)
		power := math.Log10(value(r))
		p.low, p.high = min(p.low, int(math.Floor(power))), max(p.high, int(math.Ceil(power)))
		p.smallest, p.largest = min(p.smallest, float64(r.Size)), max(p.largest, float64(r.Size))
	}
	if p.low == p.high {
		p.high++
	}
	return p
}

// x and y are where a size and a value stand in the panel.
func (p *panel) x(size float64) float64 {
	const left, width = plotLeft + 14, panelWidth - plotLeft - plotRight - 28
	if p.smallest == p.largest {
		return left + width/2
	}
	return left + width*math.Log2(size/p.smallest)/math.Log2(p.largest/p.smallest)
}

func (p *panel) y(value float64) float64 {
	const height = panelHeight - plotTop - plotBottom
	return plotTop + height*(float64(p.high)-math.Log10(value))/float64(p.high-p.low)
}

func (p *panel) write(b *strings.Builder) {
	label(b, plotLeft, 20, "start", "title", p.title)
	if len(p.lines) == 0 {
		return
	}
	p.writeGrid(b)
	p.writeSizes(b)
	for _, floors := range []bool{true, false} { // the transports over the floors
		for _, line := range p.lines {
			if line[0].Floor == floors {
				p.writeLine(b, line)
			}
		}
	}
}

// writeGrid draws the powers of ten, with their values, and what lies between them.
func (p *panel) writeGrid(b *strings.Builder) {
	for power := p.low; power <= p.high; power++ {
		unit := math.Pow10(power)
		for step := 2.0; step < 10 && power < p.high && p.high-p.low <= 4; step++ {
			p.rule(b, "minor", p.y(step*unit))
		}
		p.rule(b, "grid", p.y(unit))
		label(b, plotLeft-8, p.y(unit)+4, "end", "faint", p.format(unit))
	}
}

func (*panel) rule(b *strings.Builder, class string, y float64) {
	fmt.Fprintf(b, `<line class="%s" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n", class, plotLeft, panelWidth-plotRight, y, y)
}

// writeSizes labels those sizes that were measured and have room.
func (p *panel) writeSizes(b *strings.Builder) {
	var sizes []int
	for _, line := range p.lines {
		for _, r := range line {
			sizes = append(sizes, r.Size)
		}
	}
	slices.Sort(sizes)
	const bottom = panelHeight - plotBottom
	last := math.Inf(-1)
	for _, size := range slices.Compact(sizes) {
		x := p.x(float64(size))
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", x, x, bottom, bottom+5)
		if x-last > 52 {
			label(b, x, bottom+19, "middle", "faint", sizeName(size))
			last = x
		}
	}
	label(b, (plotLeft+panelWidth-plotRight)/2, bottom+38, "middle", "faint", "size of a message")
}

func (p *panel) writeLine(b *strings.Builder, line []result) {
	var points []string
	for _, r := range line {
		points = append(points, fmt.Sprintf("%.1f,%.1f", p.x(float64(r.Size)), p.y(p.value(r))))
	}
	fmt.Fprintf(b, `<polyline class="%s" stroke="%s" points="%s"/>`+"\n", lineClass(line[0].Floor), looks[look(line[0].Transport)].colour, strings.Join(points, " "))
	for i, r := range line {
		title := fmt.Sprintf("%s, %s: %s", r.Transport, sizeName(r.Size), p.format(p.value(r)))
		writeMark(b, r.Transport, r.Floor, strings.Replace(points[i], ",", " ", 1), title)
	}
}

func lineClass(floor bool) string {
	if floor {
		return "line floor"
	}
	return "line"
}

// writeMark draws a subject's mark; that of a floor is empty. The title is shown to who points at it.
func writeMark(b *strings.Builder, name string, floor bool, at, title string) {
	l := looks[look(name)]
	paint := fmt.Sprintf(`fill="%s"`, l.colour)
	if floor {
		paint = fmt.Sprintf(`class="back" stroke="%s" stroke-width="1.5"`, l.colour)
	}
	fmt.Fprintf(b, `<path transform="translate(%s)" d="%s" %s>`, at, l.mark, paint)
	if title != "" {
		fmt.Fprintf(b, "<title>%s</title>", html.EscapeString(title))
	}
	b.WriteString("</path>\n")
}

func writeLegend(b *strings.Builder, name string, x, y int) {
	floor := strings.HasPrefix(name, "bare ")
	fmt.Fprintf(b, `<line class="%s" stroke="%s" x1="%d" x2="%d" y1="%d" y2="%d"/>`+"\n", lineClass(floor), looks[look(name)].colour, x, x+30, y-4, y-4)
	writeMark(b, name, floor, fmt.Sprintf("%d %d", x+15, y-4), "")
	label(b, float64(x+38), float64(y), "start", "", name)
}

func label(b *strings.Builder, x, y float64, anchor, class, text string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`+"\n", x, y, anchor, class, html.EscapeString(text))
}
