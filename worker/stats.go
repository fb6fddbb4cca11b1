package worker

import (
	"fmt"
	"slices"
	"time"

	"github.com/batchwright/batchwright/jobs/courier"
)

// failingAfter is how long no call must succeed before that is worth telling: single failures are everyday.
const failingAfter = 5 * time.Second

// Stats say what a worker is doing.
type Stats struct {
	// InFlight counts calls; Waiting records that wait for anything but a slot.
	InFlight, Waiting int
	// Calls counts the calls made so far, Retries those for a record that was called before.
	Calls, Retries int64
	// Why says what calls are waiting for; empty when they are not. BoundBy names the limit in a word, one of
	// courier.Bounds, when it is one.
	Why, BoundBy string
	// Limits are those that the calls keep, each once however many runs share it, the jobs' own first.
	Limits []KeptLimits
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
			total.Why, total.BoundBy = s.Why, s.BoundBy
		}
	}
	if held > 1 {
		total.Why, total.BoundBy = fmt.Sprintf("%d runs are waiting", held), ""
	}
	total.Limits = w.Limits()
	inOrder(total.Limits)
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
	report := courier.Report{InFlight: s.InFlight, Waiting: s.Waiting, Why: s.Why, BoundBy: s.BoundBy}
	answered := s.Calls > int64(s.InFlight)
	for _, kept := range s.Limits {
		report.Limits = append(report.Limits, r.told(kept, answered))
	}
	// A report has room for some scopes: the job's own and those that calls wait for go first.
	rank := func(l courier.Limits) int {
		switch {
		case l.Own:
			return 0
		case l.BoundBy != "":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(report.Limits, func(a, b courier.Limits) int { return rank(a) - rank(b) })
	return report
}

func (r *run) stats() Stats {
	schedule := r.worker.schedule
	schedule.mu.Lock()
	ready := len(r.lane.queue.again) + len(r.lane.queue.ready)
	waiting := len(r.lane.queue.waiting) + len(r.lane.queue.suspects)
	inFlight, full := r.lane.inFlight, schedule.inFlight >= schedule.slots
	schedule.mu.Unlock()
	r.parkedMu.Lock()
	waiting += len(r.parked)
	r.parkedMu.Unlock()
	s := Stats{InFlight: inFlight, Waiting: waiting, Calls: r.made.Load(), Retries: r.retries.Load()}
	out, failing, _ := r.health.since()
	s.Limits = r.kept(full)
	why, bound := waitFor(s.Limits)
	switch {
	case r.session.Paused():
		s.Why = "paused"
		s.Waiting += ready
	case out:
		s.Why = fmt.Sprintf("the API has been failing since %s; probing it", failing.Local().Format(time.TimeOnly))
		s.Waiting += ready
	case !failing.IsZero() && time.Since(failing) >= failingAfter:
		s.Why = fmt.Sprintf("the API has been failing since %s; trying again", failing.Local().Format(time.TimeOnly))
	case ready > 0 && why != "":
		s.Why, s.BoundBy = why, bound
		s.Waiting += ready
	}
	return s
}
