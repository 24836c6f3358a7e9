package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A progress shows on a terminal what a run is doing, once it takes longer than a second.
type progress struct {
	w    io.Writer
	done chan struct{} // nil where nothing is shown
	once sync.Once
	wg   sync.WaitGroup

	mu    sync.Mutex // guards what follows, and writing to w
	what  string
	shown bool
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.done = make(chan struct{})
			p.wg.Go(p.show)
		}
	}
	return p
}

// doing says what comes now.
func (p *progress) doing(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
}

func (p *progress) show() {
	began := time.Now()
	next := time.NewTimer(time.Second)
	defer next.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-next.C:
			p.mu.Lock()
			p.shown = true
			fmt.Fprintf(p.w, "\r\x1b[Kipcgen: %s (%.0f s)", p.what, time.Since(began).Seconds())
			p.mu.Unlock()
			next.Reset(200 * time.Millisecond)
		}
	}
}

// pause writes something between what is shown.
func (p *progress) pause(write func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	write()
}

// clear removes what is shown. Called with the mutex held.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// stop ends it; nothing is left on the terminal.
func (p *progress) stop() {
	p.once.Do(func() {
		if p.done == nil {
			return
		}
		close(p.done)
		p.wg.Wait()
		p.pause(func() {})
	})
}
