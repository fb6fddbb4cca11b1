package worker

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker/messages"
)

// api is a fake Messages API: answer decides over each call; calls are noted with the time they came at.
type api struct {
	answer func(body string) messages.Reply

	mu    sync.Mutex
	calls []made
}

type made struct {
	body string
	at   time.Time
}

func (a *api) Call(_ context.Context, body []byte) messages.Reply {
	a.mu.Lock()
	a.calls = append(a.calls, made{string(body), time.Now()})
	a.mu.Unlock()
	return a.answer(string(body))
}

// Account is another one for each API.
func (a *api) Account() string { return fmt.Sprintf("%p", a) }

func (*api) Close() {}

// of lists the calls of requests that contain a text.
func (a *api) of(text string) []made {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.calls), func(c made) bool { return !strings.Contains(c.body, text) })
}

func answered() messages.Reply {
	return messages.Reply{
		Verdict: messages.Verdict{Kind: messages.Answered, Status: 200},
		Message: []byte(`{"type":"message","stop_reason":"end_turn","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}`),
	}
}

func failing() messages.Reply {
	return messages.Reply{
		Verdict: messages.Verdict{Kind: messages.Retry, Status: 500, Type: "api_error", Message: "no"}, Latency: time.Second,
	}
}

func limited(wait time.Duration) messages.Reply {
	return messages.Reply{Verdict: messages.Verdict{
		Kind: messages.RetryAfter, Status: 429, Wait: wait, Pressure: messages.Limited,
	}}
}

// body of a record's request; size pads it.
func body(record, size int) []byte {
	return fmt.Appendf(nil, `{"model":"m","max_tokens":10,"id":"record-%d-","pad":%q}`, record, strings.Repeat("x", size))
}

func requests(n int) [][]byte {
	var all [][]byte
	for i := range n {
		all = append(all, body(i, 0))
	}
	return all
}

// fleet is the coordinator's end of one run, and one worker that serves it.
type fleet struct {
	t       *testing.T
	worker  *Worker
	session *sessionFake
	read    int // deliveries that were collected
}

// start hands records 0 to n-1 out to a worker that calls the api.
func start(t *testing.T, a *api, limits jobs.Limits, requests ...[]byte) *fleet {
	t.Helper()
	from := serveFakes(t, DefaultConcurrency)
	f := &fleet{t: t, worker: from.worker, session: from.session(from.announce("run", limits, a), 1)}
	f.session.hand(false, requests...)
	return f
}

// again hands a record that came back out again, when it is due.
func (f *fleet) again(back *courier.Returned) {
	time.Sleep(time.Until(back.Earliest))
	f.session.handOut(courier.HandOut{Requests: []jobs.Request{{
		Record: back.Record, Digest: back.Digest, Body: body(int(back.Record), 0),
		Attempts: back.Attempts, Calls: back.Calls, Refusals: back.Refusals,
	}}})
}

// collect takes deliveries until there are n, or so much time has passed.
func (f *fleet) collect(n int, within time.Duration) []courier.Delivery {
	f.t.Helper()
	over := time.After(within)
	for {
		got := f.session.got()[f.read:]
		if len(got) < n {
			select {
			case <-f.session.delivered:
				continue
			case <-over:
			}
		}
		f.read += len(got)
		return got
	}
}

func (f *fleet) stop() { f.worker.Drain(f.t.Context()) }

func succeededCount(deliveries []courier.Delivery) int {
	n := 0
	for _, d := range deliveries {
		if d.Result != nil && d.Result.Status == jobs.Succeeded {
			n++
		}
	}
	return n
}

// A request that the server always fails on ends as exhausted after max_attempts, and the others succeed.
func TestDeterministicFailureEnds(t *testing.T) {
	t.Parallel()
	for _, others := range []int{0, 1, 50} {
		t.Run(fmt.Sprint(others), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := &api{answer: func(body string) messages.Reply {
					if strings.Contains(body, "record-0-") {
						return failing()
					}
					return answered()
				}}
				f := start(t, a, jobs.Limits{}, requests(others+1)...)
				got := f.collect(others, time.Hour)
				// It comes back through the coordinator when its wait grows long.
				returned := 0
				for len(got) <= others+returned {
					more := f.collect(1, time.Hour)
					if len(more) == 0 {
						t.Fatal("the record neither ended nor came back in an hour")
					}
					if back := more[0].Returned; back != nil {
						returned++
						f.again(back)
					}
					got = append(got, more...)
				}
				last := got[len(got)-1].Result
				if last == nil || last.Reason != jobs.ReasonExhausted || last.Attempts != 8 || last.Calls != 8 || last.Latency != time.Second {
					t.Errorf("record 0 ended as %+v, want exhausted after 8 attempts, the last of a second", last)
				}
				if n := succeededCount(got); n != others {
					t.Errorf("%d of %d others succeeded", n, others)
				}
				if calls := len(a.of("record-0-")); calls != 8 {
					t.Errorf("%d calls for record 0, want 8", calls)
				}
				f.stop()
			})
		})
	}
}

