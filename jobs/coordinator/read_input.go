package coordinator

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/batchwright/batchwright/jobs"
)

// InputChangedError says that the input is no longer what a run has read, so that its records can't be had again.
type InputChangedError struct{ Differences []string }

func (e *InputChangedError) Error() string {
	return "the input changed since the run read it:\n  " + strings.Join(e.Differences, "\n  ")
}

// Input opens the input that the run has read, to have its records again. *InputChangedError when it is another
// one by now; the other errors are those of Inspect.
func (r *Results) Input(ctx context.Context, job *jobs.Job) (*Input, error) {
	input, err := Inspect(ctx, job)
	if err != nil {
		return nil, err
	}
	var changes []string
	was, is := r.Manifest.Inputs, input.Files
	if len(was) != len(is) {
		changes = append(changes, fmt.Sprintf("it had %d files and has %d", len(was), len(is)))
	}
	// Paths may differ: a folder that was moved still holds the same records.
	for i := range min(len(was), len(is)) {
		switch {
		case was[i].Size != is[i].Size:
			changes = append(changes, fmt.Sprintf("%s had %d bytes and has %d", is[i].Path, was[i].Size, is[i].Size))
		case was[i].Fingerprint != is[i].Fingerprint:
			changes = append(changes, "the contents of "+is[i].Path+" changed")
		}
	}
	if len(changes) > 0 {
		return nil, &InputChangedError{changes}
	}
	return input, nil
}

// Request renders a record's request, or says why none can be made of it.
func (in *Input) Request(job *jobs.Job, record *jobs.Record) (body json.RawMessage, problem string) {
	in.label(record)
	return in.body(job, record)
}

// inputCursor reads records of the input again by their numbers, best in rising order.
type inputCursor struct {
	input  *Input
	parts  []PartMeta
	reader jobs.Reader
	next   int64 // number of the record that the reader gives next
	part   int   // that the reader was opened for
}

// record reads a record of a part.
func (c *inputCursor) record(part int, number int64) (jobs.Record, error) {
	if c.reader == nil || number < c.next || part != c.part {
		if err := c.close(); err != nil {
			return jobs.Record{}, err
		}
		reader, err := c.input.Files.Open(c.parts[part].Start, c.parts[part].First)
		if err != nil {
			return jobs.Record{}, fmt.Errorf("read input: %w", err)
		}
		c.reader, c.next, c.part = reader, c.parts[part].First, part
	}
	for {
		record, err := c.reader.Next()
		if err != nil {
			return jobs.Record{}, fmt.Errorf("read record %d of the input again: %w", number, err)
		}
		c.next = record.Number + 1
		if record.Number == number {
			c.input.label(&record)
			return record, nil
		}
	}
}

func (c *inputCursor) close() error {
	if c.reader == nil {
		return nil
	}
	reader := c.reader
	c.reader = nil
	if err := reader.Close(); err != nil {
		return fmt.Errorf("close input: %w", err)
	}
	return nil
}
