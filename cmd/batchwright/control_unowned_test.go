package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// startCommand starts a command of the program, which is killed with the test.
func startCommand(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), binary, args...)
	command.Env = append(os.Environ(), env...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return command
}

// gated is an API whose calls end as a test lets them.
type gated struct {
	begun atomic.Int64
	gate  chan struct{} // each value lets one call end; closed, it lets all
}

// startGated puts a gate before an API and returns its address.
func startGated(t *testing.T, api string) (*gated, string) {
	t.Helper()
	to, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	g := &gated{gate: make(chan struct{})}
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.begun.Add(1)
		select {
		case <-g.gate:
			proxy.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	return g, server.URL
}

// Workers of a run whose coordinator was killed go on with what they hold. A person can pause, resume and stop them all the
// same, and the run then goes on with nothing lost.
func TestToldWithoutCoordinator(t *testing.T) {
	t.Parallel()
	const records = 60
	api, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close() })
	calls, address := startGated(t, api.URL)
	dir := t.TempDir()
	prepareCrash(t, dir, "out.jsonl", strings.Repeat("{\"text\":\"t\"}\n", records))
	env := []string{
		"ANTHROPIC_BASE_URL=" + address, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_CRASH_AT=",
		"BATCHWRIGHT_REDIS=" + redistest.StartServer(t, redistest.Options{}).URL,
	}
	job := filepath.Join(dir, "job.yaml")
	startCommand(t, env, "worker", "--concurrency", "2")
	run := startCommand(t, env, "run", job, "--quiet", "--no-worker")
	awaitStatus(t, env, job, "running", func(s *statusLine) bool { return s != nil && s.InFlight == 2 })
	_, err = commandIn(t, append(env, "BATCHWRIGHT_REDIS="), "status", job)
	if err == nil || !strings.Contains(err.Error(), "has its state; no Redis was named") {
		t.Errorf("status of a fleet's run without its Redis: %v", err)
	}
	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, env, job, "unowned", func(s *statusLine) bool { return s != nil && s.State == "unowned" })
	told := func(what string, want ...string) {
		t.Helper()
		out, err := commandIn(t, env, what, job)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, out, append(want, "it has no coordinator now")...)
	}

	told("pause", "paused;", "begin no more calls")
	awaitStatus(t, env, job, "paused", func(s *statusLine) bool { return s != nil && len(s.Workers) == 1 && s.Workers[0].Why == pausedWhy })
	for range 2 {
		calls.gate <- struct{}{}
	}
	awaitStatus(t, env, job, "quiet", func(s *statusLine) bool { return s != nil && s.InFlight == 0 })
	if n := calls.begun.Load(); n != 2 {
		t.Errorf("%d calls were begun while paused", n-2)
	}
	told("resume", "resumed;")
	awaitStatus(t, env, job, "going on", func(*statusLine) bool { return calls.begun.Load() > 2 })
	told("stop", "stopped;", "give back")
	close(calls.gate)
	awaitStatus(t, env, job, "left by its worker", func(s *statusLine) bool { return s != nil && s.State == "stopped" && len(s.Workers) == 0 })
	if _, err := commandIn(t, env, "resume", job); err == nil || !strings.Contains(err.Error(), "was stopped: no call is begun") {
		t.Errorf("resume of a stopped run: %v", err)
	}

	if _, err := commandIn(t, env, "run", job, "--quiet", "--no-worker"); err != nil {
		t.Fatal(err)
	}
	if out, err := commandIn(t, env, "verify", job); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if n := api.Stats().Answered; n != records {
		t.Errorf("%d answers for %d records", n, records)
	}
}

// Of a run without a coordinator show says where its records are, and status shows no speed and no end.
func TestShownWithoutCoordinator(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{})
	said, err := json.Marshal(coordinator.Status{
		Version: 1, Job: "late", Host: "c1", PID: 7, Output: "/srv/out.jsonl", Rate: 5, Total: 9, Counted: true, Done: 4, At: time.Now(), Priced: true,
		Cost: 1_500_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	cipher, err := courier.NewCipher("sixteen bytes or more")
	if err != nil {
		t.Fatal(err)
	}
	terms := courier.Terms{BaseURL: "https://gateway.example"}
	terms.Limits.Weight = 2.5
	owner, err := courier.Own(t.Context(), server.Client, "r1", 0, courier.OwnerOptions{
		Status: func() []byte { return said }, Terms: terms, Cipher: cipher,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := newCommandLine(t)
	c.must(exitComplete, "status", "r1", "--redis", server.URL, "--state", "{}", "--simulate=false")
	if err := owner.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, stderr := c.must(exitFailed, "show", "late", "--redis", server.URL, "--state", "{}", "--simulate=false")
	holds(t, stderr, "no coordinator now", "on c1", "/srv/out.jsonl", "batchwright run continues it")
	status, _ := c.must(exitComplete, "status", "late", "--redis", server.URL, "--state", "{}", "--simulate=false")
	holds(t, status, "late: unowned", "$0.0015", "https://gateway.example", "2.5", "encrypted", "/srv/out.jsonl on c1")
	if strings.Contains(status, "rate") || strings.Contains(status, "done in") {
		t.Errorf("a run that nobody owns has a rate:\n%s", status)
	}
}
