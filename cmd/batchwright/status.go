package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

type statusFlags struct {
	fleetFlags
	asJSON bool
}

func newStatusCommand() *cobra.Command {
	f := &statusFlags{}
	command := &cobra.Command{
		Use:   "status [JOB]",
		Short: "Show the runs that are on: progress, rate, spend, workers, why calls wait",
		Long: `Show the runs that are on: those of the fleet, from any machine that reaches its Redis, and those that run in one process
on this machine, whose state is in .batchwright here or where --state says. JOB is a job file, its name, or a run's id.`,
		Example: `  batchwright status
  BATCHWRIGHT_REDIS=redis://queue:6379 batchwright status nightly --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.show(c.Context(), args, c.OutOrStdout()) },
	}
	f.add(command.Flags())
	command.Flags().BoolVar(&f.asJSON, "json", false, "print JSON, an object for each run on a line")
	return command
}

func (f *statusFlags) show(ctx context.Context, args []string, stdout io.Writer) error {
	found, err := f.runs(ctx, args)
	defer closeRuns(found)
	if err != nil {
		return err
	}
	if len(found) == 0 && len(args) > 0 {
		return f.absent(ctx, args[0])
	}
	if len(found) == 0 && !f.asJSON {
		_, err := fmt.Fprintln(stdout, f.nothing())
		return err
	}
	for _, run := range found {
		line := statusLineOf(run, time.Now())
		if f.asJSON {
			err = writeLine(stdout, line)
		} else {
			err = line.write(stdout)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nothing says that no run was found, and where it was looked for.
func (f *statusFlags) nothing() string {
	root := f.stateRoot(".")
	if path, err := filepath.Abs(root); err == nil {
		root = path
	}
	if f.given(os.Getenv) {
		return fmt.Sprintf("No run is on: neither on Redis nor in %s.", root)
	}
	return fmt.Sprintf("No run is on in %s; %s.", root, noRedisNamed)
}

// statusLine has the keys of status --json, which stay as they are; docs/operations.md names them.
type statusLine struct {
	Job   string `json:"job"`
	RunID string `json:"run_id"`
	// State is running, waiting (alive, and no call can be made now), paused, stopping, stopped, blocked, unowned (its
	// coordinator is gone and did not say goodbye), or unreadable (another version of
	// batchwright runs it).
	State string `json:"state"`
	// Why says what hinders the run or what its calls wait for.
	Why string `json:"why,omitempty"`
	// Blocked says what a person must do, Trouble what hinders the coordinator; both are empty when all is well.
	Blocked string `json:"blocked"`
	Trouble string `json:"trouble"`
	Records int64  `json:"records"`
	Counted bool   `json:"records_known"`
	Done    int64  `json:"done"`
	Failed  int64  `json:"failed"`
	// Reasons counts the failed records by why they failed.
	Reasons map[jobs.Reason]int64 `json:"failed_by_reason"`
	// Rate is in records a second, over the last minute.
	Rate float64 `json:"records_per_second"`
	// ETA is null when it can't be told.
	ETA         *int64  `json:"eta_seconds"`
	Cost        float64 `json:"cost_usd"`
	Budget      float64 `json:"budget_usd,omitempty"`
	Repeats     int64   `json:"repeats"`
	Unknown     int64   `json:"unknown"`
	InFlight    int     `json:"in_flight"`
	Outstanding int     `json:"outstanding"`
	Coordinator string  `json:"coordinator"` // host:pid
	Age         float64 `json:"age_seconds"` // of what the coordinator said
	Output      string  `json:"output"`
	// API is where the calls go; Weight is the run's share of a worker beside other runs; Encrypted says that prompts and
	// answers are encrypted in Redis.
	API       string       `json:"api"`
	Weight    float64      `json:"weight"`
	Encrypted bool         `json:"encrypted"`
	Workers   []workerLine `json:"workers"`
	// Limits are the job's own, and those of the key for each class of models.
	Limits []limitsLine `json:"limits"`

	run *foundRun
}

type workerLine struct {
	Worker   string    `json:"worker"`
	Slots    int       `json:"slots"`
	InFlight int       `json:"in_flight"`
	Waiting  int       `json:"waiting"`
	Why      string    `json:"why,omitempty"`
	Refused  string    `json:"refused,omitempty"`
	Since    time.Time `json:"since"`
}

func statusLineOf(run *foundRun, now time.Time) *statusLine {
	s, terms := &run.status, &run.view.Terms
	line := &statusLine{
		Job: s.Job, RunID: run.id, Why: s.Trouble, Blocked: s.Blocked, Trouble: s.Trouble, Records: s.Total, Counted: s.Counted, Done: s.Done,
		Failed: s.Done - s.Succeeded, Reasons: s.Failed, Rate: s.Rate, Cost: float64(s.Cost) / 1e9, Budget: float64(s.Budget) / 1e9, Repeats: s.Repeats,
		Unknown: s.Unknown, Outstanding: s.Outstanding, Output: s.Output, API: terms.BaseURL, Weight: cmp.Or(terms.Limits.Weight, 1),
		Encrypted: terms.Key != "", Workers: []workerLine{}, Limits: limitsOf(run.view.Workers, now), run: run,
	}
	if !s.At.IsZero() {
		line.Coordinator, line.Age = fmt.Sprintf("%s:%d", s.Host, s.PID), max(now.Sub(s.At).Seconds(), 0)
	}
	for _, worker := range slices.Sorted(maps.Keys(run.view.Workers)) {
		beat := run.view.Workers[worker]
		if beat.Why == pausedWhy && !run.paused() {
			beat.Why = "" // said before the run was resumed: workers learn of that within seconds
		}
		line.InFlight += beat.InFlight
		if line.Why == "" {
			line.Why = beat.Why
		}
		line.Workers = append(line.Workers, workerLine{
			Worker: worker, Slots: beat.Slots, InFlight: beat.InFlight, Waiting: beat.Waiting, Why: beat.Why,
			Refused: beat.Refused, Since: beat.Started,
		})
	}
	if line.Reasons == nil {
		line.Reasons = map[jobs.Reason]int64{}
	}
	line.State = line.judge(run)
	if line.Rate > 0 && s.Counted && (line.State == "running" || line.State == "waiting") {
		left := int64(float64(s.Total-s.Done) / line.Rate)
		line.ETA = &left
	}
	return line
}

// pausedWhy is what a worker says that its calls wait for when a person paused the run.
const pausedWhy = "paused"

// paused reports whether a person paused the run.
func (r *foundRun) paused() bool { return r.status.Paused || r.view.Wanted == courier.Pause }

// judge says what state the run is in, and why where that is news.
func (l *statusLine) judge(run *foundRun) string {
	switch s := &run.status; {
	case run.foreign:
		l.Why = ofAnotherVersion
		return "unreadable"
	case s.Blocked != "":
		l.Why = s.Blocked
		return "blocked"
	case !run.view.Owned && (s.Stopping || run.view.Wanted == courier.Stop):
		l.Why = "batchwright run continues it"
		return "stopped"
	case !run.view.Owned && run.view.Wanted == courier.Pause:
		l.Why = "its coordinator is gone: batchwright run continues it, paused until batchwright resume"
		return "unowned"
	case !run.view.Owned:
		l.Why = "its coordinator is gone: batchwright run continues it"
		return "unowned"
	case s.Stopping:
		return "stopping"
	case run.paused():
		if l.Why == pausedWhy {
			l.Why = ""
		}
		return "paused"
	case len(l.Workers) == 0:
		l.Why = noWorkers(l.API, l.Encrypted)
		return "waiting"
	case l.InFlight == 0 && l.Why != "":
		return "waiting"
	}
	return "running"
}

// ofAnotherVersion says what to do about a run that another version of batchwright began.
const ofAnotherVersion = "another version of batchwright wrote what Redis holds of it: ask with the version that runs it"

// noWorkers says what to do when nobody works on a run that calls an API at this address.
func noWorkers(api string, encrypted bool) string {
	text := "no worker serves it: start batchwright worker on this Redis, with --base-url " + cmp.Or(api, "and the address that the job calls")
	if encrypted {
		text += " and the same --encrypt-env"
	}
	return text
}
