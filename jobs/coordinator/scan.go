package coordinator

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs"
)

// BadInputError says that the input as a whole was refused before any call.
type BadInputError struct {
	What     string
	Problems []string // the first of them, each with its place
}

func (e *BadInputError) Error() string {
	return e.What + ":\n  " + strings.Join(e.Problems, "\n  ")
}

// maxProblems bounds how many problems are listed one by one.
const maxProblems = 10

// Survey is what reading the whole input shows.
type Survey struct {
	Records int64
	// Columns are the input's, with the types that fit all of its values.
	Columns jobs.Schema
	// Broken counts records that can't be read; Problems names the first.
	Broken   int64
	Problems []string
	// Duplicates names records with the same id: the first pairs.
	Duplicates []string
	// IllegalIDs names records whose custom_id the Message Batches format does not allow.
	IllegalIDs []string
}

// Scan reads the whole input, in bounded memory.
func (in *Input) Scan(ctx context.Context) (*Survey, error) {
	s := &Survey{}
	var inference jobs.Inference
	ids, err := newIDHashes()
	if err != nil {
		return nil, err
	}
	defer ids.close() //nolint:errcheck // it only held what is not needed any more
	seed := maphash.MakeSeed()
	err = in.each(ctx, func(record *jobs.Record) error {
		s.Records++
		if record.Problem != "" {
			if s.Broken++; len(s.Problems) < maxProblems {
				s.Problems = append(s.Problems, in.where(record.Position)+": "+record.Problem)
			}
			return nil
		}
		if !in.Typed {
			inference.Add(record.Fields)
		}
		if in.IDColumn == "" {
			return nil
		}
		if value, ok := record.Get(in.IDColumn); ok {
			if err := ids.add(maphash.Bytes(seed, value)); err != nil {
				return err
			}
			if in.Batches && len(s.IllegalIDs) < maxProblems {
				if _, problem := jobs.BatchRequest(record); problem == "" && jobs.IllegalCustomID(gjson.ParseBytes(value).Str) {
					s.IllegalIDs = append(s.IllegalIDs, in.where(record.Position)+": "+string(value))
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.Columns = in.Columns; !in.Typed && s.Records > 0 {
		if err := inference.Err(); err != nil {
			return nil, fmt.Errorf("settle column types: %w", err)
		}
		s.Columns = inference.Schema()
	}
	s.Duplicates, err = in.duplicates(ctx, seed, ids)
	return s, err
}

// duplicates names the first records that share an id. Hashes that occur twice show where to look; the ids
// themselves, read again, decide.
func (in *Input) duplicates(ctx context.Context, seed maphash.Seed, ids *idHashes) ([]string, error) {
	suspects, err := ids.twice(maxProblems)
	if err != nil || len(suspects) == 0 {
		return nil, err
	}
	first := make(map[string]jobs.Position)
	var found []string
	err = in.each(ctx, func(record *jobs.Record) error {
		value, ok := record.Get(in.IDColumn)
		if !ok || len(found) >= maxProblems || !suspects[maphash.Bytes(seed, value)] {
			return nil
		}
		if at, again := first[string(value)]; again {
			found = append(found, fmt.Sprintf("%s and %s: %s", in.where(at), in.where(record.Position), value))
		} else {
			first[string(value)] = record.Position
		}
		return nil
	})
	return found, err
}

// each calls fn for every record.
func (in *Input) each(ctx context.Context, fn func(*jobs.Record) error) error {
	reader, err := in.Files.Open(jobs.Position{}, 0)
	if err != nil {
		return fmt.Errorf("read input: %w", err)
	}
	defer reader.Close() //nolint:errcheck // only read
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		record, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read input: %w", err)
		}
		if err := fn(&record); err != nil {
			return err
		}
	}
}

// where names a position for people: FILE:LINE, or FILE row N for formats without lines.
func (in *Input) where(at jobs.Position) string {
	if at.Line > 0 {
		return fmt.Sprintf("%s:%d", in.Files[at.File].Path, at.Line)
	}
	return fmt.Sprintf("%s row %d", in.Files[at.File].Path, at.Row)
}

// scanAhead reads the whole input before the first call, for what must be refused before one.
func scanAhead(ctx context.Context, m *Manifest, in *Input, job *jobs.Job, strict bool) error {
	survey, err := in.Scan(ctx)
	if err != nil {
		return err
	}
	if strict {
		if err := in.refuseBroken(ctx, job); err != nil {
			return err
		}
	}
	switch {
	case in.Batches && len(survey.Duplicates) > 0:
		return &BadInputError{"the Message Batches format needs a custom_id of its own for each record", survey.Duplicates}
	case in.Batches && len(survey.IllegalIDs) > 0:
		return &BadInputError{"a custom_id has 1 to 64 of a-z A-Z 0-9 _ -", survey.IllegalIDs}
	}
	m.Scanned, m.Records, m.Columns = true, survey.Records, survey.Columns
	return nil
}

// refuseBroken refuses input with records that would fail without a call: those that can't be read, and those that
// no request can be made of.
func (in *Input) refuseBroken(ctx context.Context, job *jobs.Job) error {
	var records, broken int64
	var first []string
	err := in.each(ctx, func(record *jobs.Record) error {
		records++
		if _, problem := in.Request(job, record); problem != "" {
			if broken++; len(first) < maxProblems {
				first = append(first, in.where(record.Position)+": "+problem)
			}
		}
		return nil
	})
	if err == nil && broken > 0 {
		err = &BadInputError{fmt.Sprintf("--strict refuses %d of %d records, which would fail without a call", broken, records), first}
	}
	return err
}

// scan reads the whole input beside the calls: it counts the records, and settles the output's columns before the
// first part is written.
func (r *Run) scan(ctx context.Context) error {
	if !r.input.Typed && r.manifest.Format.Typed() {
		// Columns wait for the scan.
	} else if err := r.settleLayout(r.input.Columns); err != nil {
		return err
	}
	if !r.manifest.Scanned {
		survey, err := r.input.Scan(ctx)
		if err != nil {
			return fmt.Errorf("scan input: %w", err)
		}
		if len(survey.Duplicates) > 0 {
			slog.WarnContext(ctx, "records share an id; they are told apart by their number",
				slog.String("column", r.input.IDColumn), slog.Any("first", survey.Duplicates))
		}
		r.mu.Lock()
		r.manifest.Scanned, r.manifest.Records, r.manifest.Columns = true, survey.Records, survey.Columns
		r.mu.Unlock()
		if err := r.saveManifest(); err != nil {
			return err
		}
	}
	r.total.Store(r.manifest.Records)
	r.totalKnown.Store(true)
	return r.settleLayout(r.manifest.Columns)
}

// settleLayout fixes the output's columns, once.
func (r *Run) settleLayout(columns jobs.Schema) error {
	layout, err := r.job.Layout(r.input.withoutClashes(columns), r.manifest.Batches)
	if err != nil {
		return &UsageError{fmt.Errorf("the input has more columns than its beginning showed: %w", err)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.layout == nil {
		r.layout = layout
		r.changed.Broadcast()
	}
	r.changed.Broadcast()
	return nil
}

// withoutClashes leaves out columns that first came after the sample and have the name of one that is added to the
// output: the records that have them fail, and the output goes on without.
func (in *Input) withoutClashes(columns jobs.Schema) jobs.Schema {
	added := make(map[string]bool)
	for _, column := range in.Layout.Schema() {
		added[column.Name] = !in.has(column.Name)
	}
	return slices.DeleteFunc(slices.Clone(columns), func(c jobs.Column) bool { return added[c.Name] })
}
