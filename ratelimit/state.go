package ratelimit

import (
	"fmt"
	"time"
)

// State is what a scope's limits are and what they do at one moment, for all workers together.
type State struct {
	Scope   string `json:"scope"`
	Workers int    `json:"workers"`
	// Limits are those that count: by kind, in the order of Kind.
	Limits []LimitState `json:"limits"`
	// Concurrency is how many calls may run at once; 0 for any number.
	Concurrency int `json:"concurrency,omitempty"`
	InFlight    int `json:"in_flight"`
	// Headroom is the share that is left to other users of the key.
	Headroom float64 `json:"headroom,omitempty"`
	// Bound is what calls of this worker wait for; Until is when a hold is over.
	Bound  Bound     `json:"-"`
	Until  time.Time `json:"until,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// Why is the bound in words.
	Why string `json:"why,omitempty"`
	// Exchanges counts this worker's with Redis.
	Exchanges int64 `json:"-"`
}

// LimitState is one limit.
type LimitState struct {
	Kind string `json:"kind"`
	// Learned is per minute, as the service says it; 0 when it does not.
	Learned float64 `json:"learned,omitempty"`
	// Effective is per minute, as it is kept.
	Effective float64 `json:"effective"`
	// Left is what the service last said to be left; nil when it did not.
	Left *float64 `json:"left,omitempty"`
	// Used is what was used in the last minute.
	Used float64 `json:"used"`
}

// kindNames are those for people.
var kindNames = [kinds]string{"requests", "input tokens", "output tokens", "tokens"}

// deniedFor is how long a refusal is shown: slices come several times a second, and in between calls do not wait.
const deniedFor = 2 * time.Second

// State says what the limits are and what binds now.
func (l *Limiter) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	s := State{
		Scope: l.options.Label, Workers: l.latest.Workers, Concurrency: l.known.Concurrency,
		InFlight: max(l.inFlight, l.latest.InFlight), Headroom: l.latest.Headroom, Exchanges: l.exchanges,
	}
	lately := l.history.lastMinute()
	for k, rate := range l.known.Rate {
		seen := l.latest.Seen[k]
		if rate == 0 && seen.Limit == 0 {
			continue
		}
		limit := LimitState{Kind: kindNames[k], Learned: seen.Limit, Effective: rate, Used: lately[k]}
		if seen.At > 0 && seen.Left >= 0 {
			limit.Left = &seen.Left
		}
		s.Limits = append(s.Limits, limit)
	}
	switch denied := now.Sub(l.deniedAt) < deniedFor; {
	case l.hold.After(now):
		s.Bound, s.Until, s.Reason = BoundByHold, l.hold, l.reason
	case denied && l.failing > 0:
		s.Bound = BoundByRedis
	case denied:
		s.Bound = l.history.denying(l.latest.Denied)
	}
	s.Why = s.why(l.options.Bounds != nil)
	return s
}

// why says in words for a progress line what calls wait for; it is empty when they do not wait.
func (s State) why(own bool) string {
	of := "the API's limit"
	if own {
		of = "the job's limit"
	}
	switch s.Bound {
	case BoundByRequests, BoundByInput, BoundByOutput, BoundByTokens:
		name := kindNames[s.Bound-1]
		for _, limit := range s.Limits {
			if limit.Kind == name {
				name = fmt.Sprintf("%.0f %s a minute", limit.Effective, name)
			}
		}
		text := of + " of " + name
		if s.Headroom > 0 {
			text += fmt.Sprintf(", less %.0f%% headroom", 100*s.Headroom)
		}
		return text
	case BoundByConcurrency:
		return fmt.Sprintf("%s of %d calls at once", of, s.Concurrency)
	case BoundByHold:
		return fmt.Sprintf("held until %s: %s", s.Until.Local().Format(time.TimeOnly), s.Reason)
	case BoundByRedis:
		return "Redis does not answer, and without it no call may start"
	default:
		return ""
	}
}

// history is what all workers had used at moments of the last minute, oldest first.
type history struct{ moments []moment }

type moment struct {
	at     ms
	used   amounts
	denied [kinds + 1]float64
}

// denying is what Redis denied most for since two seconds before the latest moment. What a worker's slice lacks says less:
// the slice is short of all kinds while it is being exchanged.
func (h *history) denying(denied [kinds + 1]float64) Bound {
	n := len(h.moments)
	if n == 0 {
		return BoundByNothing
	}
	since := h.moments[max(0, n-3)]
	bound, most := BoundByNothing, 0.0
	for k := range denied {
		if more := denied[k] - since.denied[k]; more > most {
			bound, most = Bound(k+1), more
		}
	}
	return bound
}

const minute = 60 * second

func (h *history) add(now ms, used amounts, denied [kinds + 1]float64) {
	if n := len(h.moments); n > 0 {
		switch last := h.moments[n-1]; {
		case now < last.at, used[Requests] < last.used[Requests]/2:
			h.moments = nil // Redis has lost what it knew
		case now-last.at < second:
			return
		}
	}
	h.moments = append(h.moments, moment{now, used, denied})
	for len(h.moments) > 1 && now-h.moments[1].at >= minute {
		h.moments = h.moments[1:]
	}
}

// lastMinute is what was used in the latest minute of it.
func (h *history) lastMinute() amounts {
	n := len(h.moments)
	if n == 0 {
		return amounts{}
	}
	return h.moments[n-1].used.minus(h.moments[0].used)
}
