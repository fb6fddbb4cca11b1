package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
)

func summaries() []summary {
	whole := summary{
		Job: "tickets-2026-11-22", RunID: "01kazc3f8q", Outcome: outcomeCompleteWithFailures, ExitCode: 3,
		Records: 10_000, RecordsKnown: true, Done: 10_000, Succeeded: 9950, Failed: 50, Reused: 20,
		FailedByReason: map[jobs.Reason]int64{jobs.ReasonTruncated: 41, jobs.ReasonBadInput: 7, "novel": 2},
		Calls:          10_120, Retries: 100, Repeats: 20,
		Tokens: jobs.Usage{Input: 1_234_567, Output: 345_678, CacheRead: 2000, CacheWrite5m: 300, CacheWrite1h: 4},
		Cost:   2_345_678_901, Priced: true, Ended: 9980, Elapsed: 252_345 * time.Millisecond,
		Outputs: []string{"out/tickets.parquet"},
	}
	simulated := summary{
		Job: "tickets.simulated", RunID: "01kazc3f8r", Outcome: outcomeComplete, Simulated: true,
		Records: 20, RecordsKnown: true, Done: 20, Succeeded: 20, Calls: 20, Tokens: jobs.Usage{Input: 400, Output: 100}, Cost: 900_000, Priced: true,
		Ended: 20, Elapsed: 431 * time.Millisecond, Outputs: []string{"out/simulated/part-000000.jsonl", "out/simulated/part-000001.jsonl"},
	}
	blocked := summary{
		Job: "night", RunID: "01kazc3f8s", Outcome: outcomeBlocked, ExitCode: 4,
		Explanation: "The API refuses the key: 401 authentication_error. Set ANTHROPIC_API_KEY to a valid key.\x1b[2J",
		Records:     5_000_000, RecordsKnown: true, Done: 12, Succeeded: 12, Calls: 13, Unpriced: "my-model", Elapsed: time.Second,
	}
	return []summary{whole, simulated, blocked, {
		Job: "none", RunID: "01kazc3f8t", Outcome: outcomeComplete, RecordsKnown: true,
	}, {
		Job: "slow", RunID: "01kazc3f8u", Outcome: outcomeTimedOut, ExitCode: 7, Records: 10, RecordsKnown: true, Done: 2, Succeeded: 2, Ended: 2, Elapsed: 5 * time.Hour,
	}, {
		Job: "stopped", RunID: "01kazc3f8v", Outcome: outcomeStopped, ExitCode: 130, Records: 10, Priced: true,
	}}
}

func TestSummaryText(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, s := range summaries() {
		if err := s.writeText(&b); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n")
	}
	sameAsGolden(t, "summary.txt", b.String())
}

func TestSummaryJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, s := range summaries() {
		if err := s.writeJSON(&b); err != nil {
			t.Fatal(err)
		}
	}
	sameAsGolden(t, "summary.jsonl", b.String())
}

func TestSummaryFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "summary.json")
	for _, s := range summaries()[:2] { // the second replaces the first
		if err := s.writeFile(path); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(content, &got); err != nil {
			t.Fatal(err)
		}
		if got["run_id"] != s.RunID {
			t.Errorf("run_id %v", got["run_id"])
		}
	}
	entries, _ := os.ReadDir(folder)
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if err := (summary{}).writeFile(filepath.Join(folder, "missing", "summary.json")); err == nil {
		t.Error("a missing folder is no error")
	}
	if err := os.Mkdir(filepath.Join(folder, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (summary{}).writeFile(filepath.Join(folder, "taken")); err == nil {
		t.Error("a folder was written to")
	}
}

// Holds: /dev/null and pipes are written to, not replaced by a file.
func TestSummaryToADevice(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "device")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	if err := summaries()[0].writeFile(link); err != nil {
		t.Fatal(err)
	}
	if stat, err := os.Stat(link); err != nil || stat.Mode().IsRegular() {
		t.Errorf("the device was replaced: %v, %v", stat.Mode(), err)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	dollars := func(n int64) string { return formatDollars(jobs.Nanodollars(n)) }
	decimal := func(n int64) string { return formatDecimal(jobs.Nanodollars(n)) }
	lasts := func(ms int64) string { return formatTime(time.Duration(ms) * time.Millisecond) }
	tests := []struct {
		name   string
		format func(int64) string
		rows   map[int64]string
	}{
		{"count", formatCount, map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"}},
		{"tokens", formatTokens, map[int64]string{9999: "9,999", 12_345: "12k", 999_999: "999k", 1_234_567: "1.23M", 2_500_000_000: "2.50G"}},
		{"dollars", dollars, map[int64]string{
			0: "$0.00", 1: "under $0.0001", 100_000: "$0.0001", 4_200_000: "$0.0042", 10_000_000: "$0.01",
			1_995_000_000: "$2.00", 1_994_999_999: "$1.99", 1_234_567_890_000: "$1,234.57",
		}},
		{"decimal", decimal, map[int64]string{0: "0", 1: "0.000000001", 1_500_000_000: "1.5", 10_000_000_000: "10", -1_000_000: "-0.001"}},
		{"time", lasts, map[int64]string{
			0: "0.0s", 1_234: "1.2s", 12_600: "13s", 59_600: "1m00s", 252_000: "4m12s", 11_220_000: "3h07m", 187_200_000: "2d04h",
		}},
	}
	for _, tt := range tests {
		for n, want := range tt.rows {
			if diff := cmp.Diff(want, tt.format(n)); diff != "" {
				t.Errorf("%s of %d: %s", tt.name, n, diff)
			}
		}
	}
	for rate, want := range map[float64]string{11_300.4: "11,300/s", 212.5: "213/s", 41.25: "41.2/s", 0.5: "30.0/min", 0.001: "3.6/h"} {
		if got := formatRate(rate); got != want {
			t.Error(fmt.Sprint(rate), got, want)
		}
	}
}

// An output is named only where it can be seen: a single file has its name when the run is complete.
func TestSummaryNamesOutput(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		output   string
		complete bool
		want     []string
	}{
		"a file, complete":     {"out.jsonl", true, []string{"out.jsonl"}},
		"a file, incomplete":   {"out.jsonl", false, nil},
		"a folder, complete":   {"out/", true, []string{"out/"}},
		"a folder, incomplete": {"out/", false, []string{"out/"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outcome := coordinator.Outcome{Complete: test.complete, Progress: coordinator.Progress{Output: test.output}}
			if diff := cmp.Diff(test.want, summaryOf(&jobs.Job{}, outcome, stopCause{timeout: true}, false).Outputs); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
		})
	}
}
