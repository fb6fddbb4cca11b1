package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// sampleEvery is how finely use is looked at: the window's edges are as sharp as this.
const sampleEvery = 50 * time.Millisecond

// worstOf is the length of the worst stretch that is looked for.
const worstOf = 10 * time.Second

// limitFigure is what one scenario gave with one number of workers.
type limitFigure struct {
	scenario             scenario
	workers              int
	used, refused, worst float64
	later                float64 // use in the window's second half: without what the bucket held at first
	calls                float64 // of the fleet, in the window
	otherRefused         float64 // share of the other user's calls
	exchanges            float64 // with Redis for the limits, a call
}

// measureLimits runs a job whose limits nobody names, and looks at what the API let through.
func (b *bench) measureLimits(ctx context.Context, s scenario, workers int, length time.Duration) (_ limitFigure, err error) {
	folder, err := os.MkdirTemp(b.scratch, "limits-")
	if err != nil {
		return limitFigure{}, fmt.Errorf("create job folder: %w", err)
	}
	defer os.RemoveAll(folder) //nolint:errcheck // in the scratch folder
	if err := s.workload.write(filepath.Join(folder, inputName), s.records(s.warm+length)); err != nil {
		return limitFigure{}, err
	}
	f, err := b.startLimitsFleet(ctx, folder, s.api, workers, s.slots(workers))
	if err != nil {
		return limitFigure{}, err
	}
	defer func() {
		if stopped := f.stop(); err == nil {
			err = stopped
		}
	}()
	if err := f.firstCall(ctx); err != nil {
		return limitFigure{}, err
	}
	w := &watch{scenario: s, fleet: f, began: time.Now(), other: newOtherUser(f.api.URL)}
	before, after, err := w.window(ctx, length)
	if err != nil {
		return limitFigure{}, err
	}
	return w.figure(workers, length, before, after), nil
}

// watch looks at a fleet at work.
type watch struct {
	scenario scenario
	fleet    *limitsFleet
	began    time.Time // about the first call
	other    *otherUser
	samples  []sample
}

// window samples until the window is over, lets happen in its middle third what the scenario has for it, and returns what
// Redis had been asked at its edges.
func (w *watch) window(ctx context.Context, length time.Duration) (before, after float64, err error) {
	from, third := w.scenario.warm, length/3
	if err := w.until(ctx, from, 1); err != nil {
		return before, after, err
	}
	if before, err = w.fleet.redis.exchanges(ctx); err != nil {
		return before, after, err
	}
	if err := w.until(ctx, from+third, 1); err != nil {
		return before, after, err
	}
	if err := w.middle(ctx, from+2*third); err != nil {
		return before, after, err
	}
	if err := w.until(ctx, from+length, 1); err != nil {
		return before, after, err
	}
	after, err = w.fleet.redis.exchanges(ctx)
	return before, after, err
}

// middle is the middle third.
func (w *watch) middle(ctx context.Context, until time.Duration) error {
	s := w.scenario
	switch {
	case s.other:
		busy, stop := context.WithCancel(ctx)
		var others sync.WaitGroup
		defer others.Wait()
		defer stop()
		others.Go(func() { w.other.run(busy, s.rate()/2) })
	case s.halved:
		w.fleet.api.SetLimits(s.api.RequestsPerMinute/2, s.api.InputTokensPerMinute/2, s.api.OutputTokensPerMinute/2)
		defer w.fleet.api.SetLimits(s.api.RequestsPerMinute, s.api.InputTokensPerMinute, s.api.OutputTokensPerMinute)
		return w.until(ctx, until, 0.5)
	}
	return w.until(ctx, until, 1)
}

// until takes samples until so long after the first call, while the limit is this share of the scenario's. It takes one at
// once, so that a change of the limit begins with one.
func (w *watch) until(ctx context.Context, until time.Duration, share float64) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		w.sample(share)
		if time.Since(w.began) >= until {
			return nil
		}
		select {
		case <-tick.C:
		case <-w.fleet.run.ended:
			return w.fleet.run.endedEarly()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *watch) sample(share float64) {
	stats := w.fleet.api.Stats()
	w.samples = append(w.samples, sample{
		at:      time.Since(w.began),
		rate:    share * w.scenario.rate(),
		used:    w.scenario.used(stats),
		calls:   float64(stats.Calls - w.other.calls.Load()),
		refused: float64(stats.Refused - w.other.refused.Load()),
	})
}

func (w *watch) figure(workers int, length time.Duration, before, after float64) limitFigure {
	part := window(w.samples, w.scenario.warm, w.scenario.warm+length)
	if w.scenario.warm == 0 {
		// The first call, and what else came before it was seen, belongs to the window.
		part[0].used, part[0].calls, part[0].refused = 0, 0, 0
	}
	calls := part[len(part)-1].calls - part[0].calls
	return limitFigure{
		scenario: w.scenario, workers: workers, calls: calls,
		later: usedShare(window(part, w.scenario.warm+length/2, w.scenario.warm+length)),
		used:  usedShare(part), refused: refusedShare(part), worst: worstShare(part, worstOf),
		otherRefused: float64(w.other.refused.Load()) / max(1, float64(w.other.calls.Load())),
		exchanges:    (after - before) / max(1, calls),
	}
}
