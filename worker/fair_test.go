package worker

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/worker/messages"
)

// Runs that have work share the tokens by weight, whatever the size of their prompts and however much they have to do.
func TestFairInTokensByWeight(t *testing.T) {
	t.Parallel()
	type load struct {
		weight float64
		tokens int // of a call
	}
	for name, loads := range map[string]map[string]load{
		"alike":                   {"a": {1, 100}, "b": {1, 100}},
		"small and large prompts": {"a": {1, 50}, "b": {1, 5000}},
		"by weight":               {"a": {3, 100}, "b": {1, 100}},
		"by weight and size":      {"a": {1, 100}, "b": {4, 2000}, "c": {0.5, 700}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := serveFakes(t, 8)
				weights := 0.0
				for id, l := range loads {
					r := f.announce(id, jobs.Limits{Weight: l.weight}, using(100*time.Millisecond, l.tokens))
					f.session(r, 1).keepBusy(l.tokens * 4)
					weights += l.weight
				}
				time.Sleep(10 * time.Second) // estimates are learned
				start := make(map[string]int)
				for id := range loads {
					start[id] = len(f.all[id].api.of(""))
				}
				time.Sleep(5 * time.Minute)
				total := 0.0
				spent := make(map[string]float64)
				for id, l := range loads {
					spent[id] = float64((len(f.all[id].api.of("")) - start[id]) * l.tokens)
					total += spent[id]
				}
				for id, l := range loads {
					share, want := spent[id]/total, l.weight/weights
					if math.Abs(share-want) > 0.05*want {
						t.Errorf("run %s got %.3f of the tokens, its weight is %.3f of all", id, share, want)
					}
				}
				f.worker.Drain(t.Context())
			})
		})
	}
}

// What one run can't use goes to the others, and a run that was idle neither saved up its share nor lost it.
func TestIdleRunNeitherSavesNorLoses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		busy := f.announce("busy", jobs.Limits{}, taking(100*time.Millisecond))
		idle := f.announce("idle", jobs.Limits{}, taking(100*time.Millisecond))
		b, i := f.session(busy, 1), f.session(idle, 1)
		b.keepBusy(100)
		count := func(of time.Duration) (busyCalls, idleCalls int) {
			busyCalls, idleCalls = len(busy.api.of("")), len(idle.api.of(""))
			time.Sleep(of)
			return len(busy.api.of("")) - busyCalls, len(idle.api.of("")) - idleCalls
		}
		time.Sleep(time.Second)
		if calls, _ := count(time.Minute); calls < 2390 {
			t.Errorf("%d calls in a minute with nobody beside it, 4 slots make 2400", calls)
		}
		i.keepBusy(100)
		if mine, others := count(10 * time.Second); math.Abs(float64(mine-others)) > 10 {
			t.Errorf("after a minute of rest %d calls, the run that was busy %d", others, mine)
		}
		f.worker.Drain(t.Context())
	})
}

