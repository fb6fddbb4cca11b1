package ratelimit

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var oneCall = Cost{Requests: 1}

func admit(t *testing.T, l *Limiter, c Cost) *Permit {
	t.Helper()
	p, err := l.Admit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// started is one admitted call of a load.
type started struct {
	at   time.Duration
	cost Cost
}

// load keeps callers busy for a virtual time and returns what was started, in order.
func load(t *testing.T, l *Limiter, callers int, length, latency time.Duration, cost func(i int) Cost) []started {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		log  []started
		next int
	)
	begin := time.Now()
	for range callers {
		all.Go(func() {
			for {
				mu.Lock()
				c := cost(next)
				next++
				mu.Unlock()
				p, err := l.Admit(ctx, c)
				if err != nil {
					return
				}
				mu.Lock()
				log = append(log, started{time.Since(begin), c})
				mu.Unlock()
				if latency > 0 {
					select {
					case <-time.After(latency):
					case <-ctx.Done():
					}
				}
				p.Settle(c)
			}
		})
	}
	all.Wait()
	return log
}

// Holds G7 in one process: in any 60 s no more starts than the limit and the burst, and the limit is used up.
func TestAnyMinuteStaysWithinTheLimitAndUsesIt(t *testing.T) {
	t.Parallel()
	mixed := func(i int) Cost { return Cost{1, int64(100 + i*7919%900), int64(10 + i*104729%190)} }
	tests := map[string]struct {
		limits  Limits
		latency time.Duration
		want    Bound
	}{
		"requests":            {Limits{RequestsPerMinute: 300}, 0, BoundByRequests},
		"one request in 10 s": {Limits{RequestsPerMinute: 6}, time.Second, BoundByRequests},
		"input":               {Limits{InputTokensPerMinute: 100_000}, 0, BoundByInput},
		"output":              {Limits{OutputTokensPerMinute: 20_000}, time.Second, BoundByOutput},
		"headroom":            {Limits{InputTokensPerMinute: 100_000, Headroom: 0.4}, 0, BoundByInput},
		"all, input binds": {
			Limits{RequestsPerMinute: 10_000, InputTokensPerMinute: 100_000, OutputTokensPerMinute: 90_000}, time.Second, BoundByInput,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := New(tt.limits)
				const length = 10 * time.Minute
				log := load(t, l, 20, length, tt.latency, mixed)
				for i, perMinute := range []int64{
					tt.limits.RequestsPerMinute, tt.limits.InputTokensPerMinute, tt.limits.OutputTokensPerMinute,
				} {
					if perMinute == 0 {
						continue
					}
					rate := float64(perMinute) * (1 - tt.limits.Headroom)
					burst := max(rate/60, mixed(0).costs()[i])
					if bucketBounds[i] != BoundByRequests {
						burst = rate/60 + []float64{1, 1000, 200}[i] // a call larger than the burst goes into debt
					}
					sum, first := 0.0, 0
					for _, s := range log {
						sum += s.cost.costs()[i]
						for s.at-log[first].at >= time.Minute {
							sum -= log[first].cost.costs()[i]
							first++
						}
						if sum > rate+burst+1e-6 {
							t.Fatalf("%v: %.0f in a minute up to %v, limit %.0f and burst %.0f", bucketBounds[i], sum, s.at, rate, burst)
						}
					}
					total := 0.0
					for _, s := range log {
						total += s.cost.costs()[i]
					}
					if share := total / (rate * length.Minutes()); bucketBounds[i] == tt.want && share < 0.98 {
						t.Errorf("%v: %.3f of the limit used", bucketBounds[i], share)
					}
				}
			})
		})
	}
}

func TestConcurrencyBinds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Concurrency: 3})
		log := load(t, l, 10, 59*time.Second+time.Second/2, time.Second, func(int) Cost { return oneCall })
		if len(log) != 180 {
			t.Errorf("%d calls of 1 s in a minute with 3 slots", len(log))
		}
	})
}

func TestFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{InputTokensPerMinute: 60_000, Concurrency: 100})
		var got []int
		var want []int
		for i := range 50 {
			size := int64(10)
			if i == 3 {
				size = 30_000 // larger than the bucket: the small ones behind it must not pass
			}
			want = append(want, i)
			go func() {
				p, err := l.Admit(t.Context(), Cost{Requests: 1, Input: size})
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, i) // one at a time: each is a second's part after the other
				p.Settle(Cost{Requests: 1, Input: size})
			}()
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLargeCostGoesIntoDebt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{InputTokensPerMinute: 60_000})
		begin := time.Now()
		admit(t, l, Cost{Input: 500})
		admit(t, l, Cost{Input: 31_000}) // when the bucket of 1,000 is full again
		if at := time.Since(begin); at != time.Second/2 {
			t.Errorf("the large call started after %v", at)
		}
		admit(t, l, Cost{Input: 1})
		if at := time.Since(begin); at < 30*time.Second || at > 31*time.Second {
			t.Errorf("the call after it started after %v", at)
		}
	})
}

