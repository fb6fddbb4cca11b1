package worker

import (
	"container/heap"
	"sync/atomic"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/ratelimit"
	"github.com/batchwright/batchwright/worker/messages"
)

// record is a record on its way through this worker.
type record struct {
	jobs.Request
	handout   courier.Number
	lease     int                // of the worker when it claimed the record; what an earlier one left is given back
	maxTokens int64              // of the request, for the estimate of what a call costs
	size      messages.Size      // of the request, for the same
	limiter   *ratelimit.Limiter // of its key and model
	alone     bool               // suspected of killing its worker: never in flight beside others
	due       time.Time          // when it may be tried next
	// flight is its call in flight; nil as soon as it is decided what becomes of the record after it.
	flight atomic.Pointer[call]

	// Failed attempts that are not yet known to be this record's own fault (see health.charge).
	unproven        int
	firstUnproven   time.Time
	lastUnproven    time.Time
	lastRefusal     time.Time // when a rate limit last refused it
	overloads       int       // consecutive 529s, for their backoff
	latestError     string
	latestStatus    int
	latestRequestID string
	latestLatency   time.Duration
}

// queue holds the records of one run that are not in flight: ready ones in order, waiting ones by the time they are
// due, and suspects apart. The scheduler's lock guards it.
type queue struct {
	again    []*record // ready, and tried before: taken first
	ready    []*record // ready, from the front
	waiting  byDue
	suspects []*record // few, in no order
}

// push adds records that may be tried now; again ones go before those that were never tried.
func (q *queue) push(again bool, records ...*record) {
	for _, r := range records {
		switch {
		case r.alone:
			r.due = time.Time{}
			q.suspects = append(q.suspects, r)
		case again:
			q.again = append(q.again, r)
		default:
			q.ready = append(q.ready, r)
		}
	}
}

// wait adds a record that is due later.
func (q *queue) wait(r *record) {
	if r.alone {
		q.suspects = append(q.suspects, r)
		return
	}
	heap.Push(&q.waiting, r)
}

// head is the record to try next, nil when none may be tried now. It stays in the queue until pop.
func (q *queue) head(now time.Time) *record {
	switch {
	case len(q.waiting) > 0 && !q.waiting[0].due.After(now):
		return q.waiting[0]
	case len(q.again) > 0:
		return q.again[0]
	case len(q.ready) > 0:
		return q.ready[0]
	}
	return nil
}

// startable is how many records could be tried now, but for those that wait for their time.
func (q *queue) startable() int { return len(q.again) + len(q.ready) }

// pop takes what head returned for the same now.
func (q *queue) pop(now time.Time) {
	switch {
	case len(q.waiting) > 0 && !q.waiting[0].due.After(now):
		heap.Pop(&q.waiting)
	case len(q.again) > 0:
		q.again = shift(q.again)
	default:
		q.ready = shift(q.ready)
	}
}

func shift(records []*record) []*record {
	records[0] = nil
	return records[1:]
}

// nextDue is when the first record that waits may be tried; zero when none waits.
func (q *queue) nextDue() time.Time {
	if len(q.waiting) == 0 {
		return time.Time{}
	}
	return q.waiting[0].due
}

// nextSuspect takes the suspect that is due first. When none is due it returns when one will be; zero means that
// there is none.
func (q *queue) nextSuspect(now time.Time) (*record, time.Time) {
	first := -1
	for i, r := range q.suspects {
		if first < 0 || r.due.Before(q.suspects[first].due) {
			first = i
		}
	}
	if first < 0 {
		return nil, time.Time{}
	}
	r := q.suspects[first]
	if r.due.After(now) {
		return nil, r.due
	}
	q.suspects = append(q.suspects[:first], q.suspects[first+1:]...)
	return r, time.Time{}
}

// hasRoom reports whether the next hand-out may come: no more than low records could be tried.
func (q *queue) hasRoom(low int) bool { return len(q.again)+len(q.ready)+len(q.suspects) <= low }

// drop empties the queue and returns what it held.
func (q *queue) drop() []*record {
	left := append(append(append(q.again, q.ready...), q.waiting...), q.suspects...)
	*q = queue{}
	return left
}

// byDue is a heap of records, the earliest first.
type byDue []*record //nolint:recvcheck // container/heap wants both

func (b byDue) Len() int           { return len(b) }
func (b byDue) Less(i, j int) bool { return b[i].due.Before(b[j].due) }
func (b byDue) Swap(i, j int)      { b[i], b[j] = b[j], b[i] }
func (b *byDue) Push(x any)        { *b = append(*b, x.(*record)) } //nolint:forcetypeassert // only records
func (b *byDue) Pop() any {
	old := *b
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*b = old[:len(old)-1]
	return last
}
