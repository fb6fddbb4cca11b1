package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// Options say how a job is to be run.
type Options struct {
	Job   *jobs.Job
	State State
	// Definition is how the job was given, to be kept for commands that name the run.
	Definition Definition
	// BaseURL is the API's address that the job's own or the environment's came to.
	BaseURL string
	// Window is how many records may be handed out at once.
	Window int
	// Simulated marks a rehearsal: its output has a name of its own, and what an earlier one left is no answer.
	Simulated bool
	// Fresh sets an earlier run aside and begins anew.
	Fresh bool
	// AcceptFailures goes on although the first records all failed alike.
	AcceptFailures bool
	// Strict refuses input with broken records before any call.
	Strict bool
	// Mirror keeps the run's state in a store, too; nil keeps it in the state folder alone.
	Mirror *Mirror
}

// prepared is a run that was found or begun, with nothing of it running yet.
type prepared struct {
	job            *jobs.Job
	state          State
	manifest       *Manifest
	input          *Input
	mirror         *Mirror
	acceptFailures bool
	tries          map[jobs.Digest]jobs.Result
	nextPart       int      // index of the part after the last one
	last           PartMeta // of the last part, when an earlier coordinator began any
}

// Prepare checks the job against its input and finds the run to continue, or begins one. The caller holds the
// state's lock. Errors: *UsageError, *ChangedError, *BadInputError, and whatever kept it from looking.
func Prepare(ctx context.Context, o Options) (*Run, error) {
	input, err := Inspect(ctx, o.Job)
	if err != nil {
		return nil, err
	}
	wanted, err := describe(o, input)
	if err != nil {
		return nil, err
	}
	found, err := o.State.Manifest()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		found = nil
	case err != nil:
		return nil, err
	}
	anew := found == nil
	if found != nil {
		changes := found.differences(wanted)
		// A rehearsal costs nothing, so that a changed or finished one simply begins again.
		anew = o.Fresh || o.Simulated && (len(changes) > 0 || !found.Finished.IsZero())
		if len(changes) > 0 && !anew {
			return nil, &ChangedError{changes}
		}
		wanted.replaces = found.Output == wanted.Output
		found.AddedColumns = wanted.AddedColumns // which an earlier build did not note; the same as long as nothing changed
	}
	if anew {
		if err := begin(ctx, o, wanted, input, found != nil); err != nil {
			return nil, err
		}
		found = wanted
	}
	r := &Run{prepared: prepared{
		job: o.Job, state: o.State, manifest: found, input: input, mirror: o.Mirror, acceptFailures: o.AcceptFailures,
	}}
	r.mirror.begin(found)
	r.window.maxRecords = o.Window
	if err := r.load(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// begin makes the state folder that of a new run. Whatever can keep the run from beginning is looked at before the
// earlier one, if there is one, is set aside.
func begin(ctx context.Context, o Options, m *Manifest, input *Input, earlier bool) error {
	if err := m.checkOutput(); err != nil {
		return err
	}
	if o.Strict || input.Batches {
		if err := scanAhead(ctx, m, input, o.Job, o.Strict); err != nil {
			return err
		}
	}
	if earlier {
		if err := o.State.setAside(time.Now(), o.Simulated); err != nil {
			return err
		}
		if err := m.clearOutput(); err != nil {
			return err
		}
	}
	return o.State.writeManifest(m)
}

// describe makes the manifest that a new run of the job has.
func describe(o Options, input *Input) (*Manifest, error) {
	output, err := outputPath(o.Job, o.Simulated)
	if err != nil {
		return nil, err
	}
	columns, err := json.Marshal(struct {
		ID      string       `json:"id"`
		Columns jobs.Columns `json:"columns"`
	}{o.Job.ID, o.Job.Columns})
	if err != nil {
		return nil, fmt.Errorf("encode columns: %w", err)
	}
	m := &Manifest{
		Version: stateVersion, Run: newRunID(), Job: o.Job.Name, Simulated: o.Simulated, Created: time.Now().UTC(),
		Definition: o.Definition, API: o.BaseURL, Inputs: input.Files, Batches: input.Batches, Output: output, Format: input.Format,
		OutputColumns: string(columns),
		ChunkRecords:  max(chunkRecords, min(2*o.Job.Limits.Concurrency, 4*chunkRecords)), ChunkBytes: chunkBytes, PartRecords: partRecords, PartBytes: partBytes,
	}
	if o.Simulated {
		m.API = "simulator"
	}
	if o.Job.Request != nil {
		m.RequestDigest, m.RequestSource = o.Job.Request.Digest(), o.Job.Request.Source()
	}
	if !input.Batches {
		added, err := o.Job.Layout(nil, false)
		if err != nil {
			return nil, &UsageError{err}
		}
		m.AddedColumns = added.Schema().Names()
	}
	return m, nil
}

// folder reports whether the output is a folder of part files.
func (m *Manifest) folder() bool { return strings.HasSuffix(m.Output, "/") }

// checkOutput makes sure that the output can be written and is nobody else's.
func (m *Manifest) checkOutput() error {
	dir := filepath.Dir(m.Output)
	if m.folder() {
		dir = m.Output
		entries, err := os.ReadDir(dir)
		if err == nil && len(entries) > 0 && !m.replaces {
			return usage("output folder %s has files in it already: move them away or choose another output", dir)
		}
	} else if _, err := os.Stat(m.Output); err == nil && !m.replaces {
		return usage("output %s exists already and is not this run's: move it away or choose another output", m.Output)
	}
	probe, err := store.Create(filepath.Join(dir, "write-test"))
	if err != nil {
		return usage("output cannot be written: %w", err)
	}
	return probe.Abort()
}

// clearOutput deletes the parts that an earlier run of the job left in the output folder, which would be taken for
// the new run's. A single file stays until it is replaced.
func (m *Manifest) clearOutput() error {
	if !m.folder() || !m.replaces { // what another run left was refused
		return nil
	}
	entries, err := os.ReadDir(m.Output)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear output folder: %w", err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "part-") {
			if err := os.Remove(filepath.Join(m.Output, entry.Name())); err != nil {
				return fmt.Errorf("clear output folder: %w", err)
			}
		}
	}
	return nil
}

