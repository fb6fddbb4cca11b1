package worker

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/ratelimit"
	"github.com/batchwright/batchwright/worker/messages"
)

// probeCap bounds the wait between two probes of an outage.
const probeCap = 30 * time.Second

// park keeps a record that is out of attempts until it is known whether they count.
func (r *run) park(rec *record) {
	r.parkedMu.Lock()
	if r.admitting.Err() != nil {
		r.parkedMu.Unlock()
		r.giveBack(rec)
		return
	}
	rec.flight.Store(nil)
	r.parked = append(r.parked, rec)
	r.parkedMu.Unlock()
	r.release()
	r.probe()
}

func (r *run) unpark() []*record {
	r.parkedMu.Lock()
	defer r.parkedMu.Unlock()
	records := r.parked
	r.parked = nil
	return records
}

// release decides over parked records as far as that can now be done: those that failed while the API was up are
// exhausted, those that an outage hit are tried again.
func (r *run) release() {
	r.parkedMu.Lock()
	if len(r.parked) == 0 {
		r.parkedMu.Unlock()
		return
	}
	var ended, again, still []*record
	for _, rec := range r.parked {
		r.settleUnproven(rec)
		switch {
		case rec.unproven > 0:
			still = append(still, rec)
		case rec.Attempts >= r.terms.MaxAttempts:
			ended = append(ended, rec)
		default:
			again = append(again, rec)
		}
	}
	r.parked = still
	r.parkedMu.Unlock()
	for _, rec := range ended {
		r.deliver(rec, &jobs.Result{Status: jobs.Failed, Reason: jobs.ReasonExhausted, Error: rec.latestError})
	}
	r.giveBack(r.worker.schedule.push(&r.lane, true, again...)...)
}

// probe finds out, in the background, whether the API is up, when failures of records alone can't tell: by a call
// of its own that no record can be to blame for. While an outage is on nothing else is called.
func (r *run) probe() {
	if r.admitting.Err() != nil || !r.probing.CompareAndSwap(false, true) {
		return
	}
	r.lane.calls.Go(func() {
		defer r.endProbe()
		for n := 1; ; n++ {
			if r.admitting.Err() != nil {
				return
			}
			if r.session.MayCall() && r.up() {
				r.release()
				r.worker.schedule.changed(&r.lane)
				return
			}
			wait := time.NewTimer(min(time.Second<<min(n-1, 10), probeCap))
			select {
			case <-wait.C:
			case <-r.stopped:
			}
			wait.Stop()
		}
	})
}

// endProbe lets the next probe begin. Of a record that was parked after this one had found the API up it knows nothing,
// and the record's own probe could not begin.
func (r *run) endProbe() {
	r.probing.Store(false)
	r.parkedMu.Lock()
	left := len(r.parked)
	r.parkedMu.Unlock()
	if left > 0 {
		r.probe()
	}
}

// up makes the probe's call and reports whether the API is up.
func (r *run) up() bool {
	_, _, model := r.health.since()
	body, err := json.Marshal(map[string]any{
		"model": model, "max_tokens": 1,
		"messages": []map[string]string{{"role": "user", "content": "ping"}},
	})
	if err != nil {
		return false // strings always encode
	}
	cost := ratelimit.Cost{Requests: 1, Input: 10, Output: 1}
	permits, err := r.await(r.admitting, r.limits.of(model), cost)
	if err != nil {
		return false
	}
	if !r.session.MayCall() { // the wait may have been long
		permits.release()
		return false
	}
	r.made.Add(1)
	reply := r.caller.Call(r.worker.calling, body)
	r.worker.meters.probed(&reply)
	permits.settle(outcomeOf(&reply, cost))
	now := time.Now()
	switch {
	case reply.Kind == messages.Blocked:
		r.refuse(&reply)
	case reply.Kind == messages.Answered, reply.Kind == messages.Rejected,
		reply.Kind == messages.RetryAfter && reply.Pressure != messages.Overloaded:
		if out, failing, _ := r.health.since(); out {
			slog.Info("outage over", slog.Duration("lasted", now.Sub(failing).Round(time.Second)))
		}
		r.health.probed(now, reply.Kind == messages.Answered)
		return true
	case reply.Kind != messages.Cancelled:
		if out, failing, _ := r.health.since(); !out {
			slog.Warn("the API is failing; waiting for it and probing", slog.Time("since", failing),
				slog.String("answer", describe(&reply)))
		}
		r.health.confirmed(now)
	}
	return false
}
