package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/worker/simulator"
)

// Bounds of what a coordinator that is killed or fenced out leaves to be paid again: results that were not in the
// store, and what was handed out (4 x 8 calls + 256).
const (
	unstoredResults = 1000
	handedOut       = 4*crashConcurrency + 256
)

// storeJob is a job whose state is in a store, with as many lines of input.
func storeJob(t *testing.T, records int, latency time.Duration) (dir string, api *simulator.Server) {
	t.Helper()
	dir = t.TempDir()
	var input strings.Builder
	for i := range records {
		fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"question %d\"}\n", i, i)
	}
	prepareCrash(t, dir, "out.jsonl", input.String())
	job := fmt.Sprintf(crashJob, "out.jsonl") + "state: file://" + filepath.Join(dir, "store") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "job.yaml"), []byte(job), 0o600); err != nil {
		t.Fatal(err)
	}
	api, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Record: true, Latency: latency})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close() })
	return dir, api
}

// process is batchwright run on a machine whose state folder is folder.
type process struct {
	*exec.Cmd
	log bytes.Buffer
}

func startRun(t *testing.T, dir, folder, url string, more ...string) *process {
	t.Helper()
	binary, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	p := &process{Cmd: exec.CommandContext(ctx, binary, append([]string{"run", filepath.Join(dir, "job.yaml"), "--quiet"}, more...)...)}
	p.Stdout, p.Stderr = &p.log, &p.log
	p.Env = append(os.Environ(), "ANTHROPIC_BASE_URL="+url, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_STATE="+folder)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// ended waits for the process and gives its exit code.
func (p *process) ended(t *testing.T) int {
	t.Helper()
	err := p.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// answers waits until the API has answered so many calls.
func answers(t *testing.T, api *simulator.Server, n int64) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for api.Stats().Answered < n {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("only %d of %d answers", api.Stats().Answered, n)
		}
	}
}

// wantEachOnce holds the output to G1.
func wantEachOnce(t *testing.T, dir string, records int) {
	t.Helper()
	rows := rowsWithoutCircumstance(t, dir, "out.jsonl")
	if len(rows) != records {
		t.Fatalf("%d rows for %d records", len(rows), records)
	}
	for i, row := range rows {
		if row["id"] != fmt.Sprintf("r%d", i) || row["_status"] != "succeeded" || row["text"] != fmt.Sprintf("question %d", i) {
			t.Fatalf("row %d is %v", i, row)
		}
	}
}

// G1, G3: a coordinator is killed and its disk lost, with a part sealed. On another machine the run goes on from the
// store, writes the sealed part's output again, and pays no more twice than what was not stored yet and what was
// handed out.
func TestDiskLost(t *testing.T) {
	t.Parallel()
	const records = 12_500
	dir, api := storeJob(t, records, 2*time.Millisecond)
	lost := filepath.Join(dir, "lost")
	first := startRun(t, dir, lost, api.URL)
	answers(t, api, 12_000)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.ended(t)
	if err := os.RemoveAll(lost); err != nil {
		t.Fatal(err)
	}
	if sealed, err := filepath.Glob(filepath.Join(dir, "store", "*", "runs", "*", "sealed", "*", "*.zst")); err != nil || len(sealed) != 1 {
		t.Fatalf("sealed in the store: %v, %v; the test needs one part", sealed, err)
	}
	answered := api.Stats().Answered
	second := startRun(t, dir, filepath.Join(dir, "other"), api.URL, "--summary", filepath.Join(dir, "summary.json"))
	if code := second.ended(t); code != exitComplete {
		t.Fatalf("exit code %d:\n%s", code, &second.log)
	}
	wantEachOnce(t, dir, records)
	paid := api.Stats()
	t.Logf("killed at %d answers; %d calls for %d records, %d paid twice", answered, paid.Answered, records, paid.Repeated)
	if paid.Repeated > unstoredResults+handedOut {
		t.Errorf("%d calls were paid twice, more than %d results and %d records handed out", paid.Repeated, unstoredResults, handedOut)
	}
	if said := unknownIn(t, filepath.Join(dir, "other", "*", "manifest.json")); said < paid.Repeated {
		t.Errorf("the run says that at most %d calls were repeated, and %d were", said, paid.Repeated)
	}
}

// G1, G3: a coordinator that was stopped for longer than its lease finds, when it goes on, that another machine has taken
// the run: it ends with code 5 and spoils neither the output nor the state.
func TestFencedOut(t *testing.T) {
	t.Parallel()
	const records = 8_000
	dir, api := storeJob(t, records, 20*time.Millisecond) // some 20 s, of which the third one needs 4
	first := startRun(t, dir, filepath.Join(dir, "first"), api.URL)
	answers(t, api, 200)
	third := startRun(t, dir, filepath.Join(dir, "third"), api.URL)
	if code := third.ended(t); code != exitOwned {
		t.Errorf("beside a living coordinator: exit code %d, want %d:\n%s", code, exitOwned, &third.log)
	}
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := api.Stats().Answered
	if stopped >= records {
		t.Fatal("the run was over before it could be stopped")
	}
	second := startRun(t, dir, filepath.Join(dir, "second"), api.URL, "--wait-lock", "1m")
	answers(t, api, stopped+1_000)
	if err := first.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code := first.ended(t); code != exitOwned {
		t.Errorf("the one that slept: exit code %d, want %d:\n%s", code, exitOwned, &first.log)
	}
	if code := second.ended(t); code != exitComplete {
		t.Fatalf("the one that took over: exit code %d:\n%s", code, &second.log)
	}
	wantEachOnce(t, dir, records)
	paid := api.Stats()
	t.Logf("stopped at %d answers; %d calls for %d records, %d paid twice", stopped, paid.Answered, records, paid.Repeated)
	if paid.Repeated > unstoredResults+handedOut {
		t.Errorf("%d calls were paid twice, more than %d results and %d records handed out", paid.Repeated, unstoredResults, handedOut)
	}
	// The state in the store is the second one's, whole.
	again := startRun(t, dir, filepath.Join(dir, "fourth"), api.URL)
	if code := again.ended(t); code != exitComplete || !strings.Contains(again.log.String(), "8,000") {
		t.Errorf("once more, from the store: exit code %d:\n%s", code, &again.log)
	}
	if after := api.Stats().Answered; after != paid.Answered {
		t.Errorf("a run that is complete made %d calls", after-paid.Answered)
	}
}