// An outage, of hours or minutes, costs no record and few calls.
func TestOutageCostsTimeOnly(t *testing.T) {
	t.Parallel()
	overloaded := messages.Reply{Verdict: messages.Verdict{Kind: messages.RetryAfter, Status: 529, Pressure: messages.Overloaded}}
	refused := messages.Reply{Verdict: messages.Verdict{Kind: messages.Retry, Type: "refused"}}
	for name, outage := range map[string]struct {
		failure messages.Reply
		lasts   time.Duration
	}{
		"500":     {failing(), 2 * time.Hour},
		"529":     {overloaded, 20 * time.Minute},
		"refused": {refused, 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				up := time.Now().Add(outage.lasts)
				a := &api{answer: func(string) messages.Reply {
					if time.Now().Before(up) {
						return outage.failure
					}
					return answered()
				}}
				f := start(t, a, jobs.Limits{}, requests(40)...)
				ended, attempts := 0, 0
				for ended < 40 {
					got := f.collect(1, 6*time.Hour)
					if len(got) == 0 {
						t.Fatalf("only %d of 40 records ended", ended)
					}
					for _, d := range got {
						switch {
						case d.Returned != nil:
							f.again(d.Returned)
						case d.Result.Status != jobs.Succeeded:
							t.Fatalf("record %d failed: %s %s", d.Result.Record, d.Result.Reason, d.Result.Error)
						default:
							ended++
							attempts = max(attempts, d.Result.Attempts)
						}
					}
				}
				if over := time.Since(up); over > time.Minute {
					t.Errorf("the run went on %s after the outage", over)
				}
				if attempts > 7 {
					t.Errorf("a record was charged %d attempts", attempts)
				}
				// Before it is noticed each record is tried some times; then one probe in 30 s.
				if calls := len(a.of("")); calls > 40*8+2*int(outage.lasts.Minutes())+40+20 {
					t.Errorf("%d calls in an outage of %s", calls, outage.lasts)
				}
				f.stop()
			})
		})
	}
}

// A dead key gives every record back, unanswered, and stops calls within a round.
func TestBlocked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &api{answer: func(string) messages.Reply {
			time.Sleep(time.Second)
			return messages.Reply{Verdict: messages.Verdict{Kind: messages.Blocked, Status: 401, Remedy: "renew the key"}}
		}}
		f := start(t, a, jobs.Limits{Concurrency: 4}, requests(60)...)
		got := f.collect(60, time.Minute)
		if len(got) != 60 {
			t.Fatalf("%d of 60 records came back", len(got))
		}
		for _, d := range got {
			if d.Returned == nil || d.Returned.Blocked != "renew the key" || d.Returned.Attempts != 0 {
				t.Errorf("record %d came back as %+v", d.Record(), d)
			}
		}
		if calls := len(a.of("")); calls > 8 {
			t.Errorf("%d calls with a dead key on 4 slots", calls)
		}
		f.stop()
	})
}

// A record that waits for its next attempt holds no slot.
func TestWaitingHoldsNoSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		failures := 0
		a := &api{}
		a.answer = func(body string) messages.Reply {
			if strings.Contains(body, "record-0-") && failures < 4 {
				failures++
				return failing()
			}
			time.Sleep(10 * time.Millisecond)
			return answered()
		}
		f := start(t, a, jobs.Limits{Concurrency: 1}, requests(40)...)
		got := f.collect(39, time.Hour)
		if waited := time.Since(began); waited > 2*time.Second {
			t.Errorf("39 calls of 10 ms took %s beside one record that waits", waited)
		}
		if got = append(got, f.collect(1, time.Hour)...); succeededCount(got) != 40 {
			t.Errorf("%d of 40 succeeded", succeededCount(got))
		}
		f.stop()
	})
}

// A drain finishes the calls in flight and gives the rest back without using an attempt.
func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &api{answer: func(string) messages.Reply {
			time.Sleep(time.Minute)
			return answered()
		}}
		f := start(t, a, jobs.Limits{Concurrency: 5}, requests(20)...)
		time.Sleep(30 * time.Second)
		began := time.Now()
		f.worker.Drain(t.Context())
		if took := time.Since(began); took > 40*time.Second {
			t.Errorf("the drain took %s with calls of a minute half done", took)
		}
		got := f.collect(20, time.Minute)
		if n := succeededCount(got); n != 5 {
			t.Errorf("%d calls in flight were finished, want 5", n)
		}
		for _, d := range got {
			if d.Returned != nil && d.Returned.Attempts != 0 {
				t.Errorf("record %d came back with %d attempts used", d.Returned.Record, d.Returned.Attempts)
			}
		}
		if len(got) != 20 || len(a.of("")) != 5 {
			t.Errorf("%d records came back after %d calls", len(got), len(a.of("")))
		}
		f.stop()
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	longest, shortest := func() float64 { return math.Nextafter(1, 0) }, func() float64 { return 0 }
	for _, row := range []struct {
		failures int
		most     time.Duration
	}{{1, 500 * time.Millisecond}, {2, time.Second}, {5, 8 * time.Second}, {8, time.Minute}, {1000, time.Minute}} {
		if got := backoff(row.failures, longest); got > row.most || got < row.most-time.Millisecond {
			t.Errorf("backoff after %d failures is up to %s, want %s", row.failures, got, row.most)
		}
		if got := backoff(row.failures, shortest); got != 0 {
			t.Errorf("backoff after %d failures is at least %s: full jitter begins at 0", row.failures, got)
		}
	}
}
