package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// rm deletes what the fleet's Redis holds of a run too, never that of a run which a coordinator has, and says so when it can't.
func TestRemoveFromRedis(t *testing.T) { //nolint:paralleltest // run sets the default logger
	server := redistest.StartServer(t, redistest.Options{})
	c := newCommandLine(t)
	// begin leaves a run that did not end in the state folder and in Redis.
	begin := func() (run string) {
		t.Helper()
		stdout, _ := c.must(exitBlocked, "run", "{}/job.yaml", "--redis", server.URL, "--sim-key", "another", "--quiet", "--json")
		run = gjson.Get(stdout, "run_id").Str
		if left := server.Client.Keys(t.Context(), "*{"+run+"}*").Val(); run == "" || len(left) == 0 {
			t.Fatalf("Redis holds nothing of run %q", run)
		}
		holds(t, gjson.Get(stdout, "explanation").Str, "workers read theirs when they start")
		return run
	}
	state := filepath.Join(c.dir, ".batchwright", "tickets.simulated")

	run := begin()
	owner, err := courier.Own(t.Context(), server.Client, run, 9, courier.OwnerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, stderr := c.must(exitOwned, "rm", "{}/job.yaml", "--yes", "--redis", server.URL)
	if holds(t, stderr, "run "+run+" has a coordinator now"); !exists(state) {
		t.Fatal("the state of a run that is on was deleted")
	}
	if err := owner.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, stderr = c.must(exitComplete, "rm", "{}/job.yaml", "--yes", "--redis", server.URL)
	holds(t, stderr, "what Redis held of run "+run)
	if left := server.Client.Keys(t.Context(), "*{"+run+"}*").Val(); exists(state) || len(left) > 0 {
		t.Errorf("%q and the state (%v) are left", left, exists(state))
	}

	aside := begin()
	manifest, err := os.ReadFile(filepath.Join(state, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	stdout, _ := c.must(exitBlocked, "run", "{}/job.yaml", "--fresh", "--redis", server.URL, "--sim-key", "another", "--quiet", "--json")
	run = gjson.Get(stdout, "run_id").Str
	folder := filepath.Join(state, "aside-1") // as of a run that is no rehearsal
	if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "manifest.json"), manifest, 0o600)); err != nil {
		t.Fatal(err)
	}
	_, stderr = c.must(exitComplete, "rm", "{}/job.yaml", "--yes", "--redis", server.URL)
	ofRuns := slices.DeleteFunc(server.Client.Keys(t.Context(), "*{*}*").Val(), func(key string) bool {
		return strings.HasPrefix(key, courier.ScopePrefix)
	})
	if len(ofRuns) > 0 || !strings.Contains(stderr, aside) || !strings.Contains(stderr, run) {
		t.Errorf("%q are left, and rm says %q", ofRuns, stderr)
	}

	run = begin()
	server.Kill()
	_, question := c.must(exitUsage, "rm", "{}/job.yaml", "--redis", server.URL)
	holds(t, question, "what Redis may hold of run "+run, "7 days", "--yes")
	_, stderr = c.must(exitFailed, "rm", "{}/job.yaml", "--yes", "--redis", server.URL)
	if holds(t, stderr, "what Redis may hold of run "+run, "7 days", "connection refused"); exists(state) {
		t.Error("the state is left")
	}
}
