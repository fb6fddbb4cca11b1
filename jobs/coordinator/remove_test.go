package coordinator_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker/simulator"
)

// All that was paid for is counted before it is deleted: of the run, of runs set aside, and of tries, each call once.
func TestHoldingsAndRemove(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(100))
	r.try(5, "request.max_tokens=40")
	r.try(5, "request.max_tokens=41")
	_, last := r.try(5, "request.max_tokens=40") // shown again, paid once
	first := r.complete()
	held, err := r.state().Holdings()
	if err != nil || held.Answers != 100 || held.Tried != 10 || held.Unfinished || held.Cost <= first.Tally.Cost+last.Tally.Cost {
		t.Fatalf("holdings: %+v, %v", held, err)
	}
	r.args.Fresh = true
	r.complete()
	if held, err = r.state().Holdings(); err != nil || held.Answers != 200 {
		t.Errorf("holdings with a run set aside: %+v, %v", held, err)
	}
	lock, err := r.state().Lock()
	if err != nil {
		t.Fatal(err)
	}
	var running *coordinator.HeldError
	if err := r.state().Remove(); !errors.As(err, &running) {
		t.Errorf("remove while the run is on: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	try, err := r.prepareTry(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.state().Remove(); !errors.Is(err, coordinator.ErrTrying) {
		t.Errorf("remove while a try is on: %v", err)
	}
	if err := try.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.state().Remove(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(r.dir, ".batchwright"))
	if err != nil || len(entries) != 1 || entries[0].Name() != ".gitignore" {
		t.Errorf("left over: %v, %v", entries, err)
	}
	checkComplete(t, r.read("out.jsonl"), 100)
}

// Nothing but a job's state is ever deleted.
func TestRemoveRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letters.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var usage *coordinator.UsageError
	for name, state := range map[string]coordinator.State{"another folder": {Dir: dir}, "none": {Dir: filepath.Join(dir, "none")}} {
		if err := state.Remove(); !errors.As(err, &usage) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := state.Holdings(); !errors.As(err, &usage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("in the folder: %v, %v", entries, err)
	}
}

// A run in between is said to be.
func TestHoldingsUnfinished(t *testing.T) {
	t.Parallel()
	r := partialRun(t)
	if held, err := r.state().Holdings(); err != nil || !held.Unfinished || held.Answers < 300 {
		t.Errorf("holdings: %+v, %v", held, err)
	}
}
