package ratelimit_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/ratelimit"
)

// Requests that are larger than the bucket are called among small ones, and keep nobody from being called.
func TestLargerThanTheBucket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(0, 1_200_000, 0, seconds(5))
		f := newFleet(t, s)
		defer f.end()
		var large, small atomic.Int64
		f.work("large", load{run: ratelimit.Run{ID: "large"}, slots: 4, input: fixed(30_000), output: fixed(10), passed: &large})
		f.work("small", load{run: ratelimit.Run{ID: "small"}, slots: 32, input: fixed(500), output: fixed(10), passed: &small})
		time.Sleep(5 * time.Second)
		s.measure()
		time.Sleep(time.Minute)
		expect(t, s, "both", 0.90, 1.05, 0.01)
		if l, m := large.Load(), small.Load(); l < (l+m)/10 || m < (l+m)/10 {
			t.Errorf("%d tokens of large calls and %d of small ones, want a part for both", l, m)
		}
	})
}
