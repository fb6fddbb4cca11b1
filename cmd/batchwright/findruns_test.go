package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// A job file means the run whose state is beside it, whatever else has the same name on the Redis; a name that several runs
// have is refused, with their ids.
func TestRunsOfOneName(t *testing.T) {
	t.Parallel()
	api, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Key: "another"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close() })
	env := []string{
		"ANTHROPIC_BASE_URL=" + api.URL, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_CRASH_AT=",
		"BATCHWRIGHT_REDIS=" + redistest.StartServer(t, redistest.Options{}).URL,
	}
	var files, ids []string
	for range 2 {
		file := filepath.Join(t.TempDir(), "light", "job.yaml")
		if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		prepareCrash(t, filepath.Dir(file), "out.jsonl", "{\"text\":\"t\"}\n")
		if _, err := commandIn(t, env, "run", file, "--quiet"); err == nil || !strings.Contains(err.Error(), "exit status 4") {
			t.Fatalf("the run did not stay: %v", err)
		}
		manifest, err := coordinator.StateOf(filepath.Join(filepath.Dir(file), ".batchwright"), "light", false).Manifest()
		if err != nil {
			t.Fatal(err)
		}
		files, ids = append(files, file), append(ids, manifest.Run)
	}
	for i, file := range files {
		if s := seenStatus(t, env, file); s == nil || s.RunID != ids[i] {
			t.Errorf("status of %s: %+v, want run %s", file, s, ids[i])
		}
		if out, err := commandIn(t, env, "stop", file, "--json"); err != nil || !strings.Contains(out, ids[i]) {
			t.Errorf("stop %s: %v %s", file, err, out)
		}
	}
	elsewhere := append(env, "BATCHWRIGHT_STATE="+t.TempDir())
	for _, arg := range []string{"light", files[0]} {
		if _, err := commandIn(t, elsewhere, "stop", arg); err == nil {
			t.Errorf("one of two runs was stopped as %q", arg)
		} else {
			holds(t, err.Error(), `2 runs are called "light"`, ids[0], ids[1])
		}
	}
	if _, err := commandIn(t, env, "stop", files[0], "--simulate"); err == nil || !strings.Contains(err.Error(), "no run of") {
		t.Errorf("the rehearsal, which never was, is told to stop: %v", err)
	}
}

// A run that another machine has carried to its end is complete, whatever the state folder of this one says.
func TestCompleteElsewhere(t *testing.T) {
	t.Parallel()
	dir, api := storeJob(t, 400, 50*time.Millisecond)
	here, there := filepath.Join(dir, "here"), filepath.Join(dir, "there")
	first := startRun(t, dir, here, api.URL)
	answers(t, api, 20)
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := first.ended(t); code != exitTerminated {
		t.Fatalf("exit code %d\n%s", code, first.log.String())
	}
	job := filepath.Join(dir, "job.yaml")
	env := []string{"BATCHWRIGHT_STATE=" + here, "BATCHWRIGHT_REDIS="}
	_, err := commandIn(t, env, "status", job)
	if err == nil || !strings.Contains(err.Error(), "is not on: batchwright run continues it; no Redis was named") {
		t.Errorf("status of a stopped run: %v", err)
	}
	if code := startRun(t, dir, there, api.URL).ended(t); code != exitComplete {
		t.Fatalf("exit code %d", code)
	}
	if _, err := commandIn(t, env, "status", job); err == nil || !strings.Contains(err.Error(), "is complete since") {
		t.Errorf("status of a complete run: %v", err)
	}
	out, err := commandIn(t, env, "status")
	if err != nil || !strings.Contains(out, here) || !strings.Contains(out, "no Redis was named") {
		t.Errorf("status of nothing: %v, %q", err, out)
	}
}

// Who waits for another process that runs the job says so, once.
func TestWaitLockIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	prepareCrash(t, dir, "out.jsonl", "{\"text\":\"t\"}\n")
	state := coordinator.StateOf(filepath.Join(dir, ".batchwright"), filepath.Base(dir), false)
	lock, err := state.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	env := []string{"ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_REDIS=", "BATCHWRIGHT_CRASH_AT="}
	_, err = commandIn(t, env, "run", filepath.Join(dir, "job.yaml"), "--quiet", "--wait-lock", "600ms")
	if err == nil || strings.Count(err.Error(), "waiting for the process that runs this job") != 1 {
		t.Fatalf("got %v", err)
	}
	holds(t, err.Error(), "exit status 5", "host=", "at_most=600ms")
}
