package ratelimit

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// step is what is seen with one look, a second after the one before.
type step struct {
	seen     [kinds]noted // At is set to now where a limit is said
	used     amounts
	answered float64 // calls
	refused  amounts // calls, by kind
	denied   [kinds + 1]float64
	rises    float64
	headroom float64
	lost     bool // Redis has lost its totals
}

// steered are the settings after some looks at a scope of which nothing was known.
func steered(s settings, steps []step) settings {
	r := reply{Now: 1_000_000}
	for _, p := range steps {
		if p.lost {
			r = reply{Now: r.Now}
		}
		r.Now += second
		r.Used = r.Used.plus(p.used)
		r.Done[answered] += p.answered
		r.Done[latency] += 300 * p.answered
		for k := range p.seen {
			if p.seen[k].Limit != 0 {
				r.Seen[k] = p.seen[k]
				r.Seen[k].At = float64(r.Now)
			}
			r.Done[refused+k] += p.refused[k]
		}
		for k := range p.denied {
			r.Denied[k] += p.denied[k]
		}
		r.Rises += p.rises
		r.Headroom = p.headroom
		s = steer(s, &r)
	}
	return s
}

// tells are steps in which the service says limits of requests, input, output and tokens.
func tells(limits amounts, left float64) step {
	var s step
	for k, limit := range limits {
		s.seen[k] = noted{Limit: limit, Left: left * limit}
	}
	s.answered = 1
	return s
}

func TestSteer(t *testing.T) {
	t.Parallel()
	refuses := step{used: amounts{10}, answered: 10, refused: amounts{1}}
	passes := step{used: amounts{20}, answered: 20}
	wanted := step{denied: [kinds + 1]float64{1}}
	tests := map[string]struct {
		steps    []step
		wantRate amounts // to 0.1 %
		wantAny  bool    // a limit on calls at once
	}{
		"nothing known: some calls at once":          {[]step{{}}, amounts{}, true},
		"told: nearly all of it, any number at once": {[]step{tells(amounts{1000}, 1)}, amounts{990}, false},
		"headroom is left free":                      {[]step{{}, func() step { s := tells(amounts{1000}, 1); s.headroom = 0.2; return s }()}, amounts{792}, false},
		"tokens that are the sum say nothing new":    {[]step{tells(amounts{0, 800, 200, 1000}, 1)}, amounts{0, 792, 198, 0}, false},
		"tokens below the sum are a limit":           {[]step{tells(amounts{0, 800, 200, 900}, 1)}, amounts{0, 792, 198, 891}, false},
		"tokens alone are a limit":                   {[]step{tells(amounts{0, 0, 0, 900}, 1)}, amounts{0, 0, 0, 891}, false},
		"one refusal beside what is told is chance":  {[]step{tells(amounts{6000}, 1), passes, refuses, passes}, amounts{5940}, false},
		"silent: what passed is what passes":         {[]step{{}, passes, passes, passes, refuses}, amounts{0.93 * 60 * 70 / 4}, true},
		"silent: grows only when more is wanted":     {[]step{{}, passes, passes, passes, refuses, passes, passes}, amounts{0.93 * 60 * 70 / 4}, true},
		"silent: grows when more is wanted":          {[]step{{}, passes, passes, passes, refuses, wanted, wanted, wanted, wanted, wanted, wanted, wanted}, amounts{0.99125 * 60 * 70 / 4}, true},
		"Redis lost its totals: that is no refusal":  {[]step{{}, passes, {lost: true, refused: amounts{5}}, {}}, amounts{}, true},
		"jumping limits are not heeded":              {[]step{tells(amounts{100}, 1), {rises: 5}}, amounts{}, true},
		"some rises may be":                          {[]step{tells(amounts{1000}, 1), {rises: 4}}, amounts{990}, false},
		"nonsense is no limit":                       {[]step{tells(amounts{-5, -1, -1e300, 0}, 1)}, amounts{}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := steered(firstSettings(), tt.steps)
			for k := range s.Rate {
				if diff := s.Rate[k] - tt.wantRate[k]; diff > 0.001*tt.wantRate[k] || -diff > 0.001*tt.wantRate[k] {
					t.Errorf("rates %v, want %v", s.Rate, tt.wantRate)
					break
				}
			}
			if s.Concurrency > 0 != tt.wantAny {
				t.Errorf("%d calls at once; want a limit: %v", s.Concurrency, tt.wantAny)
			}
			if s.Burst[Requests] < 1 {
				t.Errorf("a bucket of %v requests, want 1 at least", s.Burst[Requests])
			}
		})
	}
}

// It is a pure function: the same twice gives the same, and what it was given stays as it was.
func TestSteerIsPure(t *testing.T) {
	t.Parallel()
	first := firstSettings()
	steps := []step{tells(amounts{1000, 2000}, 0.5), {used: amounts{10, 100}, answered: 10}, {refused: amounts{1}}}
	a := steered(first, steps)
	if diff := cmp.Diff(a, steered(first, steps)); diff != "" {
		t.Errorf("the same looks give different settings, -first +second:\n%s", diff)
	}
	if diff := cmp.Diff(firstSettings(), first); diff != "" {
		t.Errorf("the present settings were changed, -want +got:\n%s", diff)
	}
}

