package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/batchwright/batchwright/jobs"
)

// The outcomes of a run command, as --json gives them.
const (
	outcomeComplete             = "complete"
	outcomeCompleteWithFailures = "complete_with_failures"
	outcomeBlocked              = "blocked"
	outcomeStopped              = "stopped"
	outcomeTimedOut             = "timed_out"
)

// summary is what a run command has come to. Counts and Elapsed are of the whole run; of calls that led to no result
// only those of this process are known.
type summary struct {
	Job, RunID string
	// Outcome is one of the outcomes above; ExitCode what the process ends with.
	Outcome  string
	ExitCode int
	// Simulated says that no real call was made.
	Simulated bool
	// Explanation says what a person must do when the run is blocked, or why it stopped; a sentence, may be empty.
	Explanation string

	// Records counts the input's records, when RecordsKnown: a run that stops early may not have read them all.
	Records      int64
	RecordsKnown bool
	// Done counts the records with a result: Succeeded, of those Reused without a call, and Failed.
	Done, Succeeded, Failed, Reused int64
	FailedByReason                  map[jobs.Reason]int64
	Calls, Retries, Repeats         int64
	// Unknown bounds the calls that kills of earlier processes kept from being counted as repeats.
	Unknown int64
	Tokens  jobs.Usage
	// Cost is valid only when Priced; otherwise Unpriced names the model that has no price.
	Cost     jobs.Nanodollars
	Priced   bool
	Unpriced string
	// Ended counts the records that got their result within Elapsed.
	Ended   int64
	Elapsed time.Duration
	// Outputs are the paths where output can be seen: none when there is none yet.
	Outputs []string
}

// rate is in records a second.
func (s summary) rate() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Ended) / s.Elapsed.Seconds()
}

// writeText writes the summary for people, in aligned lines.
func (s summary) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", s.Job, s.headline())
	if s.Explanation != "" {
		fmt.Fprintf(&b, "  %s\n", clean(s.Explanation))
	}
	if s.Simulated {
		b.WriteString("  simulated: no real call was made\n")
	}
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(label, value string) { _, _ = fmt.Fprintf(table, "  %s\t%s\n", label, value) } // a Builder takes all
	switch {
	case !s.RecordsKnown:
		row("records", formatCount(s.Done)+" (the input has not been read to its end)")
	case s.Done < s.Records:
		row("records", formatCount(s.Done)+" of "+formatCount(s.Records))
	default:
		row("records", formatCount(s.Records))
	}
	row("succeeded", formatCount(s.Succeeded)+because(s.Reused > 0, formatCount(s.Reused)+" reused"))
	row("failed", formatCount(s.Failed)+because(s.Failed > 0, s.reasons()))
	row("calls", fmt.Sprintf("%s, retries %s, repeats %s", formatCount(s.Calls), formatCount(s.Retries), formatCount(s.Repeats))+
		because(s.Unknown > 0, "and at most "+formatCount(s.Unknown)+" that a kill left unknown"))
	row("tokens", fmt.Sprintf("%s in, %s out, %s read from cache, %s written to cache", formatCount(s.Tokens.Input),
		formatCount(s.Tokens.Output), formatCount(s.Tokens.CacheRead), formatCount(s.Tokens.CacheWrite())))
	row("cost", s.cost())
	row("time", formatTime(s.Elapsed)+because(s.Ended > 0, formatRate(s.rate())))
	for i, output := range s.Outputs {
		label := "output"
		if i > 0 {
			label = ""
		}
		row(label, output)
	}
	row("run", s.RunID)
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

func because(is bool, text string) string {
	if !is || text == "" {
		return ""
	}
	return " (" + text + ")"
}

func (s summary) headline() string {
	const resumable = "the same command goes on from here"
	switch s.Outcome {
	case outcomeCompleteWithFailures:
		return "complete, with failures"
	case outcomeBlocked:
		return "blocked until a person acts; then " + resumable
	case outcomeStopped:
		return "stopped; " + resumable
	case outcomeTimedOut:
		return "out of time; " + resumable
	default:
		return s.Outcome
	}
}

