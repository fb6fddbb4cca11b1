package jobs

import (
	"encoding/json"
	"time"
)

// Status is how a record ended.
type Status string

// The two ways to end.
const (
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
)

// Reason says why a record failed.
type Reason string

// The reasons, as they stand in the output's _reason column.
const (
	ReasonRefused   Reason = "refused"   // the model declined: stop_reason refusal
	ReasonTruncated Reason = "truncated" // max_tokens or the context window ended the answer
	ReasonInvalid   Reason = "invalid"   // the answer does not fit the job's schema
	ReasonRejected  Reason = "rejected"  // the API refused the request itself: 400, 413, 422
	ReasonExhausted Reason = "exhausted" // max_attempts attempts failed
	ReasonTooLarge  Reason = "too_large" // over the API's size limit, or refused by a rate limit that smaller requests pass
	ReasonBadInput  Reason = "bad_input" // the input's record, or the request made of it, is broken
	ReasonPoison    Reason = "poison"    // it was in flight alone at the death of three workers
)

// Reasons lists all reasons in the order in which a summary shows them.
var Reasons = []Reason{
	ReasonRefused, ReasonTruncated, ReasonInvalid, ReasonRejected,
	ReasonExhausted, ReasonTooLarge, ReasonBadInput, ReasonPoison,
}

// Result is how a record ended: exactly one per record and round. AppendResult gives its durable form.
type Result struct {
	Record int64
	ID     string
	Digest Digest
	// Round is 0 for a run's first pass and grows with each retry.
	Round  int
	Status Status
	Reason Reason
	// Error explains a failure to a person; it holds no prompt, answer or credential.
	Error string
	// HTTPStatus is the status of the last answer; 0 when there was none.
	HTTPStatus int
	// Message is the complete Message as the API sent it, unknown fields included; nil when there is none.
	Message json.RawMessage
	// Attempts counts ended attempts; Calls every HTTP call, rate-limited ones included.
	Attempts int
	Calls    int
	// Latency is that of the last call.
	Latency    time.Duration
	RequestID  string
	FinishedAt time.Time
	// Usage and StopReason repeat what the message says, so that nobody parses it twice.
	Usage      Usage
	StopReason string
	Model      string
	// Cost is what the record's answers cost; valid only when Priced.
	Cost   Nanodollars
	Priced bool
}

// Usage counts the tokens of one answer (Messages API, response field usage).
type Usage struct {
	Input        int64 `json:"input,omitempty"`
	Output       int64 `json:"output,omitempty"`
	CacheRead    int64 `json:"cache_read,omitempty"`
	CacheWrite5m int64 `json:"cache_write_5m,omitempty"`
	CacheWrite1h int64 `json:"cache_write_1h,omitempty"`
}

// CacheWrite is the number of tokens written to the cache, of any lifetime.
func (u Usage) CacheWrite() int64 { return u.CacheWrite5m + u.CacheWrite1h }

// Plus adds two usages.
func (u Usage) Plus(v Usage) Usage {
	return Usage{
		u.Input + v.Input, u.Output + v.Output, u.CacheRead + v.CacheRead,
		u.CacheWrite5m + v.CacheWrite5m, u.CacheWrite1h + v.CacheWrite1h,
	}
}