// What another version has learned, or garbage, is learned anew, and settings always replace the ones before.
func TestSteerOfAnotherVersion(t *testing.T) {
	t.Parallel()
	for name, learnedText := range map[string]string{
		"nothing": "", "garbage": "\x00", "a list": "[1,2]", "other types": `{"told":"x","window":[]}`, "unknown fields": `{"future":{"a":1}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			present := settings{Version: 5_000_000, Learned: learnedText}
			s := steered(present, []step{tells(amounts{1000}, 1)})
			if s.Rate[Requests] != 990 || s.Version != 5_000_001 {
				t.Errorf("rate %v, version %d; want 990 and the next version", s.Rate, s.Version)
			}
			var l learned
			if err := json.Unmarshal([]byte(s.Learned), &l); err != nil || l.Window.Size != firstWindow {
				t.Errorf("learned %s (%v), want a first window", s.Learned, err)
			}
		})
	}
}

// However long it goes on, what travels with each exchange stays small.
func TestSteerLearnsInLittleSpace(t *testing.T) {
	t.Parallel()
	s := firstSettings()
	var steps []step
	for i := range 2000 {
		p := tells(amounts{1000 + float64(i), 20_000, 5000, 25_000}, 0.3)
		p.used, p.answered = amounts{20, 20_000, 4000, 24_000}, 20
		if i%17 == 0 {
			p.refused[i%4] = 1
		}
		steps = append(steps, p)
	}
	if s = steered(s, steps); len(s.Learned) > 8000 {
		t.Errorf("%d bytes of what was learned, want a few thousand", len(s.Learned))
	}
}

// A job's own bounds are kept as they are, with a bucket of half a second.
func TestSettingsOfBounds(t *testing.T) {
	t.Parallel()
	got := settingsOf(Limits{Concurrency: 3, RequestsPerMinute: 12, InputTokensPerMinute: 6000}, 7)
	want := settings{Version: 7, Rate: amounts{12, 6000}, Burst: amounts{1, 50}, Slack: slack, Concurrency: 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if (Limits{}).Any() || !(Limits{Concurrency: 1}).Any() {
		t.Error("Any is wrong")
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	var h history
	if got := h.lastMinute(); got != (amounts{}) {
		t.Errorf("%v used before anything was", got)
	}
	for i := range 200 { // one a half second
		h.add(1_000_000+ms(i)*500, amounts{float64(i)}, [kinds + 1]float64{})
	}
	if got := h.lastMinute(); got[Requests] < 118 || got[Requests] > 122 {
		t.Errorf("%v used in the last minute, want 120", got)
	}
	if len(h.moments) > 62 {
		t.Errorf("%d moments are kept of a minute", len(h.moments))
	}
	h.add(1_200_000, amounts{10}, [kinds + 1]float64{}) // Redis lost its totals
	h.add(1_201_000, amounts{13}, [kinds + 1]float64{})
	if got := h.lastMinute(); got[Requests] != 3 {
		t.Errorf("%v used since Redis lost its totals, want 3", got)
	}
	h.add(1_100_000, amounts{14}, [kinds + 1]float64{}) // and its clock went back
	if got := h.lastMinute(); got[Requests] != 0 {
		t.Errorf("%v used since the clock went back, want 0", got)
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	limits := []LimitState{{Kind: "requests", Effective: 1000}, {Kind: "output tokens", Effective: 80_000}}
	tests := map[string]struct {
		s    State
		own  bool
		want string
	}{
		"nothing":      {State{}, false, ""},
		"requests":     {State{Bound: BoundByRequests, Limits: limits}, false, "the API's limit of 1000 requests a minute"},
		"own":          {State{Bound: BoundByOutput, Limits: limits}, true, "the job's limit of 80000 output tokens a minute"},
		"headroom":     {State{Bound: BoundByRequests, Limits: limits, Headroom: 0.2}, false, "the API's limit of 1000 requests a minute, less 20% headroom"},
		"unknown rate": {State{Bound: BoundByInput}, false, "the API's limit of input tokens"},
		"at once":      {State{Bound: BoundByConcurrency, Concurrency: 4}, true, "the job's limit of 4 calls at once"},
		"Redis":        {State{Bound: BoundByRedis}, false, "Redis does not answer, and without it no call may start"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tt.s.why(tt.own); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	if got := (State{Bound: BoundByHold, Reason: "429"}).why(false); !strings.HasPrefix(got, "held until ") || !strings.HasSuffix(got, ": 429") {
		t.Errorf("%q, want until when and why", got)
	}
	for bound, want := range map[Bound]string{-1: "unknown", BoundByNothing: "", BoundByTokens: "tokens", BoundByRedis: "redis", bounds: "unknown"} {
		if got := bound.String(); got != want {
			t.Errorf("bound %d is %q, want %q", bound, got, want)
		}
	}
}
