package worker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/worker/messages"
)

// Whoever watches is told what calls wait for, and how many do.
func TestSaysWhatCallsWaitFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		reply messages.Reply
		after time.Duration
		why   string
	}{
		"single failures":  {failing(), 3 * time.Second, ""},
		"failing for long": {failing(), 10 * time.Second, "trying again"},
		"outage":           {failing(), 2 * time.Minute, "probing"},
		"rate limit":       {limited(time.Minute), 10 * time.Second, "429"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := start(t, &api{answer: func(string) messages.Reply { return test.reply }}, jobs.Limits{}, requests(10)...)
				time.Sleep(test.after)
				synctest.Wait()
				got := f.worker.Stats()
				if !strings.Contains(got.Why, test.why) || (got.Why == "") != (test.why == "") {
					t.Errorf("waiting for %q, want %q in it", got.Why, test.why)
				}
				// In an outage they may have gone back to the coordinator.
				if got.Waiting != 10 && name != "outage" {
					t.Errorf("%d waiting, want 10", got.Waiting)
				}
				f.stop()
			})
		})
	}
}

// A 429 holds every call until its retry-after, and costs no attempt.
func TestRateLimitHoldsAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		a := &api{}
		a.answer = func(body string) messages.Reply {
			if strings.Contains(body, "record-0-") && time.Since(began) < 5*time.Minute {
				return limited(20 * time.Second)
			}
			return answered()
		}
		f := start(t, a, jobs.Limits{Concurrency: 2}, requests(30)...)
		got := f.collect(30, time.Hour)
		if n := succeededCount(got); n != 30 {
			t.Fatalf("%d of 30 succeeded", n)
		}
		refused := a.of("record-0-")[0].at
		for _, c := range a.of("") {
			if since := c.at.Sub(refused); since > 0 && since < 20*time.Second {
				t.Errorf("a call %s after the refusal, which asked for 20 s", since)
			}
		}
		for _, d := range got {
			if d.Result.Attempts != 1 {
				t.Errorf("record %d was charged %d attempts", d.Result.Record, d.Result.Attempts)
			}
		}
		f.stop()
	})
}

// A request that the rate limit refuses while smaller ones pass fails as too_large; one of common size never does.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var unlucky int
		a := &api{}
		a.answer = func(body string) messages.Reply {
			switch {
			case strings.Contains(body, "record-0-"):
				return limited(time.Second)
			case strings.Contains(body, "record-1-") && unlucky < 30:
				unlucky++
				return limited(time.Second)
			}
			return answered()
		}
		all := requests(200)
		all[0] = body(0, 50_000)
		f := start(t, a, jobs.Limits{Concurrency: 3}, all...)
		got := f.collect(200, time.Hour)
		if n := succeededCount(got); n != 199 {
			t.Errorf("%d of 199 others succeeded", n)
		}
		for _, d := range got {
			if d.Record() == 0 && (d.Result == nil || d.Result.Reason != jobs.ReasonTooLarge) {
				t.Errorf("the large record ended as %+v", d)
			}
		}
		f.stop()
	})
}

// Requests that are too large for the account's rate limit end also when nothing else is left that would pass in their
// place, and a limit that refuses everything for a while costs no record.
func TestTooLargeAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		a := &api{}
		a.answer = func(body string) messages.Reply {
			time.Sleep(10 * time.Millisecond)
			large := strings.Contains(body, "record-4-") || strings.Contains(body, "record-5-")
			if large || time.Since(began) < 30*time.Minute {
				return limited(5 * time.Second)
			}
			return answered()
		}
		all := requests(6)
		all[4], all[5] = body(4, 50_000), body(5, 50_000)
		f := start(t, a, jobs.Limits{Concurrency: 6}, all...)
		got := f.collect(6, 2*time.Hour)
		if len(got) != 6 {
			t.Errorf("%d of 6 records ended", len(got))
		}
		if n := succeededCount(got); n != 4 {
			t.Errorf("%d of 4 others succeeded", n)
		}
		for _, d := range got {
			if d.Record() >= 4 && (d.Result == nil || d.Result.Reason != jobs.ReasonTooLarge) {
				t.Errorf("large record %d ended as %+v", d.Record(), d)
			}
		}
		if probes := len(a.of("ping")); probes > 400 {
			t.Errorf("%d probes", probes)
		}
		f.stop()
	})
}
