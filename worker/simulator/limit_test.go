package simulator

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var began = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestLimiterRefusesAndRefills(t *testing.T) {
	t.Parallel()
	type step struct {
		at     time.Duration
		input  int
		output int           // produced by the call when it is admitted
		wait   time.Duration // 0: admitted
	}
	for _, test := range []struct {
		name    string
		options Options
		steps   []step
	}{
		{"requests: a burst, then one a second", Options{RequestsPerMinute: 60, Burst: 2 * time.Second}, []step{
			{}, {}, {wait: time.Second}, {at: 500 * time.Millisecond, wait: 500 * time.Millisecond}, {at: time.Second}, {at: time.Second, wait: time.Second},
		}},
		{"requests: never more than the burst", Options{RequestsPerMinute: 60, Burst: 2 * time.Second}, []step{
			{at: time.Hour}, {at: time.Hour}, {at: time.Hour, wait: time.Second},
		}},
		{"requests: a burst shorter than one request", Options{RequestsPerMinute: 6, Burst: time.Millisecond}, []step{
			{}, {wait: 10 * time.Second}, {at: 10 * time.Second},
		}},
		{"input: charged at the start", Options{InputTokensPerMinute: 6000, Burst: 10 * time.Second}, []step{
			{input: 900}, {input: 200, wait: time.Second}, {input: 100}, {at: time.Second, input: 100},
		}},
		{"input: a request over the whole bucket never passes", Options{InputTokensPerMinute: 6000, Burst: 10 * time.Second}, []step{
			{input: 1001, wait: time.Second}, {at: time.Hour, input: 1001, wait: time.Second}, {at: time.Hour, input: 1000},
		}},
		{"output: one call may go into debt, the next waits it off", Options{OutputTokensPerMinute: 600, Burst: time.Second}, []step{
			{output: 110}, {wait: 10100 * time.Millisecond}, {at: 10100 * time.Millisecond},
		}},
		{"a refused call is charged nothing", Options{RequestsPerMinute: 600, InputTokensPerMinute: 6000, Burst: time.Second}, []step{
			{input: 90}, {input: 90, wait: 800 * time.Millisecond}, {input: 5}, {input: 5}, {input: 1, wait: 10 * time.Millisecond},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLimiter(&test.options, began)
			for i, s := range test.steps {
				refused, ok := l.admit(began.Add(s.at), s.input)
				if ok != (s.wait == 0) || refused.wait.Round(time.Microsecond) != s.wait {
					t.Fatalf("step %d: admitted %t, wait %v; want %v", i, ok, refused.wait, s.wait)
				}
				if ok {
					l.produced(began.Add(s.at), s.output)
				}
			}
		})
	}
}

// Over any long time what is let through is the limit, however calls press.
func TestLimiterHoldsTheRate(t *testing.T) {
	t.Parallel()
	l := newLimiter(&Options{RequestsPerMinute: 1200, Burst: time.Second}, began)
	admitted := 0
	for at := time.Duration(0); at < 10*time.Minute; at += 7 * time.Millisecond {
		if _, ok := l.admit(began.Add(at), 10); ok {
			admitted++
		}
	}
	if want := 12000 + 20; admitted < want-30 || admitted > want {
		t.Errorf("%d calls in 10 minutes at 1200 a minute", admitted)
	}
}

func TestRampGrows(t *testing.T) {
	t.Parallel()
	l := newLimiter(&Options{RequestsPerMinute: 6000, Burst: time.Second, Ramp: time.Minute}, began)
	rate := func(from time.Duration) (admitted int) {
		for at := from; at < from+5*time.Second; at += time.Millisecond {
			refused, ok := l.admit(began.Add(at), 0)
			switch {
			case ok:
				admitted++
			case refused.code != "" && refused.code != "ramp_limit_exceeded":
				t.Fatalf("refused with %q", refused.code)
			}
		}
		return admitted / 5
	}
	first, middle, full := rate(0), rate(30*time.Second), rate(80*time.Second)
	if first < 10 || first > 20 || middle < 55 || middle > 85 || full < 95 || full > 125 {
		t.Errorf("%d, %d and %d requests a second, want about 14, 60 and 100", first, middle, full)
	}
	if again := rate(5 * time.Minute); again > 20 {
		t.Errorf("%d requests a second after a pause, want to start over", again)
	}
}

