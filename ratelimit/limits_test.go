package ratelimit_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/ratelimit"
)

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// start starts so many workers of one run with calls of about 1,000 tokens in and 200 out.
func start(f *fleet, workers int, run ratelimit.Run, input, output sizes) {
	for i := range workers {
		f.work(fmt.Sprint("w", i), load{run: run, slots: 256 / workers, input: input, output: output})
	}
}

// A service that says what its limits are is used to the full, and next to none of the calls are refused: by one worker
// and by many, whichever limit binds, however large the service's buckets are.
func TestToldLimitsAreUsed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		workers          int
		requests, tokens float64
		burst            time.Duration
		input            sizes
		seconds          int
	}{
		"requests, 1 worker, bucket of 1 s":    {1, 1200, 0, time.Second, fixed(1000), 25},
		"requests, 1 worker, bucket of 1 min":  {1, 1200, 0, time.Minute, fixed(1000), 25},
		"input, 1 worker, bucket of 1 s":       {1, 0, 1_200_000, time.Second, fixed(1000), 25},
		"mixed sizes, 1 worker, bucket of 5 s": {1, 0, 1_200_000, seconds(5), lognormal(700, 0.8), 25},
		"requests, 16 workers, bucket of 1 s":  {16, 1200, 0, time.Second, fixed(1000), 20},
		"mixed, 16 workers, bucket of 5 s":     {16, 0, 1_200_000, seconds(5), lognormal(700, 0.8), 20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newService(tt.requests, tt.tokens, 0, tt.burst)
				f := newFleet(t, s)
				defer f.end()
				start(f, tt.workers, ratelimit.Run{ID: "r"}, tt.input, fixed(200))
				time.Sleep(5 * time.Second)
				s.measure()
				time.Sleep(seconds(tt.seconds))
				used, refused, _ := s.result()
				t.Logf("used %.3f, refused %.4f", used, refused)
				if used < 0.97 || refused > 0.001 {
					t.Errorf("used %.3f of the limit, %.2f%% refused; want 0.97 and 0.1%%", used, 100*refused)
				}
			})
		})
	}
}

// A service that says nothing of its limits is found out by what it refuses, within a minute.
func TestSilentLimitsAreFound(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		workers                 int
		requests, input, output float64
		burst                   time.Duration
		outputs                 sizes
		seconds                 int
	}{
		"requests, 1 worker, bucket of 1 s":  {1, 1200, 0, 0, time.Second, fixed(200), 30},
		"requests, 1 worker, bucket of 5 s":  {1, 1200, 0, 0, seconds(5), fixed(200), 30},
		"input, 1 worker, bucket of 1 s":     {1, 0, 1_200_000, 0, time.Second, fixed(200), 30},
		"output of many lengths, 1 worker":   {1, 0, 0, 240_000, seconds(5), guessed(180, 0.5), 30},
		"requests, 4 workers, bucket of 1 s": {4, 1200, 0, 0, time.Second, fixed(200), 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newService(tt.requests, tt.input, tt.output, tt.burst)
				s.silent = true
				f := newFleet(t, s)
				defer f.end()
				start(f, tt.workers, ratelimit.Run{ID: "r"}, fixed(1000), tt.outputs)
				time.Sleep(time.Minute)
				s.measure()
				time.Sleep(seconds(tt.seconds))
				used, refused, _ := s.result()
				t.Logf("used %.3f, refused %.4f", used, refused)
				if used < 0.90 || refused > 0.01 {
					t.Errorf("used %.3f of the limit, %.2f%% refused; want 0.90 and 1%%", used, 100*refused)
				}
			})
		})
	}
}
