package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/worker/simulator"
)

// steady are samples of each second for which use follows per second of a limit of rate.
func steady(rate float64, perSecond ...float64) []sample {
	samples := []sample{{rate: rate}}
	used := 0.0
	for i, n := range perSecond {
		used += n
		samples = append(samples, sample{at: time.Duration(i+1) * time.Second, rate: rate, used: used, calls: used + 1, refused: 1})
	}
	return samples
}

func TestUsedShare(t *testing.T) {
	t.Parallel()
	halved := steady(10, 10, 10, 5, 5, 10)
	halved[2].rate, halved[3].rate = 5, 5
	for _, test := range []struct {
		name    string
		samples []sample
		want    float64
	}{
		{"nothing seen", nil, 0},
		{"one sample", steady(10), 0},
		{"all of it", steady(10, 10, 10, 10), 1},
		{"half of it", steady(10, 5, 5), 0.5},
		{"with what the bucket held", steady(10, 20, 10), 1.5},
		{"relative to the limit as it was", halved, 1},
		{"no limit", steady(0, 10, 10), 0},
	} {
		if got := usedShare(test.samples); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	samples := steady(1, 1, 1, 1, 1, 1)
	for _, test := range []struct {
		name        string
		from, to    time.Duration
		first, last time.Duration
	}{
		{"all", 0, 5 * time.Second, 0, 5 * time.Second},
		{"between samples: whole steps", 1500 * time.Millisecond, 3500 * time.Millisecond, 2 * time.Second, 4 * time.Second},
		{"longer than there are samples", 3 * time.Second, time.Minute, 3 * time.Second, 5 * time.Second},
	} {
		part := window(samples, test.from, test.to)
		if first, last := part[0].at, part[len(part)-1].at; first != test.first || last != test.last {
			t.Errorf("%s: from %v to %v, want %v to %v", test.name, first, last, test.first, test.last)
		}
	}
	if part := window(samples, time.Minute, 2*time.Minute); len(part) != 0 {
		t.Errorf("%d samples after the last", len(part))
	}
}

func TestRefusedShare(t *testing.T) {
	t.Parallel()
	samples := []sample{{calls: 100, refused: 90}, {calls: 150, refused: 91}, {calls: 300, refused: 92}}
	if got := refusedShare(samples); got != 0.01 {
		t.Errorf("got %v: calls before the window count", got)
	}
	if got := refusedShare(samples[:1]); got != 0 {
		t.Errorf("got %v of no time", got)
	}
	if got := refusedShare([]sample{{calls: 1}, {calls: 1}}); got != 0 {
		t.Errorf("got %v of no calls", got)
	}
}

func TestWorstShare(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		perSecond []float64
		want      float64
	}{
		{"a gap in the middle", []float64{10, 10, 2, 4, 10, 10}, 0.3},
		{"a gap at the end", []float64{10, 10, 10, 10, 0, 1}, 0.05},
		{"shorter than the stretch", []float64{5}, 0.5},
	} {
		if got := worstShare(steady(10, test.perSecond...), 2*time.Second); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestCallsOf(t *testing.T) {
	t.Parallel()
	stats := "# Commandstats\r\ncmdstat_evalsha:calls=12,usec=100,usec_per_call=1\r\ncmdstat_persist:calls=7,usec=1\r\ncmdstat_eval:calls=3,usec=2\r\n"
	if got := callsOf(stats, "persist"); got != 7 {
		t.Errorf("%v calls, want 7", got)
	}
	if got := callsOf(stats, "get"); got != 0 {
		t.Errorf("%v calls of what was never called", got)
	}
}

// A scenario measures its limit only when the workload asks more of this one than of any other, and no request is too
// large ever to pass.
func TestScenariosBindWhatTheySay(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, s := range scenarios() {
		if names[s.name] {
			t.Errorf("two scenarios are called %s", s.name)
		}
		names[s.name] = true
		if err := s.api.Validate(); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		calls := s.callsPerSecond()
		if !s.fast && (calls < 15 || calls > 60) {
			t.Errorf("%s: %.0f calls a second", s.name, calls)
		}
		for kind, share := range map[kind]float64{
			ofRequests: 60 * calls / float64(s.api.RequestsPerMinute),
			ofInput:    60 * calls * s.workload.meanPrompt() / float64(s.api.InputTokensPerMinute),
			ofOutput:   60 * calls * s.meanAnswer() / float64(s.api.OutputTokensPerMinute),
		} {
			if kind != s.binding && share > 0.5 {
				t.Errorf("%s: of %s it uses %.2f", s.name, kind, share)
			}
		}
		bucket := float64(s.api.InputTokensPerMinute) / 60 * s.api.Burst.Seconds()
		if most := max(s.workload.promptTokens, s.workload.mostPrompt); most > bucket/2 {
			t.Errorf("%s: prompts of %.0f tokens, and the bucket holds %.0f", s.name, most, bucket)
		}
		if s.slots(1) < s.slots(16) || 16*s.slots(16) < s.slots(1) {
			t.Errorf("%s: %d slots of one worker, %d of each of 16", s.name, s.slots(1), s.slots(16))
		}
	}
}

// Prompts are as large as they say, in the simulator's count, and no two alike.
func TestWorkload(t *testing.T) {
	t.Parallel()
	for _, s := range bases() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			const n = 4000
			seen, tokens := map[string]bool{}, 0.0
			for r := range s.workload.records(n) {
				seen[r.Text] = true
				tokens += float64(len(r.Text)) / bytesPerToken
				if s.workload.mostPrompt > 0 && float64(len(r.Text)) > s.workload.mostPrompt*bytesPerToken || r.MaxTokens < 8 {
					t.Errorf("%s has %d bytes and %d tokens at most", r.ID, len(r.Text), r.MaxTokens)
				}
			}
			if len(seen) != n {
				t.Errorf("%d different prompts of %d", len(seen), n)
			}
			if mean := tokens / n; math.Abs(mean/s.workload.meanPrompt()-1) > 0.05 {
				t.Errorf("a prompt has %.0f tokens on average, want %.0f", mean, s.workload.meanPrompt())
			}
		})
	}
}

