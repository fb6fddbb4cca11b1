package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
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
		return f.absent(args[0])
	}
	if len(found) == 0 && !f.asJSON {
		_, err := fmt.Fprintln(stdout, "No run is on.")
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
	ETA         *int64       `json:"eta_seconds"`
	Cost        float64      `json:"cost_usd"`
	Budget      float64      `json:"budget_usd,omitempty"`
	Repeats     int64        `json:"repeats"`
	Unknown     int64        `json:"unknown"`
	InFlight    int          `json:"in_flight"`
	Outstanding int          `json:"outstanding"`
	Coordinator string       `json:"coordinator"` // host:pid
	Age         float64      `json:"age_seconds"` // of what the coordinator said
	Output      string       `json:"output"`
	Workers     []workerLine `json:"workers"`
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
	s := &run.status
	line := &statusLine{
		Job: s.Job, RunID: run.id, Why: s.Trouble, Blocked: s.Blocked, Trouble: s.Trouble, Records: s.Total, Counted: s.Counted, Done: s.Done,
		Failed: s.Done - s.Succeeded, Reasons: s.Failed, Rate: s.Rate, Cost: float64(s.Cost) / 1e9, Budget: float64(s.Budget) / 1e9, Repeats: s.Repeats,
		Unknown: s.Unknown, Outstanding: s.Outstanding, Coordinator: fmt.Sprintf("%s:%d", s.Host, s.PID),
		Age: max(now.Sub(s.At).Seconds(), 0), Output: s.Output, Workers: []workerLine{},
	}
	for worker, beat := range run.view.Workers {
		line.InFlight += beat.InFlight
		if line.Why == "" {
			line.Why = beat.Why
		}
		line.Workers = append(line.Workers, workerLine{
			Worker: worker, Slots: beat.Slots, InFlight: beat.InFlight, Waiting: beat.Waiting, Why: beat.Why,
			Refused: beat.Refused, Since: beat.Started,
		})
	}
	slices.SortFunc(line.Workers, func(a, b workerLine) int { return strings.Compare(a.Worker, b.Worker) })
	if line.Reasons == nil {
		line.Reasons = map[jobs.Reason]int64{}
	}
	line.State = line.judge(run)
	if run.foreign {
		line.Coordinator, line.Age = "", 0
	}
	if line.Rate > 0 && s.Counted && (line.State == "running" || line.State == "waiting") {
		left := int64(float64(s.Total-s.Done) / line.Rate)
		line.ETA = &left
	}
	return line
}

// judge says what state the run is in, and why where that is news.
func (l *statusLine) judge(run *foundRun) string {
	switch s := &run.status; {
	case run.foreign:
		l.Why = ofAnotherVersion
		return "unreadable"
	case s.Blocked != "":
		l.Why = s.Blocked
		return "blocked"
	case !run.view.Owned && s.Stopping:
		l.Why = "batchwright run continues it"
		return "stopped"
	case !run.view.Owned:
		l.Why = "its coordinator is gone: batchwright run continues it"
		return "unowned"
	case s.Stopping:
		return "stopping"
	case s.Paused || run.view.Wanted == courier.Pause:
		return "paused"
	case len(l.Workers) == 0:
		l.Why = noWorkers
		return "waiting"
	case l.InFlight == 0 && l.Why != "":
		return "waiting"
	}
	return "running"
}

// ofAnotherVersion says what to do about a run that another version of batchwright began.
const ofAnotherVersion = "another version of batchwright wrote what Redis holds of it: ask with the version that runs it"

// noWorkers says what to do when nobody works on a run.
const noWorkers = "no worker serves it: start batchwright worker on this Redis, with --base-url and the address that the job calls"

func (l *statusLine) write(w io.Writer) error {
	if l.State == "unreadable" {
		_, err := fmt.Fprintf(w, "run %s: %s\n", clean(l.RunID), l.Why)
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", clean(l.Job), l.State)
	if l.Why != "" {
		fmt.Fprintf(&b, " (%s)", clean(l.Why))
	}
	b.WriteByte('\n')
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(label, value string) { _, _ = fmt.Fprintf(table, "  %s\t%s\n", label, value) } // a Builder takes all
	progress := formatCount(l.Done)
	if l.Records > 0 {
		progress += fmt.Sprintf(" of %s (%d%%)", formatCount(l.Records), percent(l.Done, l.Records))
		if !l.Counted {
			progress += " counted so far"
		}
	}
	row("records", progress)
	rate := fmt.Sprintf("%.0f/s", l.Rate)
	if l.ETA != nil {
		rate += ", done in " + (time.Duration(*l.ETA) * time.Second).String()
	}
	row("rate", rate)
	row("failed", formatCount(l.Failed)+because(l.Failed > 0, (&summary{FailedByReason: l.Reasons}).reasons()))
	spend := fmt.Sprintf("$%.2f", l.Cost)
	if l.Budget > 0 {
		spend += fmt.Sprintf(" of $%.2f", l.Budget)
	}
	row("cost", spend)
	if l.Repeats+l.Unknown > 0 {
		row("paid twice", fmt.Sprintf("%s, and at most %s that a kill left unknown", formatCount(l.Repeats), formatCount(l.Unknown)))
	}
	row("calls", fmt.Sprintf("%d in flight, %d records handed out", l.InFlight, l.Outstanding))
	row("coordinator", fmt.Sprintf("%s, heard %s ago", clean(l.Coordinator), time.Duration(l.Age*1e9).Round(100*time.Millisecond)))
	for i, worker := range l.Workers {
		label := ""
		if i == 0 {
			label = "workers"
		}
		row(label, worker.text())
	}
	row("output", clean(l.Output))
	row("run", l.RunID)
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *workerLine) text() string {
	text := fmt.Sprintf("%s: %d of %d calls in flight", clean(l.Worker), l.InFlight, l.Slots)
	if l.Waiting > 0 {
		text += fmt.Sprintf(", %d records wait", l.Waiting)
	}
	if l.Refused != "" {
		text += ": " + clean(l.Refused)
	}
	if l.Why != "" {
		text += ": " + clean(l.Why)
	}
	return text
}
