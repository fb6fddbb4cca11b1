package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// From a machine that has nothing of a run but its Redis, show tells the same as beside the run's state, while the run
// is on; with a key Redis shows nothing of it, and without the key nothing is told.
func TestShowElsewhere(t *testing.T) {
	t.Parallel()
	const records = 300
	api, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Latency: 200 * time.Millisecond})
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
	named, err := os.ReadFile(filepath.Join(dir, "job.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	job := filepath.Join(dir, "job.yaml")
	if err := os.WriteFile(job, append([]byte("name: afar\n"), named...), 0o600); err != nil {
		t.Fatal(err)
	}
	local := []string{
		"ANTHROPIC_BASE_URL=" + api.URL, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_CRASH_AT=",
		"BATCHWRIGHT_REDIS=" + server.URL, "BATCHWRIGHT_TEST_SECRET=sixteen bytes or more",
	}
	afar := slices.Concat(local, []string{"BATCHWRIGHT_STATE=" + t.TempDir()}) // where there is nothing
	const key = "--encrypt-env=BATCHWRIGHT_TEST_SECRET"
	ended := make(chan error, 1)
	go func() {
		_, err := commandIn(t, local, "run", job, "--quiet", key)
		ended <- err
	}()
	awaitStatus(t, local, job, "running with records done", func(s *statusLine) bool { return s != nil && s.Done > 20 })
	if _, err := commandIn(t, afar, "pause", "afar"); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, local, job, "quiet", func(s *statusLine) bool {
		return s != nil && s.State == "paused" && s.InFlight == 0 && s.Age < 0.5 && api.Stats().InFlight == 0
	})
	for _, args := range [][]string{
		{"-n", "7", "--json"}, {"-n", "7"}, {"--id", "r3"}, {"--id", "r3", "--json"}, {"--failed"}, {"--json"},
	} {
		want, err := commandIn(t, local, slices.Concat([]string{"show", job}, args)...)
		if err != nil || want == "" {
			t.Fatalf("show %q beside the state: %v, %q", args, err, want)
		}
		got, err := commandIn(t, afar, slices.Concat([]string{"show", "afar", key}, args)...)
		if err != nil {
			t.Fatalf("show %q from elsewhere: %v", args, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("show %q (-beside the state +elsewhere):\n%s", args, diff)
		}
	}
	overview, err := commandIn(t, afar, "show", "afar", key)
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	holds(t, overview, "afar: being run by process", filepath.Join(dir, ".batchwright", "afar")+" on "+host)
	if left := server.Client.Keys(t.Context(), "bw:*:a*").Val(); len(left) > 0 {
		t.Errorf("Redis still holds %q", left)
	}
	for name, refusal := range map[string]struct {
		args []string
		want []string
	}{
		"without the key":  {[]string{"afar", "-n", "1"}, []string{"exit status 1", "--encrypt-env"}},
		"too many":         {[]string{"afar", key, "-n", "1001"}, []string{"exit status 2", "1,000"}},
		"no such run":      {[]string{"nobody", key}, []string{"exit status 1", `no run of "nobody" is on`}},
		"no such record":   {[]string{"afar", key, "--id", "r999"}, []string{"exit status 1", `"r999"`}},
		"without a result": {[]string{"afar", key, "--id", fmt.Sprintf("r%d", records-1)}, []string{"exit status 1", "has a result"}},
	} {
		out, err := commandIn(t, afar, slices.Concat([]string{"show"}, refusal.args)...)
		if err == nil {
			t.Errorf("%s: no refusal but %q", name, out)
			continue
		}
		holds(t, err.Error(), refusal.want...)
	}
	if _, err := commandIn(t, afar, "stop", "afar"); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, err := commandIn(t, afar, "show", "afar", key); err == nil || !strings.Contains(err.Error(), "batchwright run continues it") {
		t.Errorf("show of a run that is not on: %v", err)
	}
}
