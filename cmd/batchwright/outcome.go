package main

import (
	"strings"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker"
)

// absentFor is how long a run may have no worker before that is told.
const absentFor = 10 * time.Second

// snapshotOf joins what the coordinator and the worker in this process know. absent says what to do while nobody works.
func snapshotOf(p coordinator.Progress, w worker.Stats, absent string) snapshot {
	s := snapshot{
		Total: p.Total, TotalKnown: p.TotalKnown, Done: p.Tally.Done(), Succeeded: p.Tally.Succeeded,
		Failed: p.Tally.Done() - p.Tally.Succeeded, Reused: p.Tally.Reused,
		Calls: p.Before.Calls + w.Calls, Retries: p.Before.Retries + w.Retries, Repeats: p.Repeats,
		Tokens: p.Tally.Usage, Cost: p.Tally.Cost, Priced: p.Tally.Unpriced == 0,
		InFlight: w.InFlight, Waiting: w.Waiting, Why: w.Why, BoundBy: w.BoundBy, Elapsed: p.Elapsed,
	}
	if p.Fleet.Workers > 1 || w.Calls == 0 && w.InFlight == 0 && w.Waiting == 0 {
		// Workers elsewhere as well.
		s.InFlight, s.Waiting, s.Why, s.BoundBy = p.Fleet.InFlight, p.Fleet.Waiting, p.Fleet.Why, p.Fleet.BoundBy
		s.Calls, s.Retries = p.Tally.Calls, p.Tally.Retries
	}
	if s.Why == pausedWhy {
		s.Why = "" // the coordinator knows, and sooner
	}
	hindered := ""
	switch {
	case p.Trouble != "":
		hindered = p.Trouble
	case p.Paused:
		hindered = "paused; batchwright resume goes on"
	case !p.Fleet.Absent.IsZero() && time.Since(p.Fleet.Absent) > absentFor:
		hindered = absent
	}
	if hindered != "" {
		s.Why, s.BoundBy = hindered, ""
	}
	return s
}

// blockedInFleet adds to what a person must do what workers need then: they have read their credentials long ago.
func blockedInFleet(blocked string) string {
	if !strings.Contains(blocked, "credential") {
		return blocked
	}
	return blocked + "; workers read theirs when they start: restart those whose credential it was"
}

// summaryOf says how a run ended and with which exit code.
func summaryOf(job *jobs.Job, o coordinator.Outcome, cause stopCause, simulated bool) summary {
	t := &o.Tally
	s := summary{
		Job: job.Name, RunID: o.Run, Simulated: simulated, Explanation: o.Blocked,
		Records: max(o.Total, t.Done()), RecordsKnown: o.TotalKnown, Done: t.Done(), Succeeded: t.Succeeded, Failed: t.Done() - t.Succeeded,
		Reused: t.Reused, FailedByReason: t.Failed, Calls: t.Calls, Retries: t.Retries, Repeats: o.Repeats, Unknown: o.Unknown,
		Tokens: t.Usage, Cost: t.Cost, Priced: t.Unpriced == 0, Ended: t.Done(), Elapsed: o.Elapsed,
	}
	// Parts can be seen as they are sealed; a single file is there when the run is complete, and what has its name until
	// then is another run's.
	if o.Complete || strings.HasSuffix(o.Output, "/") {
		s.Outputs = []string{o.Output}
	}
	if !s.Priced && job.Request != nil {
		s.Unpriced = job.Request.Model()
	}
	switch {
	case o.Complete && job.Limits.MaxFailed.Exceeded(s.Failed, s.Records):
		s.Outcome, s.ExitCode = outcomeCompleteWithFailures, exitManyFailures
	case o.Complete:
		s.Outcome, s.ExitCode = outcomeComplete, exitComplete
	case o.Blocked != "":
		s.Outcome, s.ExitCode = outcomeBlocked, exitBlocked
	case cause.timeout:
		s.Outcome, s.ExitCode = outcomeTimedOut, exitOutOfTime
	default:
		s.Outcome, s.ExitCode = outcomeStopped, exitInterrupted
		if o.Stopped || cause.signal != nil && cause.signal.String() == "terminated" {
			s.ExitCode = exitTerminated
		}
	}
	return s
}
