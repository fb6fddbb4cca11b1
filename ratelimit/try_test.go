package ratelimit

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestTryAdmit(t *testing.T) {
	t.Parallel()
	large := Cost{Requests: 1, Input: 30_000}
	tests := map[string]struct {
		limits Limits
		before func(t *testing.T, l *Limiter)
		cost   Cost
		bound  Bound
		wait   time.Duration
	}{
		"nothing binds":           {Limits{}, nil, large, BoundByNothing, 0},
		"a free slot":             {Limits{Concurrency: 1}, nil, oneCall, BoundByNothing, 0},
		"no free slot":            {Limits{Concurrency: 1}, take(oneCall), oneCall, BoundByConcurrency, 0},
		"a full bucket":           {Limits{InputTokensPerMinute: 60_000}, nil, large, BoundByNothing, 0},
		"debt":                    {Limits{InputTokensPerMinute: 60_000}, take(large), Cost{Input: 1}, BoundByInput, 29*time.Second + time.Millisecond},
		"what the call costs not": {Limits{InputTokensPerMinute: 60_000}, take(large), Cost{Output: 9}, BoundByNothing, 0},
		"a hold": {Limits{}, func(_ *testing.T, l *Limiter) {
			l.Hold(time.Now().Add(time.Minute), "429")
		}, oneCall, BoundByHold, time.Minute},
		"somebody waits for more than this needs": {Limits{InputTokensPerMinute: 60_000}, func(t *testing.T, l *Limiter) {
			t.Helper()
			take(Cost{Input: 10})(t, l)
			go l.Admit(t.Context(), large)
			synctest.Wait()
		}, Cost{Input: 1}, BoundByInput, 10 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := New(tt.limits)
				if tt.before != nil {
					tt.before(t, l)
				}
				before := l.State().InFlight
				permit, bound, wait := l.TryAdmit(tt.cost)
				if bound != tt.bound || wait != tt.wait || (permit != nil) != (bound == BoundByNothing) {
					t.Errorf("bound by %q for %v, want %q for %v", bound, wait, tt.bound, tt.wait)
				}
				s := l.State()
				if s.Bound != tt.bound {
					t.Errorf("the state says bound by %q", s.Bound)
				}
				if permit != nil {
					if s.InFlight != before+1 {
						t.Errorf("%d in flight after %d", s.InFlight, before)
					}
					return
				}
				if s.InFlight != before {
					t.Errorf("refused, and %d in flight after %d", s.InFlight, before)
				}
				time.Sleep(wait)
				if _, again, rest := l.TryAdmit(tt.cost); wait > 0 && again == tt.bound && rest == wait {
					t.Errorf("after the wait the same is left: %v", rest)
				}
				time.Sleep(time.Hour) // for who waits in Admit
			})
		})
	}
}

func take(c Cost) func(*testing.T, *Limiter) {
	return func(t *testing.T, l *Limiter) {
		t.Helper()
		admit(t, l, c)
	}
}

// Holds: asking again and again takes nothing away from a call that waits in its turn.
func TestTryAdmitStarvesNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{InputTokensPerMinute: 60_000})
		take(Cost{Input: 1000})(t, l)
		begin := time.Now()
		var waited time.Duration
		go func() {
			admit(t, l, Cost{Input: 30_000})
			waited = time.Since(begin)
		}()
		synctest.Wait()
		for time.Since(begin) < 2*time.Minute {
			permit, bound, wait := l.TryAdmit(Cost{Input: 10})
			if permit != nil {
				permit.Settle(Cost{Input: 10})
			} else if bound == BoundByConcurrency || wait <= 0 {
				t.Fatalf("bound by %q for %v", bound, wait)
			}
			time.Sleep(max(wait, time.Microsecond))
		}
		if waited != time.Second {
			t.Errorf("the call that waited started after %v, want 1 s", waited)
		}
	})
}

func TestSetLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{InputTokensPerMinute: 60_000, Concurrency: 4}) // 1,000 a second
		wait := func(tokens int64) time.Duration {
			_, _, wait := l.TryAdmit(Cost{Input: tokens})
			return wait
		}
		permits := []*Permit{admit(t, l, Cost{Input: 900}), admit(t, l, Cost{})}
		l.SetLimits(Limits{InputTokensPerMinute: 30_000, Concurrency: 2})
		if _, bound, _ := l.TryAdmit(Cost{}); bound != BoundByConcurrency {
			t.Errorf("with 2 of 2 in flight bound by %q", bound)
		}
		permits[1].Release()
		if got := wait(200); got != 200*time.Millisecond {
			t.Errorf("100 left and 500 a second: wait of %v for 200", got)
		}
		time.Sleep(time.Hour)
		l.SetLimits(Limits{InputTokensPerMinute: 120_000, Concurrency: 2})
		if got := wait(1500); got != 500*time.Millisecond {
			t.Errorf("a raised limit was full at once: wait of %v", got)
		}
		l.SetLimits(Limits{InputTokensPerMinute: 6000, Concurrency: 2})
		if got := wait(100); got != 0 {
			t.Errorf("wait of %v for what a lowered limit's burst holds", got)
		}
		l.SetLimits(Limits{OutputTokensPerMinute: 6000, Concurrency: 2})
		if got := wait(1e6); got != 0 {
			t.Errorf("wait of %v after the limit was lifted", got)
		}
		permits[0].Release()
	})
}

// Holds: who waits for a limit that is raised starts as soon as the new one allows.
func TestSetLimitsWakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Concurrency: 1})
		take(oneCall)(t, l)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			time.Sleep(time.Second)
			l.SetLimits(Limits{Concurrency: 2})
		}()
		begin := time.Now()
		if _, err := l.Admit(ctx, oneCall); err != nil || time.Since(begin) != time.Second {
			t.Errorf("admitted after %v, %v", time.Since(begin), err)
		}
	})
}
