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
func (w *Worker) park(r *record) {
	w.parkedMu.Lock()
	if w.admitting.Err() != nil {
		w.parkedMu.Unlock()
		w.giveBack(r)
		return
	}
	w.parked = append(w.parked, r)
	w.parkedMu.Unlock()
	w.release()
	w.probe()
}

func (w *Worker) unpark() []*record {
	w.parkedMu.Lock()
	defer w.parkedMu.Unlock()
	records := w.parked
	w.parked = nil
	return records
}

// release decides over parked records as far as that can now be done: those that failed while the API was up are
// exhausted, those that an outage hit are tried again.
func (w *Worker) release() {
	w.parkedMu.Lock()
	if len(w.parked) == 0 {
		w.parkedMu.Unlock()
		return
	}
	var ended, again, still []*record
	for _, r := range w.parked {
		w.settleUnproven(r)
		switch {
		case r.unproven > 0:
			still = append(still, r)
		case r.Attempts >= w.session.Terms().MaxAttempts:
			ended = append(ended, r)
		default:
			again = append(again, r)
		}
	}
	w.parked = still
	w.parkedMu.Unlock()
	for _, r := range ended {
		w.deliver(r, &jobs.Result{Status: jobs.Failed, Reason: jobs.ReasonExhausted, Error: r.latestError})
	}
	if len(again) > 0 && !w.queue.push(true, again...) {
		w.giveBack(again...)
	}
}

// probe finds out, in the background, whether the API is up, when failures of records alone can't tell: by a call
// of its own that no record can be to blame for. While an outage is on nothing else is called.
func (w *Worker) probe() {
	if w.admitting.Err() != nil || !w.probing.CompareAndSwap(false, true) {
		return
	}
	w.calls.Go(func() {
		defer w.endProbe()
		for n := 1; ; n++ {
			if w.admitting.Err() != nil {
				return
			}
			if w.up() {
				w.release()
				return
			}
			wait := time.NewTimer(min(time.Second<<min(n-1, 10), probeCap))
			select {
			case <-wait.C:
			case <-w.stopped:
			}
			wait.Stop()
		}
	})
}

// endProbe lets the next probe begin. Of a record that was parked after this one had found the API up it knows nothing,
// and the record's own probe could not begin.
func (w *Worker) endProbe() {
	w.probing.Store(false)
	w.parkedMu.Lock()
	left := len(w.parked)
	w.parkedMu.Unlock()
	if left > 0 {
		w.probe()
	}
}

// up makes the probe's call and reports whether the API is up.
func (w *Worker) up() bool {
	_, _, model := w.health.since()
	body, err := json.Marshal(map[string]any{
		"model": model, "max_tokens": 1,
		"messages": []map[string]string{{"role": "user", "content": "ping"}},
	})
	if err != nil {
		return false // strings always encode
	}
	permit, err := w.limiter.Admit(w.admitting, ratelimit.Cost{Requests: 1, Input: 10, Output: 1})
	if err != nil {
		return false
	}
	w.made.Add(1)
	reply := w.caller.Call(w.calling, body)
	permit.Settle(ratelimit.Cost{Requests: 1, Input: 10, Output: 1})
	now := time.Now()
	switch {
	case reply.Kind == messages.Blocked:
		w.block(&reply)
	case reply.Kind == messages.Answered, reply.Kind == messages.Rejected,
		reply.Kind == messages.RetryAfter && reply.Pressure != messages.Overloaded:
		if out, failing, _ := w.health.since(); out {
			slog.Info("outage over", slog.Duration("lasted", now.Sub(failing).Round(time.Second)))
		}
		w.health.probed(now, reply.Kind == messages.Answered)
		return true
	case reply.Kind != messages.Cancelled:
		if out, failing, _ := w.health.since(); !out {
			slog.Warn("the API is failing; waiting for it and probing", slog.Time("since", failing),
				slog.String("answer", describe(&reply)))
		}
		w.health.confirmed(now)
	}
	return false
}
