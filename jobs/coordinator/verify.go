package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/batchwright/batchwright/io/source"
	"github.com/batchwright/batchwright/jobs"
)

// Verification is what the check of a run's output against its input has found.
type Verification struct {
	Run    string `json:"run"`
	Output string `json:"output"`
	// Complete is false for a run that has not come to its end; then nothing was compared.
	Complete bool `json:"complete"`
	// Records counts those of the input; Succeeded and Failed the rows that belong to one of them, as they say
	// themselves.
	Records   int64 `json:"records"`
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`
	// Faults counts all that is wrong, and Problems lists the first of it.
	Faults   int64     `json:"faults"`
	Problems []Problem `json:"problems"`
	// Unchecked says what the columns of the output do not let anybody check.
	Unchecked []string `json:"unchecked"`
}

// Problem is one thing that is wrong with an output. It quotes nothing of a record but its label.
type Problem struct {
	// File is the file of the output, with the line (from 1) or, where it has no lines, the row (from 0) in it; both
	// are nil when it is no row's problem.
	File string `json:"file"`
	Line *int64 `json:"line,omitempty"`
	Row  *int64 `json:"row,omitempty"`
	// Record is the number of the record, nil when it is no record's problem; ID its label, and Input its place.
	Record *int64 `json:"record,omitempty"`
	ID     string `json:"id,omitempty"`
	Input  string `json:"input,omitempty"`
	What   string `json:"what"`
}

// String is the problem in one line: file, record, what.
func (p *Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	switch {
	case p.Line != nil:
		fmt.Fprintf(&b, ":%d", *p.Line)
	case p.Row != nil:
		fmt.Fprintf(&b, " row %d", *p.Row)
	}
	if p.Record != nil {
		fmt.Fprintf(&b, ": record %d (", *p.Record)
		if p.ID != "" {
			fmt.Fprintf(&b, "id %s, ", p.ID)
		}
		b.WriteString(p.Input + ")")
	}
	return b.String() + ": " + p.What
}

// listedProblems is how many problems a verification lists one by one.
const listedProblems = 20

// Verify checks what a complete run promises, from its files alone: that each record of the input has exactly one row
// in the output, in input order, with the columns of the input as they were and a well-formed end. It shares no code
// with what wrote the output: it reads the files as anybody's and compares them value by value. The answers are not
// compared with the journal. Memory is bounded whatever the sizes.
//
// What is wrong with the output is no error: see Verification.Problems. Errors: *UsageError without a run,
// *InputChangedError when the input is not what the run has read, and what kept it from reading.
func Verify(ctx context.Context, state State) (*Verification, error) {
	results, err := OpenResults(state)
	if err != nil {
		return nil, err
	}
	m := results.Manifest
	v := &verifier{
		manifest: m,
		found:    Verification{Run: m.Run, Output: m.Output, Complete: !m.Finished.IsZero(), Problems: []Problem{}},
	}
	if !v.found.Complete {
		return v.incomplete(results)
	}
	if err := v.checkInput(); err != nil {
		return nil, err
	}
	if v.expected, err = expect(m); err != nil {
		return nil, err
	}
	v.found.Unchecked = v.expected.unchecked()
	if err := v.compare(ctx, results.Parts); err != nil {
		return nil, err
	}
	return &v.found, nil
}

// OK reports whether the output is all that it has to be.
func (v *Verification) OK() bool { return v.Complete && v.Faults == 0 }

// verifier is one verification on its way.
type verifier struct {
	manifest *Manifest
	expected *expectation
	found    Verification
}

// report notes a problem of a row, of a record, or of both.
func (v *verifier) report(file *source.File, row, record *jobs.Record, what string) {
	v.found.Faults++
	if len(v.found.Problems) >= listedProblems {
		return
	}
	p := Problem{File: file.Path, What: what}
	if row != nil {
		if at := row.Position; at.Line > 0 {
			p.Line = &at.Line
		} else {
			p.Row = &at.Row
		}
	}
	if record != nil {
		number := record.Number
		p.Record, p.ID, p.Input = &number, v.expected.label(record), (&Input{Files: v.manifest.Inputs}).where(record.Position)
	}
	v.found.Problems = append(v.found.Problems, p)
}

// incomplete says how far the run has come and which record is the first without a result.
func (v *verifier) incomplete(results *Results) (*Verification, error) {
	done, first := int64(0), int64(0)
	for i := range results.Parts {
		part := &results.Parts[i]
		if part.Sealed {
			done += int64(part.Records)
			if first == part.First {
				first += int64(part.Records)
			}
			continue
		}
		for result, err := range results.Part(i) {
			if err != nil {
				return nil, err
			}
			done++
			if result.Record == first {
				first++
			}
		}
	}
	what := fmt.Sprintf("the run is not complete: %d records have a result", done)
	switch total := v.manifest.Records; {
	case !v.manifest.Scanned:
		what += ", and its input is not counted yet"
	case done < total:
		what += fmt.Sprintf(", %d have none, the first of them record %d", total-done, first)
	default:
		what += ", and the output is not put together yet"
	}
	v.found.Records = v.manifest.Records
	v.report(&source.File{Path: v.manifest.Output}, nil, nil, what+"; batchwright run continues it")
	return &v.found, nil
}

// checkInput makes sure that the input is what the run has read.
func (v *verifier) checkInput() error {
	var changes []string
	for i := range v.manifest.Inputs {
		was := &v.manifest.Inputs[i]
		is, err := source.FileAt(was.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			changes = append(changes, was.Path+" is gone")
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("read input: %w", err)
		case err != nil:
			changes = append(changes, err.Error())
		case is.Size != was.Size:
			changes = append(changes, fmt.Sprintf("%s had %d bytes and has %d", was.Path, was.Size, is.Size))
		case is.Fingerprint != was.Fingerprint:
			changes = append(changes, "the contents of "+was.Path+" changed")
		}
	}
	if len(changes) > 0 {
		return &InputChangedError{changes}
	}
	return nil
}

// share is a file of the output and the records that it has to hold.
type share struct {
	path    string
	records int64 // -1 for all that are left
}

// shares are the files that the output has to be made of, in order. Files in its folder that are none of them are
// reported.
func (v *verifier) shares(parts []PartMeta) ([]share, error) {
	m := v.manifest
	if !m.folder() {
		return []share{{m.Output, -1}}, nil
	}
	var all []share
	own := make(map[string]bool)
	for i := range max(len(parts), 1) { // an empty input gives one part without a row
		one := share{filepath.Join(m.Output, partName(i, m.Format)), -1}
		if i < len(parts)-1 {
			one.records = parts[i+1].First - parts[i].First
		}
		all = append(all, one)
		own[one.path] = true
	}
	entries, err := os.ReadDir(m.Output)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil // each of them will be missed
	}
	if err != nil {
		return nil, fmt.Errorf("list output: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(m.Output, entry.Name())
		if !own[path] && !strings.HasPrefix(entry.Name(), ".") { // no reader takes a hidden file for data
			v.report(&source.File{Path: path}, nil, nil, "this file is none of the run's")
		}
	}
	return all, nil
}

// compare holds all of the output against all of the input.
func (v *verifier) compare(ctx context.Context, parts []PartMeta) (err error) {
	shares, err := v.shares(parts)
	if err != nil {
		return err
	}
	reader, err := v.manifest.Inputs.Open(jobs.Position{}, 0)
	if err != nil {
		return fmt.Errorf("read input: %w", err)
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	for _, one := range shares {
		records := &lookahead{reader: reader, left: one.records}
		if err := v.compareShare(ctx, one.path, records); err != nil {
			return err
		}
		if records.err != nil && !errors.Is(records.err, io.EOF) {
			return fmt.Errorf("read input: %w", records.err)
		}
		v.found.Records += records.dropped
	}
	if m := v.manifest; m.Scanned && m.Records != v.found.Records {
		v.report(&source.File{Path: m.Output}, nil, nil,
			fmt.Sprintf("the run counted %d records in the input, and there are %d", m.Records, v.found.Records))
	}
	return nil
}

// compareShare holds one file of the output against its records, and takes all of them.
func (v *verifier) compareShare(ctx context.Context, path string, records *lookahead) error {
	file, reader, what, err := v.openOutput(path)
	if err != nil {
		return err
	}
	if what != "" {
		return v.giveUp(ctx, &file, nil, records, what)
	}
	rows := &lookahead{reader: reader, left: -1}
	err = v.align(ctx, &file, records, rows)
	if err == nil && rows.err != nil && !errors.Is(rows.err, io.EOF) {
		err = v.giveUp(ctx, &file, rows.last, records, damage(rows.err))
	}
	if e := reader.Close(); e != nil && err == nil {
		err = fmt.Errorf("close output: %w", e)
	}
	return err
}

// openOutput opens a file of the output, or says what is wrong with it.
func (v *verifier) openOutput(path string) (file source.File, reader jobs.Reader, what string, err error) {
	file, err = source.FileAt(path)
	file.Path = path
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return file, nil, "the file is missing", nil
	case errors.Is(err, fs.ErrPermission):
		return file, nil, "", fmt.Errorf("read output: %w", err)
	case err != nil:
		if about, e := os.Stat(path); e == nil && !about.Mode().IsRegular() {
			return file, nil, "it is no regular file", nil
		}
		return file, nil, err.Error(), nil
	}
	what, err = v.expected.schemaFault(&file)
	if err == nil && what == "" {
		reader, err = source.Files{file}.Open(jobs.Position{}, 0)
	}
	if err != nil {
		return file, nil, damage(err), nil
	}
	return file, reader, what, nil
}

// giveUp reports that a file can't be read (on), and passes over the records that it should hold.
func (v *verifier) giveUp(ctx context.Context, file *source.File, last *jobs.Record, records *lookahead, what string) error {
	first, n := int64(0), int64(0)
	for next := records.at(0); next != nil; next = records.at(0) {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if n == 0 {
			first = next.Number
		}
		n++
		records.drop(1)
	}
	if n > 0 {
		what += fmt.Sprintf("; the rows of %d records, from record %d on, can't be found", n, first)
	}
	v.report(file, last, nil, what)
	return nil
}

// damage words why a file can't be read, for somebody who has not written it.
func damage(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "the file is cut off or damaged"
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner // the outer error names the file, and says what to do with an input
	}
	return "the file is damaged: " + err.Error()
}
