package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// served is a batchwright process that serves metrics.
type served struct {
	t       *testing.T
	command *exec.Cmd
	url     string
	said    strings.Builder
	ended   chan struct{}
	err     error
}

// serveMetrics starts a command with --metrics and returns when its metrics can be read.
func serveMetrics(t *testing.T, env []string, args ...string) *served {
	t.Helper()
	binary, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, ended: make(chan struct{})}
	s.command = exec.CommandContext(t.Context(), binary, append(args, "--metrics", "127.0.0.1:0")...)
	s.command.Env = append(os.Environ(), append([]string{"BATCHWRIGHT_CRASH_AT=", "BATCHWRIGHT_REDIS="}, env...)...)
	stderr, err := s.command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	url := make(chan string, 1)
	go func() {
		defer close(s.ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			s.said.WriteString(lines.Text() + "\n")
			if _, address, found := strings.Cut(lines.Text(), `msg="serving metrics" url=`); found {
				url <- address
			}
		}
		s.err = s.command.Wait()
	}()
	t.Cleanup(func() { _ = s.command.Process.Kill(); <-s.ended })
	select {
	case s.url = <-url:
	case <-s.ended:
		t.Fatalf("%v ended with %v and serves no metrics:\n%s", args, s.err, s.said.String())
	}
	return s
}

