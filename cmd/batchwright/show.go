package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
)

type showFlags struct {
	fleetFlags
	selection coordinator.Selection
	asJSON    bool
}

// shownByDefault is how many records show lists when it is not told.
const shownByDefault = 20

func newShowCommand() *cobra.Command {
	f := &showFlags{}
	command := &cobra.Command{
		Use:   "show JOB.yaml | show NAME",
		Short: "Show how a run stands, or records of it: prompt, answer, attempts",
		Long: `Show how a run stands, and with --id, --failed or -n records of it: what was asked, what was answered, why it
failed, and what it took. It only reads, so it can be used while the run is on.

Where the run's state is not on this machine, its coordinator is asked over the fleet's Redis while the run is on: for
1,000 records or 16 MiB of them at most, which are in Redis until they are read here, and for a minute at most.`,
		Example: `  batchwright show job.yaml
  batchwright show job.yaml --failed
  batchwright show tickets-2026-11-22 --id 4711 --json
  BATCHWRIGHT_REDIS=redis://queue:6379 batchwright show tickets-2026-11-22 --failed`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.show(c.Context(), args, c.OutOrStdout(), c.Flags().Changed("number"))
		},
	}
	flags := command.Flags()
	f.addNamed(flags)
	flags.Lookup("set").Usage = "change a key of the job as run was told to, as request.model=NAME; repeatable"
	f.redisFlags.add(flags)
	flags.StringVar(&f.selection.ID, "id", "", "show the records with this label, or the one with this number")
	flags.BoolVar(&f.selection.Failed, "failed", false, "show records that failed")
	flags.IntVarP(&f.selection.Most, "number", "n", shownByDefault, "show so many records at most")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON, an object on each line")
	return command
}

func (f *showFlags) show(ctx context.Context, args []string, stdout io.Writer, numbered bool) error {
	if f.selection.Most < 1 {
		return usageError(errors.New("-n must be 1 or more: it bounds how many records are shown"))
	}
	whole := f.selection.ID == "" && !f.selection.Failed && !numbered
	state, err := f.find(args[0])
	if f.given(os.Getenv) && !f.here(state, err) {
		return f.ask(ctx, args, whole, stdout)
	}
	if err != nil {
		return err
	}
	state, done, err := f.newest(ctx, state)
	if err != nil {
		return err
	}
	defer done()
	results, err := coordinator.OpenResults(state)
	if err != nil {
		return err
	}
	if whole {
		o, err := results.Overview()
		if err != nil {
			return err
		}
		return f.overview(&o, f.where(results.State), stdout)
	}
	job, input, note := f.inputOf(ctx, args, results)
	found, err := results.Select(ctx, f.selection, input, note, job, f.printer(stdout))
	if err != nil {
		return err
	}
	return f.conclude(found, stdout)
}

// printer prints each record that is found.
func (f *showFlags) printer(stdout io.Writer) func(coordinator.Shown) error {
	return func(shown coordinator.Shown) error {
		record := answeredRecord{result: shown.Result, request: shown.Request, note: shown.Note}
		if f.asJSON {
			return writeLine(stdout, record.line())
		}
		return writeShown(stdout, &record, f.selection.ID != "")
	}
}

// conclude says so when no record was found.
func (f *showFlags) conclude(found int, stdout io.Writer) (err error) {
	switch {
	case found > 0 || f.asJSON && f.selection.ID == "":
		return nil
	case f.selection.ID != "":
		return fmt.Errorf("no record with the label or number %q has a result", f.selection.ID)
	case f.selection.Failed:
		_, err = fmt.Fprintln(stdout, "No record has failed.")
	default:
		_, err = fmt.Fprintln(stdout, "No record has a result yet.")
	}
	return err
}

// inputOf opens the job's input to show what was asked; when it can't be had note says why.
func (f *showFlags) inputOf(ctx context.Context, args []string, results *coordinator.Results) (job *jobs.Job, input *coordinator.Input, note string) {
	var err error
	if f.names(args[0]) {
		job, err = f.reload(results.State)
	} else {
		job, err = f.load(args)
	}
	if err == nil {
		input, err = results.Input(ctx, job)
	}
	if err != nil {
		return nil, nil, "not shown: " + err.Error()
	}
	return job, input, ""
}

