package courier

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// What a worker says of its limits arrives as it was said.
func TestReportOfLimitsTravels(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	said := Beat{Version: formatVersion, Host: "h", Slots: 64, At: now.Add(-time.Second), Report: Report{
		InFlight: 3, Waiting: 9, Why: "the API's limit of 1,000 requests/min", BoundBy: "requests", Limits: []Limits{
			{Own: true, Concurrency: 64, InFlight: 3},
			{
				Scope: "haiku-4-5", Account: "0123456789abcdef", Headroom: 0.2, Answered: true, BoundBy: "hold", Until: now.Add(time.Minute), Reason: "429",
				Rates: []Rate{{Kind: "requests", Learned: 1000, Effective: 800, Left: new(0.0), Used: 790}, {Kind: "output", Effective: 5}},
			},
		},
	}}
	encoded, err := json.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	if len(encoded) > 1000 {
		t.Errorf("a beat takes %d bytes", len(encoded))
	}
	var heard Beat
	if err := json.Unmarshal(encoded, &heard); err != nil {
		t.Fatal(err)
	}
	heard.restrain(now)
	if diff := cmp.Diff(said, heard); diff != "" {
		t.Errorf("(-said +heard):\n%s", diff)
	}
}

// Whatever is in Redis, a beat that is read from it is small, holds numbers, and can be written as JSON.
func TestHostileReportIsRestrained(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	many := make([]Limits, 10_000)
	rates := make([]Rate, 10_000)
	for i := range rates {
		rates[i] = Rate{Kind: []string{"requests", "x", "input", ""}[i%4], Used: 1}
	}
	inf, nan := math.Inf(1), math.NaN()
	for name, beat := range map[string]Beat{
		"many limits": {Report: Report{Limits: many}},
		"many rates":  {Report: Report{Limits: []Limits{{Rates: rates}}}},
		"huge texts": {
			Host: strings.Repeat("h", 1<<20), Refused: strings.Repeat("é", 1<<20), Report: Report{
				Why: strings.Repeat("\x1b[2J", 1<<18), BoundBy: strings.Repeat("x", 1<<20),
				Limits: []Limits{{Scope: strings.Repeat("界", 1<<20), Account: strings.Repeat("a", 1<<20), Reason: strings.Repeat("\xff", 1<<20), BoundBy: "everything"}},
			},
		},
		"no numbers": {Report: Report{Limits: []Limits{{
			Headroom: nan, Rates: []Rate{{Kind: "requests", Learned: nan, Effective: inf, Left: &nan, Used: -inf}, {Kind: "input", Left: &inf}},
		}}}},
		"negative numbers": {Slots: math.MinInt, Report: Report{InFlight: math.MinInt, Waiting: -1, Limits: []Limits{{
			Headroom: -1, Concurrency: math.MinInt, InFlight: -1, Rates: []Rate{{Kind: "requests", Learned: -1, Effective: -1, Left: new(-1.0), Used: -1}},
		}}}},
		"large numbers": {Slots: math.MaxInt, At: now.AddDate(500, 0, 0), Report: Report{InFlight: math.MaxInt, Waiting: math.MaxInt, Limits: []Limits{{
			Headroom: 1, Concurrency: math.MaxInt, InFlight: math.MaxInt, Until: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC),
			Rates: []Rate{{Kind: "requests", Learned: 1e308, Effective: 1e308, Left: new(1e308), Used: 1e308}},
		}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beat.restrain(now)
			encoded, err := json.Marshal(beat)
			if err != nil || len(encoded) > 10_000 || !utf8.Valid(encoded) {
				t.Errorf("%d bytes of JSON, %v", len(encoded), err)
			}
			for _, n := range []int{beat.Slots, beat.InFlight, beat.Waiting} {
				if n < 0 || n > mostCounted {
					t.Errorf("a count of %d", n)
				}
			}
			if beat.At.After(now) || beat.BoundBy != "" {
				t.Errorf("said at %v, bound by %q", beat.At, beat.BoundBy)
			}
			for _, l := range beat.Limits {
				if l.Headroom < 0 || l.Headroom >= 1 || l.Concurrency < 0 || l.InFlight < 0 || l.BoundBy != "" || !l.Until.IsZero() || len(l.Rates) > len(RateKinds) {
					t.Errorf("%+v", l)
				}
				for _, r := range l.Rates {
					amounts := []float64{r.Learned, r.Effective, r.Used}
					if r.Left != nil {
						amounts = append(amounts, *r.Left)
					}
					for _, x := range amounts {
						if !(x >= 0 && x <= mostRate) {
							t.Errorf("an amount of %v in %+v", x, r)
						}
					}
				}
			}
		})
	}
}
