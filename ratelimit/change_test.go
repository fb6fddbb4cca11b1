package ratelimit_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/ratelimit"
)

// expect checks what was measured since the last measure.
func expect(t *testing.T, s *service, phase string, leastUsed, mostUsed, mostRefused float64) {
	t.Helper()
	used, refused, _ := s.result()
	t.Logf("%s: used %.3f, refused %.4f", phase, used, refused)
	if used < leastUsed || used > mostUsed || refused > mostRefused {
		t.Errorf("%s: used %.3f of the limit, %.2f%% refused; want %.2f to %.2f and %.2f%%", phase, used, 100*refused, leastUsed, mostUsed, 100*mostRefused)
	}
}

// Another user of the key takes half of it, and gives it back: all is used all the time, and few calls are refused.
func TestAnotherUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(1200, 0, 0, seconds(5))
		f := newFleet(t, s)
		defer f.end()
		start(f, 2, ratelimit.Run{ID: "r"}, fixed(1000), fixed(200))
		time.Sleep(10 * time.Second)
		stop := s.other(10, 1000)
		s.measure()
		time.Sleep(40 * time.Second)
		expect(t, s, "with another", 0.95, 1.1, 0.01)
		stop()
		time.Sleep(5 * time.Second)
		s.measure()
		time.Sleep(20 * time.Second)
		expect(t, s, "alone again", 0.97, 1.05, 0.001)
	})
}

// A limit that is halved and restored is followed within seconds, with few refusals.
func TestLimitHalvedAndRestored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(1200, 0, 0, time.Second)
		f := newFleet(t, s)
		defer f.end()
		start(f, 2, ratelimit.Run{ID: "r"}, fixed(1000), fixed(200))
		time.Sleep(10 * time.Second)
		s.scale(0.5)
		s.measure()
		time.Sleep(30 * time.Second)
		expect(t, s, "halved", 0.93, 1.05, 0.03)
		s.scale(2)
		time.Sleep(10 * time.Second)
		s.measure()
		time.Sleep(20 * time.Second)
		expect(t, s, "restored", 0.97, 1.05, 0.001)
	})
}

// With headroom that part of the limits stays free, and another user who needs no more than it is not refused.
func TestHeadroom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(1200, 0, 0, seconds(5))
		f := newFleet(t, s)
		defer f.end()
		start(f, 2, ratelimit.Run{ID: "r", Headroom: 0.2}, fixed(1000), fixed(200))
		time.Sleep(10 * time.Second)
		s.measure()
		time.Sleep(30 * time.Second)
		expect(t, s, "alone", 0.77, 0.81, 0.001)
		stop := s.other(3, 1000) // 15 % of the limit
		defer stop()
		s.measure()
		time.Sleep(30 * time.Second)
		expect(t, s, "with another", 0.9, 1, 0.001)
		if s.mu.Lock(); s.since.others > 0 {
			t.Errorf("%v calls of the other user were refused", s.since.others)
		}
		s.mu.Unlock()
	})
}

// What the service says may be nonsense. It neither stalls the calls nor sets them free.
func TestNonsenseIsSurvived(t *testing.T) {
	t.Parallel()
	for name, lies := range map[string]func(s *service, w *[4]ratelimit.Window){
		"negative":        func(_ *service, w *[4]ratelimit.Window) { w[0] = ratelimit.Window{Limit: -5, Left: -7, HasLeft: true} },
		"nothing left":    func(_ *service, w *[4]ratelimit.Window) { w[0].Left = 0 },
		"never used":      func(_ *service, w *[4]ratelimit.Window) { w[0].Left = w[0].Limit },
		"left alone":      func(_ *service, w *[4]ratelimit.Window) { w[0].Limit = 0 },
		"other kinds too": func(_ *service, w *[4]ratelimit.Window) { w[1] = ratelimit.Window{Limit: 9e9, Left: -1, HasLeft: true} },
		"two accounts that jump": func(s *service, w *[4]ratelimit.Window) {
			if s.random.IntN(2) == 0 {
				w[0].Limit, w[0].Left = w[0].Limit*4, w[0].Limit*4
			}
		},
		"random": func(s *service, w *[4]ratelimit.Window) {
			w[0].Limit, w[0].Left = s.random.Float64()*5000, s.random.Float64()*5000
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newService(1200, 0, 0, seconds(5))
				s.lies = lies
				f := newFleet(t, s)
				defer f.end()
				start(f, 1, ratelimit.Run{ID: "r"}, fixed(1000), fixed(200))
				time.Sleep(15 * time.Second)
				s.measure()
				time.Sleep(20 * time.Second)
				expect(t, s, name, 0.5, 1.1, 0.05)
			})
		})
	}
}

// A service that refuses when usage grows too fast is followed: usage goes on growing.
func TestGrowthLimitIsFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(0, 0, 0, 0)
		s.growth, s.silent = 0.5, true
		f := newFleet(t, s)
		defer f.end()
		start(f, 1, ratelimit.Run{ID: "r"}, fixed(1000), fixed(200))
		time.Sleep(2 * time.Minute)
		s.measure()
		time.Sleep(time.Minute)
		_, refused, rate := s.result()
		t.Logf("%.1f a second, refused %.4f", rate, refused)
		if rate < 15 || refused > 0.02 {
			t.Errorf("%.1f calls a second, %.2f%% refused; want more than at first and 2%%", rate, 100*refused)
		}
	})
}

// What a run leaves the others use, and a worker that is killed takes its part of the limits away for a few seconds only.
func TestShareOfTheIdleAndTheDead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(1200, 0, 0, time.Second)
		f := newFleet(t, s)
		defer f.end()
		var idle atomic.Bool
		f.work("a", load{run: ratelimit.Run{ID: "a"}, slots: 32, input: fixed(1000), output: fixed(200)})
		f.work("b", load{run: ratelimit.Run{ID: "b"}, slots: 32, input: fixed(1000), output: fixed(200), idle: &idle})
		dead := f.work("c", load{run: ratelimit.Run{ID: "b"}, slots: 32, input: fixed(1000), output: fixed(200)})
		time.Sleep(10 * time.Second)
		s.measure()
		dead.kill()
		time.Sleep(5 * time.Second)
		expect(t, s, "as one dies", 0.5, 1.1, 0.01)
		s.measure()
		time.Sleep(15 * time.Second)
		expect(t, s, "after one has died", 0.92, 1.05, 0.001)
		idle.Store(true)
		time.Sleep(2 * time.Second)
		s.measure()
		time.Sleep(15 * time.Second)
		expect(t, s, "while one is idle", 0.97, 1.05, 0.001)
	})
}

// An hour with a call every half minute, and Redis that forgets everything in the middle.
func TestAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newService(2, 0, 0, time.Minute)
		f := newFleet(t, s)
		defer f.end()
		start(f, 1, ratelimit.Run{ID: "r"}, fixed(1000), fixed(200))
		time.Sleep(5 * time.Minute)
		s.measure()
		time.Sleep(25 * time.Minute)
		f.redis.FlushAll()
		time.Sleep(30 * time.Minute)
		expect(t, s, "an hour", 0.97, 1.01, 0.001)
	})
}
