package worker

import (
	"cmp"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/batchwright/batchwright/internal/crashpoint"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/ratelimit"
	"github.com/batchwright/batchwright/worker/messages"
)

// callAll is one slot: it makes one call after the other until the worker is drained.
func (w *Worker) callAll() {
	for c := w.schedule.next(nil); c != nil; c = w.schedule.next(c) {
		r := c.lane.run
		r.session.Tell(courier.News{Handout: c.handout, Record: c.Record})
		r.attempt(c)
	}
}

// mostTokens bounds what is believed of a usage: twice the longest context. What is settled is paid off at the limit's rate.
const mostTokens = 2_000_000

// attempt makes one call for a record and decides what becomes of the record.
func (r *run) attempt(c *call) {
	defer func() {
		if p := recover(); p != nil {
			r.broke(c, p)
		}
	}()
	r.made.Add(1)
	if c.Calls++; c.Calls > 1 {
		r.retries.Add(1)
	}
	crashpoint.Reach("calling")
	reply := r.caller.Call(r.worker.calling, c.Body)
	crashpoint.Reach("answered")
	var usage jobs.Usage
	var stopReason, model string
	var used ratelimit.Cost // a call that is held back takes nothing of the limits
	if reply.Kind != messages.RetryAfter {
		used.Requests = 1
	}
	if reply.Kind == messages.Answered {
		stopReason, model, usage, _ = jobs.ReadMessage(reply.Message)
		used.Input = min(usage.Input+usage.CacheWrite(), mostTokens)
		used.Output = min(usage.Output, cmp.Or(c.maxTokens, mostTokens))
		r.tokens.Learn(c.size.Text, c.size.Media, used.Input, used.Output)
		c.used = used
	}
	r.worker.meters.ended(&reply, usage, c.Calls > 1)
	if reply.Status == 0 {
		used = c.cost // nobody knows: it may have been answered and counted
	}
	outcome := outcomeOf(&reply, used)
	own := r.press(c.record, &reply, &outcome)
	c.permits.settle(outcome)
	r.conclude(c.record, &reply, own, stopReason, model, usage)
}

// broke fails a record whose handling panicked, alone: the process and all other records go on. What the panic says may
// hold a prompt or an answer, so only what the runtime says of itself is told.
func (r *run) broke(c *call, p any) {
	c.permits.settle(ratelimit.Outcome{Used: ratelimit.Cost{Requests: 1}})
	what := fmt.Sprintf("panic of type %T", p)
	if err, ok := p.(runtime.Error); ok {
		what = err.Error()
	}
	slog.Error("handling a record broke; report this as a defect", slog.String("run", r.id),
		slog.Int64("record", c.Record), slog.String("what", what), slog.String("stack", string(debug.Stack())))
	if !c.flight.CompareAndSwap(c, nil) {
		return // what becomes of it was decided before
	}
	c.Attempts++
	r.deliver(c.record, &jobs.Result{
		Status: jobs.Failed, Reason: jobs.ReasonPoison, Error: "the worker broke while it handled this record: " + what,
	})
}
