package worker

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/ratelimit"
	"github.com/batchwright/batchwright/worker/messages"
)

// What came of a call, as meters count it.
const (
	callAnswered = iota
	callFailed
	callRateLimited
	callOverloaded
	callRejected
	callBlocked
	callCancelled
	callOutcomes
)

var callOutcomeNames = [callOutcomes]string{"answered", "failed", "rate_limited", "overloaded", "rejected", "blocked", "cancelled"}

// callBuckets are the latencies by which calls are counted. They are close together where answers are: one of a few
// words takes under a second, one of some thousand tokens a minute, and a call is cut off after ten.
var callBuckets = [...]time.Duration{
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	1 * time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second, 8 * time.Second, 12 * time.Second, 20 * time.Second,
	30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
}

// Meters are what the calls of a worker have come to since it started, and what it does now, for a system that collects
// such numbers. They hold no prompt, answer or credential.
type Meters struct {
	// Calls are those that have ended, probes included, by what came of them: one entry for each outcome there can be.
	Calls []Calls
	// Retries counts the calls for a record that had been called before.
	Retries int64
	// Usage is what the answers say they took.
	Usage jobs.Usage
	// Slots is how many calls the worker makes at once.
	Slots int
	// Runs counts the runs that the worker serves by state: calling, paused, outage (the API fails, and is being probed) or
	// blocked (the worker withdrew until a person acts). All four are there.
	Runs map[string]int
}

// Calls are the calls of one outcome.
type Calls struct {
	// Outcome is one of answered, failed (for a reason that may pass; the record is tried again), rate_limited (429),
	// overloaded (529), rejected (the same request would be refused again), blocked (all calls are, until a person acts)
	// and cancelled (cut off by the worker's own end).
	Outcome string
	Count   uint64
	// Took is how long they took together.
	Took time.Duration
	// Within counts those that took no longer than each of some durations.
	Within map[time.Duration]uint64
}

// meters count calls as they end. They are atomic numbers and no more: counting a call takes 50 ns (BenchmarkMeters).
type meters struct {
	calls   [callOutcomes]latencies
	retries atomic.Int64

	input, output, cacheRead, cacheWrite5m, cacheWrite1h atomic.Int64
}

// latencies count calls by how long they took.
type latencies struct {
	took   atomic.Int64                        // together
	counts [len(callBuckets) + 1]atomic.Uint64 // by the first bucket that holds them; the last is for longer ones
}

// ended counts a call; again says that its record had been called before.
func (m *meters) ended(reply *messages.Reply, usage jobs.Usage, again bool) {
	l := &m.calls[callOutcomeOf(reply)]
	bucket, _ := slices.BinarySearch(callBuckets[:], reply.Latency)
	l.counts[bucket].Add(1)
	l.took.Add(int64(reply.Latency))
	if again {
		m.retries.Add(1)
	}
	if usage != (jobs.Usage{}) {
		m.input.Add(usage.Input)
		m.output.Add(usage.Output)
		m.cacheRead.Add(usage.CacheRead)
		m.cacheWrite5m.Add(usage.CacheWrite5m)
		m.cacheWrite1h.Add(usage.CacheWrite1h)
	}
}

// probed counts a probe, which is a call like any other.
func (m *meters) probed(reply *messages.Reply) {
	var usage jobs.Usage
	if reply.Kind == messages.Answered {
		_, _, usage, _ = jobs.ReadMessage(reply.Message)
	}
	m.ended(reply, usage, false)
}

func callOutcomeOf(reply *messages.Reply) int {
	switch reply.Kind {
	case messages.Answered:
		return callAnswered
	case messages.RetryAfter:
		if reply.Pressure == messages.Overloaded {
			return callOverloaded
		}
		return callRateLimited
	case messages.Rejected:
		return callRejected
	case messages.Blocked:
		return callBlocked
	case messages.Cancelled:
		return callCancelled
	default:
		return callFailed
	}
}

// read is what the latencies are now.
func (l *latencies) read(outcome string) Calls {
	c := Calls{Outcome: outcome, Took: time.Duration(l.took.Load()), Within: make(map[time.Duration]uint64, len(callBuckets))}
	for i := range l.counts {
		c.Count += l.counts[i].Load()
		if i < len(callBuckets) {
			c.Within[callBuckets[i]] = c.Count
		}
	}
	return c
}

// Meters reads the meters. It may be called at any time, also after Drain.
func (w *Worker) Meters() Meters {
	m := &w.meters
	read := Meters{
		Retries: m.retries.Load(), Slots: w.options.Slots,
		Usage: jobs.Usage{
			Input: m.input.Load(), Output: m.output.Load(), CacheRead: m.cacheRead.Load(),
			CacheWrite5m: m.cacheWrite5m.Load(), CacheWrite1h: m.cacheWrite1h.Load(),
		},
		Runs: map[string]int{"calling": 0, "paused": 0, "outage": 0, "blocked": 0},
	}
	for i := range m.calls {
		read.Calls = append(read.Calls, m.calls[i].read(callOutcomeNames[i]))
	}
	for _, r := range w.serving() {
		read.Runs[r.state()]++
	}
	return read
}

// state is the run's, as Meters names it.
func (r *run) state() string {
	switch {
	case r.refusal.Load() != nil:
		return "blocked"
	case r.session.Paused():
		return "paused"
	case r.health.up() != nil:
		return "outage"
	}
	return "calling"
}

// KeptLimits are limits that calls of a worker keep, and that it shares with other workers.
type KeptLimits struct {
	// Run is the id of the run whose own limits these are; empty for those of a key, which all runs share whose calls go
	// to BaseURL.
	Run, BaseURL string
	ratelimit.State
}

// Limits says what the limits are that the worker's calls keep: each once, however many of its runs share it.
func (w *Worker) Limits() []KeptLimits {
	var kept []KeptLimits
	seen := make(map[*ratelimit.Limiter]bool)
	for _, r := range w.serving() {
		if own := r.limits.own; own != nil {
			kept = append(kept, KeptLimits{Run: r.id, State: own.State()})
		}
		for _, limiter := range r.limits.ofKey() {
			if !seen[limiter] {
				seen[limiter] = true
				kept = append(kept, KeptLimits{BaseURL: r.terms.BaseURL, State: limiter.State()})
			}
		}
	}
	return kept
}

// ofKey lists the limits of the key that calls of the run have met, one for each class of models.
func (l *limits) ofKey() []*ratelimit.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiters := make([]*ratelimit.Limiter, 0, len(l.byClass))
	for _, s := range l.byClass {
		limiters = append(limiters, s.limiter)
	}
	return limiters
}
