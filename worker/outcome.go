package worker

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker/messages"
)

// maxRefusals is how often a rate limit must refuse a record while smaller ones pass before it fails as too_large.
const maxRefusals = 10

// conclude decides what becomes of a record after a call.
func (w *Worker) conclude(r *record, reply *messages.Reply, stopReason, model string, usage jobs.Usage) {
	now := time.Now()
	r.latestStatus, r.latestRequestID, r.latestError = reply.Status, reply.RequestID, describe(reply)
	r.latestLatency = reply.Latency
	w.settleUnproven(r)
	switch reply.Kind {
	case messages.Answered:
		w.health.succeeded(now, len(r.Body))
		w.refused.Store(0)
		r.Attempts += r.unproven + 1
		w.deliver(r, &jobs.Result{
			Status: jobs.Succeeded, Message: reply.Message, Usage: usage, StopReason: stopReason, Model: model,
		})
		w.release()
	case messages.Rejected:
		if reply.Status < http.StatusInternalServerError {
			// The service is up: it read the request and said no. A 5xx that forbids another try says no such thing.
			w.health.succeeded(now, len(r.Body))
		}
		r.Attempts += r.unproven + 1
		w.deliver(r, &jobs.Result{Status: jobs.Failed, Reason: reply.Reason, Error: r.latestError})
		w.release()
	case messages.Retry:
		w.failed(r, now, reply.Wait)
	case messages.RetryAfter:
		w.heldBack(r, now, reply)
	case messages.Blocked:
		w.block(reply)
		w.giveBack(r)
	case messages.Cancelled:
		w.giveBack(r)
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
func (w *Worker) deliver(r *record, result *jobs.Result) {
	result.Record, result.Digest, result.FinishedAt = r.Record, r.Digest, time.Now()
	result.Attempts, result.Calls = r.Attempts, r.Calls
	result.HTTPStatus, result.RequestID, result.Latency = r.latestStatus, r.latestRequestID, r.latestLatency
	w.session.Deliver(courier.Delivery{Handout: r.handout, Result: result})
}

// failed decides over a record whose attempt failed for a reason that may pass.
func (w *Worker) failed(r *record, now time.Time, least time.Duration) {
	if r.unproven == 0 {
		r.firstUnproven = now
	}
	r.unproven++
	r.lastUnproven = now
	if w.health.failed(now, gjson.GetBytes(r.Body, "model").String()) {
		w.probe()
	}
	if r.Attempts+r.unproven >= w.session.Terms().MaxAttempts {
		// Out of attempts, if they count: they do when the API answered others after them.
		w.park(r)
		return
	}
	w.retry(r, max(least, backoff(r.Attempts+r.unproven, w.random)))
}

// retry tries a record again after a wait, here or, when that is long, through the coordinator.
func (w *Worker) retry(r *record, wait time.Duration) {
	r.due = time.Now().Add(wait)
	// Who is to blame for unproven attempts only this worker will know.
	if wait > longWait && r.unproven == 0 {
		w.returnRecord(r, r.due)
		return
	}
	if !w.queue.wait(r) {
		w.giveBack(r)
	}
}

// heldBack decides over a record that a rate limit or an overload kept from being answered. That costs no attempt.
func (w *Worker) heldBack(r *record, now time.Time, reply *messages.Reply) {
	if reply.Pressure == messages.Overloaded {
		suspect := w.health.failed(now, gjson.GetBytes(r.Body, "model").String())
		r.overloads++
		wait := reply.Wait
		if wait > 0 {
			wait = stretched(wait, w.random)
			w.limiter.Hold(now.Add(reply.Wait), "the API is overloaded")
		}
		if suspect {
			w.probe()
		}
		w.retry(r, max(wait, backoff(r.overloads, w.random)))
		return
	}
	if !r.lastRefusal.IsZero() && w.health.outsized(r.lastRefusal, len(r.Body)) {
		r.Refusals++
	}
	r.lastRefusal = now
	if r.Refusals >= maxRefusals {
		w.deliver(r, &jobs.Result{
			Status: jobs.Failed, Reason: jobs.ReasonTooLarge,
			Error: fmt.Sprintf("the rate limit refused this request %d times while smaller ones passed", r.Refusals),
		})
		return
	}
	wait := stretched(reply.Wait, w.random)
	if wait == 0 {
		// Nobody says how long: longer each time that the whole run is refused in a row.
		wait = max(100*time.Millisecond, backoff(int(w.refused.Add(1))/w.slots+1, w.random))
	}
	w.limiter.Hold(now.Add(wait), "rate limit (HTTP 429)")
	if w.health.refused(now, gjson.GetBytes(r.Body, "model").String()) {
		w.probe() // nothing else may be left that could pass in its place
	}
	// The hold keeps it from being called; it goes first when that is over.
	if !w.queue.push(true, r) {
		w.giveBack(r)
	}
}

// settleUnproven charges failed attempts to the record, or forgives them, as soon as that is known.
func (w *Worker) settleUnproven(r *record) {
	if r.unproven == 0 {
		return
	}
	charged, known := w.health.charge(r.firstUnproven, r.lastUnproven)
	if !known {
		return
	}
	if charged {
		r.Attempts += r.unproven
	}
	r.unproven = 0
}

// block stops all calls until a person has acted.
func (w *Worker) block(reply *messages.Reply) {
	if w.blocked.CompareAndSwap(nil, &reply.Remedy) {
		// The remedy fits all accounts; what the API says names the model, the limit or the date.
		slog.Warn("the API refuses all calls", slog.String("answer", describe(reply)))
		w.stop()
		w.session.Refuse(reply.Remedy)
	}
}
