package ratelimit

import (
	"math"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(a), math.Abs(b)) }

// After a refusal the rate goes down by 7 %, back in 14 s in which more is wanted, and then up faster and faster.
func TestRegrowth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ busy, want float64 }{
		{0, 0.93}, {7, 0.99125}, {14, 1}, {21, 1.00875}, {28, 1.07}, {42, 1.56}, {56, 2.89},
	} {
		if got := regrowth(tt.busy); !near(got, tt.want) {
			t.Errorf("%v of the rate after %v busy seconds, want %v", got, tt.busy, tt.want)
		}
	}
	for busy := 0.0; busy < 100; busy++ {
		if regrowth(busy+1) < regrowth(busy) {
			t.Errorf("the rate falls after %v s", busy)
		}
	}
}

func TestFoundRate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		f    found
		want float64
	}{
		"right after the refusal":           {found{Peak: 1000}, 930},
		"where it was refused":              {found{Peak: 1000, Busy: 14}, 1000},
		"never below one a minute":          {found{Peak: 0.001}, 1},
		"of growth: a fifth less":           {found{Peak: 1000, Slope: 0.05}, 800},
		"of growth: 5 % a second":           {found{Peak: 1000, Slope: 0.05, Busy: 4}, 1000},
		"of growth: as fast for as long":    {found{Peak: 1000, Slope: 0.05, Busy: 24}, 2000},
		"of growth: never below one either": {found{Peak: 0.1, Slope: 0.05}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.f.rate(); !near(got, tt.want) {
				t.Errorf("%v a minute, want %v", got, tt.want)
			}
		})
	}
}

// Time counts for the growth only while more is wanted, and the service's own word ends what was found.
func TestFoundAfter(t *testing.T) {
	t.Parallel()
	wantedMore := mark{At: 12_000, Denied: [kinds + 1]float64{Input: 1}}
	tests := map[string]struct {
		f        *found
		now      mark
		limits   amounts
		wantBusy float64
		wantNil  bool
	}{
		"nothing found stays nothing":    {nil, wantedMore, amounts{}, 0, true},
		"more is wanted":                 {&found{Kind: Input, Peak: 1000, Busy: 3}, wantedMore, amounts{}, 5, false},
		"nothing more is wanted":         {&found{Kind: Input, Peak: 1000, Busy: 3}, mark{At: 12_000}, amounts{}, 3, false},
		"more of another kind is wanted": {&found{Kind: Requests, Peak: 1000, Busy: 3}, wantedMore, amounts{}, 3, false},
		"below the told limit":           {&found{Kind: Input, Peak: 1000}, wantedMore, amounts{Input: 1000}, 2, false},
		"the told limit is reached":      {&found{Kind: Input, Peak: 1000, Busy: 12}, wantedMore, amounts{Input: 999}, 0, true},
		"a told limit of another kind":   {&found{Kind: Input, Peak: 1000, Busy: 12}, wantedMore, amounts{Requests: 10}, 14, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tt.f.after(mark{At: 10_000}, tt.now, tt.limits)
			if (got == nil) != tt.wantNil || got != nil && !near(got.Busy, tt.wantBusy) {
				t.Errorf("found %+v; want busy %v, or nothing: %v", got, tt.wantBusy, tt.wantNil)
			}
		})
	}
}

// passed is a mark with so many requests and output tokens used.
func passed(at ms, requests, output float64) mark {
	return mark{At: at, Used: amounts{requests, 0, output}}
}

