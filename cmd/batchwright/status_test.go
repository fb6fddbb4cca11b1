package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// commandIn runs a command of the program to its end and returns its standard output.
func commandIn(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	binary, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), binary, args...)
	command.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, said.String())
	}
	return string(out), err
}

// seenStatus is what status --json says of a job; nil when the job is not on.
func seenStatus(t *testing.T, env []string, job string) *statusLine {
	t.Helper()
	out, err := commandIn(t, env, "status", job, "--json")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitFailed &&
		(strings.Contains(err.Error(), "is not on") || strings.Contains(err.Error(), "is on: batchwright status lists")) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	line := &statusLine{}
	if err := json.Unmarshal([]byte(out), line); err != nil {
		t.Fatalf("status --json: %v: %q", err, out)
	}
	return line
}

// awaitStatus waits until a job's status is as wanted.
func awaitStatus(t *testing.T, env []string, job, what string, reached func(*statusLine) bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last *statusLine
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		if last = seenStatus(t, env, job); reached(last) {
			return
		}
	}
	t.Fatalf("status never was %s; at last %+v", what, last)
}

// A run is seen, paused, resumed and stopped from another process, in one process and over a Redis, and goes on later
// with nothing paid twice.
func TestStatusPauseResumeStop(t *testing.T) {
	t.Parallel()
	for _, fleet := range []bool{false, true} {
		t.Run(map[bool]string{false: "one process", true: "fleet"}[fleet], func(t *testing.T) {
			t.Parallel()
			const records = 400
			api, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Latency: 250 * time.Millisecond, Record: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { api.Close() })
			dir := t.TempDir()
			var input strings.Builder
			for i := range records {
				fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"t%d\"}\n", i, i)
			}
			prepareCrash(t, dir, "out.jsonl", input.String())
			env := []string{"ANTHROPIC_BASE_URL=" + api.URL, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_REDIS=", "BATCHWRIGHT_CRASH_AT="}
			if fleet {
				env[2] = "BATCHWRIGHT_REDIS=" + redistest.StartServer(t, redistest.Options{}).URL
			}
			job := filepath.Join(dir, "job.yaml")
			ended := make(chan error, 1)
			go func() {
				_, err := commandIn(t, env, "run", job, "--quiet")
				ended <- err
			}()
			awaitStatus(t, env, job, "running with records done", func(s *statusLine) bool {
				return s != nil && s.State == "running" && s.Done > 0 && len(s.Workers) == 1
			})
			if out, err := commandIn(t, env, "pause", job); err != nil || !strings.Contains(out, "paused") {
				t.Fatalf("pause: %v, %q", err, out)
			}
			awaitStatus(t, env, job, "paused with no call in flight", func(s *statusLine) bool {
				return s != nil && s.State == "paused" && s.InFlight == 0 && api.Stats().InFlight == 0
			})
			calls := api.Stats().Calls
			if calls >= records {
				t.Fatalf("all %d calls were made before the pause: nothing was tested", calls)
			}
			awaitStatus(t, env, job, "said anew", func(s *statusLine) bool { return s != nil && s.Age < 1 })
			if now := api.Stats().Calls; now != calls {
				t.Errorf("%d calls were made while paused", now-calls)
			}
			if _, err := commandIn(t, env, "resume", job); err != nil {
				t.Fatal(err)
			}
			awaitStatus(t, env, job, "going on", func(*statusLine) bool { return api.Stats().Calls > calls })
			if _, err := commandIn(t, env, "stop", job); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "exit status 143") {
				t.Errorf("the stopped run ended with %v, want exit code 143", err)
			}
			if s := seenStatus(t, env, job); fleet != (s != nil) || fleet && s.State != "stopped" {
				t.Errorf("after the stop the status is %+v", s)
			}
			if _, err := commandIn(t, env, "run", job, "--quiet"); err != nil {
				t.Fatal(err)
			}
			if got := api.Stats(); got.Answered != records || got.Repeated != 0 {
				t.Errorf("%d calls were answered and %d repeated for %d records", got.Answered, got.Repeated, records)
			}
			for _, told := range []string{"pause", "status"} {
				_, err := commandIn(t, env, told, job)
				if err == nil || !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(err.Error(), "is complete since") {
					t.Errorf("%s of a complete run: %v", told, err)
				}
			}
		})
	}
}
