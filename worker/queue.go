package worker

import (
	"container/heap"
	"sync"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// record is a record on its way through this worker.
type record struct {
	jobs.Request
	handout courier.Number
	due     time.Time // when it may be tried next

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

// queue holds the records that are not in flight: ready ones in order, waiting ones by the time they are due.
type queue struct {
	mu      sync.Mutex
	work    sync.Cond // a record became ready, or the queue closed
	space   sync.Cond // a ready record was taken, or the queue closed
	ready   []*record // taken from the front
	waiting byDue
	alarm   *time.Timer // rings when the first waiting record is due
	closed  bool
}

func newQueue() *queue {
	q := &queue{}
	q.work.L, q.space.L = &q.mu, &q.mu
	q.alarm = time.AfterFunc(time.Hour, q.work.Signal)
	q.alarm.Stop()
	return q
}

// push adds records in order; again ones go before those that were never tried. It reports false, and takes
// nothing, when the queue is closed.
func (q *queue) push(again bool, records ...*record) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if again {
		q.ready = append(append(make([]*record, 0, len(records)+len(q.ready)), records...), q.ready...)
	} else {
		q.ready = append(q.ready, records...)
	}
	for range records {
		q.work.Signal()
	}
	return true
}

// wait adds a record that is due later.
func (q *queue) wait(r *record) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	heap.Push(&q.waiting, r)
	q.setAlarm()
	return true
}

// next takes the next record that may be tried now, waiting for one. It returns nil when the queue is closed.
func (q *queue) next() *record {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		switch {
		case q.closed:
			return nil
		case len(q.waiting) > 0 && !q.waiting[0].due.After(time.Now()):
			r, _ := heap.Pop(&q.waiting).(*record)
			q.setAlarm()
			return r
		case len(q.ready) > 0:
			r := q.ready[0]
			q.ready[0] = nil
			q.ready = q.ready[1:]
			q.space.Signal()
			return r
		}
		q.work.Wait()
	}
}

// setAlarm makes the alarm ring for the first waiting record. Whoever hears it sets it for the one after.
func (q *queue) setAlarm() {
	q.alarm.Stop()
	if len(q.waiting) > 0 {
		q.alarm.Reset(time.Until(q.waiting[0].due))
	}
}

// room waits until at most low records are ready, or the queue is closed.
func (q *queue) room(low int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) > low && !q.closed {
		q.space.Wait()
	}
}

// close makes the queue refuse records and returns those that it held.
func (q *queue) close() []*record {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := append(q.ready, q.waiting...)
	q.ready, q.waiting, q.closed = nil, nil, true
	q.alarm.Stop()
	q.work.Broadcast()
	q.space.Broadcast()
	return left
}

// sizes reports how many records are ready and how many wait for their time.
func (q *queue) sizes() (ready, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ready), len(q.waiting)
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
