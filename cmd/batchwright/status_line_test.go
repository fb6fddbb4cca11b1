package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker"
)

// What state a run is in follows from what its coordinator said last, whether it is there, and its workers.
func TestStateOfRun(t *testing.T) {
	t.Parallel()
	busy := courier.Beat{Slots: 8, Report: courier.Report{InFlight: 3}}
	held := courier.Beat{Slots: 8, Report: courier.Report{Waiting: 9, Why: "held until 12:00"}}
	halted := courier.Beat{Slots: 8, Report: courier.Report{Waiting: 9, Why: "paused"}}
	for name, test := range map[string]struct {
		owned      bool
		wanted     string
		status     coordinator.Status
		worker     *courier.Beat
		state, why string
		eta        bool
	}{
		"running":               {true, "", coordinator.Status{}, &busy, "running", "", true},
		"calls wait":            {true, "", coordinator.Status{}, &held, "waiting", "held until", true},
		"calls were paused":     {true, "", coordinator.Status{}, &halted, "running", "", true},
		"calls are paused":      {true, courier.Pause, coordinator.Status{Paused: true}, &halted, "paused", "", false},
		"no worker":             {true, "", coordinator.Status{}, nil, "waiting", "start batchwright worker", true},
		"just told to pause":    {true, courier.Pause, coordinator.Status{}, &busy, "paused", "", false},
		"paused":                {true, "", coordinator.Status{Paused: true}, &busy, "paused", "", false},
		"stopping":              {true, courier.Stop, coordinator.Status{Stopping: true}, &busy, "stopping", "", false},
		"stopped":               {false, courier.Stop, coordinator.Status{Stopping: true}, nil, "stopped", "run continues", false},
		"killed while paused":   {false, courier.Pause, coordinator.Status{Paused: true}, &halted, "unowned", "until batchwright resume", false},
		"killed, then stopped":  {false, courier.Stop, coordinator.Status{}, nil, "stopped", "run continues", false},
		"killed":                {false, "", coordinator.Status{}, &busy, "unowned", "run continues", false},
		"blocked":               {true, "", coordinator.Status{Blocked: "the key is dead", Stopping: true}, &busy, "blocked", "the key is dead", false},
		"ended because blocked": {false, "", coordinator.Status{Blocked: "the key is dead", Stopping: true}, nil, "blocked", "the key is dead", false},
		"trouble":               {true, "", coordinator.Status{Trouble: "redis is full"}, &busy, "running", "redis is full", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := &foundRun{id: "r1", status: test.status}
			run.status.Total, run.status.Counted, run.status.Done, run.status.Rate = 100, true, 40, 6
			run.view.Owned, run.view.Wanted = test.owned, test.wanted
			if test.worker != nil {
				run.view.Workers = map[string]courier.Beat{"w1": *test.worker}
			}
			line := statusLineOf(run, time.Now())
			if line.State != test.state || !strings.Contains(line.Why, test.why) || test.why == "" && line.Why != "" {
				t.Errorf("%s (%s), want %s (%s)", line.State, line.Why, test.state, test.why)
			}
			if (line.ETA != nil) != test.eta || test.eta && *line.ETA != 10 {
				t.Errorf("time left %v", line.ETA)
			}
		})
	}
}

// A person reads progress, rate, failures by reason, spend and who works.
func TestStatusText(t *testing.T) {
	t.Parallel()
	run := &foundRun{id: "r1", status: coordinator.Status{
		Job: "nightly\x1b[2J", Host: "c1", PID: 7, Total: 5000, Counted: true, Done: 2500, Succeeded: 2490, Rate: 50,
		Failed: map[jobs.Reason]int64{jobs.ReasonRefused: 10}, Cost: 1_500_000_000, Budget: 25_000_000_000, Output: "/out.jsonl", Priced: true, At: time.Now(), Outstanding: 320,
	}}
	run.view.Owned = true
	run.view.Workers = map[string]courier.Beat{"host-4711": {Slots: 64, Report: courier.Report{InFlight: 60, Waiting: 5, Why: "rate limit", Limits: []courier.Limits{
		{Own: true, Concurrency: 64, InFlight: 60}, {Scope: "haiku-4-5", Rates: []courier.Rate{{Kind: "requests", Learned: 1000, Effective: 990, Used: 960}}, BoundBy: "requests"},
	}}}}
	var text strings.Builder
	if err := statusLineOf(run, time.Now()).write(&text); err != nil {
		t.Fatal(err)
	}
	holds(t, text.String(), "nightly [2J: running (rate limit)", "2,500 of 5,000 (50%)", "50.0/s, done in 50s", "10 (refused 10)",
		"$1.50 of $25.00", "60 in flight, of 320 records handed out", "c1:7", "host-4711: 60 of 64 calls in flight, 5 records waiting: rate limit",
		"/out.jsonl on c1")
}

// The progress of a run counts the calls of all workers, and says when there is none or a person paused it.
func TestSnapshotOfFleet(t *testing.T) {
	t.Parallel()
	own := worker.Stats{Calls: 9, InFlight: 2, Why: "mine", BoundBy: "input"}
	type seen struct {
		InFlight, Waiting int
		Calls             int64
		Why, BoundBy      string
	}
	for name, test := range map[string]struct {
		fleet   coordinator.Fleet
		absent  time.Duration // since then nobody works; 0 for somebody does
		paused  bool
		trouble string
		worker  worker.Stats
		want    seen
	}{
		"only this process":     {fleet: coordinator.Fleet{Workers: 1, InFlight: 1}, worker: own, want: seen{2, 0, 9, "mine", "input"}},
		"others as well":        {fleet: coordinator.Fleet{Workers: 3, InFlight: 40, Waiting: 7, Why: "held", BoundBy: "hold"}, worker: own, want: seen{40, 7, 55, "held", "hold"}},
		"others alone":          {fleet: coordinator.Fleet{Workers: 1, InFlight: 40}, want: seen{40, 0, 55, "", ""}},
		"none for a moment":     {absent: time.Nanosecond, want: seen{0, 0, 55, "", ""}},
		"none for long":         {absent: absentFor + time.Second, want: seen{0, 0, 55, "start some", ""}},
		"paused":                {fleet: coordinator.Fleet{Workers: 1}, paused: true, worker: own, want: seen{2, 0, 9, "paused; batchwright resume goes on", ""}},
		"resumed a moment ago":  {fleet: coordinator.Fleet{Workers: 1}, worker: worker.Stats{Calls: 9, Why: "paused"}, want: seen{0, 0, 9, "", ""}},
		"trouble is said first": {fleet: coordinator.Fleet{Workers: 1}, paused: true, trouble: "disk full", worker: own, want: seen{2, 0, 9, "disk full", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.absent > 0 {
				test.fleet.Absent = time.Now().Add(-test.absent)
			}
			s := snapshotOf(coordinator.Progress{
				Fleet: test.fleet, Paused: test.paused, Trouble: test.trouble, Tally: coordinator.Tally{Calls: 55},
			}, test.worker, "start some")
			if diff := cmp.Diff(test.want, seen{s.InFlight, s.Waiting, s.Calls, s.Why, s.BoundBy}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