func TestWriteWorkload(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), inputName)
	load := bases()[0].workload
	if err := load.write(path, 3); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []record
	for line := range strings.Lines(string(text)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if diff := cmp.Diff(slices.Collect(load.records(3)), got); diff != "" {
		t.Error(diff)
	}
}

func TestMakePlan(t *testing.T) {
	t.Parallel()
	plan, err := makePlan("^halved|peers/3000", "1,16", 60, 2)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"halved/headers", "halved/none", "peers/3000"}, plan.names()); diff != "" {
		t.Error(diff)
	}
	for name, args := range map[string][2]string{
		"no scenario": {"nothing", "1"}, "no regexp": {"(", "1"}, "no number": {".", "one"}, "no worker": {".", "0"},
	} {
		if _, err := makePlan(args[0], args[1], 60, 2); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := makePlan(".", "1", 0, 2); err == nil {
		t.Error("no time: no error")
	}
}

// The goals of use, of refusals and of round trips are all to be met.
func TestLimitsTable(t *testing.T) {
	t.Parallel()
	s := scenario{name: "requests/burst1s/headers", goals: toldGoals}
	shared := scenario{name: "other-user", goals: sharedGoals, other: true}
	var got strings.Builder
	err := writeLimitsTable(&got, []limitFigure{
		{scenario: s, workers: 4, used: 0.98, later: 0.981, refused: 0.0005, worst: 0.9, exchanges: 1.25},
		{scenario: s, workers: 4, used: 0.96},
		{scenario: scenario{name: "fast", goals: toldGoals, fast: true}, workers: 16, used: 1, exchanges: 0.21},
		{scenario: shared, workers: 1, used: 0.5, refused: 0.02, otherRefused: 0.1},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `| scenario | workers | share of quota used | in the second half | in the worst 10 s | share of calls refused | round trips to Redis for the limits, a call | goal |  |
|---|---|---|---|---|---|---|---|---|
| requests/burst1s/headers | 4 | 0.980 | 0.981 | 0.90 | 0.05 % | 1.250 | used ≥ 0.97, refused ≤ 0.10 % | met |
| requests/burst1s/headers | 4 | 0.960 | 0.000 | 0.00 | 0.00 % | 0.000 | used ≥ 0.97, refused ≤ 0.10 % | **missed** |
| fast | 16 | 1.000 | 0.000 | 0.00 | 0.00 % | 0.210 | used ≥ 0.97, refused ≤ 0.10 %, round trips ≤ 0.20 | **missed** |
| other-user | 1 | 0.500 | 0.000 | 0.00 | 2.00 % (the other user's: 10.00 %) | 0.000 | refused ≤ 1.00 % | **missed** |

`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// The figure of a window counts from the first call where the fleet is told its limits, and leaves the search out where not.
func TestFigureOfAWindow(t *testing.T) {
	t.Parallel()
	samples := steady(10, 30, 10, 10, 10)
	samples[0].used = 5 // the first call came before it was seen
	told := &watch{scenario: scenario{api: simulator.Options{}}, samples: slices.Clone(samples), other: newOtherUser("")}
	got := told.figure(2, 4*time.Second, 10, 132)
	if got.used != 1.5 || got.calls != 61 || got.later != 1 || got.exchanges != 2 {
		t.Errorf("told: %+v", got)
	}
	untold := &watch{scenario: scenario{warm: 2 * time.Second}, samples: samples, other: newOtherUser("")}
	if got := untold.figure(2, 2*time.Second, 0, 0); got.used != 1 || got.calls != 20 || got.refused != 0 {
		t.Errorf("untold: %+v", got)
	}
}
