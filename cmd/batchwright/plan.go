package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/batchwright/batchwright/jobs/coordinator"
)

type planFlags struct {
	jobFlags
	requests int
	asJSON   bool
}

// plannedByDefault is how many rendered requests plan shows.
const plannedByDefault = 2

func newPlanCommand() *cobra.Command {
	f := &planFlags{}
	command := &cobra.Command{
		Use:   "plan JOB.yaml | plan INPUT… -o OUTPUT --model M --prompt P",
		Short: "Check all of a job without a call: first requests, forecast of tokens, cost and time",
		Long: `Read the whole input and check the job without making a call: what is in the input and what is wrong with it, the
first requests as they would be sent, and what the job is expected to take. It needs no credential and writes
nothing. What run would refuse ends it with exit code 2.`,
		RunE: func(c *cobra.Command, args []string) error { return f.plan(c.Context(), args, c.OutOrStdout()) },
	}
	flags := command.Flags()
	f.add(flags)
	flags.IntVarP(&f.requests, "number", "n", plannedByDefault, "show so many rendered requests")
	flags.BoolVar(&f.asJSON, "json", false, "print the plan as JSON")
	return command
}

func (f *planFlags) plan(ctx context.Context, args []string, stdout io.Writer) error {
	if f.requests < 0 {
		return usageError(errors.New("-n must not be negative"))
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	job, state, err := f.open(args)
	if err != nil {
		return err
	}
	plan, err := coordinator.MakePlan(ctx, coordinator.Options{
		Job: job, State: state, BaseURL: baseURL(job), Simulated: f.simulated,
	}, f.requests)
	if errors.Is(err, context.Canceled) {
		return &exitError{code: exitInterrupted}
	}
	if err != nil {
		return err
	}
	if f.asJSON {
		err = writeLine(stdout, planLineOf(plan))
	} else {
		err = writePlan(stdout, plan)
	}
	if err == nil && len(plan.Refusals) > 0 {
		return usageError(fmt.Errorf("run would refuse this job: %s", plan.Refusals[0]))
	}
	return err
}

// planLine has the keys of plan --json, which stay as they are.
type planLine struct {
	Job           string        `json:"job"`
	Inputs        []plannedFile `json:"inputs"`
	Records       int64         `json:"records"`
	Columns       []plannedType `json:"columns"`
	IDColumn      *string       `json:"id_column"`
	Broken        int64         `json:"broken"`
	BrokenAt      []string      `json:"broken_at,omitempty"`
	Unaskable     int64         `json:"unaskable"`
	UnaskableAt   []string      `json:"unaskable_at,omitempty"`
	Duplicates    []string      `json:"duplicates,omitempty"`
	IllegalIDs    []string      `json:"illegal_custom_ids,omitempty"`
	Requests      []plannedCall `json:"requests"`
	Forecast      plannedCost   `json:"forecast"`
	Output        string        `json:"output"`
	OutputColumns []plannedType `json:"output_columns"`
	Done          int64         `json:"done"`
	Warnings      []string      `json:"warnings"`
	Refusals      []string      `json:"refusals"`
}

type plannedFile struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

type plannedType struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type plannedCall struct {
	Record  int64           `json:"record"`
	ID      string          `json:"id"`
	Place   string          `json:"place"`
	Request json.RawMessage `json:"request"`
	Problem string          `json:"problem,omitempty"`
}

type plannedCost struct {
	InputTokens  int64        `json:"input_tokens"`
	OutputTokens int64        `json:"output_tokens"`
	OutputKnown  bool         `json:"output_known"` // from tries, not guessed
	Cost         *json.Number `json:"cost_usd"`
	AtMost       *json.Number `json:"at_most_usd"`
	Seconds      *float64     `json:"seconds"`
}

func planLineOf(p *coordinator.Plan) planLine {
	line := planLine{
		Job: p.Job.Name, Inputs: []plannedFile{}, Records: p.Survey.Records, Columns: typesOf(p.Survey.Columns),
		IDColumn: orNil(p.Input.IDColumn), Broken: p.Survey.Broken, BrokenAt: p.Survey.Problems,
		Unaskable: p.Unaskable, UnaskableAt: p.UnaskableAt, Duplicates: p.Survey.Duplicates,
		IllegalIDs: p.Survey.IllegalIDs, Requests: []plannedCall{}, Output: p.Output,
		OutputColumns: typesOf(p.Columns), Done: p.Done,
		Warnings: append([]string{}, p.Warnings...), Refusals: append([]string{}, p.Refusals...),
		Forecast: plannedCost{InputTokens: p.Forecast.Input, OutputTokens: p.Forecast.Output, OutputKnown: p.Forecast.OutputKnown},
	}
	for i := range p.Input.Files {
		line.Inputs = append(line.Inputs, plannedFile{p.Input.Files[i].Path, p.Input.Files[i].Size})
	}
	for _, r := range p.Requests {
		line.Requests = append(line.Requests, plannedCall{r.Number, r.ID, r.Where, r.Body, r.Problem})
	}
	if p.Forecast.Priced {
		cost, most := json.Number(formatDecimal(p.Forecast.Cost)), json.Number(formatDecimal(p.Forecast.Most))
		line.Forecast.Cost, line.Forecast.AtMost = &cost, &most
	}
	if p.Forecast.Time > 0 {
		seconds := p.Forecast.Time.Seconds()
		line.Forecast.Seconds = &seconds
	}
	return line
}
