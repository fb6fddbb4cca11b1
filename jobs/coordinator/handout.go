package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// unknownFleet is how many records a hand-out has while no worker was seen yet.
const unknownFleet = 8

// handOutSize is how many records go out in one hand-out: what keeps a worker's slots busy for two calls each, so that
// few are left with one worker while others have nothing to do. The caller holds the mutex.
func (r *Run) handOutSize() int {
	most := r.manifest.ChunkRecords
	if !r.trusted() {
		most = min(most, sameFailureAfter)
	}
	if r.fleet.Workers == 0 {
		return min(most, unknownFleet)
	}
	calls := r.capacity
	if limit := r.job.Limits.Concurrency; limit > 0 {
		calls = min(calls, limit)
	}
	return min(most, max(1, 2*calls/r.fleet.Workers))
}

// handOut gives requests to the fleet, again and again until Redis has taken them.
func (r *Run) handOut(ctx context.Context, requests []jobs.Request, records []*pending, mode courier.Mode) error {
	const firstWait = 50 * time.Millisecond
	for wait := firstWait; ; wait = min(2*wait, 2*time.Second) {
		r.mu.Lock()
		out := chunk{requests: requests, pending: records}
		out.drop(func(p *pending) bool { return r.outstanding[p.number] != p }) // its result came late
		requests, records = out.requests, out.pending
		if len(records) == 0 {
			r.mu.Unlock()
			return nil
		}
		n := r.owner.Next()
		h := &handout{left: len(records), mode: mode}
		for _, p := range records {
			p.handout, p.began = n, false
			if mode == courier.Alone {
				h.order = append(h.order, p.number)
			}
		}
		r.handouts[n] = h
		stopping := r.stopping
		r.mu.Unlock()
		var err error
		if !stopping {
			err = r.owner.HandOut(ctx, n, requests, mode)
			if errors.Is(err, courier.ErrUnknown) {
				slog.WarnContext(ctx, "hand out", slog.Any("error", err)) // a survey will tell
				err = nil
			}
			if err == nil {
				r.mu.Lock()
				stopping = r.stopping
				r.mu.Unlock()
				if stopping { // Stop may have looked for it before it was there, and no worker may claim it any more
					r.takeBack(ctx, []courier.Number{n})
				}
				return nil
			}
		}
		// Nobody has these records or will: they are still this coordinator's.
		r.mu.Lock()
		delete(r.handouts, n)
		if r.stopping || ctx.Err() != nil {
			for _, p := range records {
				r.settle(p)
			}
			r.mu.Unlock()
			return errStopping
		}
		r.mu.Unlock()
		if courier.IsFull(err) {
			r.makeRoom(ctx)
			if half := len(records) / 2; half > 0 { // a part may fit where all do not
				r.mu.Lock()
				for _, p := range records[half:] {
					r.again(p, time.Time{})
				}
				r.mu.Unlock()
				requests, records = requests[:half], records[:half]
			}
		} else if wait == firstWait {
			slog.WarnContext(ctx, "hand out: trying again", slog.Any("error", err))
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// feedReturned hands records that came back out again, ahead of new ones, when they are due.
func (r *Run) feedReturned(ctx context.Context) error {
	stop := context.AfterFunc(ctx, r.wake)
	defer stop()
	for ctx.Err() == nil {
		t := r.takeReturned(time.Now())
		if err := r.poison(ctx, t.poisoned); err != nil {
			return err
		}
		if len(t.due) > 0 {
			if err := r.handOutAgain(ctx, t.due, t.mode); err != nil && !errors.Is(err, errStopping) {
				return err
			}
			continue
		}
		timer := time.AfterFunc(t.next, r.wake)
		r.mu.Lock()
		if ctx.Err() == nil {
			r.changed.Wait()
		}
		r.mu.Unlock()
		timer.Stop()
	}
	return nil
}

// turn is what is to be done with returned records now.
type turn struct {
	due      []*pending    // to be handed out together, up to a chunk
	mode     courier.Mode  // in which
	poisoned []*pending    // to fail
	next     time.Duration // until the next one is due
}

// takeReturned takes up the returned records that are due.
func (r *Run) takeReturned(now time.Time) turn {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := turn{mode: courier.Again, next: time.Hour}
	if r.hindrance() != "" || r.paused {
		t.next = time.Second
		return t
	}
	var later, suspects []*pending
	for _, p := range r.returned {
		switch {
		case r.outstanding[p.number] != p: // a late result came after all
		case r.suspicion.alone[p.number] >= poisonDeaths:
			t.poisoned = append(t.poisoned, p)
		case p.earliest.After(now):
			t.next = min(t.next, p.earliest.Sub(now))
			later = append(later, p)
		case p.suspect:
			suspects = append(suspects, p)
		case len(t.due) < r.handOutSize():
			t.due = append(t.due, p)
		default:
			later = append(later, p)
		}
	}
	if len(t.due) == 0 && len(suspects) > 0 && r.aloneNow() < max(1, r.capacity/alonePerCalls, r.fleet.Workers/alonePerWorkers) {
		n := min(len(suspects), aloneRecords)
		t.due, suspects, t.mode = suspects[:n], suspects[n:], courier.Alone
	}
	r.returned = append(later, suspects...)
	return t
}

// aloneNow counts the hand-outs of suspects that are out. The caller holds the mutex.
func (r *Run) aloneNow() int {
	n := 0
	for _, h := range r.handouts {
		if h.mode == courier.Alone {
			n++
		}
	}
	return n
}

func (r *Run) handOutAgain(ctx context.Context, records []*pending, mode courier.Mode) error {
	requests := make([]jobs.Request, 0, len(records))
	for _, p := range records {
		r.mu.Lock()
		body, err := r.bodyOf(p.part, p.number)
		r.mu.Unlock()
		if err != nil {
			return err
		}
		if jobs.DigestOf(body) != p.digest {
			return fmt.Errorf("record %d: a file that its request includes changed while the run was on", p.number)
		}
		requests = append(requests, jobs.Request{
			Record: p.number, Digest: p.digest, Body: body, Attempts: p.attempts, Calls: p.calls, Refusals: p.refusals,
		})
	}
	return r.handOut(ctx, requests, records, mode)
}

// bodyOf renders the request of a spooled record again; it is nil when none can be made. The caller holds the mutex.
func (r *Run) bodyOf(p *part, number int64) ([]byte, error) {
	record, err := p.record(number)
	if err != nil {
		return nil, err
	}
	r.input.label(&record)
	body, _ := r.input.body(r.job, &record)
	return body, nil
}

// again puts a record back among those that are to be handed out; when the run stops it is left to the next coordinator.
// The caller holds the mutex.
func (r *Run) again(p *pending, earliest time.Time) {
	if r.stopping {
		r.settle(p)
		return
	}
	r.release(p)
	p.handout, p.earliest = 0, earliest
	r.returned = append(r.returned, p)
	r.changed.Broadcast()
}

// makeRoom answers a full Redis: what nobody has claimed is taken back, and less is handed out at once from now on.
func (r *Run) makeRoom(ctx context.Context) {
	fresh := r.setTrouble(redisFull)
	r.mu.Lock()
	// It may be full and not full many times a minute.
	if fresh && time.Since(r.saidFull) > time.Minute {
		r.saidFull = time.Now()
		slog.WarnContext(ctx, "redis is full: handing out less at once")
	}
	r.window.maxBytes = max(r.window.maxBytes/2, minWindowBytes)
	numbers := make([]courier.Number, 0, len(r.handouts))
	for n := range r.handouts {
		numbers = append(numbers, n)
	}
	r.mu.Unlock()
	r.reclaim(ctx, numbers)
}

// redisFull is the trouble that a Redis without room causes.
const redisFull = "Redis is full: give it more memory, or free some"

// reclaim withdraws hand-outs that nobody has claimed, for their records to be handed out again.
func (r *Run) reclaim(ctx context.Context, numbers []courier.Number) {
	got, err := r.owner.Withdraw(ctx, numbers)
	if err != nil {
		if ctx.Err() == nil {
			slog.WarnContext(ctx, "take hand-outs back", slog.Any("error", err))
		}
		return // a later look sees them still there
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	withdrawn := make(map[courier.Number]bool, len(got))
	for _, n := range got {
		withdrawn[n] = true
	}
	for _, p := range r.outstanding {
		if p.handout != 0 && withdrawn[p.handout] {
			r.again(p, time.Time{})
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
