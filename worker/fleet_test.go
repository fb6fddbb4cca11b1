package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker/messages"
)

// A worker finds runs by itself, leaves those that are over once its calls for them have ended, comes back when they
// go on, and counts its calls over all of them.
func TestFindsAndLeavesRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		first := f.announce("first", jobs.Limits{}, taking(10*time.Second))
		s := f.session(first, 1)
		second := f.announce("second", jobs.Limits{}, taking(time.Second))
		f.session(second, 1).hand(false, body(0, 0))
		s.hand(false, body(0, 0))
		time.Sleep(5 * time.Second)
		close(s.over)
		time.Sleep(time.Second)
		if s.closed.Load() {
			t.Error("left with a call in flight")
		}
		if n := len(f.worker.Runs()); n != 2 {
			t.Errorf("%d runs are served while one is being left", n)
		}
		time.Sleep(10 * time.Second)
		if !s.closed.Load() || succeededCount(s.got()) != 1 {
			t.Errorf("closed: %v, delivered: %+v", s.closed.Load(), s.got())
		}
		again := f.session(first, 2)
		again.hand(false, body(1, 0))
		time.Sleep(15 * time.Second)
		if succeededCount(again.got()) != 1 {
			t.Errorf("delivered after it joined again: %+v", again.got())
		}
		if got := f.worker.Stats(); got.Calls != 3 {
			t.Errorf("%d calls counted, want 3", got.Calls)
		}
		f.worker.Drain(t.Context())
	})
}

// A run whose calls may not or can't be made here is passed over, and the others are served.
func TestPassesOverRunsItMayNotServe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		foreign := f.announce("foreign", jobs.Limits{}, nil)
		good := f.announce("good", jobs.Limits{}, taking(time.Second))
		s := f.session(good, 1)
		s.hand(false, body(0, 0))
		time.Sleep(95 * time.Second)
		if succeededCount(s.got()) != 1 {
			t.Errorf("delivered: %+v", s.got())
		}
		if foreign.joins.Load() > 10 {
			t.Errorf("tried to join %d times in 95 s", foreign.joins.Load())
		}
		f.worker.Drain(t.Context())
	})
}

// A worker whose key is refused gives all of the run back and says so, stays so that it counts as one that refused, and
// comes back when another coordinator has the run. Other runs go on.
func TestRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		dead := true
		a := &api{answer: func(string) messages.Reply {
			if dead {
				time.Sleep(time.Second)
				return messages.Reply{Verdict: messages.Verdict{Kind: messages.Blocked, Status: 401, Remedy: "renew the key"}}
			}
			return answered()
		}}
		refused := f.announce("refused", jobs.Limits{}, a)
		other := f.announce("other", jobs.Limits{}, taking(time.Second))
		s, o := f.session(refused, 1), f.session(other, 1)
		s.hand(false, requests(40)...)
		o.keepBusy(10)
		time.Sleep(time.Minute)
		if s.why() != "renew the key" || len(s.got()) != 40 || s.closed.Load() {
			t.Errorf("refused: %q, %d records back, closed: %v", s.why(), len(s.got()), s.closed.Load())
		}
		for _, d := range s.got() {
			if d.Returned == nil || d.Returned.Attempts != 0 {
				t.Errorf("record %d came back as %+v", d.Record(), d)
			}
		}
		returned := false
		for _, line := range s.story() {
			returned = returned || strings.HasPrefix(line, "returned")
			if line == "refused" && returned {
				t.Error("records went back before the refusal: they come again at once")
			}
		}
		if calls := len(a.of("")); calls > 4 {
			t.Errorf("%d calls with a dead key on 4 slots", calls)
		}
		before := len(other.api.of(""))
		time.Sleep(time.Minute)
		if calls := len(other.api.of("")) - before; calls < 230 {
			t.Errorf("%d calls of the other run in a minute", calls)
		}
		if refused.joins.Load() != 1 {
			t.Errorf("joined %d times under one coordinator", refused.joins.Load())
		}
		f.mu.Lock()
		dead, refused.terms.Epoch = false, 2
		f.mu.Unlock()
		again := f.session(refused, 2)
		again.hand(false, body(0, 0))
		time.Sleep(5 * time.Second)
		if !s.closed.Load() || succeededCount(again.got()) != 1 {
			t.Errorf("under the next coordinator: closed: %v, delivered: %+v", s.closed.Load(), again.got())
		}
		f.worker.Drain(t.Context())
	})
}

// When a run's coordinator stops, what has not begun goes back, calls in flight are finished, and other runs go on.
func TestCoordinatorStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		r := f.announce("r", jobs.Limits{}, taking(10*time.Second))
		s := f.session(r, 1)
		s.hand(false, requests(10)...)
		time.Sleep(time.Second)
		s.options.Halt()
		time.Sleep(time.Second)
		if got := s.got(); len(got) != 6 || succeededCount(got) != 0 {
			t.Errorf("back at once: %+v", got)
		}
		time.Sleep(20 * time.Second)
		if got := s.got(); succeededCount(got) != 4 || !s.closed.Load() {
			t.Errorf("%d answered, closed: %v", succeededCount(got), s.closed.Load())
		}
		f.worker.Drain(t.Context())
	})
}

