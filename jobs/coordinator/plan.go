package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/batchwright/batchwright/jobs"
)

// Plan is what a job would do, found out without a call.
type Plan struct {
	Job    *jobs.Job
	Input  *Input
	Survey *Survey
	// Unaskable counts the readable records that no request can be made of; UnaskableAt names the first. They would
	// fail as bad_input.
	Unaskable   int64
	UnaskableAt []string
	// Requests are the first records' rendered requests.
	Requests []PlannedRequest
	Forecast Forecast
	// Output is the absolute path of the output, Columns are its columns.
	Output  string
	Columns jobs.Schema
	// Refusals are what run would end at, in sentences; empty when it would begin.
	Refusals []string
	// Warnings are what run would begin in spite of.
	Warnings []string
	// Done counts the records that a run of this job has results for already; Continues is set when there is one.
	Done      int64
	Continues bool
}

// PlannedRequest is a record's rendered request, or the problem that keeps it from having one.
type PlannedRequest struct {
	Number  int64
	ID      string
	Where   string
	Body    json.RawMessage
	Problem string
}

// MakePlan reads the whole input and checks all that can be checked without a call. requests is how many rendered
// requests to include. It writes nothing. A mistake in the job is a *UsageError; what is wrong with the input or the
// output is in the plan's Refusals.
func MakePlan(ctx context.Context, o Options, requests int) (*Plan, error) {
	input, err := Inspect(ctx, o.Job)
	if err != nil {
		return nil, err
	}
	p := &Plan{Job: o.Job, Input: input}
	if p.Survey, err = input.Scan(ctx); err != nil {
		return nil, err
	}
	input.Rows = p.Survey.Records
	if err := p.render(ctx, requests); err != nil {
		return nil, err
	}
	if p.Output, err = outputPath(o.Job, o.Simulated); err != nil {
		return nil, err
	}
	p.checkInput()
	tries, err := p.checkState(o)
	if err != nil {
		return nil, err
	}
	p.Forecast = input.Forecast(o.Job, tries)
	return p, nil
}

func (p *Plan) refuse(format string, args ...any) {
	p.Refusals = append(p.Refusals, fmt.Sprintf(format, args...))
}

// render makes the request of every record, to find those that have none, and keeps the first ones.
func (p *Plan) render(ctx context.Context, keep int) error {
	return p.Input.each(ctx, func(record *jobs.Record) error {
		body, problem := p.Input.Request(p.Job, record)
		where := p.Input.where(record.Position)
		if len(p.Requests) < keep {
			p.Requests = append(p.Requests, PlannedRequest{record.Number, record.ID, where, body, problem})
		}
		if problem != "" && record.Problem == "" {
			if p.Unaskable++; len(p.UnaskableAt) < maxProblems {
				p.UnaskableAt = append(p.UnaskableAt, where+": "+problem)
			}
		}
		return nil
	})
}

// checkInput finds what run would refuse of the input.
func (p *Plan) checkInput() {
	switch {
	case p.Input.Batches && len(p.Survey.Duplicates) > 0:
		p.refuse("records share a custom_id, and the Message Batches format needs one of its own for each")
	case len(p.Survey.Duplicates) > 0:
		p.Warnings = append(p.Warnings, fmt.Sprintf("records share an id in column %q; they are told apart by their number", p.Input.IDColumn))
	}
	if p.Input.Batches && len(p.Survey.IllegalIDs) > 0 {
		p.refuse("a custom_id has 1 to 64 of a-z A-Z 0-9 _ -")
	}
	layout, err := p.Job.Layout(p.Survey.Columns, p.Input.Batches)
	if err != nil {
		p.refuse("the input has more columns than its beginning showed: %v", err)
		return
	}
	p.Columns = layout.Schema()
}

// checkState finds out whether run would begin, continue or refuse, and returns the answers of earlier tries.
func (p *Plan) checkState(o Options) (map[jobs.Digest]jobs.Result, error) {
	wanted, err := describe(o, p.Input)
	if err != nil {
		return nil, err
	}
	found, err := o.State.Manifest()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(wanted.Output); err == nil && !wanted.folder() {
			p.refuse("output %s exists already and is not this run's: move it away or choose another output", wanted.Output)
		} else if entries, err := os.ReadDir(wanted.Output); err == nil && wanted.folder() && len(entries) > 0 {
			p.refuse("output folder %s has files in it already: move them away or choose another output", wanted.Output)
		}
	case err != nil:
		return nil, err
	default:
		// A changed rehearsal simply begins again.
		if changes := found.differences(wanted); len(changes) > 0 {
			if !o.Simulated {
				p.refuse("%v", &ChangedError{changes})
			}
			break
		}
		results, err := OpenResults(o.State)
		if err != nil {
			return nil, err
		}
		overview, err := results.Overview()
		if err != nil {
			return nil, err
		}
		p.Continues, p.Done = true, overview.Tally.Done()
	}
	tries := make(map[jobs.Digest]jobs.Result)
	err = eachTry(o.State, func(entry tryEntry) {
		if entry.api == wanted.API {
			tries[entry.result.Digest] = entry.result
		}
	})
	return tries, err
}
