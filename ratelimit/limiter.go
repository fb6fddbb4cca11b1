package ratelimit

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// Cost is what a call takes from the limits. Before a call it is an estimate (see Estimator), after it what was used.
type Cost struct {
	// Requests is 1 for a call.
	Requests int64
	// Input and Output are tokens as the rate limits count them: cache reads are no input.
	Input, Output int64
}

// Limits bound what may start; a zero means no limit.
type Limits struct {
	// Concurrency is how many calls may run at once.
	Concurrency           int
	RequestsPerMinute     int64
	InputTokensPerMinute  int64
	OutputTokensPerMinute int64
	// Headroom is the share (at least 0, below 1) of the three rates that is left to others.
	Headroom float64
}

// Limiter admits calls within limits. Make it with New; its methods may be called from many goroutines.
type Limiter struct {
	start time.Time

	mu       sync.Mutex
	limits   Limits
	buckets  [3]bucket // in the order of costs
	inFlight int
	queue    list.List // of *waiter, first come first
	timer    *time.Timer
	hold     time.Duration // since start: nothing starts before
	reason   string
	tried    Cost // of the latest TryAdmit
	refused  bool // that one
}

// waiter is one call of Admit that could not be admitted at once.
type waiter struct {
	cost     Cost
	admitted chan struct{} // closed when the cost has been taken
}

// New returns a limiter with full buckets.
func New(limits Limits) *Limiter {
	return &Limiter{limits: limits, start: time.Now(), buckets: limits.buckets()}
}

// buckets makes full buckets, in the order of costs.
func (l Limits) buckets() [3]bucket {
	return [3]bucket{
		newBucket(l.RequestsPerMinute, l.Headroom, 1),
		newBucket(l.InputTokensPerMinute, l.Headroom, 0),
		newBucket(l.OutputTokensPerMinute, l.Headroom, 0),
	}
}

// SetLimits changes the limits from now on. What was used stays used: a higher limit fills up at its own rate, a
// lower one leaves at most its own burst, and calls that run go on.
func (l *Limiter) SetLimits(limits Limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limits == l.limits {
		return
	}
	now := time.Since(l.start)
	for i, b := range limits.buckets() {
		if old := l.buckets[i].filled(now); old.rate > 0 {
			b.level = min(b.burst, old.level)
		}
		b.at = now
		l.buckets[i] = b
	}
	l.limits = limits
	l.advance()
}

// costs lists a cost in the order of a limiter's buckets.
func (c Cost) costs() [3]float64 {
	return [3]float64{float64(c.Requests), float64(c.Input), float64(c.Output)}
}

// Admit waits until a call of cost c may start: all who asked before have started, a slot is free, no Hold is on, and
// each limit has room. A cost larger than a limit's burst starts when that has filled up, and those after it wait for
// the debt. The caller ends the permit with Settle or Release. The only error is that ctx ended first; nothing is
// taken then.
func (l *Limiter) Admit(ctx context.Context, c Cost) (*Permit, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wait for the rate limit: %w", err)
	}
	l.mu.Lock()
	if l.queue.Len() == 0 {
		now := time.Since(l.start)
		if b, _ := l.blocker(now, c); b == BoundByNothing {
			l.take(now, c)
			l.mu.Unlock()
			return &Permit{limiter: l, cost: c}, nil
		}
	}
	w := &waiter{cost: c, admitted: make(chan struct{})}
	place := l.queue.PushBack(w)
	if l.queue.Len() == 1 {
		l.advance()
	}
	l.mu.Unlock()

	select {
	case <-w.admitted:
		return &Permit{limiter: l, cost: c}, nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.admitted: // at the same moment: the call will not happen
		l.giveBack(c, Cost{})
	default:
		l.queue.Remove(place)
		l.advance()
	}
	return nil, fmt.Errorf("wait for the rate limit: %w", ctx.Err())
}

// TryAdmit admits a call of cost c at once, or says what keeps it from starting and how much longer that will last; the
// wait is 0 when only the end of another call can tell. It takes no place in the order: calls that wait in Admit go
// first, so whoever is refused asks again when the wait is over or a call has ended.
func (l *Limiter) TryAdmit(c Cost) (permit *Permit, bound Bound, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance() // whose time has come just now is not in the way any more
	now := time.Since(l.start)
	if first := l.queue.Front(); first != nil {
		bound, wait = l.blocker(now, first.Value.(*waiter).cost)
	} else {
		bound, wait = l.blocker(now, c)
	}
	l.tried, l.refused = c, bound != BoundByNothing
	if l.refused {
		return nil, bound, wait
	}
	l.take(now, c)
	return &Permit{limiter: l, cost: c}, BoundByNothing, 0
}

// Hold keeps calls from starting before until, for a reason that State shows. It never shortens a hold; calls that
// run go on.
func (l *Limiter) Hold(until time.Time, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := until.Sub(l.start); at > l.hold {
		l.hold, l.reason = at, reason
		l.advance()
	}
}

// advance admits from the head of the queue all that may start now, and sets the timer for the next.
func (l *Limiter) advance() {
	now := time.Since(l.start)
	for {
		first := l.queue.Front()
		if first == nil {
			return // a timer that still runs finds nothing to do
		}
		w := first.Value.(*waiter)
		bound, wait := l.blocker(now, w.cost)
		if bound == BoundByConcurrency {
			return // the end of a call advances the queue
		}
		if bound != BoundByNothing {
			l.wakeAfter(wait)
			return
		}
		l.queue.Remove(first)
		l.take(now, w.cost)
		close(w.admitted)
	}
}

func (l *Limiter) wakeAfter(wait time.Duration) {
	if l.timer != nil {
		l.timer.Reset(wait)
		return
	}
	l.timer = time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.advance()
	})
}

// blocker returns what keeps a call of cost c from starting at now, and how much longer it will; the wait for a slot
// has no known end.
func (l *Limiter) blocker(now time.Duration, c Cost) (Bound, time.Duration) {
	if l.limits.Concurrency > 0 && l.inFlight >= l.limits.Concurrency {
		return BoundByConcurrency, 0
	}
	bound, wait := BoundByNothing, time.Duration(0)
	for i, cost := range c.costs() {
		if w := l.buckets[i].wait(now, cost); w > wait {
			bound, wait = bucketBounds[i], w
		}
	}
	if w := l.hold - now; w > wait {
		bound, wait = BoundByHold, w
	}
	return bound, wait
}

func (l *Limiter) take(now time.Duration, c Cost) {
	l.inFlight++
	for i, cost := range c.costs() {
		l.buckets[i] = l.buckets[i].take(now, cost)
	}
}

// giveBack ends a call that was admitted at one cost and used another.
func (l *Limiter) giveBack(admitted, used Cost) {
	l.inFlight--
	now := time.Since(l.start)
	took, spent := admitted.costs(), used.costs()
	for i := range l.buckets {
		l.buckets[i] = l.buckets[i].take(now, spent[i]-took[i])
	}
	l.advance()
}

// Permit is the right to make one call. Only the first of its methods that is called counts.
type Permit struct {
	limiter *Limiter
	cost    Cost
	ended   bool // guarded by the limiter's mu
}

// Settle ends a call that was made: it frees the slot and puts what the call used in place of what it was admitted at.
// A call that the API refused uses its request and no tokens.
func (p *Permit) Settle(used Cost) {
	p.limiter.mu.Lock()
	defer p.limiter.mu.Unlock()
	if !p.ended {
		p.ended = true
		p.limiter.giveBack(p.cost, used)
	}
}

// Release ends a permit whose call was never made: all of it goes back.
func (p *Permit) Release() { p.Settle(Cost{}) }
