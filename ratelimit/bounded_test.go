package ratelimit_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/ratelimit"
)

// A server without limits that works on some calls at once and lets the others queue is kept busy, and calls hardly wait
// there. The first window is 16 calls at once, so one that works on fewer is never seen when it is quick. The worker
// could always start more.
func TestBoundedParallelismIsFound(t *testing.T) {
	t.Parallel()
	for atOnce, most := range map[int]float64{8: 4, 40: 2} {
		t.Run(fmt.Sprint(atOnce), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newService(0, 0, 0, 0)
				s.latency, s.atOnce, s.silent = 2*time.Second, atOnce, true
				f := newFleet(t, s)
				defer f.end()
				f.work("w", load{run: ratelimit.Run{ID: "r"}, slots: 4000, input: fixed(1000), output: fixed(200)})
				time.Sleep(2 * time.Minute)
				s.measure()
				time.Sleep(2 * time.Minute)
				_, _, rate := s.result()
				s.mu.Lock()
				mean := (s.since.latency / time.Duration(s.since.passed+1)).Seconds()
				s.mu.Unlock()
				base := 2 * 1.046 // the mean of a lognormal of that spread
				if best := float64(atOnce) / base; rate < 0.9*best || mean > most*base {
					t.Errorf("%.2f calls a second at %.1f s each; want 0.9 of %.2f, in less than %.1f s", rate, mean, best, most*base)
				}
			})
		})
	}
}
