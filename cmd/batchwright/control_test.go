package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// A run that stops is not paused or resumed: its workers would forget to give back what waits.
func TestStoppingIsNotUndone(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{})
	status, err := json.Marshal(coordinator.Status{Job: "late", Stopping: true})
	if err != nil {
		t.Fatal(err)
	}
	owner, err := courier.Own(t.Context(), server.Client, "r1", 0, courier.OwnerOptions{Status: func() []byte { return status }})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(t.Context())
	if err := owner.Want(t.Context(), courier.Stop); err != nil {
		t.Fatal(err)
	}
	c := newCommandLine(t)
	for _, told := range []string{"pause", "resume"} {
		_, stderr := c.must(exitFailed, told, "r1", "--redis", server.URL, "--state", "{}", "--simulate=false")
		holds(t, stderr, "run r1 is stopping")
		if view, err := courier.Look(t.Context(), server.Client, "r1"); err != nil || view.Wanted != courier.Stop {
			t.Errorf("after %s the run is wanted %q, %v", told, view.Wanted, err)
		}
	}
	_, stderr := c.must(exitFailed, "stop", "nobody", "--redis", server.URL, "--state", "{}", "--simulate=false")
	holds(t, stderr, `no run of "nobody" is on`)
	c.must(exitUsage, "stop", "--simulate=false")
}

// The socket at which a run in one process is told has room wherever its state lies, is its owner's alone, goes with the
// process, and after a kill with the next one.
func TestSocketOfRun(t *testing.T) {
	t.Parallel()
	for name, deep := range map[string]string{"in the state folder": "", "too deep": strings.Repeat("deep", 30)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Latency: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { api.Close() })
			root, err := os.MkdirTemp("", "bw") //nolint:usetesting // t.TempDir is too long for a socket
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(root) })
			dir, temp := filepath.Join(root, deep, "j"), filepath.Join(root, "tmp")
			for _, folder := range []string{dir, temp} {
				if err := os.MkdirAll(folder, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			prepareCrash(t, dir, "out.jsonl", strings.Repeat("{\"text\":\"t\"}\n", 400))
			job := filepath.Join(dir, "job.yaml")
			env := []string{
				"ANTHROPIC_BASE_URL=" + api.URL, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_REDIS=", "BATCHWRIGHT_CRASH_AT=", "TMPDIR=" + temp,
			}
			// sockets are those that any run has left or has.
			sockets := func() []string {
				var found []string
				for _, pattern := range []string{filepath.Join(dir, ".batchwright", "*", "redis.sock"), filepath.Join(temp, "batchwright-*", "redis.sock")} {
					paths, err := filepath.Glob(pattern)
					if err != nil {
						t.Fatal(err)
					}
					found = append(found, paths...)
				}
				return found
			}
			binary, err := crashBinary()
			if err != nil {
				t.Fatal(err)
			}
			started := func() *exec.Cmd {
				run := exec.CommandContext(t.Context(), binary, "run", job, "--quiet")
				run.Env = append(os.Environ(), env...)
				if err := run.Start(); err != nil {
					t.Fatal(err)
				}
				awaitStatus(t, env, job, "running", func(s *statusLine) bool { return s != nil && s.Done > 0 })
				return run
			}
			run := started()
			first := sockets()
			if len(first) != 1 || strings.HasPrefix(first[0], temp) != (deep != "") {
				t.Fatalf("sockets %q", first)
			}
			for path, want := range map[string]os.FileMode{first[0]: 0o600, filepath.Dir(first[0]): 0o700} {
				if about, err := os.Stat(path); err != nil || about.Mode().Perm() != want {
					t.Errorf("%s: %v, %v; want mode %o", path, about.Mode(), err, want)
				}
			}
			if err := run.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = run.Wait()
			if s := seenStatus(t, env, job); s != nil {
				t.Errorf("a killed run is seen: %+v", s)
			}
			run = started()
			if now := sockets(); len(now) != 1 {
				t.Errorf("sockets %q after a kill", now)
			}
			if _, err := commandIn(t, env, "stop", job); err != nil {
				t.Fatal(err)
			}
			_ = run.Wait()
			if code := run.ProcessState.ExitCode(); code != exitTerminated {
				t.Errorf("the stopped run ended with %d", code)
			}
			folders, err := filepath.Glob(filepath.Join(temp, "batchwright-*"))
			if err != nil || len(folders) > 0 || len(sockets()) > 0 {
				t.Errorf("%q and %q are left, %v", sockets(), folders, err)
			}
		})
	}
}
