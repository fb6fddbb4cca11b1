package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/io/journal"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker/simulator"
)

const crashConcurrency = 8

const crashJob = `
input: in.jsonl
output: %s
request:
  model: claude-haiku-4-5-20251001
  max_tokens: 50
  messages: [{role: user, content: "Question: {{.text}}"}]
limits: {concurrency: 8}
`

// crashBinary is this program, built so that it can be told where to kill itself.
var crashBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bwcrash")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "batchwright")
	out, err := exec.CommandContext(context.Background(), "go", "build", "-tags", "crashtest", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := crashBinary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// crashRun runs the job in dir as a process of its own against the API, to be killed at a step (none when empty).
func crashRun(t *testing.T, dir, url, at string) error {
	t.Helper()
	binary, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "run", filepath.Join(dir, "job.yaml"), "--quiet")
	command.Env = append(os.Environ(), "ANTHROPIC_BASE_URL="+url, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_CRASH_AT="+at)
	out, err := command.CombinedOutput()
	if err != nil && at == "" {
		t.Fatalf("run: %v\n%s", err, out)
	}
	return err
}

// rowsWithoutCircumstance reads an output and drops the columns that may differ between two runs of a job.
func rowsWithoutCircumstance(t *testing.T, dir, output string) []map[string]any {
	t.Helper()
	paths := []string{filepath.Join(dir, output)}
	if strings.HasSuffix(output, "/") {
		var err error
		if paths, err = filepath.Glob(filepath.Join(dir, output, "part-*.jsonl")); err != nil {
			t.Fatal(err)
		}
	}
	var rows []map[string]any
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			var row map[string]any
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatalf("%s: %v: half a row?", path, err)
			}
			for _, name := range []string{"_cost_usd", "_cache_read_tokens", "_cache_write_tokens", "_attempts", "_latency_ms", "_request_id", "_finished_at"} {
				delete(row, name)
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// G1, G2, G3: killed at each step that matters, and run again, a job ends with the rows of an uninterrupted run; what
// was paid twice stays within the calls in flight and the results that were not yet journaled.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	const records = 400
	var input strings.Builder
	for i := range records {
		fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"question %d\"}\n", i, i)
	}
	for _, output := range []string{"out.jsonl", "out/"} {
		reference := t.TempDir()
		prepareCrash(t, reference, output, input.String())
		api := crashAPI(t)
		crashRun(t, reference, api.URL, "")
		want := rowsWithoutCircumstance(t, reference, output)
		if len(want) != records {
			t.Fatalf("the uninterrupted run wrote %d rows", len(want))
		}
		steps := []string{
			"calling:1", "calling:150", "answered:1", "answered:200", "delivered:1", "delivered:10", "journaled:1",
			"journaled:9", "acknowledged:5", "part full:1", "part written:1", "results sealed:1", "part visible:1",
			"part sealed:1", "output visible:1",
		}
		if output == "out.jsonl" {
			steps = append(steps, "output assembled:1")
		}
		for _, step := range steps {
			t.Run(output+" "+step, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				prepareCrash(t, dir, output, input.String())
				api := crashAPI(t)
				var exit *exec.ExitError
				err := crashRun(t, dir, api.URL, step)
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("the process was not killed at %q: %v", step, err)
				}
				if _, err := os.Stat(filepath.Join(dir, "out.jsonl")); err == nil && step != "output visible:1" {
					t.Error("a single output file is visible before the run is complete")
				}
				answered, journaled := api.Stats().Answered, journaledResults(t, dir)
				crashRun(t, dir, api.URL, "")
				if diff := cmp.Diff(want, rowsWithoutCircumstance(t, dir, output)); diff != "" {
					t.Errorf("rows differ from those of an uninterrupted run:\n%s", diff)
				}
				paid := api.Stats()
				t.Logf("killed at %s: %d answered, %d journaled; %d calls for %d records, %d paid twice",
					step, answered, journaled, paid.Answered, records, paid.Repeated)
				if lost := answered - journaled; paid.Repeated > lost+crashConcurrency {
					t.Errorf("%d calls were paid twice, with %d answers not journaled and %d calls in flight at the kill",
						paid.Repeated, lost, crashConcurrency)
				}
				if said := reportedUnknown(t, dir); said < paid.Repeated {
					t.Errorf("the run says that at most %d calls were repeated, and %d were", said, paid.Repeated)
				}
			})
		}
	}
}

// reportedUnknown is the bound on repeats that a run reports after kills.
func reportedUnknown(t *testing.T, dir string) int64 {
	t.Helper()
	return unknownIn(t, filepath.Join(dir, ".batchwright", "*", "manifest.json"))
}

func unknownIn(t *testing.T, pattern string) int64 {
	t.Helper()
	manifests, err := filepath.Glob(pattern)
	if err != nil || len(manifests) != 1 {
		t.Fatalf("manifests %v, %v", manifests, err)
	}
	content, err := os.ReadFile(manifests[0])
	if err != nil {
		t.Fatal(err)
	}
	var m coordinator.Manifest
	if err := json.Unmarshal(content, &m); err != nil {
		t.Fatal(err)
	}
	return m.Unknown
}

// journaledResults counts the results that a job's state folder holds.
func journaledResults(t *testing.T, dir string) int64 {
	t.Helper()
	parts := filepath.Join(dir, ".batchwright", "*", "parts")
	metas, err := filepath.Glob(filepath.Join(parts, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for _, path := range metas {
		var meta coordinator.PartMeta
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(content, &meta); err != nil {
			t.Fatal(err)
		}
		if meta.Sealed {
			n += meta.Tally.Done()
			continue
		}
		err = journal.ScanFile(strings.TrimSuffix(path, ".json")+".journal", func(int64, []byte) error { n++; return nil })
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return n
}

func prepareCrash(t *testing.T, dir, output, input string) {
	t.Helper()
	for name, content := range map[string]string{"job.yaml": fmt.Sprintf(crashJob, output), "in.jsonl": input} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func crashAPI(t *testing.T) *simulator.Server {
	t.Helper()
	api, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Record: true, Latency: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close() })
	return api
}

// settledCalls waits until no more calls come for two seconds and counts them.
func settledCalls(t *testing.T, stats func() simulator.Stats) int64 {
	t.Helper()
	before := int64(-1)
	for {
		now := stats().Calls
		if now == before {
			return now
		}
		before = now
		select {
		case <-time.After(2 * time.Second):
		case <-t.Context().Done():
			t.Fatal("calls never settled")
		}
	}
}
