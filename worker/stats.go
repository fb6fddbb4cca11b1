package worker

import (
	"fmt"
	"time"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/ratelimit"
)

// failingAfter is how long no call must succeed before that is worth telling: single failures are everyday.
const failingAfter = 5 * time.Second

// Stats say what a worker is doing.
type Stats struct {
	// InFlight counts calls; Waiting records that wait for anything but a slot.
	InFlight, Waiting int
	// Calls counts the calls made so far, Retries those for a record that was called before.
	Calls, Retries int64
	// Why says what calls are waiting for; empty when they are not.
	Why string
}

// Stats sums up what the worker is doing at the moment. Why is that of the only run that is waiting for something, or
// names how many are.
func (w *Worker) Stats() Stats {
	w.mu.Lock()
	total := Stats{Calls: w.calls, Retries: w.retries}
	w.mu.Unlock()
	held := 0
	for _, s := range w.Runs() {
		total.InFlight += s.InFlight
		total.Waiting += s.Waiting
		total.Calls += s.Calls
		total.Retries += s.Retries
		if s.Why != "" {
			held++
			total.Why = s.Why
		}
	}
	if held > 1 {
		total.Why = fmt.Sprintf("%d runs are waiting", held)
	}
	return total
}

// Runs says for each run that is served, by its id, what the worker is doing for it at the moment.
func (w *Worker) Runs() map[string]Stats {
	runs := make(map[string]Stats)
	for _, r := range w.serving() {
		runs[r.id] = r.stats()
	}
	return runs
}

// report is what the coordinator and people on other machines are told.
func (r *run) report() courier.Report {
	s := r.stats()
	return courier.Report{InFlight: s.InFlight, Waiting: s.Waiting, Why: s.Why}
}

func (r *run) stats() Stats {
	schedule := r.worker.schedule
	schedule.mu.Lock()
	ready := len(r.lane.queue.again) + len(r.lane.queue.ready)
	waiting := len(r.lane.queue.waiting) + len(r.lane.queue.suspects)
	inFlight := r.lane.inFlight
	schedule.mu.Unlock()
	r.parkedMu.Lock()
	waiting += len(r.parked)
	r.parkedMu.Unlock()
	s := Stats{InFlight: inFlight, Waiting: waiting, Calls: r.made.Load(), Retries: r.retries.Load()}
	out, failing, _ := r.health.since()
	state := r.limiter.State()
	switch {
	case r.session.Paused():
		s.Why = "paused"
		s.Waiting += ready
	case out:
		s.Why = fmt.Sprintf("the API has been failing since %s; probing it", failing.Local().Format(time.TimeOnly))
		s.Waiting += ready
	case !failing.IsZero() && time.Since(failing) >= failingAfter:
		s.Why = fmt.Sprintf("the API has been failing since %s; trying again", failing.Local().Format(time.TimeOnly))
	case ready+state.Waiting > 0 && state.Bound != ratelimit.BoundByNothing && state.Bound != ratelimit.BoundByConcurrency:
		s.Why = state.Why()
		s.Waiting += ready + state.Waiting
	}
	return s
}
