package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/ratelimit"
	"github.com/batchwright/batchwright/worker/messages"
)

// closeWithin bounds how long a run that was left, or a drain whose grace is over, waits for Redis to take what is
// pending.
const closeWithin = 5 * time.Second

// run is one run as this worker serves it.
type run struct {
	id      string
	worker  *Worker
	lane    lane
	session session
	terms   courier.Terms
	caller  Caller
	limits  *limits
	tokens  ratelimit.Estimator
	health  health

	admitting context.Context // of every wait for a call to start; ended when no more calls are to start
	stopCalls context.CancelFunc
	stopped   <-chan struct{} // done with admitting

	refusing  sync.Once
	refusal   atomic.Pointer[string] // what a person must do before this worker can make the run's calls
	suspects  sync.Once              // starts the goroutine that tries suspects
	dismissed chan struct{}          // closed when the run is to be left
	dismiss   func()                 // closes it
	ending    atomic.Bool
	ended     chan struct{} // closed when it has been left

	probing  atomic.Bool
	parkedMu sync.Mutex
	parked   []*record // out of attempts, and waiting to know whether an outage is to blame

	made    atomic.Int64 // calls
	retries atomic.Int64 // of those, calls for a record that was called before
	refused atomic.Int64 // in a row, by a rate limit
}

// join begins to serve a run.
func (w *Worker) join(ctx context.Context, id string) error {
	r := &run{id: id, worker: w, dismissed: make(chan struct{}), ended: make(chan struct{})}
	r.dismiss = sync.OnceFunc(func() { close(r.dismissed) })
	r.admitting, r.stopCalls = context.WithCancel(w.calling)
	r.stopped = r.admitting.Done()
	joined := make(chan struct{}) // the session is known
	session, err := w.source.join(ctx, id, courier.SessionOptions{
		Worker: w.name, Slots: w.options.Slots, Poll: w.options.Poll, Cipher: w.options.Cipher, Accept: r.accept,
		Serve: func(h courier.HandOut) { //nolint:contextcheck // a limiter that it opens lives until it is closed
			<-joined
			r.serve(h)
		},
		Expired: func(leases int) map[courier.Number][]int64 {
			<-joined
			return r.expire(leases)
		},
		Halt: r.dismiss,
		Report: func() courier.Report {
			select {
			case <-joined:
				return r.report()
			default:
				return courier.Report{} // it has done nothing yet
			}
		},
	})
	if err != nil {
		r.stopCalls()
		if r.caller != nil {
			r.caller.Close()
			r.limits.close()
		}
		return fmt.Errorf("join run %s: %w", id, err)
	}
	r.session = session
	w.schedule.open(&r.lane)
	w.mu.Lock()
	w.runs[id] = r
	w.mu.Unlock()
	close(joined)
	if w.options.Only == "" {
		slog.InfoContext(ctx, "serving a run", slog.String("run", id))
	}
	w.watching.Go(func() { w.watch(r) })
	return nil
}

// watch leaves a run when it is over, when its coordinator stops, or when another one began and may have mended what
// made this worker refuse it. A drain leaves it otherwise.
func (w *Worker) watch(r *run) {
	select {
	case <-r.session.Over():
	case <-r.dismissed:
	case <-w.discovering.Done():
		return
	}
	slog.InfoContext(w.calling, "leaving a run: calls in flight are being finished", slog.String("run", r.id))
	r.end(w.calling) // what is paid for waits for Redis until the worker's own end
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.runs, r.id)
	w.passed[r.id] = passedOver{until: time.Now().Add(rejoinAfter)}
	w.calls += r.made.Load()
	w.retries += r.retries.Load()
}

// accept prepares for a run's terms, or says why this worker can't serve them.
func (r *run) accept(terms courier.Terms) error {
	caller, err := r.worker.options.Caller(terms)
	if err != nil {
		return err //nolint:wrapcheck // it is shown as it is
	}
	r.terms, r.caller = terms, caller
	r.limits = newLimits(r.worker.scopes, r.id, caller.Account(), terms)
	r.lane.run, r.lane.mayCall, r.lane.admit = r, r.mayCall, r.admit
	r.lane.weight = weightOf(terms)
	return nil
}

