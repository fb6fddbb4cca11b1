package main

import (
	"encoding/json"
	"testing"
)

// A run that is blocked at once tells of the calls that it made, and fails no record.
func TestBlockedSummary(t *testing.T) {
	t.Parallel()
	c := newCommandLine(t)
	stdout, stderr, code := c.run("run", "{}/job.yaml", "--sim-key", "another", "--json", "--quiet")
	if code != exitBlocked {
		t.Fatalf("exit code %d, want %d:\n%s", code, exitBlocked, stderr)
	}
	var got struct {
		Calls int64 `json:"calls"`
		Done  int64 `json:"done"`
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.Calls == 0 || got.Done > 1 { // one of its lines is broken
		t.Errorf("summary: %s, want the calls that were refused, and at most the broken line done", stdout)
	}
}

// A summary that can't be written is refused before any call.
func TestSummaryRefused(t *testing.T) {
	t.Parallel()
	c := newCommandLine(t)
	_, stderr := c.must(exitUsage, "run", "{}/job.yaml", "--summary", "{}/no/folder/summary.json", "--quiet")
	holds(t, stderr, "--summary", "no/folder")
}
