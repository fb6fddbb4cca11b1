package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/jobs/coordinator"
)

// verify confirms a true output in one line, names what is wrong with another, and tells scripts by its exit code.
func TestVerifyCommand(t *testing.T) {
	t.Parallel()
	c := newCommandLine(t)
	_, stderr := c.must(exitUsage, "verify", "{}/job.yaml")
	holds(t, stderr, "no run in")
	c.must(exitManyFailures, "run", "{}/job.yaml", "--quiet")

	stdout, _ := c.must(exitComplete, "verify", "{}/job.yaml")
	holds(t, stdout, "verified: 4 records, each once and in input order, in "+c.dir+"/out.simulated.jsonl (3 succeeded, 1 failed)\n")
	if strings.Count(stdout, "\n") != 1 {
		t.Errorf("the confirmation has more than one line:\n%s", stdout)
	}
	byName, _ := c.must(exitComplete, "verify", "tickets", "--state", "{}/.batchwright")
	if byName != stdout {
		t.Errorf("by its name: %s", byName)
	}

	output := filepath.Join(c.dir, "out.simulated.jsonl")
	whole, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	damaged := strings.Replace(string(whole), `"text":"two"`, `"text":"2"`, 1)
	if err := os.WriteFile(output, []byte(damaged+damaged[:strings.Index(damaged, "\n")+1]), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr = c.must(exitFailed, "verify", "{}/job.yaml")
	holds(t, stdout, output+":2: record 1 (id b, "+c.dir+`/in.jsonl:2): column "text" is not as in the input`, output+":5: the row is no record's")
	holds(t, stderr, "export writes it again")
	if strings.Contains(stdout, "two") {
		t.Errorf("the input is quoted:\n%s", stdout)
	}

	stdout, stderr = c.must(exitFailed, "verify", "{}/job.yaml", "--json")
	var got struct {
		OK bool `json:"ok"`
		coordinator.Verification
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v:\n%s", err, stdout)
	}
	if got.OK || got.Verification.OK() || !got.Complete || got.Records != 4 || got.Faults != 2 || got.Unchecked == nil || *got.Problems[0].Line != 2 ||
		*got.Problems[0].Record != 1 || got.Problems[0].ID != "b" || got.Problems[1].Record != nil || stderr != "" {
		t.Errorf("as JSON: %s%s", stdout, stderr)
	}

	if err := os.WriteFile(filepath.Join(c.dir, "in.jsonl"), []byte(`{"id":"a"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr = c.must(exitChanged, "verify", "{}/job.yaml")
	holds(t, stderr, "the input changed", "in.jsonl had")
}

// A run that was stopped in between is not confirmed, and what is missing is said.
func TestVerifyStopped(t *testing.T) {
	t.Parallel()
	c := newCommandLine(t)
	c.must(exitBlocked, "run", "{}/job.yaml", "--sim-key", "another", "--quiet")
	stdout, _ := c.must(exitFailed, "verify", "{}/job.yaml")
	holds(t, stdout, "the run is not complete: ", "batchwright run continues it")
	stdout, _ = c.must(exitFailed, "verify", "{}/job.yaml", "--json")
	holds(t, stdout, `"ok": false`, `"complete": false`)
}

// Beyond twenty, problems are counted.
func TestVerifyCounts(t *testing.T) {
	t.Parallel()
	c := newCommandLine(t)
	var input strings.Builder
	for range 1500 {
		input.WriteString("{\"id\":\"a\",\"text\":\"one\"}\n")
	}
	if err := os.WriteFile(filepath.Join(c.dir, "in.jsonl"), []byte(input.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must(exitComplete, "run", "{}/job.yaml", "--quiet")
	if err := os.Truncate(filepath.Join(c.dir, "out.simulated.jsonl"), 0); err != nil {
		t.Fatal(err)
	}
	stdout, _ := c.must(exitFailed, "verify", "{}/job.yaml")
	holds(t, stdout, "and 1,480 more, 1,500 in all\n")
	if n := strings.Count(stdout, "\n"); n != 21 {
		t.Errorf("%d lines:\n%s", n, stdout)
	}
}
