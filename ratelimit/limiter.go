package ratelimit

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options say whose limits a Limiter keeps.
type Options struct {
	// Redis is where workers share the limits. Required.
	Redis redis.UniversalClient
	// Key is that of the scope's state in Redis, the same for all who share limits. Required.
	Key string
	// Label names the scope for people.
	Label string
	// Worker is unique over the fleet. Required.
	Worker string
	// Bounds are a job's own; nil for a scope whose limits are learned. BoundsVersion orders them in time: newer ones
	// replace older ones in the whole fleet.
	Bounds        *Limits
	BoundsVersion int64
	// Changed is called when calls that were refused may start now. It must not call the limiter.
	Changed func()
	// Warn is told, once until it is over, that Redis does not answer. Default nobody is.
	Warn func(error)
}

// Limiter is one worker's part in a scope. Its methods may be called from many goroutines.
type Limiter struct {
	options Options
	kick    chan struct{} // holds a token when an exchange may be wanted
	closing context.CancelFunc
	closed  sync.WaitGroup

	mu         sync.Mutex
	known      settings // the latest
	setVersion int64    // of the settings that Redis has
	latest     reply
	steered    reply     // the latest that settings followed from
	sliceAt    time.Time // when the exchange that brought the slice began; zero before the first
	triedAt    time.Time // when the latest exchange began
	failing    int       // exchanges that failed in a row
	askedWith  int       // calls in flight when the latest exchange began
	asking     bool      // an exchange is under way
	have       amounts   // of the slice, for the kinds that are limited
	slots      int       // calls at once; -1 for any number
	inFlight   int
	hung       int       // of these
	flying     []*Permit // those that are not hung, oldest first, and some that have ended
	runs       map[string]*wish
	used       amounts // by this worker since it began; so is done
	done       counts
	sent       ask           // what the latest exchange that succeeded said
	refused    int           // calls that a limit refused since then
	urgent     bool          // the next exchange must not wait
	steering   bool          // and is to set the limits anew
	pause      time.Duration // after a failure
	hold       time.Time     // nothing starts before
	reason     string
	told       time.Time // the hold that Redis knows
	seen       [kinds]*seen
	wait       time.Time // nothing will be granted before
	bound      Bound     // what for
	startedAt  time.Time // when the latest call started
	deniedAt   time.Time // when a call was last refused here
	history    history
	waiting    int           // in Admit: they go before whoever is in TryAdmit
	change     chan struct{} // closed when something may start that could not
	exchanges  int64
}

// wish is what a run used since the latest exchange, and wants from the next one.
type wish struct {
	weight   float64
	headroom float64
	tokens   float64
	started  int
	calls    int // that were refused and could start
	each     amounts
	last     time.Time
}

// seen is what the service said of one kind.
type seen struct {
	at          time.Time
	limit, left float64
	used        float64 // by this worker until then
}

// Open takes part in a scope until Close.
func Open(o Options) *Limiter {
	ctx, cancel := context.WithCancel(context.Background())
	o.Worker += "-" + rand.Text()[:6] // who comes again to a scope at once is not who was there
	l := &Limiter{options: o, kick: make(chan struct{}, 1), closing: cancel, runs: make(map[string]*wish), change: make(chan struct{})}
	if o.Bounds != nil {
		l.known = settingsOf(*o.Bounds, o.BoundsVersion)
	} else {
		l.known = firstSettings()
	}
	l.closed.Go(func() { l.run(ctx) })
	l.closed.Go(func() { l.listen(ctx) })
	return l
}

// Close gives back what the worker holds. Calls in flight may still be settled, which then counts for nothing.
func (l *Limiter) Close() {
	l.closing()
	l.closed.Wait()
}

// Run is who wants a call: a run's id, its weight beside others, and the share of the limits (at least 0, below 1) that
// it leaves to other users of the key.
type Run struct {
	ID       string
	Weight   float64
	Headroom float64
}

// TryAdmit admits a call of cost c for a run at once, or says what keeps it from starting and how much longer that will
// last; the wait is 0 when nobody knows: Changed or the end of a call tells. ready is how many calls like it, this one
// included, the run could start now. The permit is ended with Settle or Release.
func (l *Limiter) TryAdmit(run Run, c Cost, ready int) (permit *Permit, bound Bound, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tryAdmit(run, c.amounts(), ready, l.waiting > 0)
}

