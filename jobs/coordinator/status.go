package coordinator

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// Status is what a coordinator says of its run once a second, for whoever asks from any machine. It holds no prompt,
// answer or credential.
type Status struct {
	Version int    `json:"version"` // stateVersion
	Run     string `json:"run"`
	Job     string `json:"job"`
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	// At is when this was said.
	At        time.Time             `json:"at"`
	Total     int64                 `json:"total"`
	Counted   bool                  `json:"counted"` // Total is final
	Done      int64                 `json:"done"`
	Succeeded int64                 `json:"succeeded"`
	Failed    map[jobs.Reason]int64 `json:"failed,omitempty"`
	// Rate is how many records a second ended over the last minute.
	Rate        float64          `json:"rate"`
	Outstanding int              `json:"outstanding"` // records handed out
	Calls       int64            `json:"calls"`
	Usage       jobs.Usage       `json:"usage"`
	Cost        jobs.Nanodollars `json:"cost_nusd"`
	Priced      bool             `json:"priced"`
	Budget      jobs.Nanodollars `json:"budget_nusd,omitempty"`
	Repeats     int64            `json:"repeats"`
	Unknown     int64            `json:"unknown"`
	Trouble     string           `json:"trouble,omitempty"`
	Blocked     string           `json:"blocked,omitempty"`
	Paused      bool             `json:"paused,omitempty"`
	Stopping    bool             `json:"stopping,omitempty"`
	Output      string           `json:"output"`
}

// ParseStatus reads what a coordinator said of its run. courier.ErrFormat when one of another version said it.
func ParseStatus(encoded []byte) (Status, error) {
	var s Status
	if err := json.Unmarshal(encoded, &s); err != nil || s.Version != stateVersion {
		return Status{}, fmt.Errorf("%w: status", courier.ErrFormat)
	}
	return s, nil
}

// statusJSON is the status at this moment. One goroutine at a time asks for it.
func (r *Run) statusJSON() []byte {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	p, now := r.Progress(), time.Now()
	s := Status{
		Version: stateVersion, Run: p.Run, Job: p.Job, Host: host, PID: os.Getpid(), At: now.UTC(),
		Total: p.Total, Counted: p.TotalKnown, Done: p.Tally.Done(), Succeeded: p.Tally.Succeeded, Failed: p.Tally.Failed,
		Rate: r.pace.rate(now, p.Tally.Done()), Outstanding: p.Outstanding, Calls: p.Tally.Calls, Usage: p.Tally.Usage,
		Cost: p.Tally.Cost, Priced: p.Tally.Unpriced == 0, Budget: r.job.Limits.Budget, Repeats: p.Repeats, Unknown: p.Unknown,
		Trouble: p.Trouble, Blocked: p.Blocked, Output: p.Output,
	}
	r.mu.Lock()
	s.Paused, s.Stopping = r.paused, r.stopping
	r.mu.Unlock()
	encoded, err := json.Marshal(s)
	if err != nil {
		return nil // numbers and texts always encode
	}
	return encoded
}
