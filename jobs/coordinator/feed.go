package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// errStopping ends the feed when the run is to stop.
var errStopping = errors.New("stopping")

// chunk is consecutive records on their way out.
type chunk struct {
	part     *part // of the latest record
	requests []jobs.Request
	pending  []*pending
	own      []jobs.Result // records that need no call
	bytes    int64
	worst    jobs.Nanodollars
}

func (c *chunk) empty() bool { return len(c.requests) == 0 && len(c.own) == 0 }

// drop takes records out.
func (c *chunk) drop(needless func(*pending) bool) {
	kept := 0
	for i, p := range c.pending {
		if needless(p) {
			c.bytes -= p.size
			c.worst -= p.reserved
			continue
		}
		c.pending[kept], c.requests[kept] = p, c.requests[i]
		kept++
	}
	c.pending, c.requests = c.pending[:kept], c.requests[:kept]
}

// feed hands out every record that has no result: those of open parts first, then the rest of the input.
func (r *Run) feed(ctx context.Context) error {
	if err := r.feedAll(ctx); err != nil {
		if errors.Is(err, errStopping) {
			return nil
		}
		return err
	}
	r.mu.Lock()
	r.fed = true
	r.changed.Broadcast()
	r.mu.Unlock()
	return nil
}

func (r *Run) feedAll(ctx context.Context) error {
	// Results that were on their way when an earlier coordinator ended come first.
	select {
	case <-r.drained:
	case <-ctx.Done():
		return ctx.Err()
	}
	var c chunk
	// Parts of an earlier coordinator.
	for _, index := range r.openParts() {
		if err := r.feedPart(ctx, &c, index); err != nil {
			return err
		}
	}
	if err := r.send(ctx, &c); err != nil {
		return err
	}
	current, reader, err := r.resumeReading()
	if err != nil {
		return err
	}
	defer reader.Close() //nolint:errcheck // only read
	for {
		if current != nil && (len(current.records) >= r.manifest.PartRecords || current.bytes >= r.manifest.PartBytes) {
			if err := r.fillPart(ctx, current); err != nil {
				return err
			}
			current = nil
		}
		record, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read input: %w", err)
		}
		if current == nil {
			if current, err = r.startPart(ctx, &record); err != nil {
				return err
			}
		}
		if err := r.spool(current, &record); err != nil {
			return err
		}
		if err := r.consider(ctx, &c, current, &record); err != nil {
			return err
		}
	}
	if err := r.send(ctx, &c); err != nil {
		return err
	}
	if current != nil {
		return r.fillPart(ctx, current)
	}
	return nil
}

// feedPart considers the records of an open part that have no result.
func (r *Run) feedPart(ctx context.Context, c *chunk, index int) error {
	r.mu.Lock()
	p := r.parts[index]
	r.mu.Unlock()
	if p == nil {
		return nil // complete, and sealed meanwhile
	}
	for number := p.meta.First; ; number++ {
		record, err := r.nextUnanswered(p, number)
		if err != nil || record == nil {
			return err
		}
		if err := r.consider(ctx, c, p, record); err != nil {
			return err
		}
		number = record.Number
	}
}

// nextUnanswered reads the first record from a number on that has no result; nil when there is none. A part that has
// one is not sealed and closed while the mutex is held.
func (r *Run) nextUnanswered(p *part, number int64) (*jobs.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; p.has(number); number++ {
		if !p.answered(number) && r.outstanding[number] == nil {
			record, err := p.record(number)
			return &record, err
		}
	}
	return nil, nil //nolint:nilnil // no record, and nothing wrong
}

