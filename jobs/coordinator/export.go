package coordinator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/batchwright/batchwright/io/sink"
	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/jobs"
)

// ExportOptions say what to export and where to.
type ExportOptions struct {
	// Job is the job as it is now: its columns and answer decide the columns of the output.
	Job   *jobs.Job
	State State
	// Path is the file to write, whose ending names the format; empty writes JSONL to Stream.
	Path   string
	Stream io.Writer
}

// Exported is what an export has written.
type Exported struct {
	Records int64 // with a result: the rows of the file
	// Total counts the records of the input, when TotalKnown; the difference has no result yet.
	Total      int64
	TotalKnown bool
}

// Export writes the output of a run again from its journal: the records that have a result, in input order, judged
// as they were. It makes no calls, changes nothing of the run, and works while the run is on. A file appears whole
// or not at all. The input is read again unless columns.keep is empty; *InputChangedError when it is another one.
func Export(ctx context.Context, o ExportOptions) (Exported, error) {
	results, err := OpenResults(o.State)
	if err != nil {
		return Exported{}, err
	}
	e := &export{job: o.Job, results: results, format: sink.JSONL}
	if o.Path != "" {
		if e.format, err = results.exportFormat(o.Path); err != nil {
			return Exported{}, err
		}
	}
	if err := e.prepare(ctx); err != nil {
		return Exported{}, err
	}
	done := Exported{Total: results.Manifest.Records, TotalKnown: results.Manifest.Scanned}
	if o.Path == "" {
		done.Records, err = e.write(ctx, o.Stream)
		return done, err
	}
	file, err := store.Create(o.Path)
	if err != nil {
		return done, fmt.Errorf("create export: %w", err)
	}
	if done.Records, err = e.write(ctx, file); err != nil {
		return done, errors.Join(err, file.Abort())
	}
	if err := file.Commit(); err != nil {
		return done, errors.Join(fmt.Errorf("write export: %w", err), file.Abort())
	}
	return done, nil
}

// exportFormat is the format of a file to be exported to. It must not be one that the run reads or writes.
func (r *Results) exportFormat(path string) (sink.Format, error) {
	if strings.HasSuffix(path, "/") {
		return "", usage("export writes one file: name it, as %sanswers.parquet", path)
	}
	format, err := sink.FormatOf(path)
	if err != nil {
		return "", &UsageError{err}
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find export: %w", err)
	}
	if r.Manifest.Finished.IsZero() && absolute == r.Manifest.Output {
		return "", usage("%s is where the run writes when it is complete: export to another file", path)
	}
	about, err := os.Stat(path)
	if err != nil {
		return format, nil //nolint:nilerr // nothing there, or writing will tell
	}
	for i := range r.Manifest.Inputs {
		if input, err := os.Stat(r.Manifest.Inputs[i].Path); err == nil && os.SameFile(about, input) {
			return "", usage("%s is an input file of the run: export to another file", path)
		}
	}
	return format, nil
}

// export is one export on its way.
type export struct {
	job     *jobs.Job
	results *Results
	format  sink.Format
	layout  *jobs.Layout
	input   *Input // nil when no column of it is kept
}

// prepare settles the columns, and opens the input when the rows need it.
func (e *export) prepare(ctx context.Context) error {
	manifest := e.results.Manifest
	keepsNothing := e.job.Columns.Keep != nil && len(e.job.Columns.Keep) == 0
	columns := jobs.Schema{}
	if !manifest.Batches && !keepsNothing {
		var err error
		if e.input, err = e.results.Input(ctx, e.job); err != nil {
			return fmt.Errorf("read kept columns from the input (--set 'columns.keep=[]' exports without them): %w", err)
		}
		columns = e.input.Columns
		switch {
		case manifest.Scanned:
			columns = manifest.Columns
		case !e.input.Typed && e.format.Typed():
			survey, err := e.input.Scan(ctx)
			if err != nil {
				return fmt.Errorf("settle column types: %w", err)
			}
			columns = survey.Columns
		}
	}
	layout, err := e.job.Layout(columns, manifest.Batches)
	if err != nil {
		return &UsageError{err}
	}
	e.layout = layout
	return nil
}

// write writes a row for each record that has a result and returns how many those are.
func (e *export) write(ctx context.Context, to io.Writer) (n int64, err error) {
	buffered := bufio.NewWriterSize(to, 1<<18)
	rows, err := sink.NewWriter(buffered, e.format, e.layout.Schema())
	if err != nil {
		return 0, fmt.Errorf("begin export: %w", err)
	}
	cursor := &inputCursor{input: e.input, parts: e.results.Parts}
	defer func() { err = errors.Join(err, cursor.close()) }()
	var row []jobs.Member
	for part := range e.results.Parts {
		for result, err := range e.results.Part(part) {
			if err != nil {
				return n, err
			}
			if n%1024 == 0 && ctx.Err() != nil {
				return n, ctx.Err()
			}
			record := jobs.Record{Number: result.Record, ID: result.ID}
			if e.input != nil {
				if record, err = cursor.record(part, result.Record); err != nil {
					return n, err
				}
			}
			row = e.layout.Row(&record, &result, row[:0])
			if err := rows.Write(row); err != nil {
				return n, fmt.Errorf("write record %d: %w", result.Record, err)
			}
			n++
		}
	}
	if err := rows.Close(); err != nil {
		return n, fmt.Errorf("end export: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return n, fmt.Errorf("write export: %w", err)
	}
	return n, nil
}
