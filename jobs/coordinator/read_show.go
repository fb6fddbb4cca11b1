package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/batchwright/batchwright/jobs"
)

// Overview is where a run stands, as its state folder tells it.
type Overview struct {
	Manifest *Manifest `json:"manifest"`
	Tally    Tally     `json:"tally"`
	// Parts counts those begun, Open those of them that are not written yet.
	Parts int `json:"parts"`
	Open  int `json:"open"`
	// Running is the process that works on the run; nil when none does.
	Running *Holder `json:"running"`
}

// Overview counts the run's results. It reads the open parts; sealed ones have been counted.
func (r *Results) Overview() (Overview, error) {
	o := Overview{Manifest: r.Manifest, Parts: len(r.Parts), Running: r.State.Holder()}
	for i := range r.Parts {
		if r.Parts[i].Sealed {
			o.Tally.plus(r.Parts[i].Tally)
			continue
		}
		o.Open++
		for result, err := range r.Part(i) {
			if err != nil {
				return o, err
			}
			o.Tally.add(&result)
		}
	}
	return o, nil
}

// Holder is the process that holds the state folder, nil when none does. The lock is tried only when the process
// that wrote its name into it is alive, so that looking does not keep a run from starting.
func (s State) Holder() *Holder {
	file, err := os.Open(filepath.Join(s.Dir, lockFile))
	if err != nil {
		return nil
	}
	defer file.Close() //nolint:errcheck // only read
	var h Holder
	if err := json.NewDecoder(file).Decode(&h); err != nil {
		return nil
	}
	if host, err := os.Hostname(); err == nil && host == h.Host && errors.Is(syscall.Kill(h.PID, 0), syscall.ESRCH) {
		return nil
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return &h
	}
	return nil
}

// Selection says which records of a run to show.
type Selection struct {
	// ID is a label or a record's number; empty selects by the other fields.
	ID string `json:"id,omitempty"`
	// Failed selects records that failed.
	Failed bool `json:"failed,omitempty"`
	// Most bounds how many are shown.
	Most int `json:"most"`
}

// Shown is a record of a run with what was asked.
type Shown struct {
	Result jobs.Result
	// Request is the rendered request, nil when there is none. Note says why, or in what it is not what was asked.
	Request json.RawMessage
	Note    string
}

// Select calls fn for the records that a selection names, in their order, and reports how many there were. input
// and job serve to render the requests again; with a nil input noInput says why that can't be done.
func (r *Results) Select(ctx context.Context, s Selection, input *Input, noInput string, job *jobs.Job, fn func(Shown) error) (int, error) {
	cursor := &inputCursor{input: input, parts: r.Parts}
	defer cursor.close() //nolint:errcheck // only read
	n := 0
	emit := func(part int, result jobs.Result) error {
		n++
		shown := Shown{Result: result, Note: noInput}
		if input != nil {
			if err := shown.render(cursor, part, job); err != nil {
				return err
			}
		}
		return fn(shown)
	}
	number, err := strconv.ParseInt(s.ID, 10, 64)
	byNumber := err == nil
	var numbered jobs.Result // the record of that number, shown when no label is like it
	numberedPart := -1
	for i := range r.Parts {
		for result, err := range r.Part(i) {
			if err := errors.Join(err, ctx.Err()); err != nil {
				return n, err
			}
			if n >= s.Most {
				return n, nil
			}
			if byNumber && result.Record == number {
				numbered, numberedPart = result, i
			}
			if s.ID != "" && result.ID != s.ID || s.Failed && result.Status != jobs.Failed {
				continue
			}
			if err := emit(i, result); err != nil {
				return n, err
			}
		}
	}
	if n == 0 && numberedPart >= 0 && (!s.Failed || numbered.Status == jobs.Failed) {
		return 1, emit(numberedPart, numbered)
	}
	return n, nil
}

// render reads the record's input again and makes its request of it.
func (s *Shown) render(cursor *inputCursor, part int, job *jobs.Job) error {
	record, err := cursor.record(part, s.Result.Record)
	if err != nil {
		return err
	}
	body, problem := cursor.input.body(job, &record)
	switch {
	case problem != "":
		s.Note = problem
	case jobs.DigestOf(body) != s.Result.Digest:
		s.Request = body
		s.Note = "the job changed since this record was asked; this is the request as the job is now"
	default:
		s.Request = body
	}
	return nil
}
