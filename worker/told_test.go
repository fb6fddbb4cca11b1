package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/ratelimit"
)

// What calls wait for on account of limits is said in a few words, with the numbers that a person knows.
func TestSaysWhichLimitBinds(t *testing.T) {
	t.Parallel()
	requests := func(learned, effective float64) []ratelimit.LimitState {
		return []ratelimit.LimitState{{Kind: "requests", Learned: learned, Effective: effective}, {Kind: "input tokens", Effective: 1e6}}
	}
	key := func(bound ratelimit.Bound, s ratelimit.State) KeptLimits {
		s.Scope, s.Bound = "haiku-4-5", bound
		return KeptLimits{BaseURL: "http://api", State: s}
	}
	own := func(bound ratelimit.Bound, s ratelimit.State) KeptLimits {
		s.Scope, s.Bound = "the job", bound
		return KeptLimits{Run: "r1", State: s}
	}
	for name, test := range map[string]struct {
		kept       []KeptLimits
		why, bound string
	}{
		"nothing is known": {nil, "", ""},
		"nothing binds":    {[]KeptLimits{key(ratelimit.BoundByNothing, ratelimit.State{Limits: requests(1000, 990)})}, "", ""},
		"the API's limit, but for a margin": {
			[]KeptLimits{key(ratelimit.BoundByRequests, ratelimit.State{Limits: requests(1000, 990)})},
			"1,000 requests/min, the API's limit", "requests",
		},
		"less headroom": {
			[]KeptLimits{key(ratelimit.BoundByRequests, ratelimit.State{Limits: requests(1000, 792), Headroom: 0.2})},
			"792 requests/min, the API's 1,000 less 20% headroom", "requests",
		},
		"less than that": {
			[]KeptLimits{key(ratelimit.BoundByRequests, ratelimit.State{Limits: requests(1000, 500), Headroom: 0.2})},
			"500 requests/min of the API's 1,000", "requests",
		},
		"a limit that the API does not tell": {
			[]KeptLimits{key(ratelimit.BoundByInput, ratelimit.State{Limits: requests(0, 0)})},
			"about 1,000,000 input tokens/min, found by refusals", "input",
		},
		"the job's own limit": {
			[]KeptLimits{own(ratelimit.BoundByRequests, ratelimit.State{Limits: requests(0, 500), Headroom: 0.2}), key(ratelimit.BoundByNothing, ratelimit.State{})},
			"500 requests/min, the job's limit", "requests",
		},
		"the job's own concurrency is no wait": {[]KeptLimits{own(ratelimit.BoundByConcurrency, ratelimit.State{Concurrency: 8})}, "", ""},
		"nor does it hide one": {
			[]KeptLimits{own(ratelimit.BoundByConcurrency, ratelimit.State{Concurrency: 8}), key(ratelimit.BoundByHold, ratelimit.State{Why: "held until noon"})},
			"held until noon", "hold",
		},
		"what the API bears": {
			[]KeptLimits{key(ratelimit.BoundByConcurrency, ratelimit.State{Concurrency: 1200, InFlight: 1150})},
			"1,200 calls at once are as many as the API is known to bear", "concurrency",
		},
		"far fewer run at once":      {[]KeptLimits{key(ratelimit.BoundByConcurrency, ratelimit.State{Concurrency: 1200, InFlight: 400})}, "", ""},
		"any number may run at once": {[]KeptLimits{key(ratelimit.BoundByConcurrency, ratelimit.State{})}, "", ""},
		"a limit that is not there":  {[]KeptLimits{key(ratelimit.BoundByTokens, ratelimit.State{})}, "", ""},
		"Redis does not answer":      {[]KeptLimits{key(ratelimit.BoundByRedis, ratelimit.State{Why: "Redis is away"})}, "Redis is away", "redis"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			why, bound := waitFor(test.kept)
			if why != test.why || bound != test.bound {
				t.Errorf("%q (%q), want %q (%q)", why, bound, test.why, test.bound)
			}
		})
	}
}