// The rate that passes is the one that passed before the refusal.
func TestFoundRefused(t *testing.T) {
	t.Parallel()
	ramp := func(m mark) mark { m.Done[ramped]++; return m }
	tests := map[string]struct {
		f               *found
		kind            Kind
		marks           []mark
		last, then, now mark
		wantPeak        float64
		wantSlope       float64
	}{
		"what passed in the last seconds": {
			nil, Requests, []mark{passed(90_000, 0, 0)}, mark{}, passed(99_000, 0, 0), passed(100_000, 200, 0), 1200, 0,
		},
		"less than a second counts as one": {
			nil, Requests, []mark{passed(99_900, 0, 0)}, mark{}, passed(99_900, 0, 0), passed(100_000, 20, 0), 1200, 0,
		},
		"without marks since the latest look": {
			nil, Requests, nil, mark{}, passed(98_000, 0, 0), passed(100_000, 40, 0), 1200, 0,
		},
		"since the last refusal, when that is not long ago": {
			nil, Requests, []mark{passed(90_000, 0, 0)}, passed(98_000, 180, 0), passed(99_000, 0, 0), passed(100_000, 200, 0), 600, 0,
		},
		"output: a whole wave, though it is long": {
			nil, Output, []mark{passed(90_000, 0, 900)}, passed(40_000, 0, 0), passed(99_000, 0, 900), passed(100_000, 0, 1000), 1000, 0,
		},
		"output: not when the last refusal is of another wave": {
			nil, Output, []mark{passed(190_000, 0, 900)}, passed(40_000, 0, 0), passed(199_000, 0, 900), passed(200_000, 0, 1000), 600, 0,
		},
		"at most halved: while all was held nothing passed": {
			&found{Kind: Requests, Peak: 1000, Busy: 14}, Requests, []mark{passed(90_000, 0, 0)}, mark{}, passed(99_000, 0, 0), passed(100_000, 1, 0), 500, 0,
		},
		"output is halved freely: it passes in waves": {
			&found{Kind: Output, Peak: 1000, Busy: 14}, Output, []mark{passed(90_000, 0, 0)}, mark{}, passed(99_000, 0, 0), passed(100_000, 0, 10), 60, 0,
		},
		"not halved when another kind was found before": {
			&found{Kind: Input, Peak: 1000, Busy: 14}, Requests, []mark{passed(90_000, 0, 0)}, mark{}, passed(99_000, 0, 0), passed(100_000, 10, 0), 60, 0,
		},
		"one a minute is the least": {
			nil, Requests, []mark{passed(90_000, 0, 0)}, mark{}, passed(99_000, 0, 0), passed(100_000, 0, 0), 1, 0,
		},
		"growth": {
			nil, Input, []mark{passed(90_000, 0, 0)}, mark{}, passed(99_000, 0, 0), ramp(passed(100_000, 200, 0)), 1200, 0.05,
		},
		"growth again: half as steep": {
			&found{Kind: Requests, Peak: 1200, Slope: 0.05}, Requests,
			[]mark{passed(90_000, 0, 0)},
			mark{},
			passed(99_000, 0, 0),
			ramp(passed(100_000, 200, 0)), 1200, 0.025,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tt.f.refused(tt.kind, tt.marks, tt.last, tt.then, tt.now)
			if !near(got.Peak, tt.wantPeak) || !near(got.Slope, tt.wantSlope) || got.Busy != 0 || got.At != tt.now.At {
				t.Errorf("found %+v; want a peak of %v, a slope of %v", got, tt.wantPeak, tt.wantSlope)
			}
			if tt.wantSlope > 0 && got.Kind != Requests {
				t.Errorf("growth is of kind %d, want requests", got.Kind)
			}
		})
	}
}

// The kind that most refusals named is the one that is found.
func TestRefusedKind(t *testing.T) {
	t.Parallel()
	var then, now mark
	if got := refusedKind(then, now); got != Requests {
		t.Errorf("kind %d when none was named, want requests", got)
	}
	then.Done[refused+int(Requests)], now.Done[refused+int(Requests)] = 100, 101
	now.Done[refused+int(Output)] = 3
	if got := refusedKind(then, now); got != Output {
		t.Errorf("kind %d, want output", got)
	}
}

// Refusals that come of the same excess count once: for a second, and for output as long as calls go on ending.
func TestAftermath(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		kind  Kind
		marks []mark
		took  float64 // ms
		want  ms
	}{
		"requests":            {Requests, []mark{{}}, 9000, 1000},
		"input":               {Input, []mark{{}}, 9000, 1000},
		"output, short calls": {Output, []mark{{}}, 300, 1000},
		"output, long calls":  {Output, []mark{{}}, 3000, 6000},
		"output, very long":   {Output, []mark{{}}, 60_000, 10_000},
		"tokens, long calls":  {Tokens, []mark{{}}, 3000, 6000},
		"nothing known yet":   {Output, nil, 3000, 1000},
		"a damaged latency":   {Output, []mark{{}}, -5000, 1000},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var now mark
			now.Done[answered], now.Done[latency] = 10, 10*tt.took
			if got := aftermath(tt.kind, tt.marks, now); got != tt.want {
				t.Errorf("%d ms, want %d", got, tt.want)
			}
		})
	}
}
