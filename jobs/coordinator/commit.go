package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/batchwright/batchwright/internal/crashpoint"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// readWait is how long one read of the results waits.
const readWait = 100 * time.Millisecond

// receive reads what the fleet delivers.
func (r *Run) receive(ctx context.Context) error {
	caughtUp, failing := false, false
	for wait := 50 * time.Millisecond; ctx.Err() == nil; {
		patience := readWait
		if !caughtUp {
			patience = 0
		}
		batch, err := r.owner.Read(ctx, patience)
		if err != nil {
			if ctx.Err() == nil && !failing {
				slog.WarnContext(ctx, "receive results: trying again", slog.Any("error", err))
			}
			failing = true
			wait = min(2*wait, 2*time.Second)
			_ = sleep(ctx, wait) // the loop looks at ctx
			continue
		}
		wait, failing = 50*time.Millisecond, false
		next := delivery{batch: batch, read: true}
		if batch.Empty() {
			if caughtUp {
				continue
			}
			caughtUp, next = true, delivery{empty: true}
		}
		select {
		case r.inbox <- next:
		case <-ctx.Done():
		}
	}
	return nil
}

// commit journals results: all that have come while the last group was written make the next group.
func (r *Run) commit(ctx context.Context) error {
	for {
		var group []delivery
		select {
		case d := <-r.inbox:
			group = append(group, d)
		case <-ctx.Done():
			// The next coordinator need not see again what is journaled.
			final, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			r.acked = time.Time{}
			r.acknowledge(final, nil)
			return nil
		}
		for more := true; more; {
			select {
			case d := <-r.inbox:
				group = append(group, d)
			default:
				more = false
			}
		}
		if err := r.commitGroup(ctx, group); err != nil {
			return err
		}
	}
}

func (r *Run) commitGroup(ctx context.Context, group []delivery) error {
	touched := make(map[*part]bool)
	complete := make(map[courier.Number]bool) // hand-outs to be forgotten
	own, drained := 0, false
	r.mu.Lock()
	r.committing = true
	for i := range group {
		d := &group[i]
		for _, news := range d.batch.News {
			r.note(news)
		}
		for j := range d.batch.Deliveries {
			one := &d.batch.Deliveries[j]
			if err := r.take(one, touched); err != nil {
				r.mu.Unlock()
				return err
			}
			if r.handouts[one.Handout] == nil {
				complete[one.Handout] = true
			}
		}
		switch {
		case d.read:
			r.unacked.Join(&d.batch)
		case d.empty:
			drained = true
		default:
			own++
		}
		for j := range d.own {
			if err := r.takeOwn(&d.own[j], touched); err != nil {
				r.mu.Unlock()
				return err
			}
		}
	}
	flying := r.suspicion.encode()
	r.mu.Unlock()
	if err := r.persist(ctx, func() error { return r.suspicion.save(flying) }); err != nil {
		return err
	}
	for p := range touched {
		if err := r.persist(ctx, p.log.Commit); err != nil {
			return fmt.Errorf("journal results: %w", err)
		}
	}
	crashpoint.Reach("journaled")
	position := r.unacked.Position
	r.acknowledge(ctx, complete)
	crashpoint.Reach("acknowledged")
	r.mu.Lock()
	r.committing = false
	if position != "" {
		r.journaled = position
	}
	if drained {
		close(r.drained)
	}
	r.window.own -= own
	for p := range touched {
		r.sealIfComplete(p)
	}
	r.changed.Broadcast()
	same := r.sameFailure.verdict(r.acceptFailures)
	r.mu.Unlock()
	if same != "" {
		r.block(ctx, same)
	}
	return nil
}

// ackEvery is how long acknowledgements are gathered: each is a script, and what is not acknowledged does no harm.
const ackEvery = 50 * time.Millisecond

// acknowledge lets Redis forget what is journaled, now and then.
func (r *Run) acknowledge(ctx context.Context, complete map[courier.Number]bool) {
	for n := range complete {
		r.forgotten = append(r.forgotten, n)
	}
	if r.unacked.Empty() && len(r.forgotten) == 0 || time.Since(r.acked) < ackEvery {
		return
	}
	if err := r.owner.Ack(ctx, &r.unacked, r.forgotten); err != nil {
		if ctx.Err() == nil {
			slog.WarnContext(ctx, "acknowledge results", slog.Any("error", err)) // a later one covers them
		}
		return
	}
	r.unacked, r.forgotten, r.acked = courier.Batch{}, nil, time.Now()
}

// note takes in that a call began, or ended and decided nothing. The caller holds the mutex.
func (r *Run) note(news courier.News) {
	p := r.outstanding[news.Record]
	if p == nil || p.handout != news.Handout {
		return
	}
	if p.began = !news.Ended; !p.began {
		r.suspicion.pause(news.Record)
		return
	}
	h := r.handouts[p.handout]
	r.suspicion.start(news.Record, h != nil && h.mode == courier.Alone)
}

// take books one delivery of the fleet. The caller holds the mutex.
func (r *Run) take(d *courier.Delivery, touched map[*part]bool) error {
	p := r.outstanding[d.Record()]
	if d.Returned != nil {
		r.takeBackOne(p, d.Handout, d.Returned)
		return nil
	}
	result := d.Result
	if p == nil || p.digest != result.Digest {
		// Its record has a result, or is not asked any more: paid for, and not needed.
		booked, err := r.late(result, touched)
		if err == nil && !booked && r.repeated(result) {
			r.repeats++
		}
		return err
	}
	result.ID = p.id
	r.job.Judge(result)
	if err := r.book(p.part, result, touched); err != nil {
		return err
	}
	r.settle(p)
	return nil
}

