package worker

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/internal/crashpoint"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/ratelimit"
	"github.com/batchwright/batchwright/worker/messages"
)

// DefaultConcurrency is the number of calls at once when a job names none.
const DefaultConcurrency = 64

// Caller makes one call of the Messages API.
type Caller interface {
	Call(ctx context.Context, body []byte) messages.Reply
}

// Options configure a worker.
type Options struct {
	// Caller makes the calls. Required.
	Caller Caller
	// Poll is how often an idle worker looks for work; default as courier.SessionOptions.
	Poll time.Duration
}

// Worker serves one run.
type Worker struct {
	caller  Caller
	session *courier.Session
	limiter *ratelimit.Limiter
	tokens  *ratelimit.Estimator
	queue   *queue
	health  health
	slots   int
	random  func() float64

	calling   context.Context // of every call; ended by Abort
	abort     context.CancelFunc
	admitting context.Context // of every wait for the limiter; ended when no more calls are to start
	stopCalls context.CancelFunc
	stopped   <-chan struct{}        // done with admitting
	calls     sync.WaitGroup         // the goroutines that make calls, and the probe
	blocked   atomic.Pointer[string] // what a person must do first

	drain sync.Once

	probing  atomic.Bool
	parkedMu sync.Mutex
	parked   []*record // out of attempts, and waiting to know whether an outage is to blame

	inFlight atomic.Int64
	made     atomic.Int64 // calls
	retries  atomic.Int64 // of those, calls for a record that was called before
	refused  atomic.Int64 // in a row, by a rate limit
}

// Start joins a run and makes its calls until Drain or Abort.
func Start(ctx context.Context, rdb redis.UniversalClient, run string, options Options) (*Worker, error) {
	calling, abort := context.WithCancel(context.WithoutCancel(ctx))
	admitting, stopCalls := context.WithCancel(calling)
	w := &Worker{
		caller: options.Caller, tokens: &ratelimit.Estimator{}, queue: newQueue(), random: mathrand.Float64,
		calling: calling, abort: abort, admitting: admitting, stopCalls: stopCalls, stopped: admitting.Done(),
	}
	ready := make(chan struct{}) // the session's terms are known
	session, err := courier.Join(ctx, rdb, run, courier.SessionOptions{
		Worker: name(), Slots: DefaultConcurrency, Poll: options.Poll,
		Serve: func(h courier.HandOut) {
			<-ready
			w.serve(h)
		},
		Halt: func() {
			<-ready
			w.stop()
		},
	})
	if err != nil {
		abort()
		return nil, fmt.Errorf("join run %s: %w", run, err)
	}
	limits := session.Terms().Limits
	if limits.Concurrency == 0 {
		limits.Concurrency = DefaultConcurrency
	}
	w.session, w.slots = session, limits.Concurrency
	w.limiter = ratelimit.New(ratelimit.Limits{
		Concurrency: limits.Concurrency, RequestsPerMinute: limits.RequestsPerMinute,
		InputTokensPerMinute: limits.InputTokensPerMinute, OutputTokensPerMinute: limits.OutputTokensPerMinute,
		Headroom: limits.Headroom,
	})
	close(ready)
	for range w.slots {
		w.calls.Go(w.callAll)
	}
	return w, nil
}

// name is unique over the fleet and over restarts.
func name() string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6])
}

// serve takes a hand-out over and returns when there is room for another: enough is ready to keep every slot busy
// while the next one is claimed.
func (w *Worker) serve(h courier.HandOut) {
	records := make([]*record, len(h.Requests))
	for i := range h.Requests {
		records[i] = &record{Request: h.Requests[i], handout: h.Number}
	}
	if !w.queue.push(false, records...) {
		w.giveBack(records...)
		return
	}
	w.queue.room(w.slots)
}

// callAll is one slot: it takes records as they become ready and makes one call for each.
func (w *Worker) callAll() {
	for w.mayCall() {
		r := w.queue.next()
		if r == nil {
			return
		}
		w.attempt(r)
	}
}

// mayCall waits while an outage is on or the worker's lease is stale, and reports whether there is more to do.
func (w *Worker) mayCall() bool {
	for {
		var again <-chan time.Time
		up := w.health.up()
		if up == nil {
			if w.session.MayCall() {
				return true
			}
			again = time.After(time.Second)
		}
		select {
		case <-up:
		case <-again:
		case <-w.stopped:
			return false
		}
	}
}