// Admit waits until a call may start, ahead of all that TryAdmit asks for. It is for the few calls that a worker makes out
// of turn. The only error is that of ctx.
func (l *Limiter) Admit(ctx context.Context, run Run, c Cost) (*Permit, error) {
	l.mu.Lock()
	l.waiting++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.waiting--
		l.mu.Unlock()
		l.tellChanged()
	}()
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		l.mu.Lock()
		permit, _, wait := l.tryAdmit(run, c.amounts(), 1, false)
		change := l.change
		l.mu.Unlock()
		if permit != nil {
			return permit, nil
		}
		if wait > 0 {
			alarm.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the rate limit: %w", ctx.Err())
		case <-change:
		case <-alarm.C:
		}
	}
}

func (l *Limiter) tryAdmit(run Run, cost amounts, ready int, behind bool) (*Permit, Bound, time.Duration) {
	now := time.Now()
	w := l.wishOf(run, now)
	if left := l.hold.Sub(now); left > 0 {
		return nil, BoundByHold, left
	}
	bound := l.blocker(now, cost)
	if bound == BoundByNothing && behind {
		bound = cmp.Or(l.bound, BoundByConcurrency)
	}
	if bound != BoundByNothing {
		w.calls, w.each = max(w.calls, ready), cost
		l.deniedAt = now
		l.poke()
		return nil, bound, 0
	}
	w.started++
	l.startedAt = now
	w.each = cost
	w.tokens += cost[Tokens]
	l.inFlight++
	l.have = l.have.minus(cost)
	l.used = l.used.plus(cost)
	p := &Permit{limiter: l, run: run.ID, cost: cost, started: now}
	if l.options.Bounds == nil {
		l.flying = append(l.flying, p)
	}
	return p, BoundByNothing, 0
}

// tellChanged says that what was refused may start now.
func (l *Limiter) tellChanged() {
	l.mu.Lock()
	l.signal()
	l.mu.Unlock()
	if l.options.Changed != nil {
		l.options.Changed()
	}
}

func (l *Limiter) signal() {
	close(l.change)
	l.change = make(chan struct{})
}

func (l *Limiter) wishOf(run Run, now time.Time) *wish {
	w := l.runs[run.ID]
	if w == nil {
		w = &wish{}
		l.runs[run.ID] = w
	}
	w.weight, w.headroom, w.last = cmp.Or(run.Weight, 1), run.Headroom, now
	return w
}

// blocker is what the worker's slice lacks for a call.
func (l *Limiter) blocker(now time.Time, cost amounts) Bound {
	if l.sliceAt.IsZero() || now.Sub(l.sliceAt) > leaseFor {
		if l.failing > 0 {
			return BoundByRedis
		}
		return cmp.Or(l.bound, BoundByConcurrency)
	}
	for k, rate := range l.known.Rate {
		if rate == 0 {
			continue
		}
		// An estimate may have moved a little since the slice was asked for.
		if l.have[k] < 0.9*cost[k] || l.asking { // what is left is being given back
			return Bound(k + 1)
		}
	}
	if slots := l.slots; slots >= 0 {
		if l.asking && l.options.Bounds != nil { // a window that was learned is not that exact
			slots = min(slots, l.askedWith)
		}
		if l.counting(now) >= slots {
			return BoundByConcurrency
		}
	}
	return BoundByNothing
}

// hungAfter is how long a call must have been in flight, and how many times the mean latency, to be taken for hung.
const (
	hungAfter = 30 * time.Second
	hungTimes = 4
)

// counting is the number of calls in flight that count against a limit on calls at once. A limit that was learned is
// that of a service at work: what hangs there would keep all others from being called. A job's own counts all.
func (l *Limiter) counting(now time.Time) int {
	after := hungAfter
	if n := l.latest.Done[answered]; n > 0 {
		after = max(after, milliseconds(hungTimes*l.latest.Done[latency]/n))
	}
	for len(l.flying) > 0 {
		oldest := l.flying[0]
		if !oldest.ended {
			if now.Sub(oldest.started) < after {
				break
			}
			oldest.hung = true
			l.hung++
		}
		l.flying[0] = nil
		l.flying = l.flying[1:]
	}
	return l.inFlight - l.hung
}

// poke wakes the exchanging goroutine.
func (l *Limiter) poke() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// holdUntil keeps calls from starting before until, for a reason that State shows. It never shortens a hold; calls that
// run go on.
func (l *Limiter) holdUntil(until time.Time, reason string) {
	if until.After(l.hold) {
		l.hold, l.reason = until, reason
	}
}
