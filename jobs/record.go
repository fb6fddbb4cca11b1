package jobs

import "encoding/json"

// Record is one line or row of the input.
type Record struct {
	// Number identifies the record: 0-based over all input files in order.
	Number int64
	// ID labels the record for people; empty until the job's id column is applied.
	ID string
	// Position is where the record starts; reading can begin there again.
	Position Position
	// Fields are the record's columns in file order, each value one valid JSON text in the encoding of its
	// Kind (see Kind). Nil when Problem is set.
	Fields []Member
	// Problem says why the input could not be read as a record ("invalid UTF-8 at byte 17"); such a record
	// fails as bad_input and keeps its place. It names neither file nor line: Position does.
	Problem string
}

// Member is a named JSON value.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Get returns the value of the column called name, and whether the record has it.
func (r *Record) Get(name string) (json.RawMessage, bool) {
	for i := range r.Fields {
		if r.Fields[i].Name == name {
			return r.Fields[i].Value, true
		}
	}
	return nil, false
}

// Position is a place in the input from which reading can start.
type Position struct {
	// File is the index of the input file in the run's list of files.
	File int `json:"file"`
	// Row counts the records of that file before this one.
	Row int64 `json:"row"`
	// Offset counts the bytes before this record in the decompressed file; 0 for Parquet.
	Offset int64 `json:"offset,omitempty"`
	// Line is the 1-based line on which the record starts in a text file; 0 for Parquet.
	Line int64 `json:"line,omitempty"`
}

// Reader reads the records of one or more files in order. Next returns io.EOF after the last record; a record
// that is broken in itself comes with Problem set and no error, and any other error is final and names the file.
// The returned record's fields stay valid after the following call.
type Reader interface {
	Next() (Record, error)
	Close() error
}
