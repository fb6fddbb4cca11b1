package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// workersSaying are workers that said what they know of limits so long ago.
func workersSaying(now time.Time, ago time.Duration, limits ...courier.Limits) map[string]courier.Beat {
	return map[string]courier.Beat{"w1": {At: now.Add(-ago), Report: courier.Report{InFlight: 60, Limits: limits}}}
}

// A person sees at a glance what the limits are, whose they are, and which of them calls wait for.
func TestLimitsText(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.Local)
	requests := courier.Rate{Kind: "requests", Learned: 1000, Effective: 990, Left: new(12.0), Used: 960}
	output := courier.Rate{Kind: "output", Learned: 400_000, Effective: 396_000, Used: 122_760}
	of := func(l courier.Limits) courier.Limits {
		l.Scope, l.Account = "haiku-4-5", "d73ee3e5c9430b29"
		return l
	}
	for name, test := range map[string]struct {
		ago  time.Duration
		said []courier.Limits
		want []string
	}{
		"nothing is known": {said: nil, want: []string{"not known yet"}},
		"no answer yet": {
			said: []courier.Limits{of(courier.Limits{Concurrency: 16, InFlight: 16, BoundBy: "concurrency"})},
			want: []string{"haiku-4-5: not known yet · at most 16 calls at once at first (16 in flight) · bound by calls at once"},
		},
		"told by the API": {
			said: []courier.Limits{of(courier.Limits{Rates: []courier.Rate{requests, output}, Answered: true, BoundBy: "requests"})},
			want: []string{"haiku-4-5: 1,000 requests/min (97% used, 12 left) · 400,000 output tokens/min (31% used) · bound by requests"},
		},
		"nothing binds": {
			said: []courier.Limits{of(courier.Limits{Rates: []courier.Rate{output}, Answered: true})},
			want: []string{"haiku-4-5: 400,000 output tokens/min (31% used)"},
		},
		"headroom": {
			said: []courier.Limits{of(courier.Limits{
				Rates: []courier.Rate{{Kind: "input", Learned: 50_000, Effective: 39_600, Used: 39_600}}, Headroom: 0.2, BoundBy: "input",
			})},
			want: []string{"haiku-4-5: 39,600 of 50,000 input tokens/min (100% used) · 20% left to others · bound by input tokens"},
		},
		"the API tells none": {
			said: []courier.Limits{of(courier.Limits{Concurrency: 64, InFlight: 60, Answered: true})},
			want: []string{"haiku-4-5: the API tells none · at most 64 calls at once, found by trying (60 in flight)"},
		},
		"found by refusals": {
			said: []courier.Limits{of(courier.Limits{Rates: []courier.Rate{{Kind: "requests", Effective: 481.3, Used: 240}}, Answered: true, BoundBy: "requests"})},
			want: []string{"haiku-4-5: the API tells none · about 481 requests/min, found by refusals (50% used) · bound by requests"},
		},
		"a limit that is not believed": {
			said: []courier.Limits{of(courier.Limits{Rates: []courier.Rate{{Kind: "requests", Learned: 7}}, Answered: true})},
			want: []string{"haiku-4-5: 7 requests/min told, not kept because it keeps changing"},
		},
		"the sum of two others": {
			said: []courier.Limits{of(courier.Limits{Rates: []courier.Rate{output, {Kind: "tokens", Learned: 450_000, Used: 9}}})},
			want: []string{"haiku-4-5: 400,000 output tokens/min (31% used)"},
		},
		"set by the job": {
			said: []courier.Limits{
				of(courier.Limits{Rates: []courier.Rate{output}}),
				{Own: true, Rates: []courier.Rate{{Kind: "requests", Effective: 500, Used: 485}}, Concurrency: 64, InFlight: 99, BoundBy: "requests"},
			},
			want: []string{
				"set by the job: 500 requests/min (97% used) · at most 64 calls at once (60 in flight) · bound by requests",
				"haiku-4-5: 400,000 output tokens/min (31% used)",
			},
		},
		"set by the job, and no call made yet": {
			said: []courier.Limits{{Own: true, Concurrency: 1}},
			want: []string{"set by the job: at most 1 call at once (60 in flight)", "not known yet"},
		},
		"held": {
			said: []courier.Limits{of(courier.Limits{
				Rates: []courier.Rate{output}, BoundBy: "hold", Until: now.Add(67 * time.Second), Reason: "rate_limit_error\x1b[2J\n(429)",
			})},
			want: []string{"haiku-4-5: 400,000 output tokens/min (31% used) · held until 12:01:07: rate_limit_error [2J (429)"},
		},
		"held no more": {
			said: []courier.Limits{of(courier.Limits{Rates: []courier.Rate{output}, BoundBy: "hold", Until: now.Add(-time.Second), Reason: "429"})},
			want: []string{"haiku-4-5: 400,000 output tokens/min (31% used)"},
		},
		"Redis does not answer": {
			said: []courier.Limits{of(courier.Limits{Rates: []courier.Rate{output}, BoundBy: "redis"})},
			want: []string{"haiku-4-5: 400,000 output tokens/min (31% used) · held because Redis does not answer"},
		},
		"a worker that is gone": {
			ago: 50 * time.Second, said: []courier.Limits{of(courier.Limits{Rates: []courier.Rate{output}})},
			want: []string{"haiku-4-5: 400,000 output tokens/min (31% used) · said 50s ago"},
		},
		"two keys": {
			said: []courier.Limits{of(courier.Limits{Rates: []courier.Rate{output}}), {Scope: "haiku-4-5", Account: "0a1b2c3d", Rates: []courier.Rate{requests}}},
			want: []string{
				"haiku-4-5 with key 0a1b2c: 1,000 requests/min (97% used, 12 left)",
				"haiku-4-5 with key d73ee3: 400,000 output tokens/min (31% used)",
			},
		},
		"a limit far exceeded": {
			said: []courier.Limits{of(courier.Limits{Rates: []courier.Rate{{Kind: "requests", Learned: 2.5, Effective: 2.475, Used: 1e15}}})},
			want: []string{"haiku-4-5: 2.5 requests/min (999% used)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, limitsTexts(limitsOf(workersSaying(now, test.ago, test.said...), now))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Of what several workers say of a scope the latest counts; what calls wait for also when only another worker's do.
func TestLatestReportOfLimitsCounts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	worker := func(ago time.Duration, effective float64, bound string) courier.Beat {
		return courier.Beat{At: now.Add(-ago), Report: courier.Report{InFlight: 5, Limits: []courier.Limits{
			{Scope: "m", Rates: []courier.Rate{{Kind: "requests", Effective: effective}}, BoundBy: bound},
		}}}
	}
	old := worker(0, 100, "")
	old.At = time.Time{}
	for name, test := range map[string]struct {
		workers   map[string]courier.Beat
		effective float64
		bound     string
	}{
		"the latest":                    {map[string]courier.Beat{"a": worker(3*time.Second, 100, "input"), "b": worker(time.Second, 200, "requests")}, 200, "requests"},
		"others wait":                   {map[string]courier.Beat{"a": worker(time.Second, 100, ""), "b": worker(3*time.Second, 200, "requests")}, 100, "requests"},
		"others waited, long ago":       {map[string]courier.Beat{"a": worker(time.Second, 100, ""), "b": worker(30*time.Second, 200, "requests")}, 100, ""},
		"an older version says no time": {map[string]courier.Beat{"a": old, "b": worker(time.Minute, 200, "")}, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := limitsOf(test.workers, now)
			if len(lines) != 1 || *lines[0].Limits[0].Effective != test.effective || lines[0].BoundBy != test.bound {
				t.Errorf("%+v, want %v and %q", lines, test.effective, test.bound)
			}
		})
	}
}

// The keys of status --json that docs/operations.md names stay as they are; what is not known is null.
func TestLimitsJSON(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	lines := limitsOf(workersSaying(now, 1500*time.Millisecond,
		courier.Limits{Own: true, Concurrency: 64},
		courier.Limits{
			Scope: "haiku-4-5", Account: "d73ee3e5c9430b29", Headroom: 0.2, BoundBy: "hold", Until: now.Add(time.Minute), Reason: "429",
			Rates: []courier.Rate{{Kind: "requests", Learned: 1000, Effective: 792, Left: new(0.0), Used: 396}, {Kind: "output", Effective: 100.04}},
		}), now)
	got, err := json.MarshalIndent(lines, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	sameAsGolden(t, "status_limits.json", string(got)+"\n")
}

// Somebody who may write all of Redis can put anything into what a worker says: status still shows the run, in a few lines,
// and its JSON is JSON.
func TestStatusOfHostileLimits(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{})
	rdb, ctx := server.Client, t.Context()
	env := []string{"BATCHWRIGHT_REDIS=redis://" + server.Addr, "BATCHWRIGHT_STATE=" + t.TempDir()}
	owner, err := courier.Own(ctx, rdb, "r1", 0, courier.OwnerOptions{Terms: courier.Terms{BaseURL: "http://api"}})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(ctx)
	// The version is what beats of this build have.
	beat := `{"version":` + versionOf(rdb.Get(ctx, "bw:{r1}:terms").Val()) + `,"count":1,"host":"h","slots":8,`
	huge := strings.Repeat(`\u001b[2J`, 1<<16)
	scopes := make([]string, 10_000)
	for i := range scopes {
		scopes[i] = fmt.Sprintf(`{"scope":"s%d","rates":[{"kind":"requests","effective":%d}]}`, i, i+1)
	}
	for name, rest := range map[string]string{
		"many":    `"limits":[` + strings.Join(scopes, ",") + `]}`,
		"texts":   `"why":"` + huge + `","limits":[{"scope":"` + huge + `","account":"` + huge + `","bound_by":"hold","until":"9999-12-31T23:59:59-12:00","reason":"` + huge + `"}]}`,
		"numbers": `"in_flight":-9223372036854775808,"limits":[{"scope":"n","headroom":-1e308,"concurrency":9223372036854775807,"in_flight":-1,"rates":[{"kind":"requests","learned":-1e308,"effective":1e308,"left":-1,"used":-1e308},{"kind":"input","learned":1e308,"effective":1e-308,"used":1e308}]}]}`,
		"times":   `"at":"9999-12-31T23:59:59-12:00","limits":[{"own":true,"until":"0000-01-01T00:00:00Z","bound_by":"hold"}]}`,
		"nan":     `"limits":[{"rates":[{"kind":"requests","effective":NaN}]}]}`,
		"nulls":   `"limits":[null,{"rates":[null,null]},{}]}`,
		"types":   `"limits":{"scope":7}}`,
	} {
		if err := rdb.HSet(ctx, "bw:{r1}:workers", name, beat+rest).Err(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := commandIn(t, env, "status")
	lines := strings.Split(text, "\n")
	if err != nil || len(text) > 30_000 || len(lines) > 40 || strings.ContainsRune(text, '\x1b') {
		t.Errorf("status: %v, %d bytes in %d lines:\n%.3000s", err, len(text), len(lines), text)
	}
	holds(t, text, "limits ", "which --json lists")
	line := seenStatus(t, env, "r1")
	if line == nil || line.State != "running" && line.State != "waiting" {
		t.Fatalf("%+v", line)
	}
	if workers := len(line.Workers); workers != 5 { // two say what is no JSON of a beat
		t.Errorf("%d workers are seen", workers)
	}
	if len(line.Limits) < 16 || len(line.Limits) > 5*16 {
		t.Errorf("%d scopes are told", len(line.Limits))
	}
	for _, l := range line.Limits {
		for _, limit := range l.Limits {
			amounts := []float64{limit.Used}
			for _, x := range []*float64{limit.Set, limit.Learned, limit.Effective, limit.Remaining, limit.UsedShare} {
				if x != nil {
					amounts = append(amounts, *x)
				}
			}
			if slices.ContainsFunc(amounts, func(x float64) bool { return x < 0 || math.IsInf(x, 0) }) {
				t.Errorf("%+v of %.40q", limit, l.Scope)
			}
		}
	}
}

// versionOf is the format version in encoded terms.
func versionOf(terms string) string {
	var v struct {
		Version json.Number `json:"version"`
	}
	_ = json.Unmarshal([]byte(terms), &v) // what is none is no version
	return v.Version.String()
}