// until scrapes until a metric is as wanted, and returns the whole scrape.
func (s *served) until(metric string, is func(float64) bool) string {
	s.t.Helper()
	for {
		text, err := tryScrape(s.t.Context(), s.url)
		if value := metricOf(text, metric); err == nil && is(value) {
			return text
		}
		select {
		case <-s.ended:
			s.t.Fatalf("the process ended (%v) before %s was as wanted:\n%s\n%s", s.err, metric, s.said.String(), text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// metricOf is the value of a metric; not a number when it is not there.
func metricOf(text, metric string) float64 {
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, metric+" "); found {
			var number float64
			if _, err := fmt.Sscan(value, &number); err == nil {
				return number
			}
		}
	}
	return math.NaN()
}

func some(value float64) bool { return value > 0 }

// A run in one process tells how it goes while it goes, ends as ever, and with it the server.
func TestMetricsOfRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	prepareCrash(t, dir, "out.jsonl", strings.Repeat("{\"text\":\"t\"}\n", 200))
	s := serveMetrics(t, nil, "run", filepath.Join(dir, "job.yaml"), "--simulate", "--sim-latency", "100ms", "--sim-requests-per-minute", "6000",
		"--set", "name=nightly", "--set", "limits.budget_usd=3", "--quiet")
	text := s.until(`batchwright_calls_total{outcome="answered"}`, func(n float64) bool { return n >= 20 })
	if linted, err := promlint.New(strings.NewReader(text)).Lint(); err != nil {
		t.Error(err)
	} else {
		for _, problem := range linted {
			if strings.HasPrefix(problem.Metric, "batchwright_") {
				t.Errorf("%s: %s", problem.Metric, problem.Text)
			}
		}
	}
	run := regexp.MustCompile(`batchwright_run_paused\{job_name="nightly",run="([a-z0-9]+)"\} 0`).FindStringSubmatch(text)
	if run == nil {
		t.Fatalf("no run in\n%s", text)
	}
	holds(t, text, "batchwright_build_info{", "batchwright_call_slots 8", `batchwright_runs{state="calling"} 1`, "_run_budget_usd{", "go_goroutines ", "process_start_time_seconds ",
		`batchwright_limit_learned_per_minute{api="simulator",kind="requests",run="",scope="haiku-4-5"} 6000`,
		`batchwright_limit_concurrency{api="",run="`+run[1]+`",scope="job"} 8`)
	for metric, is := range map[string]func(float64) bool{
		`batchwright_call_duration_seconds_count{outcome="answered"}`:                                  some,
		`batchwright_tokens_total{type="output"}`:                                                      some,
		`batchwright_limit_exchanges_total{api="simulator",run="",scope="haiku-4-5"}`:                  some,
		`batchwright_limit_used_last_minute{api="simulator",kind="requests",run="",scope="haiku-4-5"}`: func(n float64) bool { return n >= 0 },
	} {
		if value := metricOf(text, metric); !is(value) {
			t.Errorf("%s is %v", metric, value)
		}
	}
	// Who looks for a health check is told that there is none.
	if _, err := tryScrape(t.Context(), strings.TrimSuffix(s.url, metricsPath)+"/healthz"); err == nil || !strings.Contains(err.Error(), "no health check") {
		t.Errorf("/healthz: %v", err)
	}
	<-s.ended
	if s.err != nil {
		t.Errorf("the run ended with %v:\n%s", s.err, s.said.String())
	}
	if _, err := tryScrape(t.Context(), s.url); err == nil {
		t.Error("metrics are served after the end")
	}
}

// G8: over a fleet, neither coordinator nor worker tells a credential, a prompt or an answer. What the coordinator does not
// do itself it does not tell of.
func TestMetricsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	const key, password, prompt = "canary-of-the-key", "canary-of-redis", "canary-of-a-prompt"
	server := redistest.StartServer(t, redistest.Options{User: "fleet", Password: password})
	api, err := simulator.Listen(t.Context(), "127.0.0.1:0", simulator.Options{Key: key, Latency: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { api.Close() })
	dir := t.TempDir()
	prepareCrash(t, dir, "out.jsonl", strings.Repeat(`{"text":"`+prompt+"\"}\n", 200))
	env := []string{"ANTHROPIC_BASE_URL=" + api.URL, "ANTHROPIC_API_KEY=" + key, "BATCHWRIGHT_REDIS=" + server.URL}
	run := serveMetrics(t, env, "run", filepath.Join(dir, "job.yaml"), "--no-worker", "--quiet")
	crew := serveMetrics(t, env, "worker")
	told := []string{crew.until(`batchwright_calls_total{outcome="answered"}`, func(n float64) bool { return n >= 20 }), scrape(t, run.url)}
	holds(t, told[0], `batchwright_limit_concurrency{api="",run="`, `batchwright_limit_calls_in_flight{api="`+api.URL+`",run="",scope="haiku-4-5"}`)
	holds(t, told[1], "batchwright_run_records_outstanding{")
	if strings.Contains(told[1], "batchwright_calls_total") {
		t.Error("a coordinator that makes no calls tells of calls")
	}
	<-run.ended
	if run.err != nil {
		t.Fatalf("the run ended with %v:\n%s", run.err, run.said.String())
	}
	told = append(told, scrape(t, crew.url))
	secrets := []string{key, password, prompt}
	for _, row := range rowsWithoutCircumstance(t, dir, "out.jsonl")[:20] {
		secrets = append(secrets, row["response"].(string))
	}
	for _, secret := range secrets {
		if i := slices.IndexFunc(told, func(text string) bool { return strings.Contains(text, secret) }); i >= 0 || secret == "" {
			t.Errorf("scrape %d has %q", i, secret)
		}
	}
	if err := crew.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-crew.ended
	if crew.err != nil {
		t.Errorf("the worker ended with %v:\n%s", crew.err, crew.said.String())
	}
}

// An address that nothing can listen on is said at once, before anything is called or written.
func TestMetricsAddressRefused(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	taken, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	for name, row := range map[string]struct{ address, want string }{
		"in use":            {taken.Addr().String(), "address already in use"},
		"only a port":       {"9090", "write it as HOST:PORT or :PORT"},
		"only a host":       {"127.0.0.1", "write it as HOST:PORT or :PORT"},
		"a URL":             {"http://127.0.0.1:9090/metrics", "write it as HOST:PORT or :PORT"},
		"a port by name":    {"127.0.0.1:metrics", "write it as HOST:PORT or :PORT"},
		"too high a port":   {":65536", "write it as HOST:PORT or :PORT"},
		"no port":           {"127.0.0.1:", "write it as HOST:PORT or :PORT"},
		"IPv6 without []":   {"::1:9090", "write it as HOST:PORT or :PORT"},
		"another's address": {"192.0.2.1:0", "cannot assign requested address"},
	} {
		for command, args := range map[string][]string{
			"run": {"run", "job.yaml", "--quiet"}, "worker": {"worker", "--redis", "redis://127.0.0.1:1"},
		} {
			t.Run(name+" "+command, func(t *testing.T) {
				t.Parallel()
				api := crashAPI(t)
				dir := t.TempDir()
				prepareCrash(t, dir, "out.jsonl", "{\"text\":\"t\"}\n")
				binary, err := crashBinary()
				if err != nil {
					t.Fatal(err)
				}
				// A worker that is not refused waits for this Redis for ever.
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				process := exec.CommandContext(ctx, binary, append(args, "--metrics", row.address)...)
				process.Dir, process.Env = dir, append(os.Environ(), "ANTHROPIC_BASE_URL="+api.URL, "ANTHROPIC_API_KEY=secret", "BATCHWRIGHT_REDIS=")
				said, err := process.CombinedOutput()
				if code := process.ProcessState.ExitCode(); code != exitUsage {
					t.Errorf("ended with %v, want exit code %d", err, exitUsage)
				}
				holds(t, string(said), fmt.Sprintf("--metrics %q", row.address), row.want)
				if _, err := os.Stat(filepath.Join(dir, ".batchwright")); err == nil || api.Stats().Calls > 0 {
					t.Errorf("a state folder (%v), or %d calls", err, api.Stats().Calls)
				}
			})
		}
	}
}
