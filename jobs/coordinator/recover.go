package coordinator

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/batchwright/batchwright/jobs/courier"
)

const (
	// aloneRecords is how many suspects are handed out at once.
	aloneRecords = 16
	// alonePerCalls and alonePerWorkers are how many calls at once the fleet must make, or how many workers it must have, for
	// each hand-out of suspects that is out: running alone stops the rest of its worker half of the time.
	alonePerCalls   = 128
	alonePerWorkers = 4
)

// keep holds the run until this process is fenced out, and follows what a person wants of it.
func (r *Run) keep(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-r.owner.Lost():
			return err
		case <-r.owner.Forgot():
			slog.WarnContext(ctx, "redis had lost the run or went back in time: handing out again what no worker has")
			r.mu.Lock()
			r.manifest.Epoch, r.journaled = r.owner.Epoch(), ""
			r.mu.Unlock()
			if err := r.persist(ctx, r.saveManifest); err != nil {
				return err
			}
		case want := <-r.owner.Wants():
			r.follow(ctx, want)
		}
	}
}

// follow does what a person wants of the run.
func (r *Run) follow(ctx context.Context, want string) {
	r.mu.Lock()
	r.paused = want == courier.Pause
	stop := want == courier.Stop && !r.stopping
	r.stopped = r.stopped || stop
	r.changed.Broadcast()
	r.mu.Unlock()
	switch {
	case stop:
		slog.InfoContext(ctx, "told to stop: calls in flight are being finished")
		r.Stop(ctx)
	case want == courier.Pause:
		slog.InfoContext(ctx, "paused; batchwright resume goes on")
	}
}

// recover looks at the fleet now and then: records of dead workers, and what Redis lost, are handed out again.
func (r *Run) recover(ctx context.Context) error {
	w := newWatch()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.refusing:
		}
		survey, err := r.owner.Survey(ctx)
		if err != nil {
			continue // the renewal of the lease says that Redis is away
		}
		r.mu.Lock()
		out := make(map[courier.Number]bool, len(r.handouts))
		for n, h := range r.handouts {
			out[n] = h.mode != courier.New
		}
		journaled := r.journaled
		r.mu.Unlock()
		found := w.look(time.Now(), &survey, out, r.owner.Epoch(), journaled)
		r.stopAgain(ctx, survey.Unclaimed)
		r.regain(ctx, r.bury(ctx, found.Dead), found.Lost)
		r.reclaim(ctx, found.Stuck)
		if len(found.Stray) > 0 {
			if _, err := r.owner.Withdraw(ctx, found.Stray); err != nil {
				slog.WarnContext(ctx, "delete strayed hand-outs", slog.Any("error", err))
			}
		}
		if err := r.owner.Forget(ctx, found.Idle); err != nil {
			slog.WarnContext(ctx, "delete idle claims", slog.Any("error", err))
		}
		r.muster(ctx, &survey, found.Live)
	}
}

// stopAgain does what Stop could not do while Redis was away.
func (r *Run) stopAgain(ctx context.Context, unclaimed []courier.Number) {
	r.mu.Lock()
	stopping, told := r.stopping, r.told
	var ours []courier.Number
	for _, n := range unclaimed {
		if r.handouts[n] != nil {
			ours = append(ours, n)
		}
	}
	r.mu.Unlock()
	if !stopping {
		return
	}
	r.takeBack(ctx, ours)
	if !told {
		r.tellStop(ctx)
	}
}

// muster takes in who is there to work: how much they can do, and whether they can do it.
func (r *Run) muster(ctx context.Context, s *courier.Survey, live []string) {
	slots, refusals, why := 0, 0, ""
	fleet := Fleet{Workers: len(live)}
	for _, worker := range live {
		beat := s.Workers[worker]
		slots += beat.Slots
		fleet.InFlight += beat.InFlight
		fleet.Waiting += beat.Waiting
		if beat.Why != "" {
			fleet.Why, fleet.BoundBy = beat.Why, beat.BoundBy
		}
		if beat.Refused != "" {
			refusals++
			why = beat.Refused
		}
	}
	r.mu.Lock()
	if fleet.Workers == 0 {
		if fleet.Absent = r.fleet.Absent; fleet.Absent.IsZero() {
			fleet.Absent = time.Now()
		}
	}
	r.capacity, r.fleet = slots, fleet
	if most := r.job.Limits.Concurrency; most > 0 {
		slots = min(slots, most)
	}
	if records := WindowFor(slots); slots > 0 && records != r.window.maxRecords {
		r.window.maxRecords = records
		r.changed.Broadcast()
	}
	full := r.owner.Full()
	if !full && r.window.maxBytes < maxWindowBytes {
		r.window.maxBytes = min(r.window.maxBytes+r.window.maxBytes/64, maxWindowBytes)
		r.changed.Broadcast()
	}
	trouble := r.trouble
	r.mu.Unlock()
	switch {
	case full:
		r.makeRoom(ctx)
	case trouble == redisFull:
		r.setTrouble("")
	}
	if refusals > 0 && refusals == len(live) {
		r.block(ctx, why)
	}
}

// bury makes sure of deaths, so that a worker which comes back after all knows that it was given up. It returns the
// hand-outs that those workers leave.
func (r *Run) bury(ctx context.Context, dead []death) []courier.Number {
	var left []courier.Number
	for _, d := range dead {
		buried, err := r.owner.Bury(ctx, d.worker, d.count)
		if err != nil {
			slog.WarnContext(ctx, "give up a dead worker", slog.Any("error", err))
		}
		if buried {
			left = append(left, d.handouts...)
		}
	}
	return left
}

// regain takes back the records of hand-outs that will bring nothing more: of workers that died, and lost with no death.
func (r *Run) regain(ctx context.Context, ofDead, ofNone []courier.Number) {
	if len(ofDead) == 0 && len(ofNone) == 0 {
		return
	}
	died, lost := make(map[courier.Number]bool), make(map[courier.Number]bool)
	for _, n := range ofDead {
		died[n] = true
	}
	for _, n := range ofNone {
		lost[n] = true
	}
	r.mu.Lock()
	r.suspectAlone(died)
	var records, suspects int64
	for _, p := range r.outstanding {
		if p.handout == 0 || !died[p.handout] && !lost[p.handout] {
			continue
		}
		records++
		if died[p.handout] {
			r.suspect(p)
		}
		if p.suspect {
			suspects++
		}
		r.suspicion.pause(p.number)
		r.again(p, time.Time{})
	}
	for n := range died {
		delete(r.handouts, n)
	}
	for n := range lost {
		delete(r.handouts, n)
	}
	r.manifest.Unknown += records // what their worker did with them nobody can count
	r.changed.Broadcast()
	r.mu.Unlock()
	// A coordinator that comes next must not believe them.
	if err := r.owner.Forget(ctx, slices.Concat(ofDead, ofNone)); err != nil {
		slog.WarnContext(ctx, "delete claims", slog.Any("error", err))
	}
	slog.WarnContext(ctx, "handing out again what a worker or Redis lost", slog.Int64("records", records),
		slog.Int("hand_outs_of_dead_workers", len(ofDead)), slog.Int("hand_outs_lost", len(ofNone)),
		slog.Int64("suspects", suspects))
}