func TestSettleAndReleaseCorrectTheBuckets(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		end  func(*Permit)
		want time.Duration // until the next call of 1,000 tokens starts
	}{
		"as estimated":       {func(p *Permit) { p.Settle(Cost{1, 1000, 0}) }, time.Second},
		"less was used":      {func(p *Permit) { p.Settle(Cost{1, 400, 0}) }, 400 * time.Millisecond},
		"more was used":      {func(p *Permit) { p.Settle(Cost{1, 3000, 0}) }, 3 * time.Second},
		"never made":         {(*Permit).Release, 0},
		"only the first end": {func(p *Permit) { p.Settle(Cost{1, 1000, 0}); p.Release(); p.Settle(Cost{}) }, time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := New(Limits{InputTokensPerMinute: 60_000, RequestsPerMinute: 600, Concurrency: 1})
				tt.end(admit(t, l, Cost{1, 1000, 0}))
				begin := time.Now()
				admit(t, l, Cost{1, 1000, 0})
				if got := time.Since(begin); got != tt.want {
					t.Errorf("waited %v, want %v", got, tt.want)
				}
				if n := l.State().InFlight; n != 1 {
					t.Errorf("%d in flight", n)
				}
			})
		})
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Concurrency: 2})
		begin := time.Now()
		running := admit(t, l, oneCall)
		l.Hold(begin.Add(10*time.Second), "429")
		l.Hold(begin.Add(5*time.Second), "shorter")
		if got, want := l.State(), (State{
			Bound: BoundByHold, Until: begin.Add(10 * time.Second), Reason: "429", InFlight: 1, Limits: l.limits,
		}); !cmp.Equal(got, want) {
			t.Error(cmp.Diff(want, got))
		}
		go func() {
			time.Sleep(8 * time.Second)
			running.Settle(oneCall)
			l.Hold(begin.Add(20*time.Second), "again")
		}()
		admit(t, l, oneCall)
		if got := time.Since(begin); got != 20*time.Second {
			t.Errorf("started after %v", got)
		}
		admit(t, l, oneCall) // the hold is over
		if got := time.Since(begin); got != 20*time.Second {
			t.Errorf("second started after %v", got)
		}
	})
}

// Holds: waiters that give up leave nothing behind, and those after them move up at once.
func TestCancelledWaitersLeaveNoTrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{InputTokensPerMinute: 60_000})
		admit(t, l, Cost{Input: 1000}).Settle(Cost{Input: 1000})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if _, err := l.Admit(ctx, Cost{Input: 1000}); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		begin := time.Now()
		admit(t, l, Cost{Input: 200})
		if got := time.Since(begin); got != 200*time.Millisecond {
			t.Errorf("waited %v behind those who gave up", got)
		}
		all.Wait()
		if s := l.State(); s.Waiting != 0 || s.InFlight != 1 {
			t.Errorf("%d waiting, %d in flight", s.Waiting, s.InFlight)
		}
		if _, err := l.Admit(ctx, Cost{}); err == nil {
			t.Error("a context that has ended was admitted")
		}
	})
}

func TestState(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		limits Limits
		cost   Cost
		bound  Bound
		why    string
	}{
		"nothing":     {Limits{}, Cost{1, 1e6, 1e6}, BoundByNothing, ""},
		"concurrency": {Limits{Concurrency: 1}, oneCall, BoundByConcurrency, "limit of 1 calls at once"},
		"requests":    {Limits{RequestsPerMinute: 30}, oneCall, BoundByRequests, "limit of 30 requests a minute"},
		"input": {
			Limits{RequestsPerMinute: 600, InputTokensPerMinute: 60, OutputTokensPerMinute: 600, Headroom: 0.25},
			Cost{1, 10, 10},
			BoundByInput, "limit of 60 input tokens a minute, less 25% headroom",
		},
		"output": {
			Limits{InputTokensPerMinute: 600, OutputTokensPerMinute: 60},
			Cost{1, 10, 10},
			BoundByOutput, "limit of 60 output tokens a minute",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := New(tt.limits)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for range 2 {
					go func() { _, _ = l.Admit(ctx, tt.cost) }()
				}
				synctest.Wait()
				s := l.State()
				if s.Bound != tt.bound || s.Why() != tt.why {
					t.Errorf("bound by %q: %q", s.Bound, s.Why())
				}
				if timed := s.Bound != BoundByNothing && s.Bound != BoundByConcurrency; timed != s.Until.After(time.Now()) {
					t.Errorf("until %v", s.Until)
				}
			})
		})
	}
	held := State{Bound: BoundByHold, Until: time.Date(2026, 11, 22, 14, 3, 7, 0, time.Local), Reason: "429 from the API"}
	if got, want := held.Why(), "held until 14:03:07: 429 from the API"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDebtOfCenturiesIsNotForgiven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{InputTokensPerMinute: 1})
		admit(t, l, Cost{Input: math.MaxInt32})
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		if _, err := l.Admit(ctx, Cost{Input: math.MaxInt32}); err == nil {
			t.Error("admitted although in debt for centuries")
		}
	})
}

func BenchmarkAdmitUncontended(b *testing.B) {
	l := New(Limits{Concurrency: 128, RequestsPerMinute: 1 << 40, InputTokensPerMinute: 1 << 50, OutputTokensPerMinute: 1 << 50})
	ctx := context.Background()
	c := Cost{1, 1000, 100}
	for b.Loop() {
		p, err := l.Admit(ctx, c)
		if err != nil {
			b.Fatal(err)
		}
		p.Settle(c)
	}
}

// Holds: a call that is admitted and cancelled at the same moment is either made or given back.
func TestCancelAtTheMomentOfAdmission(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Concurrency: 1})
		for range 200 { // which of the two comes first is left to chance
			first := admit(t, l, oneCall)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if p, err := l.Admit(ctx, oneCall); err == nil {
					p.Release()
				}
			}()
			synctest.Wait()
			cancel()
			first.Release()
			synctest.Wait()
			if n := l.State().InFlight; n != 0 {
				t.Fatalf("%d in flight", n)
			}
		}
	})
}
