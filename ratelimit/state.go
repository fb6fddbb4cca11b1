package ratelimit

import (
	"fmt"
	"time"
)

// Bound is what keeps the next call from starting.
type Bound string

// The bounds.
const (
	BoundByNothing     Bound = ""
	BoundByConcurrency Bound = "concurrency"
	BoundByRequests    Bound = "requests"
	BoundByInput       Bound = "input"
	BoundByOutput      Bound = "output"
	BoundByHold        Bound = "hold"
)

var bucketBounds = [3]Bound{BoundByRequests, BoundByInput, BoundByOutput}

// State is what a limiter does at one moment.
type State struct {
	// Bound is what the first call that waits in Admit, or else the one that TryAdmit refused last, waits for; or a
	// hold, also when nobody waits yet.
	Bound Bound
	// Until is when that is over; zero for concurrency, whose end nobody knows.
	Until time.Time
	// Reason is what Hold was given.
	Reason string
	// InFlight counts the calls that run, Waiting those that wait in Admit.
	InFlight, Waiting int
	Limits            Limits
}

// State says what binds now.
func (l *Limiter) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	s := State{InFlight: l.inFlight, Waiting: l.queue.Len(), Limits: l.limits}
	var wait time.Duration
	if first := l.queue.Front(); first != nil {
		s.Bound, wait = l.blocker(now, first.Value.(*waiter).cost)
	} else if l.refused {
		s.Bound, wait = l.blocker(now, l.tried)
	} else if l.hold > now {
		s.Bound, wait = BoundByHold, l.hold-now
	}
	if wait > 0 {
		s.Until = l.start.Add(now + wait)
	}
	if s.Bound == BoundByHold {
		s.Reason = l.reason
	}
	return s
}

// Why says in words for a progress line what calls wait for; it is empty when they do not wait.
func (s State) Why() string {
	switch s.Bound {
	case BoundByConcurrency:
		return fmt.Sprintf("limit of %d calls at once", s.Limits.Concurrency)
	case BoundByRequests:
		return s.rate(s.Limits.RequestsPerMinute, "requests")
	case BoundByInput:
		return s.rate(s.Limits.InputTokensPerMinute, "input tokens")
	case BoundByOutput:
		return s.rate(s.Limits.OutputTokensPerMinute, "output tokens")
	case BoundByHold:
		return fmt.Sprintf("held until %s: %s", s.Until.Local().Format(time.TimeOnly), s.Reason)
	default:
		return ""
	}
}

func (s State) rate(limit int64, of string) string {
	text := fmt.Sprintf("limit of %d %s a minute", limit, of)
	if s.Limits.Headroom > 0 {
		text += fmt.Sprintf(", less %.0f%% headroom", 100*s.Limits.Headroom)
	}
	return text
}
