package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/worker/messages"
)

// Every verdict on a call is counted once, in the class that an operator knows it by.
func TestMetersByOutcome(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		verdict messages.Verdict
		want    string
	}{
		"answered":               {messages.Verdict{Kind: messages.Answered, Status: 200}, "answered"},
		"server error":           {messages.Verdict{Kind: messages.Retry, Status: 500}, "failed"},
		"no answer":              {messages.Verdict{Kind: messages.Retry, Type: "timeout"}, "failed"},
		"429":                    {messages.Verdict{Kind: messages.RetryAfter, Status: 429, Pressure: messages.Limited}, "rate_limited"},
		"429, grew too fast":     {messages.Verdict{Kind: messages.RetryAfter, Status: 429, Pressure: messages.Ramping}, "rate_limited"},
		"529":                    {messages.Verdict{Kind: messages.RetryAfter, Status: 529, Pressure: messages.Overloaded}, "overloaded"},
		"400":                    {messages.Verdict{Kind: messages.Rejected, Status: 400, Reason: jobs.ReasonRejected}, "rejected"},
		"a dead key":             {messages.Verdict{Kind: messages.Blocked, Status: 401}, "blocked"},
		"cut off by a drain":     {messages.Verdict{Kind: messages.Cancelled}, "cancelled"},
		"a kind without a class": {messages.Verdict{}, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w Worker
			w.meters.ended(&messages.Reply{Verdict: row.verdict, Latency: time.Second}, jobs.Usage{}, false)
			all := 0
			for _, calls := range w.Meters().Calls {
				all++
				want := uint64(0)
				if calls.Outcome == row.want {
					want = 1
				}
				if calls.Count != want || calls.Took != time.Duration(want)*time.Second {
					t.Errorf("%s: %d calls of %s together, want %d", calls.Outcome, calls.Count, calls.Took, want)
				}
			}
			if all != int(callOutcomes) {
				t.Errorf("%d classes", all)
			}
		})
	}
}

// A call counts in the first bucket whose bound it does not exceed and in all above it; one that is longer than all of
// them counts too.
func TestMetersByLatency(t *testing.T) {
	t.Parallel()
	var w Worker
	for _, took := range []time.Duration{0, 100 * time.Millisecond, 100*time.Millisecond + 1, 4 * time.Second, 10 * time.Minute, time.Hour} {
		w.meters.ended(&messages.Reply{Verdict: messages.Verdict{Kind: messages.Answered}, Latency: took}, jobs.Usage{}, false)
	}
	got := w.Meters().Calls[callAnswered]
	want := map[time.Duration]uint64{
		100 * time.Millisecond: 2, 200 * time.Millisecond: 3, 500 * time.Millisecond: 3, time.Second: 3, 2 * time.Second: 3,
		3 * time.Second: 3, 5 * time.Second: 4, 8 * time.Second: 4, 12 * time.Second: 4, 20 * time.Second: 4, 30 * time.Second: 4,
		time.Minute: 4, 2 * time.Minute: 4, 5 * time.Minute: 4, 10 * time.Minute: 5,
	}
	if diff := cmp.Diff(want, got.Within); diff != "" || got.Count != 6 {
		t.Errorf("%d calls, by latency (-want +got):\n%s", got.Count, diff)
	}
}

// What meters say agrees with what the worker says elsewhere, through an outage and when the worker has been drained: calls,
// probes among them, retries and tokens; and each state of a run is told.
func TestMetersOfWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(5 * time.Minute)
		a := &api{answer: func(string) messages.Reply {
			if time.Now().Before(back) {
				return failing()
			}
			return answered()
		}}
		f := start(t, a, jobs.Limits{Concurrency: 1}, requests(5)...)
		states := func(when, want string) {
			t.Helper()
			runs := map[string]int{"calling": 0, "paused": 0, "outage": 0, "blocked": 0}
			runs[want] = 1
			if diff := cmp.Diff(runs, f.worker.Meters().Runs); diff != "" {
				t.Errorf("runs %s (-want +got):\n%s", when, diff)
			}
		}
		time.Sleep(time.Second)
		states("at first", "calling")
		time.Sleep(2 * time.Minute)
		states("while the API fails", "outage")
		if n := succeededCount(f.collect(5, time.Hour)); n != 5 {
			t.Fatalf("%d of 5 records succeeded", n)
		}
		states("when it is back", "calling")
		f.session.paused.Store(true)
		states("when a person paused it", "paused")
		f.stop()
		m, s := f.worker.Meters(), f.worker.Stats()
		var calls uint64
		for _, c := range m.Calls {
			calls += c.Count
		}
		if calls != uint64(s.Calls) || calls != uint64(len(a.calls)) || m.Retries != s.Retries || m.Retries == 0 {
			t.Errorf("%d calls and %d retries; %d were made, and stats say %d and %d", calls, m.Retries, len(a.calls), s.Calls, s.Retries)
		}
		if len(a.of("ping")) == 0 {
			t.Error("no probe: the test shows nothing of them")
		}
		answers := int64(m.Calls[callAnswered].Count)
		if want := (jobs.Usage{Input: answers, Output: answers}); m.Usage != want || answers < 6 || m.Slots != DefaultConcurrency {
			t.Errorf("%d answers, slots %d, %+v", answers, m.Slots, m.Usage)
		}
	})
}

// A worker whose key is refused says so for as long as it serves the run.
func TestMetersOfBlockedRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &api{answer: func(string) messages.Reply {
			return messages.Reply{Verdict: messages.Verdict{Kind: messages.Blocked, Status: 401, Remedy: "mend the key"}}
		}}
		f := start(t, a, jobs.Limits{Concurrency: 1}, requests(2)...)
		f.collect(2, time.Minute)
		if m := f.worker.Meters(); m.Runs["blocked"] != 1 || m.Calls[callBlocked].Count == 0 {
			t.Errorf("%+v", m)
		}
		f.stop()
	})
}

// The limits of a key are told once, however many runs keep them, and each job's own apart.
func TestLimitsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := serveFakes(t, 8)
		a := taking(time.Millisecond)
		for _, id := range []string{"one", "two"} {
			s := from.session(from.announce(id, jobs.Limits{Concurrency: 4}, a), 1)
			s.hand(false, requests(20)...)
			<-s.delivered
		}
		got := make(map[string]int)
		for _, kept := range from.worker.Limits() {
			got[kept.Run+"/"+kept.Scope]++
		}
		if diff := cmp.Diff(map[string]int{"one/the job": 1, "two/the job": 1, "/m": 1}, got); diff != "" {
			t.Errorf("limits (-want +got):\n%s", diff)
		}
		from.worker.Drain(t.Context())
	})
}

// Counting a call must cost nothing beside the 85 µs of CPU that making it does, however many end at once.
func BenchmarkMeters(b *testing.B) {
	var m meters
	usage := jobs.Usage{Input: 400, Output: 100, CacheRead: 50}
	b.RunParallel(func(pb *testing.PB) {
		reply := &messages.Reply{Verdict: messages.Verdict{Kind: messages.Answered}, Latency: 3 * time.Second}
		for pb.Next() {
			m.ended(reply, usage, false)
		}
	})
}
