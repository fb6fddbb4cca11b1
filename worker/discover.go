package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/batchwright/batchwright/jobs/courier"
)

const (
	discoverEvery = time.Second
	// passOver is how long a run that could not be joined is left alone.
	passOver = 10 * time.Second
	// rejoinAfter is how long a run that was left is left alone: its coordinator may still be stopping.
	rejoinAfter = 3 * time.Second
)

// passedOver is a run that is not to be joined for a while.
type passedOver struct {
	until time.Time
	why   string
}

// discover joins the runs that have a coordinator.
func (w *Worker) discover(ctx context.Context) {
	tick := time.NewTicker(discoverEvery)
	defer tick.Stop()
	reachable := true
	for {
		err := w.joinNew(ctx)
		if err != nil && reachable && ctx.Err() == nil {
			slog.WarnContext(ctx, "look for runs", slog.Any("error", err))
		}
		reachable = err == nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// joinNew joins the runs that this worker does not serve yet.
func (w *Worker) joinNew(ctx context.Context) error {
	ids := []string{w.options.Only}
	if w.options.Only == "" {
		var err error
		if ids, err = w.source.runs(ctx); err != nil {
			return err //nolint:wrapcheck // it says what could not be done
		}
	}
	there := make(map[string]bool, len(ids))
	for _, id := range ids {
		there[id] = true
		w.mu.Lock()
		r, last := w.runs[id], w.passed[id]
		w.mu.Unlock()
		if r != nil && r.refusal.Load() == nil || time.Now().Before(last.until) {
			continue
		}
		var why string
		if r != nil {
			w.reconsider(ctx, r)
		} else if err := w.join(ctx, id); errors.Is(err, courier.ErrNoRun) || ctx.Err() != nil {
			continue // its coordinator may come back at any moment
		} else if err != nil {
			if why = err.Error(); why != last.why {
				slog.WarnContext(ctx, "pass over a run", slog.Any("error", err))
			}
		} else {
			continue
		}
		w.mu.Lock()
		w.passed[id] = passedOver{time.Now().Add(passOver), why}
		w.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.passed {
		if !there[id] {
			delete(w.passed, id)
		}
	}
	return nil
}

// reconsider leaves a run that this worker refused when another coordinator has it, which is a reason to try again.
// Until then the worker stays: the run is blocked when all of its workers refuse it.
func (w *Worker) reconsider(ctx context.Context, r *run) {
	if epoch, err := w.source.epoch(ctx, r.id); err == nil && epoch != r.terms.Epoch {
		r.dismiss()
	}
}
