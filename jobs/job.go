package jobs

import (
	"encoding/json"
	"time"
)

// Job is a job file after its vars, flags and --set are applied, checked but with nothing opened yet.
type Job struct {
	// Name labels the job and names its state folder.
	Name string
	// Dir is the folder that relative paths start from: the job file's own.
	Dir string
	// Input lists paths, globs and folders as given, relative to Dir.
	Input []string
	// Output is a file (.jsonl, .jsonl.gz, .jsonl.zst, .parquet), or a folder when it ends in a slash.
	Output string
	// ID is the column that labels a record; empty means custom_id or id where there is one, else the number.
	ID string
	// Request is the body of each call, with templates; nil when the input is in the Message Batches format.
	Request *Template
	// Answer says what the answer must look like; nil means free text.
	Answer  *Answer
	Columns Columns
	Limits  Limits
	// MaxAttempts bounds the ended attempts of a record; default 8.
	MaxAttempts int
	API         API
	// State is the URL of the store that keeps the job's state; empty keeps it in a folder alone.
	State string
}

// Columns chooses the output's columns.
type Columns struct {
	// Keep names the input's columns to keep; nil keeps all.
	Keep []string `json:"keep"`
	// Add maps new columns to paths into the message (".text", ".stop_reason", ".usage.input_tokens"), in file order.
	Add []AddedColumn `json:"add,omitempty"`
	// Prefix goes before each column that batchwright adds.
	Prefix string `json:"prefix,omitempty"`
}

// AddedColumn is one entry of columns.add.
type AddedColumn struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// Limits are the job's own bounds; a zero means none was given.
type Limits struct {
	Concurrency           int   `json:"concurrency,omitempty"`
	RequestsPerMinute     int64 `json:"requests_per_minute,omitempty"`
	InputTokensPerMinute  int64 `json:"input_tokens_per_minute,omitempty"`
	OutputTokensPerMinute int64 `json:"output_tokens_per_minute,omitempty"`
	// Headroom is the share of each rate limit left for other users of the key.
	Headroom Headroom `json:"headroom,omitzero"`
	// Weight is the run's share of a worker beside other runs, in tokens: one of weight 2 gets twice those of one of
	// weight 1. 0 means 1.
	Weight float64 `json:"weight,omitempty"`
	// Budget is a hard bound on spend; 0 means none.
	Budget Nanodollars `json:"budget_nusd,omitempty"`
	// MaxFailed bounds failed records for exit code 0.
	MaxFailed Tolerance `json:"max_failed"`
	// MaxTime drains the run when it is over; 0 means none.
	MaxTime time.Duration `json:"max_time_ns,omitempty"`
}

// Tolerance is a number of records, or a share of all records when Share is not 0.
type Tolerance struct {
	Count int64   `json:"count,omitempty"`
	Share float64 `json:"share,omitempty"`
}

// Exceeded reports whether failed of total records is more than the tolerance allows.
func (t Tolerance) Exceeded(failed, total int64) bool {
	if t.Share > 0 {
		return float64(failed) > t.Share*float64(total)
	}
	return failed > t.Count
}

// API says where calls go and how.
type API struct {
	BaseURL string
	// KeyEnv names the variable that holds the credential; empty means ANTHROPIC_API_KEY, then ANTHROPIC_AUTH_TOKEN.
	KeyEnv  string
	Version string
	Beta    []string
	Stream  bool
	Timeout time.Duration
}

// Nanodollars is money in billionths of a US dollar, so that sums are exact.
type Nanodollars int64

// Answer is the JSON schema that an answer must fit.
type Answer struct {
	// Schema is the JSON schema as sent in output_config.format.
	Schema json.RawMessage
	// Properties are the top-level properties in the order of the schema, typed for the output.
	Properties Schema
	compiled   validator
}

type validator interface{ Validate(v any) error }
