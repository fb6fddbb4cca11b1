package coordinator

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/batchwright/batchwright/io/sink"
	"github.com/batchwright/batchwright/io/source"
	"github.com/batchwright/batchwright/jobs"
)

// Manifest says what a run is of, so that what continues it can tell that it is the same. Specified in
// docs/format.md.
type Manifest struct {
	Version   int       `json:"version"`
	Run       string    `json:"run"` // random id
	Job       string    `json:"job"` // the job's name
	Simulated bool      `json:"simulated,omitempty"`
	Created   time.Time `json:"created"`
	// Definition is how the job was given, so that commands find it again by its name.
	Definition Definition `json:"definition,omitzero"`
	// Epoch is the latest under which a coordinator owned the run.
	Epoch uint32 `json:"epoch"`

	// What must not change while the run lasts.
	API           string       `json:"api"` // base URL
	RequestDigest jobs.Digest  `json:"request_digest"`
	RequestSource string       `json:"request_source"` // for people: what the digest covers
	Inputs        source.Files `json:"inputs"`
	Batches       bool         `json:"batches,omitempty"` // the input is in the Message Batches format
	Output        string       `json:"output"`            // absolute path; a folder when it ends in a slash
	Format        sink.Format  `json:"format"`
	OutputColumns string       `json:"output_columns"` // id and columns of the job
	// AddedColumns names the output's columns that are not the input's, in order.
	AddedColumns []string `json:"added_columns,omitempty"`

	// Boundaries: a chunk and a part end at so many records or bytes, whichever comes first.
	ChunkRecords int   `json:"chunk_records"`
	ChunkBytes   int64 `json:"chunk_bytes"`
	PartRecords  int   `json:"part_records"`
	PartBytes    int64 `json:"part_bytes"`

	// Scanned is set once the whole input was read ahead of the calls: Records is final, and so is Columns, the
	// input's columns, where the output is typed.
	Scanned bool        `json:"scanned,omitempty"`
	Records int64       `json:"records,omitempty"`
	Columns jobs.Schema `json:"columns,omitempty"`

	// Finished is when the run was complete.
	Finished time.Time `json:"finished,omitzero"`
	// Elapsed is how long coordinators have worked on the run, over all restarts.
	Elapsed time.Duration `json:"elapsed_ns,omitempty"`
	// Repeats counts calls that were paid and whose answer was not needed, as far as they came back.
	Repeats int64 `json:"repeats,omitempty"`
	// Running is set while a coordinator works on the run; found set, it says that one was killed.
	Running bool `json:"running,omitempty"`
	// Fleet says that the latest coordinator had workers in other processes, which outlive it. The first builds had none
	// and said nothing.
	Fleet bool `json:"fleet,omitempty"`
	// Unknown bounds the calls that were in flight, or answered and not journaled, when coordinators were killed: so
	// many at most may have been paid and were made again.
	Unknown int64 `json:"unknown,omitempty"`

	replaces bool // what is at the output is an earlier run's of this job, which is to be set aside
}

// PartMeta describes a part.
type PartMeta struct {
	Version int           `json:"version"`
	Index   int           `json:"-"`
	First   int64         `json:"first"` // number of its first record
	Start   jobs.Position `json:"start"` // where its first record starts
	// Full is set once the part takes no more records: Records is final and Last is where its last one starts.
	Full    bool          `json:"full,omitempty"`
	Records int           `json:"records,omitempty"`
	Last    jobs.Position `json:"last,omitzero"`
	// Sealed is set once all results are in order in the sealed journal and in the output.
	Sealed bool  `json:"sealed,omitempty"`
	Tally  Tally `json:"tally,omitzero"`
}

// Default boundaries. 64 records a hand-out reach 11,300 records/s on the embedded Redis, one reaches 980.
const (
	chunkRecords = 64
	chunkBytes   = 4 << 20
	partRecords  = 10_000
	partBytes    = 64 << 20
)

// newRunID is a random name that is also legal as a queue's.
func newRunID() string { return "r" + strings.ToLower(rand.Text()[:15]) }

// ChangedError says what differs between the run that a state folder holds and the job that is to continue it.
type ChangedError struct{ Differences []string }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("the job changed since this run began:\n  %s\n"+
		"Undo the change to continue the run, or start anew with --fresh (the old run is set aside, its answers are kept).",
		strings.Join(e.Differences, "\n  "))
}