// takeBackOne books a record that came back without a result. The caller holds the mutex.
func (r *Run) takeBackOne(p *pending, n courier.Number, back *courier.Returned) {
	if back.Blocked != "" {
		select {
		case r.refusing <- struct{}{}:
		default: // somebody is looking already
		}
	}
	if p == nil || p.digest != back.Digest || p.handout != n {
		return // an older hand-out's
	}
	p.attempts, p.calls, p.refusals = back.Attempts, back.Calls, back.Refusals
	r.suspicion.pause(p.number)
	r.again(p, back.Earliest)
}

// takeOwn books a result that needed no call. The caller holds the mutex.
func (r *Run) takeOwn(result *jobs.Result, touched map[*part]bool) error {
	for _, p := range r.parts {
		if p.has(result.Record) {
			if p.answered(result.Record) {
				return nil
			}
			if result.Status == jobs.Succeeded || result.Reason != jobs.ReasonBadInput && result.Reason != jobs.ReasonPoison {
				r.tally.Reused++
				p.tally.Reused++ // for the sealed part's
			}
			if err := r.book(p, result, touched); err != nil {
				return err
			}
			if out := r.outstanding[result.Record]; out != nil { // it was the death of too many workers
				r.settle(out)
			}
			return nil
		}
	}
	return nil
}

// book puts a result into its part's journal. The caller holds the mutex.
func (r *Run) book(p *part, result *jobs.Result, touched map[*part]bool) error {
	r.scratch = jobs.AppendResult(r.scratch[:0], result)
	offset, err := p.log.Append(r.scratch)
	if err != nil {
		return fmt.Errorf("journal record %d: %w", result.Record, err)
	}
	p.note(result, offset)
	r.suspicion.end(result.Record)
	r.tally.add(result)
	r.sameFailure.add(result)
	touched[p] = true
	return nil
}

// diskFull is the trouble that a disk without space causes.
const diskFull = "the disk is full; free some space on it"

// persist does a write until the disk has room for it.
func (r *Run) persist(ctx context.Context, write func() error) error {
	for {
		err := write()
		if err == nil || !isFull(err) {
			return err
		}
		if r.setTrouble(diskFull) {
			slog.ErrorContext(ctx, "disk full: waiting for space, no new calls start", slog.Any("error", err))
			r.state.dropBallast()
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// watchDisk lets a run that a full disk stopped go on as soon as room for the answers in flight can be kept again.
func (r *Run) watchDisk(ctx context.Context) error {
	for sleep(ctx, time.Second) == nil {
		r.mu.Lock()
		trouble := r.trouble
		r.mu.Unlock()
		if trouble == diskFull && r.state.keepBallast() == nil && r.setTrouble("") {
			slog.InfoContext(ctx, "the disk has space again")
		}
	}
	return nil
}

// setTrouble says what hinders the run, or that nothing does, and reports whether that is new.
func (r *Run) setTrouble(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble == what {
		return false
	}
	r.trouble = what
	r.changed.Broadcast()
	return true
}

// hindrance says why nothing may be handed out now; "" when nothing does. The caller holds the mutex.
func (r *Run) hindrance() string {
	if r.trouble != "" {
		return r.trouble
	}
	return r.mirror.hindrance(r.tally.Done())
}

// sameFailure notices a job that can only fail: the first records that ended all ended in the same refusal.
type sameFailure struct {
	ended  int64
	status int
	text   string
	broken bool // a record ended otherwise, or the job was let go on
}

// sameFailureAfter is how many records must end alike.
const sameFailureAfter = 20

func (s *sameFailure) add(result *jobs.Result) {
	if result.Calls == 0 {
		return // its input was broken: the API was not asked
	}
	s.ended++
	if !refused(result) || s.status != 0 && result.HTTPStatus != s.status {
		s.broken = true
	}
	s.status, s.text = result.HTTPStatus, result.Error
}

// refused reports whether the API said no to a request for what is in it. A rate limit's no comes from its size.
func refused(result *jobs.Result) bool {
	return (result.Reason == jobs.ReasonRejected || result.Reason == jobs.ReasonTooLarge) &&
		result.HTTPStatus >= 400 && result.HTTPStatus != http.StatusTooManyRequests
}

// resume takes up what an earlier coordinator saw.
func (s *sameFailure) resume(t Tally) {
	s.ended = t.Failed[jobs.ReasonRejected] + t.Failed[jobs.ReasonTooLarge]
	s.broken = t.Done() > s.ended+t.Failed[jobs.ReasonBadInput]
	s.text = "show --failed lists them"
}

// trusted reports whether the job may be handed out at full width: a record ended otherwise than refused, or a person
// said so. The caller holds the mutex.
func (r *Run) trusted() bool { return r.sameFailure.broken || r.acceptFailures }

// verdict says why the run must not go on, or nothing.
func (s *sameFailure) verdict(accept bool) string {
	if accept || s.broken || s.ended < sameFailureAfter {
		return ""
	}
	return fmt.Sprintf("all of the first %d records were refused alike (%s): mend the request and start anew with "+
		"--fresh, or go on with --accept-failures", s.ended, s.text)
}
