package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/ratelimit"
	"github.com/batchwright/batchwright/worker"
)

// workerFake is a worker of which everything there is can be told.
type workerFake struct{ limits []worker.KeptLimits }

func (w workerFake) Stats() worker.Stats {
	return worker.Stats{InFlight: 3, Waiting: 4, Limits: w.limits}
}

func (workerFake) Meters() worker.Meters {
	return worker.Meters{
		Calls: []worker.Calls{
			{Outcome: "answered", Count: 3, Took: 90 * time.Second, Within: map[time.Duration]uint64{time.Second: 1, time.Minute: 3}},
			{Outcome: "rate_limited"},
		},
		Retries: 2, Usage: jobs.Usage{Input: 10, Output: 20, CacheRead: 30, CacheWrite5m: 40, CacheWrite1h: 5}, Slots: 64,
		Runs: map[string]int{"calling": 1, "paused": 0, "outage": 0, "blocked": 0},
	}
}

func keptLimits() []worker.KeptLimits {
	state := ratelimit.State{
		Scope: "haiku-4-5", Workers: 2, Concurrency: 16, InFlight: 7, Headroom: 0.2, Bound: ratelimit.BoundByInput, Exchanges: 12,
		Limits: []ratelimit.LimitState{
			{Kind: "requests", Learned: 4000, Effective: 3960, Left: new(0.0), Used: 3000},
			{Kind: "input tokens", Effective: 1e6, Used: 10},
		},
	}
	held := state
	held.Scope, held.Bound, held.Until = "opus-4", ratelimit.BoundByHold, time.Now().Add(time.Hour)
	own := ratelimit.State{Scope: "the job", Workers: 1, Limits: []ratelimit.LimitState{{Kind: "tokens", Effective: 100}}}
	return []worker.KeptLimits{
		{Run: "r1", State: own},
		{Run: "r2", State: own},
		{BaseURL: "https://user:canary@api.example/proxy/?key=canary", State: state},
		{BaseURL: "https://api.example/proxy", State: held},
		{BaseURL: "https://api.example/proxy/", State: state},                                             // of the same name as another
		{BaseURL: "https://api.example", State: ratelimit.State{Scope: strings.Repeat("\xff{\n", 1_000)}}, // through Redis comes anything
	}
}

func progressFake() coordinator.Progress {
	return coordinator.Progress{
		Run: "r1", Job: "nightly", Total: 100, TotalKnown: true, Repeats: 1, Unknown: 2, Outstanding: 40, Window: 512, Blocked: "canary", Trouble: "canary",
		Tally: coordinator.Tally{
			Succeeded: 50, Failed: map[jobs.Reason]int64{jobs.ReasonRefused: 3}, Reused: 5, Cost: 1_500_000_000, Unpriced: 6,
			Usage: jobs.Usage{Input: 1, Output: 2, CacheRead: 3, CacheWrite5m: 4},
		},
		Fleet: coordinator.Fleet{Workers: 2, InFlight: 8, Waiting: 9, Why: "canary"},
	}
}

// allMetrics has every metric that there can be.
func allMetrics() *prometheus.Registry {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(append(collectorsFake(), buildInfo())...)
	return registry
}

func collectorsFake() []prometheus.Collector {
	return []prometheus.Collector{workerMetrics{workerFake{keptLimits()}}, runMetrics{progressFake, 25_000_000_000}}
}