// A panic fails the record that it hit, with an error that holds nothing of it, and nothing else.
func TestPanicFailsItsRecordAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 2)
		r := f.announce("r", jobs.Limits{Concurrency: 2}, &api{answer: func(body string) messages.Reply {
			switch {
			case strings.Contains(body, "record-3-"):
				panic("the prompt was: " + body)
			case strings.Contains(body, "record-5-"):
				return *(*messages.Reply)(nil)
			}
			return answered()
		}})
		s := f.session(r, 1)
		s.hand(false, requests(20)...)
		time.Sleep(time.Second)
		got := s.got()
		if len(got) != 20 || succeededCount(got) != 18 {
			t.Errorf("%d of 20 came back, %d succeeded", len(got), succeededCount(got))
		}
		for _, d := range got {
			if d.Result.Status == jobs.Succeeded {
				continue
			}
			if d.Result.Reason != jobs.ReasonPoison || d.Record() != 3 && d.Record() != 5 || strings.Contains(d.Result.Error, "prompt") {
				t.Errorf("record %d ended as %+v", d.Record(), d.Result)
			}
		}
		if n := f.worker.Stats().InFlight; n != 0 {
			t.Errorf("%d in flight", n)
		}
		f.worker.Drain(t.Context())
	})
}

// A drain gives back at once what has not begun, of all runs, without using an attempt; calls in flight are finished
// when the grace lasts, and cut when it does not.
func TestDrainOfManyRuns(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		grace    time.Duration
		answered int
	}{
		"in time":     {time.Hour, 8},
		"out of time": {time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := serveFakes(t, 8)
				var sessions []*sessionFake
				for i := range 4 {
					a := &api{}
					r := f.announce(fmt.Sprint(i), jobs.Limits{}, a)
					s := f.session(r, 1)
					a.answer = func(string) messages.Reply {
						select {
						case <-time.After(10 * time.Minute):
							return answered()
						case <-f.worker.calling.Done():
							return messages.Reply{Verdict: messages.Verdict{Kind: messages.Cancelled}}
						}
					}
					s.hand(false, requests(10)...)
					sessions = append(sessions, s)
				}
				time.Sleep(time.Second)
				grace, cancel := context.WithTimeout(t.Context(), test.grace)
				defer cancel()
				drained := make(chan struct{})
				go func() {
					f.worker.Drain(grace)
					close(drained)
				}()
				time.Sleep(time.Second)
				back := 0
				for _, s := range sessions {
					back += len(s.got())
				}
				if back != 32 {
					t.Errorf("%d of 32 records that had not begun came back at once", back)
				}
				<-drained
				finished := 0
				for _, s := range sessions {
					finished += succeededCount(s.got())
					if len(s.got()) != 10 || !s.closed.Load() {
						t.Errorf("%d of 10 records came back, closed: %v", len(s.got()), s.closed.Load())
					}
					for _, d := range s.got() {
						if d.Returned != nil && d.Returned.Attempts != 0 {
							t.Errorf("record %d came back with %d attempts used", d.Record(), d.Returned.Attempts)
						}
					}
				}
				if finished != test.answered {
					t.Errorf("%d calls in flight were finished, want %d", finished, test.answered)
				}
			})
		})
	}
}

// A worker that is cut off from Redis starts no call; what is in flight is finished and delivered.
func TestCutOffStartsNoCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		r := f.announce("r", jobs.Limits{}, taking(10*time.Second))
		s := f.session(r, 1)
		s.hand(false, requests(20)...)
		time.Sleep(time.Second)
		s.cutOff.Store(true)
		time.Sleep(10 * time.Minute)
		if calls := len(r.api.of("")); calls != 4 || succeededCount(s.got()) != 4 {
			t.Errorf("%d calls, %d answered, with 4 in flight as the worker was cut off", calls, succeededCount(s.got()))
		}
		s.cutOff.Store(false)
		time.Sleep(time.Minute)
		if n := succeededCount(s.got()); n != 20 {
			t.Errorf("%d of 20 answered after it was back", n)
		}
		f.worker.Drain(t.Context())
	})
}

// An outage is not probed either while the worker is cut off.
func TestCutOffProbesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		r := f.announce("r", jobs.Limits{}, &api{answer: func(string) messages.Reply { return failing() }})
		s := f.session(r, 1)
		s.hand(false, requests(4)...)
		time.Sleep(5 * time.Minute)
		before := len(r.api.of("ping"))
		if before == 0 {
			t.Fatal("the outage was not probed")
		}
		s.cutOff.Store(true)
		time.Sleep(5 * time.Minute)
		if probes := len(r.api.of("ping")) - before; probes != 0 {
			t.Errorf("%d probes while cut off", probes)
		}
		s.cutOff.Store(false)
		time.Sleep(5 * time.Minute)
		if len(r.api.of("ping")) == before {
			t.Error("no probe after it was back")
		}
		f.worker.Drain(t.Context())
	})
}