// A run that can't make calls holds nothing of the others': neither slots nor tokens.
func TestStuckRunHoldsNobody(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits jobs.Limits
		stick  func(s *sessionFake)
		answer func() messages.Reply
		hangs  time.Duration // until the slots of hung calls are given to others
	}{
		"rate limited": {answer: func() messages.Reply { return limited(time.Hour) }},
		"outage":       {answer: func() messages.Reply { time.Sleep(100 * time.Millisecond); return failing() }},
		"hung":         {answer: func() messages.Reply { time.Sleep(time.Hour); return failing() }, hangs: hungAfter},
		"own limit":    {limits: jobs.Limits{RequestsPerMinute: 1}, answer: answered},
		"paused":       {stick: func(s *sessionFake) { s.paused.Store(true) }, answer: answered},
		"cut off":      {stick: func(s *sessionFake) { s.cutOff.Store(true) }, answer: answered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := serveFakes(t, 4)
				stuck := f.announce("stuck", test.limits, &api{answer: func(string) messages.Reply { return test.answer() }})
				s := f.session(stuck, 1)
				if test.stick != nil {
					test.stick(s)
				}
				s.keepBusy(100)
				time.Sleep(2*time.Minute + test.hangs)
				free := f.announce("free", jobs.Limits{}, taking(100*time.Millisecond))
				f.session(free, 1).keepBusy(100)
				time.Sleep(time.Second)
				before, stuckBefore := len(free.api.of("")), len(stuck.api.of(""))
				time.Sleep(time.Minute)
				if calls := len(free.api.of("")) - before; calls < 2300 {
					t.Errorf("%d calls in a minute beside the stuck run; 4 slots make 2400", calls)
				}
				if calls := len(stuck.api.of("")) - stuckBefore; calls > 60 {
					t.Errorf("%d calls of the stuck run in a minute", calls)
				}
				if n := f.worker.Stats().InFlight; n > 8 {
					t.Errorf("%d calls in flight with 4 slots", n)
				}
				f.worker.mu.Lock()
				r := f.worker.runs["stuck"]
				f.worker.mu.Unlock()
				f.worker.schedule.mu.Lock()
				if n := len(r.lane.queue.ready) + len(r.lane.queue.again) + len(r.lane.queue.waiting); n > 40 && name != "outage" {
					t.Errorf("the stuck run claimed %d records", n)
				}
				f.worker.schedule.mu.Unlock()
				f.worker.Abort()
				f.worker.Drain(t.Context())
			})
		})
	}
}

// A call starts at the very moment at which it may, with nobody looking in between.
func TestStartsWhenItMay(t *testing.T) {
	t.Parallel()
	hang := func(string) messages.Reply { time.Sleep(time.Hour); return answered() }
	for name, test := range map[string]struct {
		limits jobs.Limits
		answer func(call int) messages.Reply
		beside func(string) messages.Reply // of a run that took all slots before
		starts []time.Duration
	}{
		"after a backoff": {
			answer: func(call int) messages.Reply {
				if call == 0 {
					return failing()
				}
				return answered()
			},
			starts: []time.Duration{0, 500 * time.Millisecond},
		},
		"after a hold": {
			answer: func(call int) messages.Reply {
				if call == 0 {
					return limited(time.Minute)
				}
				return answered()
			},
			starts: []time.Duration{0, time.Minute},
		},
		"within a limit": {
			limits: jobs.Limits{RequestsPerMinute: 100},
			answer: func(int) messages.Reply { return answered() },
			starts: []time.Duration{0, 600 * time.Millisecond},
		},
		"within a low limit": {
			limits: jobs.Limits{RequestsPerMinute: 7},
			answer: func(int) messages.Reply { return answered() },
			starts: []time.Duration{0, 8572 * time.Millisecond, 17144 * time.Millisecond}, // to the millisecond
		},
		"when the slots hang": {
			answer: func(int) messages.Reply { return answered() },
			beside: hang,
			starts: []time.Duration{30 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := serveFakes(t, 2)
				call := 0
				r := f.announce("r", test.limits, &api{answer: func(string) messages.Reply {
					call++
					return test.answer(call - 1)
				}})
				s := f.session(r, 1)
				time.Sleep(300 * time.Millisecond) // beside the tick of discovery
				if test.beside != nil {
					b := f.announce("b", jobs.Limits{}, &api{answer: test.beside})
					hung := f.session(b, 1)
					time.Sleep(300 * time.Millisecond)
					hung.hand(false, requests(2)...)
					synctest.Wait()
				}
				began := time.Now()
				n := len(test.starts)
				if name == "after a backoff" || name == "after a hold" {
					n = 1
				}
				s.hand(false, requests(n)...)
				time.Sleep(2 * time.Minute)
				var starts []time.Duration
				for _, c := range r.api.of("") {
					starts = append(starts, c.at.Sub(began))
				}
				if diff := cmp.Diff(test.starts, starts); diff != "" {
					t.Errorf("calls started (-want +got):\n%s", diff)
				}
				f.worker.Drain(t.Context())
			})
		})
	}
}
