package ratelimit_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/ratelimit"
)

// Runs share the limits by weight in tokens, each in a worker process of its own.
func TestRunsShareByWeight(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		weights []float64
		input   []sizes
		silent  bool
	}{
		"alike":              {[]float64{1, 1}, []sizes{fixed(1000), fixed(1000)}, false},
		"3 to 1":             {[]float64{3, 1}, []sizes{fixed(1000), fixed(1000)}, false},
		"3 to 1, found":      {[]float64{3, 1}, []sizes{fixed(1000), fixed(1000)}, true},
		"large beside small": {[]float64{1, 1}, []sizes{fixed(4000), fixed(300)}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newService(0, 1_200_000, 0, seconds(5))
				s.silent = tt.silent
				f := newFleet(t, s)
				defer f.end()
				tokens := make([]atomic.Int64, len(tt.weights))
				for i, weight := range tt.weights {
					f.work(fmt.Sprint("w", i), load{
						run: ratelimit.Run{ID: fmt.Sprint("r", i), Weight: weight}, slots: 64, input: tt.input[i], output: fixed(10), passed: &tokens[i],
					})
				}
				time.Sleep(10 * time.Second)
				before := []int64{tokens[0].Load(), tokens[1].Load()}
				time.Sleep(30 * time.Second)
				a, b := float64(tokens[0].Load()-before[0]), float64(tokens[1].Load()-before[1])
				ratio := a / b / (tt.weights[0] / tt.weights[1])
				t.Logf("tokens %.0f and %.0f, ratio %.3f of what it should be", a, b, ratio)
				if ratio < 0.9 || ratio > 1.1 {
					t.Errorf("tokens %.0f and %.0f by weights %v, want them in that ratio", a, b, tt.weights)
				}
			})
		})
	}
}
