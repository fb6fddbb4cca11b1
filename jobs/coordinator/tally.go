package coordinator

import "github.com/batchwright/batchwright/jobs"

// Tally counts how records ended and what that took.
type Tally struct { //nolint:recvcheck // what only reads serves copies too
	Succeeded int64                 `json:"succeeded,omitempty"`
	Failed    map[jobs.Reason]int64 `json:"failed,omitempty"`
	Calls     int64                 `json:"calls,omitempty"`
	Retries   int64                 `json:"retries,omitempty"` // calls after a record's first
	Attempts  int64                 `json:"attempts,omitempty"`
	Reused    int64                 `json:"reused,omitempty"` // answered by an earlier try
	Usage     jobs.Usage            `json:"usage,omitzero"`
	Cost      jobs.Nanodollars      `json:"cost_nusd,omitempty"`
	Unpriced  int64                 `json:"unpriced,omitempty"` // records with usage and no known price
}

// add counts one result.
func (t *Tally) add(r *jobs.Result) {
	if r.Status == jobs.Succeeded {
		t.Succeeded++
	} else {
		if t.Failed == nil {
			t.Failed = make(map[jobs.Reason]int64)
		}
		t.Failed[r.Reason]++
	}
	t.Calls += int64(r.Calls)
	t.Retries += int64(max(r.Calls-1, 0))
	t.Attempts += int64(r.Attempts)
	t.Usage = t.Usage.Plus(r.Usage)
	t.Cost += r.Cost
	if !r.Priced && r.Usage != (jobs.Usage{}) {
		t.Unpriced++
	}
}

// plus adds another tally.
func (t *Tally) plus(u Tally) {
	t.Succeeded += u.Succeeded
	for reason, n := range u.Failed {
		if t.Failed == nil {
			t.Failed = make(map[jobs.Reason]int64)
		}
		t.Failed[reason] += n
	}
	t.Calls += u.Calls
	t.Retries += u.Retries
	t.Attempts += u.Attempts
	t.Reused += u.Reused
	t.Usage = t.Usage.Plus(u.Usage)
	t.Cost += u.Cost
	t.Unpriced += u.Unpriced
}

// failed counts failed records of all reasons.
func (t Tally) failed() int64 {
	var n int64
	for _, count := range t.Failed {
		n += count
	}
	return n
}

// Done counts records that have ended.
func (t Tally) Done() int64 { return t.Succeeded + t.failed() }