// Calls that the job's limit holds back are not said to wait for the key's as well, nor the other way round.
func TestTheFullerLimitBinds(t *testing.T) {
	t.Parallel()
	limits := func(run string, bound ratelimit.Bound, used float64) KeptLimits {
		return KeptLimits{Run: run, State: ratelimit.State{
			Bound: bound, Why: "so", Limits: []ratelimit.LimitState{{Kind: "requests", Effective: 100, Used: used}},
		}}
	}
	const requests, output, hold = ratelimit.BoundByRequests, ratelimit.BoundByOutput, ratelimit.BoundByHold
	for name, test := range map[string]struct {
		kept []KeptLimits
		want []ratelimit.Bound
	}{
		"the job's":              {[]KeptLimits{limits("r1", requests, 97), limits("", requests, 15)}, []ratelimit.Bound{requests, 0}},
		"the key's":              {[]KeptLimits{limits("r1", requests, 60), limits("", requests, 99)}, []ratelimit.Bound{0, requests}},
		"the key's are held":     {[]KeptLimits{limits("r1", requests, 60), limits("", hold, 99)}, []ratelimit.Bound{requests, hold}},
		"of the key, none known": {[]KeptLimits{limits("r1", requests, 60), limits("", output, 99)}, []ratelimit.Bound{requests, output}},
		"the job has none":       {[]KeptLimits{limits("", requests, 15), limits("", requests, 97)}, []ratelimit.Bound{requests, requests}},
		"nothing at all":         {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			theFuller(test.kept)
			var got []ratelimit.Bound
			for _, l := range test.kept {
				got = append(got, l.Bound)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Every bound that ratelimit knows can be told.
func TestBoundsCanBeTold(t *testing.T) {
	t.Parallel()
	var names []string
	for b := ratelimit.BoundByRequests; b <= ratelimit.BoundByRedis; b++ {
		names = append(names, b.String())
	}
	if diff := cmp.Diff(courier.Bounds, names); diff != "" {
		t.Errorf("(-courier +ratelimit):\n%s", diff)
	}
}

// A report tells limits as they are, and none of what is no limit.
func TestReportOfLimits(t *testing.T) {
	t.Parallel()
	until := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	r := &run{id: "r1", limits: &limits{account: "0123456789abcdef"}}
	for name, test := range map[string]struct {
		kept KeptLimits
		want courier.Limits
	}{
		"of a key": {
			KeptLimits{BaseURL: "http://api", State: ratelimit.State{
				Scope: "haiku-4-5", Headroom: 0.2, InFlight: 3, Bound: ratelimit.BoundByOutput, Until: until, Reason: "an old hold",
				Limits: []ratelimit.LimitState{
					{Kind: "requests", Learned: 1000, Effective: 792, Left: new(7.0), Used: 600}, {Kind: "output tokens", Effective: 5}, {Kind: "tokens", Learned: 9},
				},
			}},
			courier.Limits{
				Scope: "haiku-4-5", Account: "0123456789abcdef", Headroom: 0.2, InFlight: 3, BoundBy: "output", Answered: true,
				Rates: []courier.Rate{{Kind: "requests", Learned: 1000, Effective: 792, Left: new(7.0), Used: 600}, {Kind: "output", Effective: 5}, {Kind: "tokens", Learned: 9}},
			},
		},
		"held": {
			KeptLimits{State: ratelimit.State{Scope: "m", Bound: ratelimit.BoundByHold, Until: until, Reason: "429"}},
			courier.Limits{Scope: "m", Account: "0123456789abcdef", BoundBy: "hold", Until: until, Reason: "429", Answered: true},
		},
		"the job's own": { // which headroom takes nothing from
			KeptLimits{Run: "r1", State: ratelimit.State{Scope: "the job", Headroom: 0.2, Concurrency: 8, InFlight: 8, Bound: ratelimit.BoundByConcurrency}},
			courier.Limits{Own: true, Concurrency: 8, InFlight: 8, BoundBy: "concurrency", Answered: true},
		},
		"no limit on calls at once": {
			KeptLimits{State: ratelimit.State{Scope: "m", Bound: ratelimit.BoundByConcurrency}},
			courier.Limits{Scope: "m", Account: "0123456789abcdef", Answered: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, r.told(test.kept, true)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Over all runs of a worker the limits of a key stand there once, after those of the jobs.
func TestStatsJoinLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := serveFakes(t, 8)
		a := taking(time.Second)
		for _, id := range []string{"first", "second"} {
			from.session(from.announce(id, jobs.Limits{Concurrency: 2}, a), 1).hand(false, requests(4)...)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		own := make(map[string]bool)
		var keys []string
		for i, l := range from.worker.Stats().Limits {
			if l.Run != "" && i < 2 {
				own[l.Run] = true
			} else {
				keys = append(keys, l.Scope)
			}
		}
		if diff := cmp.Diff([]string{"m"}, keys); diff != "" || len(own) != 2 {
			t.Errorf("limits of jobs %v and of %v", own, keys)
		}
		from.worker.Drain(t.Context())
	})
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{0: "0", 0.4: "0", -7: "0", 999: "999", 1000: "1,000", 1234567.8: "1,234,568"} {
		if got := thousands(x); got != want {
			t.Errorf("%v is written %q, want %q", x, got, want)
		}
	}
}
