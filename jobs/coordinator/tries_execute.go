package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// tryReadWait is how long one read waits: as long as a try may take to notice that it is to stop, or that a record
// is due again.
const tryReadWait = 200 * time.Millisecond

// Execute answers the sample and calls show for each record as soon as its result is on disk: first those that need
// no call, then the others as they come. A blocked or stopped try ends without the rest. It gives up the hold on
// Redis that Own took.
func (t *Try) Execute(ctx context.Context, show func(Tried) error) (TryOutcome, error) {
	err := t.answer(ctx, show)
	t.project()
	return t.outcome, errors.Join(err, t.owner.Close(context.WithoutCancel(ctx)))
}

func (t *Try) answer(ctx context.Context, show func(Tried) error) error {
	for i := range t.ready {
		if err := t.end([]Tried{t.ready[i]}, show); err != nil {
			return err
		}
	}
	for start := 0; start < len(t.calls); start += chunkRecords {
		if err := t.handOut(ctx, t.calls[start:min(start+chunkRecords, len(t.calls))], courier.New); err != nil {
			return err
		}
	}
	withdrawn := false
	for len(t.outstanding) > 0 {
		if (t.stopping.Load() || t.outcome.Blocked != "") && !withdrawn {
			withdrawn = true
			if err := t.withdraw(ctx); err != nil {
				return err
			}
			continue
		}
		if err := t.handOutDue(ctx); err != nil {
			return err
		}
		batch, err := t.owner.Read(ctx, tryReadWait)
		if err != nil {
			return fmt.Errorf("receive answers: %w", err)
		}
		if batch.Empty() {
			continue
		}
		if err := t.end(t.take(batch), show); err != nil {
			return err
		}
		if err := t.owner.Ack(ctx, &batch, nil); err != nil {
			return fmt.Errorf("acknowledge answers: %w", err)
		}
	}
	return nil
}

// handOut gives records to the worker.
func (t *Try) handOut(ctx context.Context, calls []*trying, mode courier.Mode) error {
	requests := make([]jobs.Request, len(calls))
	n := t.owner.Next()
	for i, c := range calls {
		c.handout, c.earliest = n, time.Time{}
		requests[i] = c.Request
		t.outstanding[c.Record] = c
	}
	if err := t.owner.HandOut(ctx, n, requests, mode); err != nil {
		return fmt.Errorf("hand out: %w", err)
	}
	return nil
}

// handOutDue hands out again what came back and may be tried now.
func (t *Try) handOutDue(ctx context.Context) error {
	var due []*trying
	for _, c := range t.outstanding {
		if !c.earliest.IsZero() && time.Now().After(c.earliest) {
			due = append(due, c)
		}
	}
	if len(due) == 0 {
		return nil
	}
	return t.handOut(ctx, due, courier.Again)
}

// withdraw takes back what no worker has begun with.
func (t *Try) withdraw(ctx context.Context) error {
	out := make(map[courier.Number]bool)
	for number, c := range t.outstanding {
		if c.earliest.IsZero() {
			out[c.handout] = true
		} else {
			delete(t.outstanding, number) // it waits here
		}
	}
	numbers := make([]courier.Number, 0, len(out))
	for n := range out {
		numbers = append(numbers, n)
	}
	got, err := t.owner.Withdraw(ctx, numbers)
	if err != nil {
		return err
	}
	for _, n := range got {
		for number, c := range t.outstanding {
			if c.handout == n {
				delete(t.outstanding, number)
			}
		}
	}
	return nil
}

// take books what the worker delivered and returns the results in it.
func (t *Try) take(batch courier.Batch) []Tried {
	var ended []Tried
	for i := range batch.Deliveries {
		d := &batch.Deliveries[i]
		c := t.outstanding[d.Record()]
		if c == nil {
			continue
		}
		if back := d.Returned; back != nil {
			c.Attempts, c.Calls, c.Refusals = back.Attempts, back.Calls, back.Refusals
			if back.Blocked != "" {
				t.outcome.Blocked = back.Blocked
			}
			if t.outcome.Blocked != "" || t.stopping.Load() {
				delete(t.outstanding, c.Record)
				continue
			}
			c.earliest = back.Earliest
			if c.earliest.IsZero() {
				c.earliest = time.Now()
			}
			continue
		}
		delete(t.outstanding, c.Record)
		d.Result.ID = c.id
		t.options.Job.Judge(d.Result)
		ended = append(ended, Tried{Result: *d.Result, Request: c.Body})
	}
	return ended
}

// end files results and then shows them, compared with the last try.
func (t *Try) end(ended []Tried, show func(Tried) error) error {
	for i := range ended {
		tried := &ended[i]
		last, ok := t.last[tried.Result.Record]
		ok = ok && last.ID == tried.Result.ID
		if ok && last.Digest != tried.Result.Digest && tried.Result.Message != nil {
			tried.Before = &last
			tried.Changed = last.Status != tried.Result.Status || jobs.Text(last.Message) != jobs.Text(tried.Result.Message)
		}
		// What is shown again, after something else, is filed again: the journal tells what was shown last.
		if tried.Result.Message == nil || ok && last.Digest == tried.Result.Digest {
			continue
		}
		if _, err := t.log.Append(appendTry(nil, t.api, &tried.Result)); err != nil {
			return fmt.Errorf("keep answer: %w", err)
		}
	}
	if err := t.log.Commit(); err != nil {
		return fmt.Errorf("keep answers: %w", err)
	}
	for i := range ended {
		t.count(&ended[i])
		if err := show(ended[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *Try) count(tried *Tried) {
	o := &t.outcome
	o.Tally.add(&tried.Result)
	if tried.Reused {
		o.Tally.Reused++
	} else {
		o.Paid += tried.Result.Cost
	}
	if tried.Before != nil {
		o.Compared++
	}
	if tried.Changed {
		o.Changed++
	}
	t.latency += tried.Result.Latency
}

// project says what the whole input takes if it is like the sample.
func (t *Try) project() {
	tally := &t.outcome.Tally
	done := tally.Done()
	if done == 0 {
		return
	}
	scale := float64(t.total) / float64(done)
	f := Forecast{
		Records: t.total, Exact: true, OutputKnown: true, Priced: tally.Unpriced == 0,
		Input: int64(scale * float64(tally.Usage.Input+tally.Usage.CacheRead+tally.Usage.CacheWrite())), Output: int64(scale * float64(tally.Usage.Output)),
		Cost: jobs.Nanodollars(scale * float64(tally.Cost)),
	}
	limits := t.options.Job.Limits
	limits.Concurrency = 0 // what the answers took is better than what that assumes
	f.Time = max(shortest(limits, f, time.Now()), time.Duration(scale*float64(t.latency))/time.Duration(max(t.options.Slots, 1)))
	t.outcome.Projected = f
}
