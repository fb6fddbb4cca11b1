package ratelimit

import "time"

// Outcome is what came of a call.
type Outcome struct {
	// Used is what the call took. One that the service refused takes nothing.
	Used Cost
	// Answered calls took Latency.
	Answered bool
	Latency  time.Duration
	// Refused says that a rate limit refused the call, Limit which one as far as the service said (Requests if not),
	// and Ramped that it was because usage grew too fast.
	Refused, Ramped bool
	Limit           Kind
	// Overloaded says that the service had no capacity for it.
	Overloaded bool
	// Hold is for how long no call of any worker may start, and Reason why, for people.
	Hold   time.Duration
	Reason string
	// Windows are what the service said of its limits with the answer.
	Windows [kinds]Window
}

// Window is what the service says of a limit.
type Window struct {
	// Limit is per minute; 0 when not said.
	Limit float64
	// Left is what is left of it; valid only when HasLeft.
	Left    float64
	HasLeft bool
}

// Permit is the right to make one call. Only the first of its methods that is called counts.
type Permit struct {
	limiter *Limiter
	run     string
	cost    amounts
	started time.Time
	ended   bool // guarded by the limiter's mu, as is hung
	hung    bool // it has taken so long that it counts against no limit on calls at once
}

// Settle ends a call that was made: it frees the slot, puts what the call used in place of what it was admitted at, and
// learns from what came of it.
func (p *Permit) Settle(o Outcome) {
	l := p.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if !p.give(o.Used.amounts()) {
		return
	}
	l.done[produced] += float64(o.Used.Output)
	switch {
	case o.Answered:
		l.done[answered]++
		l.done[latency] += float64(o.Latency.Milliseconds())
	case o.Ramped:
		l.done[ramped]++
		l.refused++
	case o.Refused:
		l.done[refused+int(o.Limit)]++
		l.refused++
	case o.Overloaded:
		l.done[overloaded]++
	}
	now := time.Now()
	if o.Hold > 0 {
		l.holdUntil(now.Add(o.Hold), o.Reason)
	}
	if o.Hold > 0 || o.Refused || o.Ramped {
		l.have = amounts{} // what it was granted on was wrong
		l.urgent, l.steering = true, true
		l.poke()
	}
	for k, w := range o.Windows {
		if w.Limit > 0 || w.HasLeft {
			left := -1.0
			if w.HasLeft {
				left = w.Left
			}
			l.seen[k] = &seen{at: now, limit: w.Limit, left: left, used: l.used[k]}
		}
	}
	if l.options.Bounds == nil && l.latest.Done == (counts{}) {
		l.urgent, l.steering = true, true // the first answer of all: what it says is news to everybody
		l.poke()
	}
}

// Release ends a permit whose call was never made: all of it goes back.
func (p *Permit) Release() {
	l := p.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.runs[p.run]; p.give(amounts{}) && w != nil && w.started > 0 {
		w.started--
	}
}

// give puts what was used in place of what was taken. It reports whether it had not been done before.
func (p *Permit) give(used amounts) bool {
	if p.ended {
		return false
	}
	p.ended = true
	l := p.limiter
	l.inFlight--
	if p.hung {
		l.hung--
	}
	if l.waiting > 0 {
		l.signal()
	}
	correction := p.cost.minus(used)
	l.have = l.have.plus(correction)
	l.used = l.used.minus(correction)
	if w := l.runs[p.run]; w != nil {
		w.tokens -= correction[Tokens]
	}
	return true
}