// Names, units and texts are as Prometheus' own linter wants them, and no text of a person, an API or an address with a
// credential is in what is told.
func TestMetrics(t *testing.T) {
	t.Parallel()
	problems, err := testutil.GatherAndLint(allMetrics())
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	const want = `
batchwright_limit_effective_per_minute{api="",kind="tokens",run="r1",scope="job"} 100
batchwright_limit_effective_per_minute{api="",kind="tokens",run="r2",scope="job"} 100
batchwright_limit_effective_per_minute{api="https://api.example/proxy",kind="input",run="",scope="haiku-4-5"} 1e+06
batchwright_limit_effective_per_minute{api="https://api.example/proxy",kind="input",run="",scope="opus-4"} 1e+06
batchwright_limit_effective_per_minute{api="https://api.example/proxy",kind="requests",run="",scope="haiku-4-5"} 3960
batchwright_limit_effective_per_minute{api="https://api.example/proxy",kind="requests",run="",scope="opus-4"} 3960
batchwright_run_budget_usd{job_name="nightly",run="r1"} 25
batchwright_run_spend_usd_total{job_name="nightly",run="r1"} 1.5
batchwright_tokens_total{type="cache_read"} 30
batchwright_tokens_total{type="cache_write"} 45
batchwright_tokens_total{type="input"} 10
batchwright_tokens_total{type="output"} 20
`
	got := exposition(t, collectorsFake()...)
	for line := range strings.Lines(want) {
		if line != "\n" && !strings.Contains(got, "\n"+line) {
			t.Errorf("%q is not in what is told", line)
		}
	}
	holds(t, got,
		`batchwright_limit_bound{api="https://api.example/proxy",bound="input",run="",scope="haiku-4-5"} 1`,
		`batchwright_limit_bound{api="https://api.example/proxy",bound="hold",run="",scope="haiku-4-5"} 0`,
		`batchwright_limit_remaining{api="https://api.example/proxy",kind="requests",run="",scope="haiku-4-5"} 0`,
		`batchwright_limit_hold_seconds{api="https://api.example/proxy",run="",scope="opus-4"} 3`,
		`batchwright_call_duration_seconds_bucket{outcome="answered",le="1"} 1`,
		`batchwright_call_duration_seconds_sum{outcome="answered"} 90`,
		`batchwright_run_records_done_total{job_name="nightly",reason="refused",run="r1",status="failed"} 3`,
		`batchwright_run_records_done_total{job_name="nightly",reason="poison",run="r1",status="failed"} 0`,
		`batchwright_run_blocked{job_name="nightly",run="r1"} 1`)
	if strings.Contains(got, "canary") {
		t.Error("what people or addresses say is told")
	}
	if strings.Contains(got, `batchwright_limit_learned_per_minute{api="https://api.example/proxy",kind="input"`) {
		t.Error("a limit that the API does not tell has a number")
	}
}

// exposition is what a scrape reads.
func exposition(t *testing.T, all ...prometheus.Collector) string {
	t.Helper()
	m := metricsServer{address: "127.0.0.1:0"}
	if err := m.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer m.close(t.Context())
	for _, c := range all {
		m.also(c)
	}
	return scrape(t, "http://"+m.listening+metricsPath)
}

func scrape(t *testing.T, url string) string {
	t.Helper()
	text, err := tryScrape(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func tryScrape(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d: %s", response.StatusCode, text)
	}
	return string(text), err
}

// The documentation has every metric, and none that there is not.
func TestMetricsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, name := range regexp.MustCompile(`\bbatchwright_[a-z_]+`).FindAllString(string(text), -1) {
		documented[name] = true
	}
	families, err := allMetrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !documented[f.GetName()] {
			t.Errorf("%s is not in docs/operations.md", f.GetName())
		}
		delete(documented, f.GetName())
		delete(documented, f.GetName()+"_bucket")
	}
	for name := range documented {
		t.Errorf("docs/operations.md has %s, which nothing tells", name)
	}
}

// A scrape that hangs holds up the end of the process for no longer than the grace.
func TestMetricsEndInTime(t *testing.T) {
	t.Parallel()
	m := metricsServer{address: "127.0.0.1:0"}
	if err := m.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	scraping, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	m.also(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "slow", Help: "Hangs."}, func() float64 {
		close(scraping)
		<-release
		return 0
	}))
	go func() { _, _ = tryScrape(t.Context(), "http://"+m.listening+metricsPath) }()
	<-scraping
	start := time.Now()
	m.close(t.Context())
	if took := time.Since(start); took > 2*metricsGrace {
		t.Errorf("the end took %s", took)
	}
}
