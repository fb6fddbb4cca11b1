package worker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/worker/messages"
)

// Suspects run with nothing else in flight in the process, of any run, and only when all that was delivered before is
// in Redis, and the news that they begin; other work goes on for at least as long as it had to stand still.
func TestSuspectsRunAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		var suspectsIn, othersIn atomic.Int64
		var mu sync.Mutex        // guards the two below
		var gaps []time.Duration // from the start of one suspect to that of the next
		var last time.Time
		suspected := f.announce("suspected", jobs.Limits{}, &api{answer: func(body string) messages.Reply {
			if strings.Contains(body, "record-90000") {
				mu.Lock()
				if !last.IsZero() {
					gaps = append(gaps, time.Since(last))
				}
				last = time.Now()
				mu.Unlock()
				suspectsIn.Add(1)
				defer suspectsIn.Add(-1)
			} else {
				othersIn.Add(1)
				defer othersIn.Add(-1)
			}
			if in, others := suspectsIn.Load(), othersIn.Load(); in > 1 || in == 1 && others > 0 {
				t.Errorf("%d suspects in flight beside %d others", in, others)
			}
			time.Sleep(time.Second)
			if in, others := suspectsIn.Load(), othersIn.Load(); in > 1 || in == 1 && others > 0 {
				t.Errorf("%d suspects in flight beside %d others", in, others)
			}
			return answered()
		}})
		other := f.announce("other", jobs.Limits{}, &api{answer: func(string) messages.Reply {
			othersIn.Add(1)
			defer othersIn.Add(-1)
			time.Sleep(time.Second)
			if suspectsIn.Load() > 0 {
				t.Error("a call of another run beside a suspect")
			}
			return answered()
		}})
		s, o := f.session(suspected, 1), f.session(other, 1)
		s.keepBusy(10)
		o.keepBusy(10)
		time.Sleep(10 * time.Second)
		var bodies [][]byte
		for i := range 5 {
			bodies = append(bodies, body(9_000_000+i, 0))
		}
		s.hand(true, bodies...)
		begin, before := time.Now(), len(other.api.of(""))
		for len(suspected.api.of("record-90000")) < 5 && time.Since(begin) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		took, calls := time.Since(begin), len(other.api.of(""))-before
		if took >= time.Minute {
			t.Fatalf("%d of 5 suspects ran in a minute", len(suspected.api.of("record-90000")))
		}
		mu.Lock()
		defer mu.Unlock()
		for _, gap := range gaps {
			if gap < 2*time.Second {
				t.Errorf("a suspect that took 1 s began %s after the one before", gap)
			}
		}
		// The gate is shut for at most 2 s of each 4, and 2 of the 4 slots are the other run's.
		if least := int(took.Seconds()) - 2; calls < least {
			t.Errorf("%d calls of the other run in %s", calls, took)
		}
		time.Sleep(2 * time.Second) // for the last one
		f.worker.Drain(t.Context())

		story := s.story()
		for i := range 5 {
			at := slices.Index(story, fmt.Sprintf("began %d", 9_000_000+i))
			end := slices.Index(story, fmt.Sprintf("result %d", 9_000_000+i))
			if at < 0 || end < 0 {
				t.Fatalf("suspect %d began at %d and ended at %d", i, at, end)
			}
			if story[at+1] != "flushed" || end != at+2 || story[end+1] != fmt.Sprintf("ended %d", 9_000_000+i) || story[end+2] != "flushed" {
				t.Errorf("around suspect %d: %v", i, story[at:end+3])
			}
		}
	})
}

// A suspect that waits for its next attempt, or for its run's limit, keeps nobody waiting.
func TestSuspectThatWaitsOpensTheGate(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]func(call int) messages.Reply{
		"failing": func(int) messages.Reply { return failing() },
		"rate limited": func(call int) messages.Reply {
			if call == 0 {
				return limited(30 * time.Second)
			}
			return answered()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := serveFakes(t, 4)
				var tries atomic.Int64
				suspected := f.announce("suspected", jobs.Limits{}, &api{answer: func(string) messages.Reply {
					return reply(int(tries.Add(1)) - 1)
				}})
				other := f.announce("other", jobs.Limits{}, taking(100*time.Millisecond))
				s, o := f.session(suspected, 1), f.session(other, 1)
				o.keepBusy(10)
				time.Sleep(time.Second)
				before := len(other.api.of(""))
				s.hand(true, body(1, 0))
				time.Sleep(20 * time.Second)
				if tries.Load() == 0 {
					t.Error("the suspect was not tried")
				}
				if calls := len(other.api.of("")) - before; calls < 750 {
					t.Errorf("%d calls of the other run in 20 s; 4 slots make 800", calls)
				}
				f.worker.Drain(t.Context())
				if got := s.got(); len(got) != 1 || got[0].Returned == nil {
					t.Errorf("delivered: %+v", got)
				}
			})
		})
	}
}

// While results can't be flushed no suspect is tried, and work goes on.
func TestSuspectWaitsForFlush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		suspected := f.announce("suspected", jobs.Limits{}, taking(time.Second))
		other := f.announce("other", jobs.Limits{}, taking(100*time.Millisecond))
		s, o := f.session(suspected, 1), f.session(other, 1)
		o.stuck = make(chan struct{})
		o.keepBusy(10)
		s.hand(true, body(1, 0))
		time.Sleep(2 * time.Minute)
		if n := len(suspected.api.of("")); n != 0 {
			t.Errorf("%d calls of a suspect while a result could be lost with it", n)
		}
		if n := len(other.api.of("")); n < 4*10*50 {
			t.Errorf("%d calls of the other run in 2 min", n)
		}
		close(o.stuck)
		time.Sleep(time.Minute)
		if n := len(suspected.api.of("")); n != 1 {
			t.Errorf("%d calls of the suspect after that", n)
		}
		f.worker.Drain(t.Context())
	})
}

// A drain while suspects wait for a long call to end gives them back at once.
func TestDrainGivesSuspectsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := serveFakes(t, 4)
		r := f.announce("r", jobs.Limits{}, taking(5*time.Minute))
		s := f.session(r, 1)
		s.hand(false, body(0, 0))
		time.Sleep(time.Second)
		s.hand(true, body(1, 0), body(2, 0))
		time.Sleep(time.Minute)
		drained := make(chan struct{})
		go func() {
			f.worker.Drain(t.Context())
			close(drained)
		}()
		time.Sleep(time.Second)
		if got := s.got(); len(got) != 2 || got[0].Returned == nil || got[1].Returned == nil {
			t.Errorf("delivered at once: %+v", got)
		}
		<-drained
		if got := s.got(); succeededCount(got) != 1 || len(r.api.of("")) != 1 {
			t.Errorf("%d answered with %d calls", succeededCount(got), len(r.api.of("")))
		}
	})
}
