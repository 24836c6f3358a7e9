package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// rounds is into how many a measurement is divided; the first of all also finds out how many operations take how long,
// which takes as long again.
const rounds = 7

// leastTurn is how long a lane is measured at least in a round: in less time a stream is hardly under way.
const leastTurn = 2 * time.Millisecond

// A lane is one subject in one cell.
type lane struct {
	subject *subject
	cell    cell
	n       int // operations of each caller in the next slice; 0 before the first
	slices  []slice
}

// A slice is what was measured of a lane in a round.
type slice struct {
	operations     int
	elapsed        time.Duration
	p50, p90, p99  time.Duration
	client, server time.Duration // of processor time
}

// measure measures everything there is to. Where it returns an error as well, the report is of what was measured before.
func (s *settings) measure(ctx context.Context, stderr io.Writer) (*report, error) {
	r := &report{Machine: thisMachine()}
	dir, err := os.MkdirTemp("", "ipcbench-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	p := newProgress(stderr)
	defer p.clear()
	subjects, err := s.open(ctx, dir, p)
	defer func() {
		for _, t := range subjects {
			t.close()
		}
	}()
	if err != nil {
		return r, interrupted(ctx, err)
	}
	lanes := s.lanes(subjects)
	begin := time.Now()
	r.Rounds, err = s.rounds(ctx, lanes, p)
	r.Seconds = time.Since(begin).Seconds()
	for _, l := range lanes {
		if len(l.slices) > 0 {
			r.Results = append(r.Results, l.result())
		}
	}
	r.Complete = err == nil
	return r, interrupted(ctx, err)
}

// interrupted says what an error means after ctx has ended.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted before the end")
	}
	return err
}

// open starts the servers. A transport that nobody named is left out where it is not there; so are floors.
func (s *settings) open(ctx context.Context, dir string, p *progress) (subjects []*subject, err error) {
	for _, t := range s.transports {
		p.show("starting %s", t.name)
		subject, err := t.open(ctx, t, dir)
		if err != nil && (s.named || ctx.Err() != nil) {
			return subjects, fmt.Errorf("%s: %w", t.name, err)
		}
		if err != nil {
			p.note("without %s: %v", t.name, err)
			continue
		}
		subjects = append(subjects, subject)
		if !s.floors || t.floor == nil {
			continue
		}
		if subject, err = t.floor(ctx, t, dir); ctx.Err() != nil {
			return subjects, ctx.Err()
		}
		if err != nil {
			p.note("without the floor of %s: %v", t.name, err)
			continue
		}
		subjects = append(subjects, subject)
	}
	if len(subjects) == 0 {
		return nil, errors.New("there is no transport to measure")
	}
	return subjects, nil
}

// lanes are in the order of the report, which is also that of a round: subjects that are compared follow each other.
func (s *settings) lanes(subjects []*subject) (lanes []*lane) {
	for k := range s.kinds {
		for _, callers := range s.callers {
			for _, size := range s.sizes {
				for _, subject := range subjects {
					if c := (cell{&s.kinds[k], callers, size}); subject.can == nil || subject.can(c) {
						lanes = append(lanes, &lane{subject: subject, cell: c})
					}
				}
			}
		}
	}
	return lanes
}

// rounds measures each lane once a round, as long as another round fits into the time. It returns how many rounds
// were complete.
func (s *settings) rounds(ctx context.Context, lanes []*lane, p *progress) (complete int, err error) {
	turn := max(leastTurn, s.duration/time.Duration((rounds+1)*len(lanes)))
	begin := time.Now()
	for {
		var next time.Duration // that another round would take
		for _, l := range lanes {
			p.show("%d %%: %s, %s", min(99, 100*time.Since(begin)/s.duration), l.cell, l.subject.name)
			if err := l.measure(ctx, turn); err != nil {
				return complete, fmt.Errorf("%s, %s: %w", l.cell, l.subject.name, err)
			}
			next += l.slices[complete].elapsed * 9 / 8
		}
		complete++
		if complete >= rounds || time.Since(begin)+next > s.duration {
			return complete, nil
		}
	}
}

// measure measures for about so long, after operations that are not counted: whoever's turn it was not has been
// idle, its memory has left the caches.
func (l *lane) measure(ctx context.Context, turn time.Duration) error {
	if l.n == 0 {
		if err := l.calibrate(ctx, turn); err != nil {
			return err
		}
	} else if l.n > 1 { // else one operation takes as long as all this may
		if _, err := l.subject.run(ctx, l.cell, max(1, l.n/8)); err != nil {
			return err
		}
	}
	server, err := l.subject.serverTime(ctx)
	if err != nil {
		return err
	}
	client := processorTime()
	s, err := l.subject.run(ctx, l.cell, l.n)
	if err != nil {
		return err
	}
	client = processorTime() - client
	after, err := l.subject.serverTime(ctx)
	if err != nil {
		return err
	}
	l.slices = append(l.slices, slice{
		operations: l.n * l.cell.callers,
		elapsed:    s.elapsed,
		p50:        s.latencies.quantile(0.5),
		p90:        s.latencies.quantile(0.9),
		p99:        s.latencies.quantile(0.99),
		client:     client,
		server:     after - server,
	})
	l.n = scale(l.n, s.elapsed, turn)
	return nil
}

// calibrate finds the number of operations that take a turn. The very first run tells little: it is the first that
// touches much of the memory.
func (l *lane) calibrate(ctx context.Context, turn time.Duration) error {
	l.n = 1
	for first := true; ; first = false {
		s, err := l.subject.run(ctx, l.cell, l.n)
		if err != nil {
			return err
		}
		enough := s.elapsed >= turn/4 && !first || s.elapsed >= turn
		if l.n = scale(l.n, s.elapsed, turn); enough {
			return nil
		}
	}
}

// scale returns how many operations take want, where n took so long; not more than eight times as many, because the
// first ones tell little about those that follow.
func scale(n int, took, want time.Duration) int {
	return max(1, min(8*n, int(float64(n)*want.Seconds()/max(took, 1).Seconds())))
}
