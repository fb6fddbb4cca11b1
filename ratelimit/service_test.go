package ratelimit_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/batchwright/batchwright/ratelimit"
)

// service is an API with limits as the real one has them: token buckets that refill all the time, and that charge output
// when a call has ended. Its methods know the time from the clock, which in these tests is virtual.
type service struct {
	latency time.Duration
	spread  float64 // of the latency
	silent  bool    // says nothing of its limits
	atOnce  int     // calls that it works on at the same time, the others queue; 0 for any number
	// lies changes what it says of its limits.
	lies func(s *service, w *[4]ratelimit.Window)
	// growth is how many more requests a second it takes each second, of those that it took; 0 for any number.
	growth float64

	mu      sync.Mutex
	random  *rand.Rand
	buckets [3]*bucket
	working int
	queue   []chan struct{}
	since   measured
	recent  []time.Time // requests, for growth
}

// bucket is one of the service's limits; rate is a second.
type bucket struct {
	rate, capacity, level float64
	at                    time.Time
}

// measured is what was measured since a moment.
type measured struct {
	at              time.Time
	used            [3]float64
	passed, refused float64
	others          float64 // refused calls of other users
	latency         time.Duration
}

// newService has limits a minute, and buckets that hold what comes in during burst.
func newService(requests, input, output float64, burst time.Duration) *service {
	s := &service{latency: 300 * time.Millisecond, spread: 0.3, random: rand.New(rand.NewPCG(7, 7))}
	for k, limit := range []float64{requests, input, output} {
		if limit > 0 {
			capacity := max(1, limit/60*burst.Seconds())
			s.buckets[k] = &bucket{limit / 60, capacity, capacity, time.Now()}
		}
	}
	s.since.at = time.Now()
	return s
}

// scale changes all limits, and what the buckets hold with them.
func (s *service) scale(factor float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.buckets {
		if b != nil {
			b.refill(time.Now())
			b.rate, b.capacity = b.rate*factor, max(1, b.capacity*factor)
			b.level = min(b.level, b.capacity)
		}
	}
}

// measure starts to measure anew.
func (s *service) measure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = measured{at: time.Now()}
}

// result is what was measured: the part of the tightest limit that was used, that of the calls that were refused, and the
// calls that passed a second.
func (s *service) result() (used, refused, rate float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lasted := time.Since(s.since.at).Seconds()
	for k, b := range s.buckets {
		if b != nil {
			used = max(used, s.since.used[k]/(b.rate*lasted))
		}
	}
	return used, s.since.refused / max(1, s.since.passed+s.since.refused), s.since.passed / lasted
}

func (b *bucket) refill(now time.Time) {
	b.level = min(b.capacity, b.level+b.rate*now.Sub(b.at).Seconds())
	b.at = now
}

// admit charges requests and input, or says what refuses and for how long. A call that is larger than a bucket needs a
// full one.
func (s *service) admit(input float64) (kind ratelimit.Kind, ramp bool, wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.growth > 0 {
		for len(s.recent) > 0 && now.Sub(s.recent[0]) > 10*time.Second {
			s.recent = s.recent[1:]
		}
		last := 0.0
		for _, at := range s.recent {
			if now.Sub(at) < time.Second {
				last++
			}
		}
		if before := (float64(len(s.recent)) - last) / 9; last > 20+before*(1+s.growth) {
			s.since.refused++
			return ratelimit.Requests, true, time.Second, false
		}
		s.recent = append(s.recent, now)
	}
	for k, need := range []float64{1, input, 1} {
		if b := s.buckets[k]; b != nil {
			b.refill(now)
			if need = min(need, b.capacity); b.level < need {
				s.since.refused++
				return ratelimit.Kind(k), false, time.Duration((need - b.level) / b.rate * float64(time.Second)), false
			}
		}
	}
	s.charge(now, 1, input, 0)
	s.since.passed++
	return 0, false, 0, true
}

func (s *service) charge(now time.Time, spent ...float64) {
	for k, n := range spent {
		s.since.used[k] += n
		if b := s.buckets[k]; b != nil {
			b.refill(now)
			b.level -= n
		}
	}
}

// call is one call: what it says of the limits, and whether they refused it.
func (s *service) call(ctx context.Context, input, output int64) ratelimit.Outcome {
	began := time.Now()
	kind, ramp, wait, ok := s.admit(float64(input))
	if !ok {
		sleep(ctx, 20*time.Millisecond)
		return ratelimit.Outcome{
			Refused: !ramp, Ramped: ramp, Limit: kind, Windows: s.windows(), Hold: max(wait, time.Millisecond), Reason: "429",
		}
	}
	s.enter(ctx)
	s.mu.Lock()
	took := time.Duration(float64(s.latency) * math.Exp(s.spread*s.random.NormFloat64()))
	s.mu.Unlock()
	sleep(ctx, took)
	s.leave()
	s.mu.Lock()
	s.charge(time.Now(), 0, 0, float64(output))
	s.since.latency += time.Since(began)
	s.mu.Unlock()
	return ratelimit.Outcome{
		Answered: true, Latency: time.Since(began), Windows: s.windows(), Used: ratelimit.Cost{Requests: 1, Input: input, Output: output},
	}
}

// other is another user of the key that makes so many calls a second until the function that it returns is called.
func (s *service) other(perSecond float64, input int64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			_, _, _, ok := s.admit(float64(input))
			s.mu.Lock()
			if !ok {
				s.since.others++
				s.since.refused--
			}
			s.mu.Unlock()
		}
	})
	return func() { cancel(); done.Wait() }
}

func sleep(ctx context.Context, d time.Duration) {
	alarm := time.NewTimer(d)
	defer alarm.Stop()
	select {
	case <-ctx.Done():
	case <-alarm.C:
	}
}

func (s *service) enter(ctx context.Context) {
	s.mu.Lock()
	if s.atOnce == 0 || s.working < s.atOnce {
		s.working++
		s.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	s.queue = append(s.queue, turn)
	s.mu.Unlock()
	select {
	case <-turn:
	case <-ctx.Done():
	}
}

func (s *service) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		close(s.queue[0])
		s.queue = s.queue[1:]
		return
	}
	s.working--
}

// windows are what it says of its limits: what is left of requests rounded down, of tokens to the nearest thousand.
func (s *service) windows() (w [4]ratelimit.Window) {
	if s.silent {
		return w
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for k, b := range s.buckets {
		if b == nil {
			continue
		}
		b.refill(now)
		left := math.Floor(max(0, b.level))
		if k > 0 {
			left = math.Round(max(0, b.level)/1000) * 1000
		}
		w[k] = ratelimit.Window{Limit: b.rate * 60, Left: left, HasLeft: true}
	}
	if s.lies != nil {
		s.lies(s, &w)
	}
	return w
}