func TestLimitHeaders(t *testing.T) {
	t.Parallel()
	l := newLimiter(&Options{RequestsPerMinute: 600, InputTokensPerMinute: 600_000, OutputTokensPerMinute: 60_000, Burst: 10 * time.Second}, began)
	l.admit(began, 20_400)
	l.produced(began, 15_000)
	h := http.Header{}
	l.writeHeaders(h, began)
	got := map[string]string{}
	for name := range h {
		got[name] = h.Get(name)
	}
	want := map[string]string{
		"Anthropic-Ratelimit-Requests-Limit":          "600",
		"Anthropic-Ratelimit-Requests-Remaining":      "99",
		"Anthropic-Ratelimit-Requests-Reset":          "2026-11-22T12:00:01Z",
		"Anthropic-Ratelimit-Input-Tokens-Limit":      "600000",
		"Anthropic-Ratelimit-Input-Tokens-Remaining":  "80000", // rounded to the thousand
		"Anthropic-Ratelimit-Input-Tokens-Reset":      "2026-11-22T12:00:03Z",
		"Anthropic-Ratelimit-Output-Tokens-Limit":     "60000",
		"Anthropic-Ratelimit-Output-Tokens-Remaining": "0", // in debt
		"Anthropic-Ratelimit-Output-Tokens-Reset":     "2026-11-22T12:00:15Z",
		"Anthropic-Ratelimit-Tokens-Limit":            "660000",
		"Anthropic-Ratelimit-Tokens-Remaining":        "80000",
		"Anthropic-Ratelimit-Tokens-Reset":            "2026-11-22T12:00:15Z",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name := range h {
		if http.CanonicalHeaderKey(name) != name {
			t.Errorf("%s is not as package http writes it", name)
		}
	}
}

func TestNoLimitsNoHeaders(t *testing.T) {
	t.Parallel()
	l := newLimiter(&Options{}, began)
	h := http.Header{}
	l.writeHeaders(h, began)
	l.produced(began, 1)
	if _, ok := l.admit(began, 1<<40); !ok || len(h) != 0 {
		t.Errorf("admitted %t with headers %v", ok, h)
	}
}

// A change keeps what a bucket holds and owes; only what has no room in a smaller one is gone.
func TestLimitsChange(t *testing.T) {
	t.Parallel()
	l := newLimiter(&Options{RequestsPerMinute: 600, OutputTokensPerMinute: 6000, Burst: 10 * time.Second}, began)
	l.admit(began, 0)
	l.produced(began, 1500) // 500 in debt
	l.set(began, 60, 600, 3000)
	for name, bucket := range map[string]struct {
		b           *bucket
		level, rate float64
	}{
		"requests, more than there is room for": {l.requests, 10, 1},
		"input, new":                            {l.input, 100, 10},
		"output, in debt":                       {l.output, -500, 50},
	} {
		if bucket.b.level != bucket.level || bucket.b.rate != bucket.rate {
			t.Errorf("%s: level %v and rate %v, want %v and %v", name, bucket.b.level, bucket.b.rate, bucket.level, bucket.rate)
		}
	}
	// The time before a change counts at the rate of then.
	l.set(began.Add(time.Second), 600, 0, 6000)
	if l.requests.level != 10 || l.output.level != -450 || l.input != nil {
		t.Errorf("restored: %+v, %+v, %+v", l.requests, l.input, l.output)
	}
	if _, ok := l.admit(began.Add(time.Second+4500*time.Millisecond), 1<<30); ok {
		t.Error("admitted with an empty bucket of output")
	}
	if _, ok := l.admit(began.Add(time.Second+4510*time.Millisecond), 1<<30); !ok {
		t.Error("refused although the debt is paid and the limit of input taken away")
	}
}

func TestRampFollowsTheLimit(t *testing.T) {
	t.Parallel()
	l := newLimiter(&Options{RequestsPerMinute: 600, Ramp: time.Minute}, began)
	l.set(began, 6000, 0, 0)
	if l.ramp.full != 100 {
		t.Errorf("grows to %v a second, want 100", l.ramp.full)
	}
	l.set(began, 0, 0, 0)
	for range 1000 {
		if refused, ok := l.admit(began, 0); !ok {
			t.Fatalf("refused without a limit: %+v", refused)
		}
	}
}
