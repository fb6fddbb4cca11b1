package coordinator

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// Progress is where a run stands.
type Progress struct {
	Run string
	Job string
	// Total counts the input's records, as far as known.
	Total      int64
	TotalKnown bool
	// Tally counts what ended, over all restarts; Before is the part of it that earlier coordinators did.
	Tally, Before Tally
	// Repeats counts calls that were paid and not needed; Unknown bounds those that a kill kept from being counted.
	Repeats, Unknown int64
	// Outstanding counts the records handed out, of at most about Window at once.
	Outstanding, Window int
	// Trouble says what hinders the coordinator: its disk or its store; empty when nothing does.
	Trouble string
	Blocked string
	// Paused says that a person paused the run.
	Paused bool
	// Fleet is who works on the run.
	Fleet Fleet
	// Elapsed is the time worked on the run, over all restarts.
	Elapsed time.Duration
	// Output is the path of the output.
	Output string
}

// Fleet is who works on a run, as their renewals of the last seconds say.
type Fleet struct {
	Workers int
	// InFlight counts calls, Waiting records that wait for their time, a limit or the API, for the reason Why. BoundBy is
	// one of courier.Bounds when that is a limit.
	InFlight, Waiting int
	Why, BoundBy      string
	// Absent is since when there has been no worker; zero while there is one.
	Absent time.Time
}

// Progress reports where the run stands; it may be called while Execute runs.
func (r *Run) Progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := Progress{
		Run: r.manifest.Run, Job: r.manifest.Job, Total: r.total.Load(), TotalKnown: r.totalKnown.Load(),
		Tally: r.tally.copy(), Before: r.before.copy(), Repeats: r.repeats, Unknown: r.manifest.Unknown,
		Outstanding: len(r.outstanding), Window: r.window.maxRecords,
		Trouble: r.hindrance(), Blocked: r.blocked, Elapsed: r.manifest.Elapsed, Output: r.manifest.Output, Paused: r.paused, Fleet: r.fleet,
	}
	if !r.started.IsZero() {
		p.Elapsed += time.Since(r.started)
	}
	return p
}

// Finished reports whether the run was complete before this process took it up.
func (r *Run) Finished() bool { return !r.manifest.Finished.IsZero() }

// ID is the run's id, by which workers join it.
func (r *Run) ID() string { return r.manifest.Run }

// Close lets the fleet and the state folder go. Execute must have returned, or never been called.
func (r *Run) Close() error {
	if err := r.close(); err != nil {
		return fmt.Errorf("close run: %w", err)
	}
	return nil
}

func (t *Tally) copy() Tally {
	c := *t
	c.Failed = maps.Clone(t.Failed)
	return c
}

// keepTime saves now and then how long the run has been worked on, for the time that a kill would lose.
func (r *Run) keepTime(ctx context.Context) error {
	for sleep(ctx, 10*time.Second) == nil {
		if err := r.persist(ctx, r.saveManifest); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (r *Run) saveManifest() error {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	m := *r.manifest
	if !r.started.IsZero() {
		m.Elapsed += time.Since(r.started)
	}
	r.mu.Unlock()
	return r.state.writeManifest(&m)
}
