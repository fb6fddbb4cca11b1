package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/batchwright/batchwright/jobs/courier"
)

// flushWithin bounds how long a suspect waits, and the worker with it, for results to be in Redis.
const flushWithin = 10 * time.Second

// gate closes the worker to all other calls while one suspect is tried.
type gate struct {
	turn chan struct{} // taken by the suspect that has, or waits for, the worker to itself

	// Guarded by the scheduler's lock.
	shut      bool
	shutAt    time.Time
	openUntil time.Time     // not shut again before
	quiet     chan struct{} // closed when no call is in flight; nil while nobody waits for that
}

// shutGate waits until the gate has been open for as long as it was last shut, shuts it, and waits for the calls in
// flight to end. It reports false, with the gate open, when stopped closes before.
func (s *scheduler) shutGate(stopped <-chan struct{}) bool {
	select {
	case s.gate.turn <- struct{}{}:
	case <-stopped:
		return false
	}
	s.mu.Lock()
	open := time.NewTimer(time.Until(s.gate.openUntil))
	s.mu.Unlock()
	defer open.Stop()
	select {
	case <-open.C:
	case <-stopped:
		<-s.gate.turn
		return false
	}
	s.mu.Lock()
	s.gate.shut, s.gate.shutAt = true, time.Now()
	quiet := make(chan struct{})
	if s.inFlight > 0 {
		s.gate.quiet = quiet
	} else {
		close(quiet)
	}
	s.mu.Unlock()
	select {
	case <-quiet:
		return true
	case <-stopped:
		s.openGate()
		return false
	}
}

// openGate lets other calls start again, for at least as long as they had to wait.
func (s *scheduler) openGate() {
	s.mu.Lock()
	now := time.Now()
	s.gate.shut, s.gate.quiet, s.gate.openUntil = false, nil, now.Add(now.Sub(s.gate.shutAt))
	s.handOn(now)
	s.mu.Unlock()
	<-s.gate.turn
}

// trySuspects tries the run's suspects one after the other until the run is stopped.
func (r *run) trySuspects() {
	for {
		suspect := r.nextSuspect()
		if suspect == nil {
			return
		}
		r.tryAlone(suspect)
	}
}

// nextSuspect waits for a suspect that is due; nil when the run is stopped.
func (r *run) nextSuspect() *record {
	s := r.worker.schedule
	for {
		s.mu.Lock()
		suspect, due := r.lane.queue.nextSuspect(time.Now())
		r.lane.space.Signal()
		s.mu.Unlock()
		if suspect != nil {
			return suspect
		}
		var alarm <-chan time.Time
		if !due.IsZero() {
			alarm = time.After(time.Until(due))
		}
		select {
		case <-alarm:
		case <-r.lane.suspected:
		case <-r.stopped:
			return nil
		}
	}
}

// tryAlone makes one call for a suspect with nothing else in flight in this process. All that other calls brought is
// in Redis before, and so is that this one begins: if the process dies of it, nobody else is suspected or lost.
func (r *run) tryAlone(suspect *record) {
	s := r.worker.schedule
	cost := r.estimate(suspect)
	// First the limits, then the gate: what its run must wait for must not keep others waiting.
	permits, err := r.await(r.admitting, suspect.limiter, cost)
	if err != nil {
		r.giveBack(suspect)
		return
	}
	defer permits.release() // it counts only when no call was made
	if !r.mayCall() {
		r.postpone(suspect)
		return
	}
	if !s.shutGate(r.stopped) {
		r.giveBack(suspect)
		return
	}
	defer s.openGate()
	if !r.mayCall() {
		r.postpone(suspect)
		return
	}
	news := courier.News{Handout: suspect.handout, Record: suspect.Record}
	r.session.Tell(news)
	news.Ended = true
	if !r.worker.flushed(r.admitting) {
		r.session.Tell(news)
		r.postpone(suspect)
		return
	}
	s.mu.Lock()
	if r.lane.over(suspect) {
		s.mu.Unlock()
		r.giveBack(suspect)
		return
	}
	c := s.begin(&call{record: suspect, lane: &r.lane, permits: permits, cost: cost}, time.Now())
	s.mu.Unlock()
	r.attempt(c)
	s.end(c)
	r.session.Tell(news) // it may wait here for another call: the next death is not its fault
	r.worker.flushed(r.admitting)
}

// postpone keeps a suspect that can't be tried now.
func (r *run) postpone(suspect *record) {
	suspect.due = time.Now().Add(lookAgain)
	if !r.worker.schedule.wait(&r.lane, suspect) {
		r.giveBack(suspect)
	}
}

// flushed waits until everything that the worker has delivered to its runs is in Redis, and reports whether it is.
func (w *Worker) flushed(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	for _, r := range w.serving() {
		if err := r.session.Flushed(ctx); err != nil {
			if ctx.Err() == nil {
				slog.WarnContext(ctx, "flush results", slog.String("run", r.id), slog.Any("error", err))
			}
			return false
		}
	}
	return true
}
