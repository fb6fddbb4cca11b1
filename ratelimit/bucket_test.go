package ratelimit

import (
	"testing"
	"time"
)

func TestBucketWait(t *testing.T) {
	t.Parallel()
	const s = time.Second
	tests := map[string]struct {
		perMinute         int64
		headroom, atLeast float64
		taken             float64 // at time 0
		now               time.Duration
		cost              float64
		want              time.Duration
	}{
		"no limit":                              {perMinute: 0, cost: 1e9, want: 0},
		"a full bucket holds one second":        {perMinute: 600, cost: 10, want: 0},
		"nothing is free":                       {perMinute: 600, taken: 10, cost: 0, want: 0},
		"empty: the cost's own time":            {perMinute: 600, taken: 10, cost: 5, want: s / 2},
		"half refilled":                         {perMinute: 600, taken: 10, now: s / 4, cost: 5, want: s / 4},
		"never fuller than the burst":           {perMinute: 600, taken: 10, now: time.Hour, cost: 10, want: 0},
		"larger than the bucket: until full":    {perMinute: 600, taken: 4, cost: 1000, want: 2 * s / 5},
		"larger than the bucket: at once":       {perMinute: 600, cost: 1000, want: 0},
		"in debt: debt first":                   {perMinute: 600, taken: 110, cost: 1, want: 10*s + s/10},
		"a slow limit still holds one request":  {perMinute: 6, atLeast: 1, cost: 1, want: 0},
		"a slow limit's second request":         {perMinute: 6, atLeast: 1, taken: 1, cost: 1, want: 10 * s},
		"headroom slows":                        {perMinute: 600, headroom: 0.5, taken: 5, cost: 5, want: s},
		"headroom of all leaves one a minute":   {perMinute: 600, headroom: 1, atLeast: 1, taken: 1, cost: 1, want: 60 * s},
		"rounded up to what the clock can meet": {perMinute: 7 * 60, taken: 7, cost: 1, want: 142858 * time.Microsecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBucket(tt.perMinute, tt.headroom, tt.atLeast).take(0, tt.taken)
			got := b.wait(tt.now, tt.cost)
			if got != tt.want {
				t.Errorf("wait = %v, want %v", got, tt.want)
			}
			if rest := b.wait(tt.now+got, tt.cost); rest != 0 {
				t.Errorf("after the wait another %v is left", rest)
			}
		})
	}
}

func TestBucketTake(t *testing.T) {
	t.Parallel()
	b := newBucket(60, 0, 10) // 1 a second, holds 10
	steps := []struct {
		name string
		now  time.Duration
		cost float64
		want float64
	}{
		{"take", 0, 4, 6},
		{"refill while taking", 2 * time.Second, 1, 7},
		{"an older time refills nothing", time.Second, 1, 6},
		{"into debt", 2 * time.Second, 20, -14},
		{"give back", 2 * time.Second, -10, -4},
		{"give back no more than it holds", 3 * time.Second, -100, 10},
	}
	for _, step := range steps {
		if b = b.take(step.now, step.cost); b.level != step.want {
			t.Fatalf("%s: level %v, want %v", step.name, b.level, step.want)
		}
	}
}