// differences says in what a found run differs from the one that is wanted.
func (m *Manifest) differences(wanted *Manifest) []string {
	var changes []string
	differ := func(what, before, now string) {
		if before != now {
			changes = append(changes, fmt.Sprintf("%s: was %s, is %s", what, before, now))
		}
	}
	differ("API address", m.API, wanted.API)
	differ("output", m.Output, wanted.Output)
	differ("output columns", m.OutputColumns, wanted.OutputColumns)
	if m.RequestDigest != wanted.RequestDigest {
		changes = append(changes, "request:\n"+lineDiff(m.RequestSource, wanted.RequestSource))
	}
	for i := range max(len(m.Inputs), len(wanted.Inputs)) {
		switch {
		case i >= len(m.Inputs):
			changes = append(changes, "input: "+wanted.Inputs[i].Path+" is new")
		case i >= len(wanted.Inputs):
			changes = append(changes, "input: "+m.Inputs[i].Path+" is gone")
		case m.Inputs[i].Path != wanted.Inputs[i].Path:
			changes = append(changes, fmt.Sprintf("input: was %s, is %s", m.Inputs[i].Path, wanted.Inputs[i].Path))
		case m.Inputs[i].Size != wanted.Inputs[i].Size:
			changes = append(changes, fmt.Sprintf("input: %s had %d bytes and has %d", m.Inputs[i].Path,
				m.Inputs[i].Size, wanted.Inputs[i].Size))
		case m.Inputs[i].Fingerprint != wanted.Inputs[i].Fingerprint:
			changes = append(changes, "input: the contents of "+m.Inputs[i].Path+" changed")
		}
	}
	return changes
}