// consider adds a record to the chunk unless it has a result, and sends the chunk when it is full.
func (r *Run) consider(ctx context.Context, c *chunk, p *part, record *jobs.Record) error {
	r.input.label(record)
	body, problem := r.input.body(r.job, record)
	digest := jobs.DigestOf(body)
	r.mu.Lock()
	answered, most := p.answered(record.Number), r.handOutSize()
	r.mu.Unlock()
	if answered {
		return nil
	}
	if problem != "" {
		c.own = append(c.own, r.badInput(record, digest, problem))
	} else if earlier, ok := r.tries[digest]; ok {
		c.own = append(c.own, reuse(earlier, record))
	} else {
		worst := r.worstCase(body)
		if len(c.requests) > 0 && !r.affordsNow(c.worst+worst) {
			// Near the end of the budget records go out one by one, as each settles for less than it might have cost.
			if err := r.send(ctx, c); err != nil {
				return err
			}
		}
		c.requests = append(c.requests, jobs.Request{Record: record.Number, Digest: digest, Body: body})
		c.pending = append(c.pending, &pending{
			part: p, number: record.Number, id: record.ID, digest: digest, size: int64(len(body)), reserved: worst,
		})
		c.bytes += int64(len(body))
		c.worst += worst
	}
	c.part = p // last, for a chunk that was sent on the way is empty
	if len(c.requests)+len(c.own) >= most || c.bytes >= r.manifest.ChunkBytes {
		return r.send(ctx, c)
	}
	return nil
}

// send hands a chunk out as soon as the window has room for it.
func (r *Run) send(ctx context.Context, c *chunk) error {
	if c.empty() {
		return nil
	}
	// What is handed out is in the file, so that whoever comes after a kill knows what may have been called.
	if err := r.persist(ctx, c.part.spool.Flush); err != nil {
		return fmt.Errorf("spool records: %w", err)
	}
	if len(c.own) > 0 {
		r.mu.Lock()
		r.window.own++
		r.mu.Unlock()
		select {
		case r.inbox <- delivery{own: c.own}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if len(c.requests) > 0 {
		if err := r.admit(ctx, c); err != nil {
			return err
		}
	}
	if len(c.requests) > 0 {
		if err := r.handOut(ctx, c.requests, c.pending, courier.New); err != nil {
			return err
		}
	}
	*c = chunk{}
	return nil
}

// admit waits for room in the window and in the budget, and takes the chunk onto the books, but for the records that
// were answered meanwhile: a worker of an earlier coordinator may deliver late.
func (r *Run) admit(ctx context.Context, c *chunk) error {
	stop := context.AfterFunc(ctx, r.wake)
	defer stop()
	r.mu.Lock()
	for {
		c.drop(func(p *pending) bool { return p.part.answered(p.number) || r.outstanding[p.number] != nil })
		switch {
		case len(c.requests) == 0:
			r.mu.Unlock()
			return nil
		case ctx.Err() != nil:
			r.mu.Unlock()
			return ctx.Err()
		case r.stopping:
			r.mu.Unlock()
			return errStopping
		case !r.affords(c.worst):
			if len(r.outstanding) == 0 {
				why := r.overBudget(c)
				r.mu.Unlock()
				r.block(ctx, why)
				return errStopping
			}
		case !r.trusted() && len(r.outstanding) >= sameFailureAfter:
			// Nothing shows yet that the job can succeed.
		case r.paused:
			// Until a person resumes it.
		case r.window.room(c.bytes) && r.hindrance() == "":
			for _, p := range c.pending {
				r.outstanding[p.number] = p
			}
			r.window.records += len(c.pending)
			r.window.bytes += c.bytes
			r.reserved += c.worst
			r.mu.Unlock()
			return nil
		}
		r.changed.Wait()
	}
}

// maxRequest is the API's bound on a request's size in bytes (Messages API, 413 request_too_large).
const maxRequest = 32 << 20

// badInput is the result of a record that no request can be made of.
func (r *Run) badInput(record *jobs.Record, digest jobs.Digest, problem string) jobs.Result {
	return jobs.Result{
		Record: record.Number, ID: record.ID, Digest: digest, Status: jobs.Failed, Reason: jobs.ReasonBadInput,
		Error: r.input.where(record.Position) + ": " + problem, FinishedAt: time.Now(),
	}
}

// reuse is an earlier answer to the same request, as this record's result.
func reuse(earlier jobs.Result, record *jobs.Record) jobs.Result {
	earlier.Record, earlier.ID, earlier.Round = record.Number, record.ID, 0
	return earlier
}

// isFull reports whether an error means that a disk is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