// reasons lists why records failed, the fixed order of the reasons first, then any others by name.
func (s summary) reasons() string {
	var all []string
	for _, reason := range s.reasonNames() {
		if n := s.FailedByReason[reason]; n > 0 {
			all = append(all, string(reason)+" "+formatCount(n))
		}
	}
	return strings.Join(all, ", ")
}

func (s summary) reasonNames() []jobs.Reason {
	names := slices.Clone(jobs.Reasons)
	var others []jobs.Reason
	for reason := range s.FailedByReason {
		if !slices.Contains(names, reason) {
			others = append(others, reason)
		}
	}
	slices.Sort(others)
	return append(names, others...)
}

func (s summary) cost() string {
	switch {
	case s.Simulated && s.Priced:
		return formatDollars(s.Cost) + ", had the calls been real"
	case s.Priced:
		return formatDollars(s.Cost)
	case s.Unpriced != "":
		return "unknown (no price for " + clean(s.Unpriced) + ")"
	default:
		return "unknown"
	}
}

// MarshalJSON gives the summary the keys of --json and --summary, which stay as they are. Every reason is there, 0
// included; cost_usd is exact; it and records are null when they are unknown.
func (s summary) MarshalJSON() ([]byte, error) {
	failed := make(map[jobs.Reason]int64)
	for _, reason := range s.reasonNames() {
		failed[reason] = s.FailedByReason[reason]
	}
	var records *int64
	if s.RecordsKnown {
		records = &s.Records
	}
	var cost *json.Number
	if s.Priced {
		exact := json.Number(formatDecimal(s.Cost))
		cost = &exact
	}
	return json.Marshal(struct {
		Job              string                `json:"job"`
		RunID            string                `json:"run_id"`
		Outcome          string                `json:"outcome"`
		ExitCode         int                   `json:"exit_code"`
		Explanation      string                `json:"explanation,omitempty"`
		Simulated        bool                  `json:"simulated"`
		Records          *int64                `json:"records"`
		Done             int64                 `json:"done"`
		Succeeded        int64                 `json:"succeeded"`
		Reused           int64                 `json:"reused"`
		Failed           int64                 `json:"failed"`
		FailedByReason   map[jobs.Reason]int64 `json:"failed_by_reason"`
		Calls            int64                 `json:"calls"`
		Retries          int64                 `json:"retries"`
		Repeats          int64                 `json:"repeats"`
		RepeatsUnknown   int64                 `json:"repeats_unknown"`
		InputTokens      int64                 `json:"input_tokens"`
		OutputTokens     int64                 `json:"output_tokens"`
		CacheReadTokens  int64                 `json:"cache_read_tokens"`
		CacheWriteTokens int64                 `json:"cache_write_tokens"`
		CostUSD          *json.Number          `json:"cost_usd"`
		ElapsedSeconds   float64               `json:"elapsed_seconds"`
		RecordsPerSecond float64               `json:"records_per_second"`
		Outputs          []string              `json:"outputs"`
	}{
		s.Job, s.RunID, s.Outcome, s.ExitCode, s.Explanation, s.Simulated,
		records, s.Done, s.Succeeded, s.Reused, s.Failed, failed,
		s.Calls, s.Retries, s.Repeats, s.Unknown,
		s.Tokens.Input, s.Tokens.Output, s.Tokens.CacheRead, s.Tokens.CacheWrite(), cost,
		s.Elapsed.Round(time.Millisecond).Seconds(), float64(int64(s.rate()*100+0.5)) / 100,
		append([]string{}, s.Outputs...),
	})
}

// writeJSON writes the summary as one line of JSON.
func (s summary) writeJSON(w io.Writer) error {
	line, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode summary: %w", err)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// writeFile writes the summary as JSON to a file, whole or not at all. What is there and no regular file (a pipe,
// /dev/stderr) is written to as it is.
func (s summary) writeFile(path string) (err error) {
	if stat, err := os.Stat(path); err == nil && !stat.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0) //nolint:gosec // The user names the file.
		if err != nil {
			return fmt.Errorf("open summary: %w", err)
		}
		return errors.Join(s.writeJSON(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".summary-*")
	if err != nil {
		return fmt.Errorf("create summary: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	// A summary holds nothing secret, and what watches nightly jobs often runs as another user.
	if err := errors.Join(s.writeJSON(f), f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write summary %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}
