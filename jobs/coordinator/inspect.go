package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/io/sink"
	"github.com/batchwright/batchwright/io/source"
	"github.com/batchwright/batchwright/jobs"
)

// sampleRecords is how many of the first records show what the input's columns are.
const sampleRecords = 200

// UsageError is a mistake in the job or on the command line, found before any call was made.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the mistake itself.
func (e *UsageError) Unwrap() error { return e.Err }

func usage(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// Input is what a look at the beginning of a job's input shows. Nothing is called for it.
type Input struct {
	Files source.Files
	// Sample holds the first records, broken ones included.
	Sample []jobs.Record
	// Columns are the input's, in full for typed formats, else those of the sample, or of all records where the job names
	// one that the sample lacks.
	Columns jobs.Schema
	// Typed is set when Columns come from the files' own schema.
	Typed bool
	// Rows counts the records of typed files; -1 when they have to be counted.
	Rows int64
	// Batches is set for input in the Message Batches format.
	Batches bool
	// IDColumn labels records; empty when their numbers do.
	IDColumn string
	// Layout is that of the output as far as Columns are final; it serves to check names.
	Layout *jobs.Layout
	// Format is the output's.
	Format sink.Format
}

// Inspect opens the job's input and checks the job against it. All its errors are usage errors.
func Inspect(ctx context.Context, job *jobs.Job) (*Input, error) {
	files, err := source.Resolve(job.Dir, job.Input)
	if err != nil {
		return nil, &UsageError{err}
	}
	in := &Input{Files: files, Rows: -1}
	if in.Format, err = formatOf(job.Output); err != nil {
		return nil, &UsageError{err}
	}
	if err := checkApart(job, in.Format); err != nil {
		return nil, err
	}
	if err := in.sample(); err != nil {
		return nil, &UsageError{err}
	}
	if err := in.check(job); err != nil {
		if in.Typed || len(in.Sample) < sampleRecords {
			return nil, err
		}
		// A column that few records have may come after the sample, so all of the input has a say before a name is refused.
		if err := in.widen(ctx); err != nil {
			return nil, &UsageError{err}
		}
		if err := in.check(job); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// check holds the names in the job against the columns, and settles what follows from them.
func (in *Input) check(job *jobs.Job) error {
	if err := in.chooseID(job); err != nil {
		return err
	}
	if job.Request != nil && job.Limits.Budget > 0 {
		if model := job.Request.Model(); model != "" {
			if _, priced := jobs.PriceOf(model); !priced {
				return usage("limits.budget_usd needs the price of the model, and there is none for %q: "+
					"check the model's name, or leave the budget out", model)
			}
		}
	}
	if job.Request == nil {
		if !in.isBatches() {
			return usage("the job has no request, and the input is not in the Message Batches format " +
				"({\"custom_id\": …, \"params\": {…}} on each line): add a request to the job")
		}
		in.Batches = true
	} else if len(in.Columns) > 0 {
		if err := job.Request.Check(in.Columns.Names()); err != nil {
			return &UsageError{err}
		}
	}
	var err error
	if in.Layout, err = job.Layout(in.Columns, in.Batches); err != nil {
		return &UsageError{err}
	}
	return nil
}

// widen makes Columns those of the whole input.
func (in *Input) widen(ctx context.Context) error {
	var inference jobs.Inference
	err := in.each(ctx, func(record *jobs.Record) error {
		if record.Problem == "" {
			inference.Add(record.Fields)
		}
		return nil
	})
	if err != nil {
		return err
	}
	in.Columns = inference.Schema()
	return inference.Err()
}

// formatOf is the format of an output path; a folder's part files are JSONL unless its name says otherwise.
func formatOf(output string) (sink.Format, error) {
	if trimmed, folder := strings.CutSuffix(output, "/"); folder {
		if format, err := sink.FormatOf(trimmed); err == nil {
			return format, nil
		}
		return sink.FormatOf("part.jsonl")
	}
	return sink.FormatOf(output)
}

func (in *Input) sample() error {
	schema, rows, typed, err := in.Files.Schema()
	if err != nil {
		return err
	}
	reader, err := in.Files.Open(jobs.Position{}, 0)
	if err != nil {
		return err
	}
	defer reader.Close() //nolint:errcheck // only read
	var inference jobs.Inference
	for len(in.Sample) < sampleRecords {
		record, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		in.Sample = append(in.Sample, record)
		if record.Problem == "" {
			inference.Add(record.Fields)
		}
	}
	if in.Columns, in.Typed = schema, typed; typed {
		in.Rows = rows
		return nil
	}
	if in.Columns = inference.Schema(); len(in.Sample) == 0 {
		names, err := in.Files.Header()
		if err != nil {
			return err
		}
		for _, name := range names {
			in.Columns = append(in.Columns, jobs.Column{Name: name, Type: jobs.Type{Kind: jobs.KindString}})
		}
	}
	return inference.Err()
}

func (in *Input) has(column string) bool {
	for i := range in.Columns {
		if in.Columns[i].Name == column {
			return true
		}
	}
	return false
}

func (in *Input) chooseID(job *jobs.Job) error {
	if job.ID != "" {
		if len(in.Columns) > 0 && !in.has(job.ID) {
			return usage("id: the input has no column %q; it has %s", job.ID, strings.Join(in.Columns.Names(), ", "))
		}
		in.IDColumn = job.ID
		return nil
	}
	for _, name := range []string{"custom_id", "id"} {
		if in.has(name) {
			in.IDColumn = name
			return nil
		}
	}
	return nil
}

// isBatches reports whether the input looks like Message Batches requests. An empty one may be.
func (in *Input) isBatches() bool {
	return len(in.Columns) == 0 || in.has("custom_id") && in.has("params")
}

// outputPath is the absolute path of a job's output, of its rehearsal when simulated: NAME.simulated.EXT.
func outputPath(job *jobs.Job, simulated bool) (string, error) {
	path := job.Output
	if !filepath.IsAbs(path) {
		path = filepath.Join(job.Dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find output: %w", err)
	}
	folder := strings.HasSuffix(job.Output, "/")
	if simulated {
		dir, base := filepath.Split(path)
		stem, rest, dotted := strings.Cut(base, ".")
		base = stem + ".simulated"
		if dotted {
			base += "." + rest
		}
		path = filepath.Join(dir, base)
	}
	if folder {
		path += "/"
	}
	return path, nil
}

// checkApart refuses an output that the job would read as input the next time, its own or its rehearsal's.
func checkApart(job *jobs.Job, format sink.Format) error {
	for _, simulated := range []bool{false, true} {
		output, err := outputPath(job, simulated)
		if err != nil {
			return err
		}
		file := output
		if strings.HasSuffix(output, "/") {
			file = output + partName(0, format)
		}
		if input, found := source.LeadsTo(job.Dir, job.Input, file); found {
			return usage("output %s would itself be read by the input %q: write it to another folder", output, input)
		}
	}
	return nil
}

// partName is the name of a part file in an output folder.
func partName(index int, format sink.Format) string {
	return fmt.Sprintf("part-%08d%s", index, format.Extension())
}

// label gives a record its id: the job's id column, or the number.
func (in *Input) label(record *jobs.Record) {
	record.ID = strconv.FormatInt(record.Number, 10)
	if in.IDColumn == "" {
		return
	}
	if value, ok := record.Get(in.IDColumn); ok {
		record.ID = gjson.ParseBytes(value).String()
	}
}
