package worker

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/ratelimit"
	"github.com/batchwright/batchwright/worker/messages"
)

// maxRefusals is how often a rate limit must refuse a record while smaller ones pass before it fails as too_large.
const maxRefusals = 10

// conclude decides what becomes of a record after a call. outsized says that a rate limit refused it for its size.
func (r *run) conclude(rec *record, reply *messages.Reply, outsized bool, stopReason, model string, usage jobs.Usage) {
	now := time.Now()
	rec.latestStatus, rec.latestRequestID, rec.latestError = reply.Status, reply.RequestID, describe(reply)
	rec.latestLatency = reply.Latency
	r.settleUnproven(rec)
	switch reply.Kind {
	case messages.Answered:
		r.health.succeeded(now, len(rec.Body))
		r.refused.Store(0)
		rec.Attempts += rec.unproven + 1
		r.deliver(rec, &jobs.Result{
			Status: jobs.Succeeded, Message: reply.Message, Usage: usage, StopReason: stopReason, Model: model,
		})
		r.release()
	case messages.Rejected:
		if reply.Status < http.StatusInternalServerError {
			// The service is up: it read the request and said no. A 5xx that forbids another try says no such thing.
			r.health.succeeded(now, len(rec.Body))
		}
		rec.Attempts += rec.unproven + 1
		r.deliver(rec, &jobs.Result{Status: jobs.Failed, Reason: reply.Reason, Error: rec.latestError})
		r.release()
	case messages.Retry:
		r.failed(rec, now, reply.Wait)
	case messages.RetryAfter:
		r.heldBack(rec, now, reply, outsized)
	case messages.Blocked:
		r.refuse(reply)
		r.giveBack(rec)
	case messages.Cancelled:
		r.giveBack(rec)
	}
}

// describe says what went wrong, for the result of a record.
func describe(reply *messages.Reply) string {
	if reply.Kind == messages.Answered {
		return ""
	}
	text := reply.Verdict.Message
	if reply.Type != "" {
		text = reply.Type + ": " + text
	}
	if reply.Status != 0 {
		text = fmt.Sprintf("HTTP %d: %s", reply.Status, text)
	}
	return text
}

// deliver hands back a record's result.
func (r *run) deliver(rec *record, result *jobs.Result) {
	rec.flight.Store(nil)
	result.Record, result.Digest, result.FinishedAt = rec.Record, rec.Digest, time.Now()
	result.Attempts, result.Calls = rec.Attempts, rec.Calls
	result.HTTPStatus, result.RequestID, result.Latency = rec.latestStatus, rec.latestRequestID, rec.latestLatency
	r.session.Deliver(courier.Delivery{Handout: rec.handout, Result: result})
}

// failed decides over a record whose attempt failed for a reason that may pass.
func (r *run) failed(rec *record, now time.Time, least time.Duration) {
	if rec.unproven == 0 {
		rec.firstUnproven = now
	}
	rec.unproven++
	rec.lastUnproven = now
	if r.health.failed(now, gjson.GetBytes(rec.Body, "model").String()) {
		r.probe()
	}
	if rec.Attempts+rec.unproven >= r.terms.MaxAttempts {
		// Out of attempts, if they count: they do when the API answered others after them.
		r.park(rec)
		return
	}
	r.retry(rec, max(least, backoff(rec.Attempts+rec.unproven, r.worker.random)))
}

// retry tries a record again after a wait, here or, when that is long, through the coordinator.
func (r *run) retry(rec *record, wait time.Duration) {
	rec.due = time.Now().Add(wait)
	// Who is to blame for unproven attempts only this worker will know.
	if wait > longWait && rec.unproven == 0 {
		r.returnRecord(rec, rec.due)
		return
	}
	if !r.worker.schedule.wait(&r.lane, rec) {
		r.giveBack(rec)
	}
}

// press tells the limits what a call that was held back means for all others: nobody calls before the API wants to be
// called again. A request that a rate limit refuses although smaller ones pass is its own fault, and holds nobody: press
// reports that.
func (r *run) press(rec *record, reply *messages.Reply, outcome *ratelimit.Outcome) (outsized bool) {
	switch reply.Pressure {
	case messages.NoPressure:
	case messages.Limited, messages.Ramping:
		if !rec.lastRefusal.IsZero() && r.health.outsized(rec.lastRefusal, len(rec.Body)) {
			outcome.Refused, outcome.Ramped = false, false
			return true
		}
		outcome.Hold, outcome.Reason = reply.Wait, "rate limit (HTTP 429)"
		if outcome.Hold == 0 {
			// Nobody says how long: longer each time that the whole run is refused in a row.
			outcome.Hold = max(100*time.Millisecond, backoff(int(r.refused.Add(1))/r.slots()+1, r.worker.random))
		}
	case messages.Overloaded:
		outcome.Hold, outcome.Reason = reply.Wait, "the API is overloaded (HTTP 529)"
	}
	return false
}

// heldBack decides over a record that a rate limit or an overload kept from being answered. That costs no attempt.
func (r *run) heldBack(rec *record, now time.Time, reply *messages.Reply, outsized bool) {
	model := gjson.GetBytes(rec.Body, "model").String()
	if reply.Pressure == messages.Overloaded {
		rec.overloads++
		if r.health.failed(now, model) {
			r.probe()
		}
		r.retry(rec, max(stretched(reply.Wait, r.worker.random), backoff(rec.overloads, r.worker.random)))
		return
	}
	rec.lastRefusal = now
	if outsized {
		rec.Refusals++
	}
	if rec.Refusals >= maxRefusals {
		r.deliver(rec, &jobs.Result{
			Status: jobs.Failed, Reason: jobs.ReasonTooLarge,
			Error: fmt.Sprintf("the rate limit refused this request %d times while smaller ones passed", rec.Refusals),
		})
		return
	}
	if r.health.refused(now, model) {
		r.probe() // nothing else may be left that could pass in its place
	}
	if outsized {
		r.retry(rec, max(stretched(reply.Wait, r.worker.random), min(backoff(rec.Refusals, r.worker.random), longWait)))
		return
	}
	// The hold keeps it from being called; it goes first when that is over.
	r.giveBack(r.worker.schedule.push(&r.lane, true, rec)...)
}

// settleUnproven charges failed attempts to the record, or forgives them, as soon as that is known.
func (r *run) settleUnproven(rec *record) {
	if rec.unproven == 0 {
		return
	}
	charged, known := r.health.charge(rec.firstUnproven, rec.lastUnproven)
	if !known {
		return
	}
	if charged {
		rec.Attempts += rec.unproven
	}
	rec.unproven = 0
}
