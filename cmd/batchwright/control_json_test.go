package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// pause, resume and stop print with --json what status --json does, one object on one line, of the run as it then is. Its
// keys are a promise to scripts: none of these goes away.
func TestControlAsJSON(t *testing.T) {
	t.Parallel()
	const records = 2000
	api, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Latency: 250 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close() })
	server := redistest.StartServer(t, redistest.Options{})
	dir := t.TempDir()
	var input strings.Builder
	for i := range records {
		fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"t%d\"}\n", i, i)
	}
	prepareCrash(t, dir, "out.jsonl", input.String())
	env := []string{"ANTHROPIC_BASE_URL=" + api.URL, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_REDIS=" + server.URL, "BATCHWRIGHT_CRASH_AT="}
	job := filepath.Join(dir, "job.yaml")
	ended := make(chan error, 1)
	go func() {
		_, err := commandIn(t, env, "run", job, "--quiet")
		ended <- err
	}()
	awaitStatus(t, env, job, "running", func(s *statusLine) bool { return s != nil && s.Done > 0 && len(s.Workers) == 1 })
	promised := []string{
		"job", "run_id", "state", "blocked", "trouble", "records", "records_known", "done", "failed", "failed_by_reason", "records_per_second",
		"eta_seconds", "cost_usd", "repeats", "unknown", "in_flight", "outstanding", "coordinator", "age_seconds", "output", "workers",
	}
	var run string
	var keys []string // as status prints them
	say := func(told string, states ...string) {
		t.Helper()
		out, err := commandIn(t, env, told, job, "--json")
		if err != nil {
			t.Fatalf("%s: %v", told, err)
		}
		if strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, "\n") {
			t.Errorf("%s prints more or less than a line:\n%s", told, out)
		}
		got := keysOf(out, "why", "budget_usd")
		if keys == nil {
			keys = got
		}
		if diff := cmp.Diff(keys, got); diff != "" {
			t.Errorf("keys (-status --json +%s --json):\n%s", told, diff)
		}
		for _, key := range promised {
			if !slices.Contains(got, key) {
				t.Errorf("%s --json has no %q: %s", told, key, out)
			}
		}
		var line statusLine
		if err := json.Unmarshal([]byte(out), &line); err != nil {
			t.Fatalf("%s prints %q: %v", told, out, err)
		}
		if run == "" {
			run = line.RunID
		}
		if !slices.Contains(states, line.State) || line.RunID != run || run == "" || line.Job != filepath.Base(dir) || line.Done == 0 {
			t.Errorf("%s says that run %s of %s, with %d records done, is %s; want run %s in one of the states %q",
				told, line.RunID, line.Job, line.Done, line.State, run, states)
		}
	}
	say("status", "running", "waiting")
	say("pause", "paused")
	say("pause", "paused") // told again, it is no error
	say("resume", "running", "waiting")
	say("stop", "stopping", "stopped")
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "exit status 143") {
		t.Errorf("the stopped run ended with %v, want exit code 143", err)
	}
	say("stop", "stopped")
	for _, told := range []string{"pause", "resume"} {
		out, err := commandIn(t, env, told, job, "--json")
		if err == nil || out != "" {
			t.Errorf("%s of a run that was stopped: %v, %q", told, err, out)
			continue
		}
		holds(t, err.Error(), "exit status 1", "batchwright run continues it")
	}
}

// keysOf lists the keys of a JSON object in order, without those that are there only at times.
func keysOf(object string, optional ...string) []string {
	var keys []string
	gjson.Parse(object).ForEach(func(key, _ gjson.Result) bool {
		if !slices.Contains(optional, key.Str) {
			keys = append(keys, key.Str)
		}
		return true
	})
	return keys
}