// The coordinator is told of each call before what comes of it, so that it knows the suspects of a worker that dies.
func TestTellsThatCallsBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		r := f.announce("r", jobs.Limits{}, taking(time.Second))
		s := f.session(r, 1)
		s.hand(false, requests(6)...)
		time.Sleep(500 * time.Millisecond)
		story := s.story()
		slices.Sort(story)
		if diff := cmp.Diff([]string{"began 0", "began 1", "began 2", "began 3"}, story); diff != "" {
			t.Errorf("with 4 calls in flight (-want +got):\n%s", diff)
		}
		time.Sleep(time.Minute)
		story = s.story()
		for record := range 6 {
			began := slices.Index(story, fmt.Sprintf("began %d", record))
			if ended := slices.Index(story, fmt.Sprintf("result %d", record)); began < 0 || ended < began {
				t.Errorf("record %d: began at %d, ended at %d", record, began, ended)
			}
		}
		f.worker.Drain(t.Context())
	})
}

// Workers share a job's own limits, whoever of them comes and goes.
func TestLimitsAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits := limitsRedis(t)
		var fleet []*redisFake
		var now, peak atomic.Int64
		shared := &api{answer: func(string) messages.Reply {
			n := now.Add(1)
			defer now.Add(-1)
			peak.Store(max(peak.Load(), n))
			time.Sleep(time.Second)
			return answered()
		}}
		most := func() int64 {
			peak.Store(0)
			time.Sleep(5 * time.Second)
			return peak.Load()
		}
		for range 3 {
			f := serveFakesOn(t, 64, limits)
			f.session(f.announce("r", jobs.Limits{Concurrency: 12}, shared), 1).keepBusy(10)
			fleet = append(fleet, f)
			time.Sleep(5 * time.Second)
			if n := most(); n != 12 {
				t.Errorf("%d calls in flight of %d workers, want 12", n, len(fleet))
			}
		}
		for len(fleet) > 1 {
			fleet[0].worker.Drain(t.Context())
			fleet = fleet[1:]
			time.Sleep(5 * time.Second)
			if n := most(); n != 12 {
				t.Errorf("%d calls in flight of the %d workers left, want 12", n, len(fleet))
			}
		}
		fleet[0].worker.Drain(t.Context())
	})
}

// However many calls hang, no more than twice the slots are made at once.
func TestHungCallsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		var sessions []*sessionFake
		for i := range 4 {
			r := f.announce(fmt.Sprint(i), jobs.Limits{}, taking(time.Hour))
			s := f.session(r, 1)
			s.keepBusy(10)
			sessions = append(sessions, s)
		}
		time.Sleep(10 * time.Minute)
		if n := f.worker.Stats().InFlight; n != 8 {
			t.Errorf("%d calls in flight with 4 slots", n)
		}
		f.worker.Drain(t.Context())
		for _, s := range sessions {
			for _, d := range s.got() {
				if d.Result == nil && d.Returned.Calls != 0 {
					t.Errorf("record %d came back after %d calls", d.Record(), d.Returned.Calls)
				}
			}
		}
	})
}

// What a worker says of itself goes with each renewal. Calls that wait for nothing but a slot do not wait; those that wait
// for as many as the API is known to bear do.
func TestReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		a := taking(time.Minute)
		s := f.session(f.announce("r", jobs.Limits{}, a), 1)
		s.hand(false, requests(10)...)
		time.Sleep(time.Second)
		want := courier.Report{InFlight: 4, Limits: []courier.Limits{{Scope: "m", Account: a.Account(), Concurrency: 16, InFlight: 4}}}
		if diff := cmp.Diff(want, s.options.Report()); diff != "" {
			t.Errorf("at work (-want +got):\n%s", diff)
		}
		s.paused.Store(true)
		want.Waiting, want.Why = 6, "paused"
		if diff := cmp.Diff(want, s.options.Report()); diff != "" {
			t.Errorf("paused (-want +got):\n%s", diff)
		}
		f.worker.Drain(t.Context())
	})
	for slots, want := range map[int]courier.Report{
		16: {InFlight: 16},
		64: {InFlight: 16, Waiting: 4, Why: "16 calls at once are as many as the API is known to bear", BoundBy: "concurrency"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := serveFakes(t, slots)
			s := f.session(f.announce("r", jobs.Limits{}, taking(time.Minute)), 1)
			s.hand(false, requests(20)...)
			time.Sleep(time.Second)
			got := s.options.Report()
			if len(got.Limits) != 1 || got.Limits[0].BoundBy != want.BoundBy {
				t.Errorf("with %d slots the limits are %+v", slots, got.Limits)
			}
			got.Limits = nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("with %d slots (-want +got):\n%s", slots, diff)
			}
			f.worker.Drain(t.Context())
		})
	}
}
