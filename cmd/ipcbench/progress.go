package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// A progress shows on a terminal what a run is doing. It is for one goroutine.
type progress struct {
	w        io.Writer
	terminal bool
	last     time.Time // of what is shown; zero where nothing is
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// show says what comes now, not oftener than people read.
func (p *progress) show(format string, args ...any) {
	if now := time.Now(); p.terminal && now.Sub(p.last) > 100*time.Millisecond {
		p.last = now
		fmt.Fprintf(p.w, "\r\x1b[Kipcbench: "+format, args...)
	}
}

// note says something that stays.
func (p *progress) note(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, "ipcbench: "+format+"\n", args...)
}

// clear leaves nothing on the terminal.
func (p *progress) clear() {
	if !p.last.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.last = time.Time{}
	}
}
