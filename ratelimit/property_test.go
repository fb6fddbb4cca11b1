package ratelimit

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Holds: after any mix of calls that settle, are never made or are cancelled, and of holds, every slot is free, nobody
// waits, the buckets are as full as the usage says, and calls were admitted in the order in which they asked.
func TestNoPermitIsEverLost(t *testing.T) {
	t.Parallel()
	limits := rapid.Custom(func(r *rapid.T) Limits {
		return Limits{
			Concurrency:          rapid.IntRange(0, 4).Draw(r, "concurrency"),
			RequestsPerMinute:    rapid.SampledFrom([]int64{0, 6, 60, 600}).Draw(r, "requests"),
			InputTokensPerMinute: rapid.SampledFrom([]int64{0, 6000, 60_000}).Draw(r, "input"),
			Headroom:             rapid.Float64Range(0, 0.9).Draw(r, "headroom"),
		}
	})
	rapid.Check(t, func(r *rapid.T) {
		chosen := limits.Draw(r, "limits")
		callers := rapid.IntRange(1, 40).Draw(r, "callers")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		synctest.Test(t, func(*testing.T) {
			l := New(chosen)
			var (
				all     sync.WaitGroup
				mu      sync.Mutex
				begin   = time.Now()
				starts  = make([]time.Duration, callers) // in the order of asking; 0 for those who gave up
				running int
			)
			for i := range callers {
				ending, life := random.IntN(4), time.Duration(random.IntN(3000))*time.Millisecond
				cost := Cost{1, random.Int64N(3000), random.Int64N(100)}
				used := Cost{1, random.Int64N(3000), random.Int64N(100)}
				if random.IntN(10) == 0 {
					l.Hold(time.Now().Add(life), "for a while")
				}
				all.Go(func() {
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					if ending == 0 {
						time.AfterFunc(life, cancel)
					}
					p, err := l.Admit(ctx, cost)
					if err != nil {
						return
					}
					mu.Lock()
					starts[i] = time.Since(begin)
					running++
					if chosen.Concurrency > 0 && running > chosen.Concurrency {
						r.Errorf("%d calls run, %d may", running, chosen.Concurrency)
					}
					mu.Unlock()
					time.Sleep(life)
					mu.Lock()
					running--
					mu.Unlock()
					if ending == 1 {
						p.Release()
					} else {
						p.Settle(used)
					}
				})
				synctest.Wait()
				time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
			}
			all.Wait()

			latest := time.Duration(0)
			for i, at := range starts {
				if at > 0 && at < latest {
					r.Errorf("call %d started at %v, before one that had asked earlier and started at %v", i, at, latest)
				}
				latest = max(latest, at)
			}
			if s := l.State(); s.InFlight != 0 || s.Waiting != 0 {
				r.Errorf("at the end %d in flight, %d waiting", s.InFlight, s.Waiting)
			}
			time.Sleep(1000 * time.Hour)
			for i, b := range l.buckets {
				if b.rate > 0 && b.filled(time.Since(l.start)).level != b.burst {
					r.Errorf("%s: bucket does not fill again", bucketBounds[i])
				}
			}
		})
	})
}

// Holds: over any time, what ended calls used stays within what flowed in, the burst, and the estimates of the calls
// that were still running.
func TestUsageIsChargedWhateverTheEstimate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		const perMinute, callers = 60_000, 10
		estimate := rapid.Int64Range(1, 3000).Draw(r, "estimate")
		used := rapid.Int64Range(1, 3000).Draw(r, "used")
		synctest.Test(t, func(t *testing.T) {
			l := New(Limits{InputTokensPerMinute: perMinute})
			const length = 5 * time.Minute
			ctx, cancel := context.WithTimeout(context.Background(), length)
			defer cancel()
			var all sync.WaitGroup
			var mu sync.Mutex
			total := int64(0)
			for range callers {
				all.Go(func() {
					for {
						p, err := l.Admit(ctx, Cost{1, estimate, 0})
						if err != nil {
							return
						}
						time.Sleep(100 * time.Millisecond)
						p.Settle(Cost{1, used, 0})
						mu.Lock()
						total += used
						mu.Unlock()
					}
				})
			}
			all.Wait()
			bound := perMinute*int64(length.Minutes()) + perMinute/60 + callers*(used+estimate)
			if total > bound {
				r.Errorf("%d tokens used, at most %d may be", total, bound)
			}
			// Estimates that fit the bucket together slow nobody down.
			if want := min(perMinute*5, used*callers*10*300) * 9 / 10; estimate*callers <= perMinute/60 && total < want {
				r.Errorf("%d tokens used, %d could have been", total, want)
			}
		})
	})
}