// lineDiff lists the lines that one text has and the other has not.
func lineDiff(before, now string) string {
	old, current := strings.Split(before, "\n"), strings.Split(now, "\n")
	var b strings.Builder
	for _, line := range old {
		if !slices.Contains(current, line) {
			fmt.Fprintf(&b, "    - %s\n", strings.TrimSpace(line))
		}
	}
	for _, line := range current {
		if !slices.Contains(old, line) {
			fmt.Fprintf(&b, "    + %s\n", strings.TrimSpace(line))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// setAside moves what there is of a run to a folder of its own, where nothing touches it again. A rehearsal's is
// deleted: nobody paid for it.
func (s State) setAside(now time.Time, simulated bool) error {
	aside := filepath.Join(s.Dir, "aside-"+now.UTC().Format("20060102T150405.000"))
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return fmt.Errorf("set earlier run aside: %w", err)
	}
	for _, name := range []string{manifestFile, partsDir, suspicionFile} {
		err := os.Rename(filepath.Join(s.Dir, name), filepath.Join(aside, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set earlier run aside: %w", err)
		}
	}
	if simulated {
		if err := os.RemoveAll(aside); err != nil {
			return fmt.Errorf("delete earlier rehearsal: %w", err)
		}
	}
	return s.create()
}

// load brings in what the state folder holds: parts and their results, and the answers of tries.
func (r *Run) load() error {
	r.changed.L = &r.mu
	r.parts = make(map[int]*part)
	r.outstanding = make(map[int64]*pending)
	r.handouts = make(map[courier.Number]*handout)
	r.inbox = make(chan delivery, 8)
	r.refusing, r.drained = make(chan struct{}, 1), make(chan struct{})
	r.window.maxBytes = maxWindowBytes
	r.seen.state = r.state
	r.repeats = r.manifest.Repeats
	if r.manifest.Scanned {
		r.total.Store(r.manifest.Records)
		r.totalKnown.Store(true)
	} else if r.input.Rows >= 0 {
		r.total.Store(r.input.Rows)
	}
	metas, err := r.state.Parts()
	if err != nil {
		return err
	}
	if err := r.state.checkLogs(metas); err != nil {
		return err
	}
	if r.suspicion, err = openSuspicion(r.state); err != nil {
		return err
	}
	r.nextPart = len(metas)
	for _, meta := range metas {
		if meta.Sealed {
			r.tally.plus(meta.Tally)
			r.seen.sealed(&meta)
			continue
		}
		p, err := openPart(r.state, meta)
		if err != nil {
			return err
		}
		r.parts[meta.Index] = p
		r.tally.plus(p.tally)
	}
	if n := len(metas); n > 0 {
		r.last = metas[n-1]
	}
	r.before = r.tally.copy()
	r.sameFailure.resume(r.tally)
	unanswered := 0
	for _, p := range r.parts {
		unanswered += max(len(p.records)-p.done, 0)
		r.sealIfComplete(p)
	}
	switch {
	case r.manifest.Running && r.mirror.lostDisk():
		// Results went with it, and records whose part had not been stored.
		r.manifest.Unknown += int64(r.window.maxRecords) + mostUnmirrored
	case r.manifest.Running && !r.manifest.Fleet:
		r.manifest.Unknown += int64(min(unanswered, r.window.maxRecords))
	}
	return r.loadTries()
}

// loadTries reads the answers that earlier tries of this job were given, to be used for the same requests.
func (r *Run) loadTries() error {
	r.tries = make(map[jobs.Digest]jobs.Result)
	err := eachTry(r.state, func(try tryEntry) {
		if try.api == r.manifest.API {
			r.tries[try.result.Digest] = try.result
		}
	})
	if err != nil {
		return fmt.Errorf("read tries: %w", err)
	}
	return nil
}