// attempt makes one call for a record, when the limits admit it, and decides what becomes of the record.
func (w *Worker) attempt(r *record) {
	maxTokens := gjson.GetBytes(r.Body, "max_tokens").Int()
	input, output := w.tokens.Estimate(len(r.Body), maxTokens)
	permit, err := w.limiter.Admit(w.admitting, ratelimit.Cost{Requests: 1, Input: input, Output: output})
	if err != nil {
		w.giveBack(r)
		return
	}
	// The wait may have been long: what allowed the call before it need not do so now.
	if w.health.up() != nil || !w.session.MayCall() {
		permit.Release()
		if !w.queue.push(true, r) {
			w.giveBack(r)
		}
		return
	}
	w.inFlight.Add(1)
	w.made.Add(1)
	if r.Calls++; r.Calls > 1 {
		w.retries.Add(1)
	}
	w.session.Began(r.handout, r.Record)
	crashpoint.Reach("calling")
	reply := w.caller.Call(w.calling, r.Body)
	crashpoint.Reach("answered")
	w.inFlight.Add(-1)
	var usage jobs.Usage
	var stopReason, model string
	if reply.Kind == messages.Answered {
		stopReason, model, usage, _ = jobs.ReadMessage(reply.Message)
		w.tokens.Learn(len(r.Body), usage.Input+usage.CacheWrite(), usage.Output)
	}
	permit.Settle(ratelimit.Cost{Requests: 1, Input: usage.Input + usage.CacheWrite(), Output: usage.Output})
	w.conclude(r, &reply, stopReason, model, usage)
}

// giveBack returns records to the coordinator unanswered.
func (w *Worker) giveBack(records ...*record) {
	for _, r := range records {
		w.returnRecord(r, time.Time{})
	}
}

func (w *Worker) returnRecord(r *record, earliest time.Time) {
	w.settleUnproven(r)
	returned := &courier.Returned{
		Record: r.Record, Digest: r.Digest, Attempts: r.Attempts, Calls: r.Calls, Refusals: r.Refusals, Earliest: earliest,
	}
	if blocked := w.blocked.Load(); blocked != nil {
		returned.Blocked = *blocked
	}
	w.session.Deliver(courier.Delivery{Handout: r.handout, Returned: returned})
}

// Drain takes no more work, gives back what was not begun and waits for the calls in flight. Abort cuts it short.
func (w *Worker) Drain(ctx context.Context) {
	w.drain.Do(func() {
		w.session.StopClaiming()
		w.stop()
		w.calls.Wait()
		w.session.Close(ctx)
		w.abort()
	})
}

// stop makes sure that no more calls start and gives back all records that are not in flight.
func (w *Worker) stop() {
	w.stopCalls()
	w.giveBack(w.queue.close()...)
	w.giveBack(w.unpark()...)
}

// Abort ends the calls in flight; their records go back. They may have been answered and billed.
func (w *Worker) Abort() { w.abort() }

// failingAfter is how long no call must succeed before that is worth telling: single failures are everyday.
const failingAfter = 5 * time.Second

// Stats say what a worker is doing.
type Stats struct {
	InFlight, Waiting int
	Calls, Retries    int64
	// Why says what calls are waiting for; empty when they are not.
	Why string
}

// Stats reports what the worker is doing at the moment.
func (w *Worker) Stats() Stats {
	_, waiting := w.queue.sizes()
	w.parkedMu.Lock()
	waiting += len(w.parked)
	w.parkedMu.Unlock()
	s := Stats{InFlight: int(w.inFlight.Load()), Waiting: waiting, Calls: w.made.Load(), Retries: w.retries.Load()}
	out, failing, _ := w.health.since()
	state := w.limiter.State()
	switch {
	case out:
		s.Why = fmt.Sprintf("the API has been failing since %s; probing it", failing.Local().Format(time.TimeOnly))
	case !failing.IsZero() && time.Since(failing) >= failingAfter:
		s.Why = fmt.Sprintf("the API has been failing since %s; trying again", failing.Local().Format(time.TimeOnly))
	case state.Bound != ratelimit.BoundByNothing && state.Bound != ratelimit.BoundByConcurrency:
		s.Why = state.Why()
		s.Waiting += state.Waiting
	}
	return s
}
