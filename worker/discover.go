package worker

import (
	"context"
	"log/slog"
	"time"
)

const (
	discoverEvery = time.Second
	// passOver is how long a run that could not be joined is left alone.
	passOver = 10 * time.Second
)

// passedOver is a run that could not be joined.
type passedOver struct {
	until time.Time
	why   string
}

// discover joins the runs that have a coordinator, and follows how many workers share each run's limits.
func (w *Worker) discover(ctx context.Context) {
	tick := time.NewTicker(discoverEvery)
	defer tick.Stop()
	for {
		w.joinNew(ctx)
		for _, r := range w.serving() {
			r.shareLimits()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// joinNew joins the runs that this worker does not serve yet.
func (w *Worker) joinNew(ctx context.Context) {
	ids := []string{w.options.Only}
	if w.options.Only == "" {
		var err error
		if ids, err = w.source.runs(ctx); err != nil {
			if !w.unreachable && ctx.Err() == nil {
				slog.WarnContext(ctx, "look for runs", slog.Any("error", err))
			}
			w.unreachable = true
			return
		}
		w.unreachable = false
	}
	found := make(map[string]passedOver, len(ids))
	for _, id := range ids {
		last := w.passed[id]
		if w.serves(id) {
			continue
		}
		if time.Now().Before(last.until) {
			found[id] = last
			continue
		}
		if err := w.join(ctx, id); err != nil && ctx.Err() == nil {
			found[id] = passedOver{time.Now().Add(passOver), err.Error()}
			if last.why != err.Error() {
				slog.WarnContext(ctx, "pass over a run", slog.Any("error", err))
			}
		}
	}
	w.passed = found
}

func (w *Worker) serves(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs[id] != nil
}