// overview prints where the run stands.
func (f *showFlags) overview(o *coordinator.Overview, where string, stdout io.Writer) error {
	if f.asJSON {
		return writeLine(stdout, overviewLineOf(o))
	}
	t, m := &o.Tally, o.Manifest
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", m.Job, stateOfRun(o))
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(label, value string) { _, _ = fmt.Fprintf(table, "  %s\t%s\n", label, value) } // a Builder takes all
	records := formatCount(t.Done()) + " done"
	if m.Scanned {
		records += " of " + formatCount(m.Records)
	}
	row("records", records)
	row("succeeded", formatCount(t.Succeeded))
	failures := summary{FailedByReason: t.Failed}
	row("failed", formatCount(t.Done()-t.Succeeded)+because(t.Done() > t.Succeeded, failures.reasons()))
	row("parts", fmt.Sprintf("%d begun, %d of them open", o.Parts, o.Open))
	row("calls", fmt.Sprintf("%s, retries %s", formatCount(t.Calls), formatCount(t.Retries)))
	row("tokens", fmt.Sprintf("%s in, %s out", formatCount(t.Usage.Input+t.Usage.CacheRead+t.Usage.CacheWrite()), formatCount(t.Usage.Output)))
	cost := summary{Simulated: m.Simulated, Priced: t.Unpriced == 0, Cost: t.Cost}
	row("cost", cost.cost())
	output := m.Output
	if m.Finished.IsZero() && !strings.HasSuffix(output, "/") {
		output += " (when the run is complete; export writes what there is now)"
	}
	row("output", output)
	row("state", where)
	row("run", m.Run)
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write overview: %w", err)
	}
	if _, err := io.WriteString(stdout, b.String()); err != nil {
		return fmt.Errorf("write overview: %w", err)
	}
	return nil
}

// stateOfRun says in a few words whether a run is on.
func stateOfRun(o *coordinator.Overview) string {
	switch {
	case !o.Manifest.Finished.IsZero():
		return "complete since " + o.Manifest.Finished.Local().Format(time.DateTime)
	case o.Running != nil:
		return fmt.Sprintf("being run by process %d on %s since %s", o.Running.PID, o.Running.Host,
			o.Running.Started.Local().Format(time.DateTime))
	default:
		return "stopped; run it again to continue"
	}
}

// overviewLine has the keys of show --json, which stay as they are.
type overviewLine struct {
	Job       string                `json:"job"`
	RunID     string                `json:"run_id"`
	Simulated bool                  `json:"simulated"`
	State     string                `json:"state"` // complete, running or stopped
	Records   *int64                `json:"records"`
	Done      int64                 `json:"done"`
	Succeeded int64                 `json:"succeeded"`
	Failed    int64                 `json:"failed"`
	Reasons   map[jobs.Reason]int64 `json:"failed_by_reason"`
	Parts     int                   `json:"parts"`
	OpenParts int                   `json:"open_parts"`
	Calls     int64                 `json:"calls"`
	Retries   int64                 `json:"retries"`
	Tokens    tokensLine            `json:"tokens"`
	Cost      *json.Number          `json:"cost_usd"`
	Output    string                `json:"output"`
}

func overviewLineOf(o *coordinator.Overview) overviewLine {
	t, m := &o.Tally, o.Manifest
	line := overviewLine{
		Job: m.Job, RunID: m.Run, Simulated: m.Simulated, State: "stopped", Done: t.Done(), Succeeded: t.Succeeded,
		Failed: t.Done() - t.Succeeded, Reasons: t.Failed, Parts: o.Parts, OpenParts: o.Open, Calls: t.Calls,
		Retries: t.Retries, Output: m.Output,
		Tokens: tokensLine{t.Usage.Input, t.Usage.Output, t.Usage.CacheRead, t.Usage.CacheWrite()},
	}
	switch {
	case !m.Finished.IsZero():
		line.State = "complete"
	case o.Running != nil:
		line.State = "running"
	}
	if m.Scanned {
		line.Records = &m.Records
	}
	if t.Unpriced == 0 {
		cost := json.Number(formatDecimal(t.Cost))
		line.Cost = &cost
	}
	return line
}

// writeShown prints a record for people: the whole of it, or what tells it from others.
func writeShown(w io.Writer, a *answeredRecord, whole bool) error {
	r := &a.result
	var b strings.Builder
	fmt.Fprintf(&b, "%s  record %d  %s\n", clean(r.ID), r.Record, statusOf(r))
	switch {
	case a.request == nil:
	case whole:
		block(&b, "request", strings.Split(indented(a.request), "\n"))
	default:
		block(&b, "prompt", excerpt(promptOf(a.request)))
	}
	if a.note != "" {
		block(&b, "note", excerpt(a.note))
	}
	switch {
	case r.Message == nil:
	case whole:
		block(&b, "message", strings.Split(indented(r.Message), "\n"))
	default:
		block(&b, "answer", answerLines(r))
	}
	took := fmt.Sprintf("%s, %s, %s tokens in, %s out, %s, %s", formatNumber(int64(r.Attempts), "attempt"), formatNumber(int64(r.Calls), "call"),
		formatCount(r.Usage.Input+r.Usage.CacheRead+r.Usage.CacheWrite()), formatCount(r.Usage.Output), costOf(r), r.Latency.Round(time.Millisecond))
	if r.StopReason != "" {
		took += ", stop reason " + clean(r.StopReason)
	}
	if r.Calls > 0 {
		block(&b, "took", []string{took})
	}
	if r.RequestID != "" {
		block(&b, "call", []string{clean(r.RequestID)})
	}
	b.WriteByte('\n')
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// writeLine writes a value as one line of JSON.
func writeLine(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}
