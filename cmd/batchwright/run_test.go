package main

import (
	"encoding/json"
	"strings"
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

// What would surprise is refused before any call, with a message that says what to do.
func TestRefusedBeforeAnyCall(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		args []string
		want string
	}{
		"a rehearsal's flag on a real run": {[]string{"run", "{}/job.yaml", "--simulate=false", "--sim-latency", "1s"}, "add --simulate"},
		"a rehearsal's flag on a real try": {[]string{"try", "{}/job.yaml", "--simulate=false", "--sim-key", "x"}, "add --simulate"},
		"a budget without a price": {
			[]string{"run", "{}/job.yaml", "--set", "limits.budget_usd=5", "--set", "request.model=claude-haku"},
			"needs the price of the model",
		},
		"an export over another file": {[]string{"export", "{}/job.yaml", "-o", "{}/in.jsonl"}, "--overwrite"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCommandLine(t)
			_, stderr, code := c.run(row.args...)
			if code != exitUsage || !strings.Contains(stderr, row.want) {
				t.Errorf("exit code %d and %q, want %d and a message with %q", code, stderr, exitUsage, row.want)
			}
		})
	}
}