// end starts no more calls, gives back what has not begun, waits for the calls in flight, whose results a coordinator
// that comes back can use, and then closes what serves the run: Redis has until closeWithin after the end of grace to
// take what is pending.
func (r *run) end(grace context.Context) {
	if r.ending.Swap(true) {
		<-r.ended // by whoever was first
		return
	}
	defer close(r.ended)
	r.session.StopClaiming()
	r.stop()
	r.lane.calls.Wait()
	closing, cancel := outlasting(grace, closeWithin)
	defer cancel()
	r.session.Close(closing)
	r.caller.Close()
	r.limits.close()
}

// stop makes sure that no more calls start and gives back all records that are not in flight.
func (r *run) stop() {
	r.stopCalls()
	r.giveBack(r.worker.schedule.shut(&r.lane)...)
	r.giveBack(r.unpark()...)
}

// expire gives back what was claimed under earlier leases and has not begun: others may have it by now. It returns the
// records in flight by hand-out.
func (r *run) expire(lease int) map[courier.Number][]int64 {
	held, flying := r.worker.schedule.expire(&r.lane, lease)
	r.giveBack(held...)
	r.giveBack(r.unpark()...)
	left := make(map[courier.Number][]int64)
	for _, rec := range flying {
		left[rec.handout] = append(left[rec.handout], rec.Record)
	}
	for _, records := range left {
		slices.Sort(records)
	}
	return left
}

// serve takes a hand-out over and returns when there is room for another: enough is ready to keep every slot busy
// while the next one is claimed.
func (r *run) serve(h courier.HandOut) {
	records := make([]*record, len(h.Requests))
	for i := range h.Requests {
		records[i] = &record{
			Request: h.Requests[i], handout: h.Number, lease: h.Lease, alone: h.Alone,
			maxTokens: gjson.GetBytes(h.Requests[i].Body, "max_tokens").Int(),
			size:      messages.Measure(h.Requests[i].Body),
			limiter:   r.limits.of(gjson.GetBytes(h.Requests[i].Body, "model").String()),
		}
	}
	if h.Alone {
		r.suspects.Do(func() { r.worker.schedule.tend(&r.lane, r.trySuspects) })
	}
	r.giveBack(r.worker.schedule.push(&r.lane, false, records...)...)
	r.worker.schedule.room(&r.lane, r.slots())
}

// slots is how many calls of the run this worker can make at once.
func (r *run) slots() int {
	if most := r.terms.Limits.Concurrency; most > 0 {
		return min(most, r.worker.schedule.slots)
	}
	return r.worker.schedule.slots
}

// mayCall reports whether calls may start: the API is up, the worker's lease fresh and the run not paused.
func (r *run) mayCall() bool { return r.health.up() == nil && r.session.MayCall() }

func (r *run) estimate(rec *record) ratelimit.Cost {
	input, output := r.tokens.Estimate(rec.size.Text, rec.size.Media, rec.maxTokens)
	return ratelimit.Cost{Requests: 1, Input: input, Output: output}
}

// giveBack returns records to the coordinator unanswered.
func (r *run) giveBack(records ...*record) {
	for _, rec := range records {
		r.returnRecord(rec, time.Time{})
	}
}

func (r *run) returnRecord(rec *record, earliest time.Time) {
	r.settleUnproven(rec)
	returned := &courier.Returned{
		Record: rec.Record, Digest: rec.Digest, Attempts: rec.Attempts, Calls: rec.Calls, Refusals: rec.Refusals,
		Earliest: earliest,
	}
	if blocked := r.refusal.Load(); blocked != nil {
		returned.Blocked = *blocked
	}
	rec.flight.Store(nil)
	r.session.Deliver(courier.Delivery{Handout: rec.handout, Returned: returned})
}

// refuse withdraws this worker from a run whose calls it can't make until a person has acted.
func (r *run) refuse(reply *messages.Reply) {
	r.refusing.Do(func() {
		// The remedy fits all accounts; what the API says names the model, the limit or the date.
		slog.Warn("the API refuses all calls", slog.String("run", r.id), slog.String("answer", describe(reply)))
		r.refusal.Store(&reply.Remedy)
		// Before any record goes back, or it would come again at once.
		r.session.Refuse(reply.Remedy)
		r.stop()
	})
}
