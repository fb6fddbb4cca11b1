package ratelimit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// model is a fleet of workers on one scope that do whatever workers may do. It keeps what they started.
type model struct {
	r       *rapid.T
	b       *bed
	limits  settings
	begun   time.Time     // by the real clock, which goes on
	moved   time.Duration // beside it
	workers []*modelWorker
	born    int
	started []startedCall
	largest amounts
}

type modelWorker struct {
	hand  *hand
	have  amounts
	slots int
	at    time.Duration // of the latest exchange
	each  amounts
}

type startedCall struct {
	at   time.Duration
	cost amounts
}

func (m *model) worker() *modelWorker {
	m.born++
	return &modelWorker{hand: m.b.hand(m.r, fmt.Sprint("w", m.born), m.limits), at: -time.Hour}
}

// exchange asks for calls as one run of its own.
func (m *model) exchange(w *modelWorker, calls int, each amounts) {
	r := w.hand.exchange(wants(w.hand.next.Worker, calls, each))
	w.have, w.slots, w.at, w.each = r.Grant, r.Slots, m.now(), each
	for k := range each {
		m.largest[k] = max(m.largest[k], each[k])
	}
	level, held := m.b.level(m.r)
	for k, burst := range m.limits.Burst {
		if m.limits.Rate[k] > 0 && level[k]+held[k] > burst+1e-6 {
			m.r.Fatalf("kind %d: level %v and held %v are more than the bucket of %v", k, level[k], held[k], burst)
		}
	}
}

// start starts as many calls as the worker's slice allows, n at most.
func (m *model) start(w *modelWorker, n int) (did int) {
	for ; n > 0; n-- {
		if m.now()-w.at > leaseFor || w.slots >= 0 && w.hand.next.InFlight >= w.slots {
			return did
		}
		for k, rate := range m.limits.Rate {
			if rate > 0 && w.have[k] < w.each[k]-1e-6 {
				return did
			}
		}
		w.hand.start(1, w.each)
		w.have = w.have.minus(w.each)
		m.started = append(m.started, startedCall{m.now(), w.each})
		did++
	}
	return did
}

// check looks at all windows: never more than the bucket and what comes in, and one call that begins in debt.
func (m *model) check() {
	for k, rate := range m.limits.Rate {
		if rate == 0 {
			continue
		}
		for i := range m.started {
			sum := 0.0
			for _, s := range m.started[i:] {
				sum += s.cost[k]
				if most := m.limits.Burst[k] + m.largest[k] + rate*(s.at-m.started[i].at+2*time.Millisecond).Minutes(); sum > most+1e-6 {
					m.r.Fatalf("kind %d: %v started within %v, want %v at most", k, sum, s.at-m.started[i].at, most)
				}
			}
		}
	}
}

func (m *model) advance(d time.Duration) {
	m.moved += d
	m.b.advance(d)
}

func (m *model) now() time.Duration { return m.moved + time.Since(m.begun) }

// Whatever workers do, and whenever they die: they never start more than the limits allow in any time, nothing of the
// limits is lost for longer than 5 s, and no worker that waits is forgotten.
//
// go test -run TestScriptProperties -rapid.checks 1000 looks further.
func TestScriptProperties(t *testing.T) {
	t.Parallel()
	b := newReal(t, redistest.Start(t)) // a fake is ten times as slow
	rapid.Check(t, func(r *rapid.T) {
		b.rdb.FlushDB(t.Context())
		m := &model{r: r, b: b, begun: time.Now()}
		perMinute := rapid.SampledFrom([]float64{60, 600, 6000}).Draw(r, "requests")
		tokens := rapid.SampledFrom([]float64{0, 60_000, 1_200_000}).Draw(r, "input")
		m.limits = settings{
			Version: 1, Rate: amounts{perMinute, tokens}, Burst: amounts{max(1, perMinute/120), tokens / 120},
			Concurrency: rapid.SampledFrom([]int{0, 5, 7}).Draw(r, "concurrency"),
		}
		for range rapid.IntRange(1, 4).Draw(r, "workers") {
			m.workers = append(m.workers, m.worker())
		}
		each := amounts{1, rapid.SampledFrom([]float64{10, 400, 2000}).Draw(r, "tokens")}
		for range rapid.IntRange(5, 30).Draw(r, "steps") {
			i := rapid.IntRange(0, len(m.workers)-1).Draw(r, "worker")
			w := m.workers[i]
			switch rapid.SampledFrom([]string{"ask", "ask", "ask and start", "ask and start", "start", "end", "clock", "die"}).Draw(r, "step") {
			case "ask":
				m.exchange(w, rapid.IntRange(0, 12).Draw(r, "calls"), each)
			case "ask and start":
				m.exchange(w, rapid.IntRange(1, 12).Draw(r, "calls"), each)
				m.start(w, 12)
			case "start":
				m.start(w, rapid.IntRange(1, 12).Draw(r, "calls"))
			case "end":
				w.hand.next.InFlight = 0
			case "clock":
				m.advance(time.Duration(rapid.IntRange(1, 1500).Draw(r, "ms")) * time.Millisecond)
			case "die":
				m.workers[i] = m.worker()
			}
			if m.limits.Concurrency > 0 {
				inFlight := 0
				for _, w := range m.workers {
					inFlight += w.hand.next.InFlight
				}
				if inFlight > m.limits.Concurrency {
					r.Fatalf("%d calls at once, want %d at most", inFlight, m.limits.Concurrency)
				}
			}
		}
		m.check()

		// No worker is forgotten: each that goes on asking gets its call.
		callTakes := 60 / perMinute // seconds
		if tokens > 0 {
			callTakes = max(callTakes, each[Input]/tokens*60)
		}
		call := time.Duration(callTakes * float64(time.Second))
		worst := 5*time.Second + 2*time.Duration(len(m.workers))*call
		waiting := make([]bool, len(m.workers))
		for i, w := range m.workers {
			waiting[i], w.hand.next.InFlight = true, 0
		}
		for began := m.now(); m.now()-began < worst && slices.Contains(waiting, true); m.advance(200 * time.Millisecond) {
			for i, w := range m.workers {
				m.exchange(w, 1, each)
				if m.start(w, 1) > 0 {
					waiting[i] = false
				}
				w.hand.next.InFlight = 0
			}
		}
		if slices.Contains(waiting, true) {
			r.Fatalf("of the workers %v still wait for their first call after %v", waiting, worst)
		}
		m.check()

		// All die. Nothing of it is lost for longer than it takes to forget them and to pay the debt of the last call.
		m.advance(5*time.Second + call)
		fresh := m.worker()
		small := amounts{1, 1}
		m.exchange(fresh, 1_000_000, small)
		for k, rate := range m.limits.Rate {
			want := min(m.limits.Burst[Requests], m.limits.Burst[Input])
			if tokens == 0 {
				want = m.limits.Burst[Requests]
			}
			if m.limits.Concurrency > 0 {
				want = min(want, float64(m.limits.Concurrency))
			}
			if rate > 0 && fresh.have[k] < want-1 {
				r.Fatalf("kind %d: %v granted to a fresh worker, want %v", k, fresh.have[k], want)
			}
		}
		if m.limits.Concurrency > 0 && fresh.slots != m.limits.Concurrency {
			r.Fatalf("%d slots for a fresh worker, want all %d", fresh.slots, m.limits.Concurrency)
		}
	})
}
