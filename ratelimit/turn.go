package ratelimit

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"
)

const (
	// leaseFor is how long a slice may be used after it was asked for. Redis forgets a silent worker's after 3 s.
	leaseFor = 2 * time.Second
	// shortest is the least time between two exchanges of a worker, longest the most while it has calls in flight or
	// waits for some.
	shortest = 100 * time.Millisecond
	longest  = time.Second
	// perWorker stretches that with the number of workers, up to the longest: a fleet of 16 asks Redis 125 times a second,
	// one of 100 as often.
	perWorker = 8 * time.Millisecond
	// exchangeWithin bounds the wait for Redis.
	exchangeWithin = 2 * time.Second
	// idleAfter is when a run that started no call and wants none is no more told of.
	idleAfter = 3 * time.Second
)

// listen hears of holds that other workers met.
func (l *Limiter) listen(ctx context.Context) {
	news := l.options.Redis.Subscribe(ctx, channel(l.options.Key))
	defer news.Close() //nolint:errcheck // nothing can be done about it
	messages := news.Channel()
	for {
		select {
		case <-ctx.Done():
			return
		case m, open := <-messages:
			if !open {
				return
			}
			l.heard(m.Payload)
		}
	}
}

// heard takes in a hold that another worker met.
func (l *Limiter) heard(payload string) {
	var news struct {
		Hold   int64  `json:"hold"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal([]byte(payload), &news) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heldFor(news.Hold, news.Reason)
}

// heldFor is told by Redis how many more milliseconds nothing may start.
func (l *Limiter) heldFor(ms int64, reason string) {
	until := time.Now().Add(milliseconds(float64(ms)))
	if until.After(l.told) {
		l.told = until
	}
	l.holdUntil(until, reason)
}

// milliseconds is a duration that came through Redis, where it may be any number.
func milliseconds(ms float64) time.Duration {
	const most = 24 * time.Hour
	if !(ms > 0) {
		return 0
	}
	return time.Duration(min(ms, float64(most.Milliseconds())) * float64(time.Millisecond))
}

// run exchanges with Redis as often as there is reason to, until ctx ends.
func (l *Limiter) run(ctx context.Context) {
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		wait, wanted := l.nextTurn(time.Now())
		if wanted && wait <= 0 {
			l.turn(ctx)
			continue
		}
		if wanted {
			alarm.Reset(wait)
		}
		select {
		case <-ctx.Done():
			l.leave(context.WithoutCancel(ctx))
			return
		case <-l.kick:
		case <-alarm.C:
		}
	}
}

// nextTurn says when the next exchange is due, if one is wanted.
func (l *Limiter) nextTurn(now time.Time) (wait time.Duration, wanted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	every := max(shortest, min(longest, time.Duration(max(l.latest.Workers, 0))*perWorker))
	wants, holds := false, l.slots > 0 || l.inFlight > 0 || l.left()
	for _, w := range l.runs {
		wants = wants || w.calls > 0
	}
	due := func(d time.Duration) (time.Duration, bool) { return l.triedAt.Add(d).Sub(now), true }
	switch {
	case l.failing > 0:
		return due(l.pause)
	case l.urgent:
		return due(shortest / 10)
	case l.used != l.sent.Used, l.done != l.sent.Done:
		return due(every) // what others are to know
	case wants:
		return due(max(every, min(l.wait.Sub(l.triedAt), longest)))
	case holds:
		return due(longest)
	}
	return 0, false
}

// left reports whether something of the slice is left.
func (l *Limiter) left() bool {
	for k, rate := range l.known.Rate {
		if rate > 0 && l.have[k] > 0 {
			return true
		}
	}
	return false
}

// turn is one exchange.
func (l *Limiter) turn(ctx context.Context) {
	l.mu.Lock()
	a := l.ask(time.Now())
	l.asking, l.triedAt, l.askedWith = true, time.Now(), a.InFlight
	known := l.known
	l.exchanges++
	l.mu.Unlock()

	within, cancel := context.WithTimeout(ctx, exchangeWithin)
	r, err := exchange(within, l.options.Redis, l.options.Key, a)
	if err == nil && r.Lost {
		a.Set = &known
		r, err = exchange(within, l.options.Redis, l.options.Key, a)
	}
	cancel()

	l.mu.Lock()
	l.asking = false
	if err != nil {
		l.lost()
	} else {
		l.found(a, r)
	}
	first := l.failing == 1
	l.mu.Unlock()
	if err != nil && first && ctx.Err() == nil && l.options.Warn != nil {
		l.options.Warn(err)
	}
	l.tellChanged()
}

// ask says what happened since the latest exchange, and what is wanted.
func (l *Limiter) ask(now time.Time) *ask {
	a := &ask{
		Worker: l.options.Worker, Used: l.used, Known: l.sent.Used, Done: l.done, Reported: l.sent.Done,
		InFlight: l.counting(now), Refused: l.refused, Urgent: l.steering, Runs: []demand{}, First: l.latest.Now == 0, Version: l.known.Version,
	}
	if l.latest.Now == 0 || l.known.Version != l.setVersion {
		a.Set = new(l.known)
	}
	if !l.startedAt.IsZero() && !l.left() {
		a.Since = max(0, now.Sub(l.startedAt).Milliseconds())
	}
	for id, w := range l.runs {
		calls := w.calls
		if calls > 0 {
			calls = max(calls, 2*w.started)
		} else if w.started > 0 {
			calls = w.started + (w.started+3)/4
		}
		a.Runs = append(a.Runs, demand{ID: id, Weight: w.weight, Tokens: w.tokens, Calls: calls, Each: w.each})
		a.Headroom = max(a.Headroom, w.headroom)
	}
	if l.hold.After(l.told.Add(50 * time.Millisecond)) {
		a.Hold, a.Reason = l.hold.Sub(now).Milliseconds(), l.reason
	}
	for k, s := range l.seen {
		a.Seen[k] = sighting{Age: -1}
		if s != nil {
			a.Seen[k] = sighting{now.Sub(s.at).Milliseconds(), s.limit, s.left, max(0, l.used[k]-s.used)}
		}
	}
	return a
}

// lost is what follows from an exchange that failed: Redis may have given the slice to others.
func (l *Limiter) lost() {
	l.failing++
	l.sliceAt = time.Time{}
	// Spread, so that a fleet does not come back in one moment.
	l.pause = time.Duration((0.5 + rand.Float64()) * float64(min(100*time.Millisecond<<min(l.failing, 5), 2*time.Second))) //nolint:gosec // no secret
}

// found takes in what an exchange brought.
func (l *Limiter) found(a *ask, r *reply) {
	now := time.Now()
	l.setVersion = l.known.Version
	if r.Set != nil {
		l.setVersion = r.Set.Version // an older one, of who came first to a Redis that lost its own, is replaced next time
		if r.Set.Version > l.known.Version {
			l.known = *r.Set
		}
	}
	l.latest, l.sent, l.failing, l.sliceAt = *r, *a, 0, l.triedAt
	l.refused -= a.Refused
	l.urgent, l.steering = false, false
	// What was used meanwhile was not yet known to Redis.
	l.have = r.Grant.minus(l.used.minus(a.Used))
	l.slots = max(r.Slots, -1)
	l.wait, l.bound = now.Add(milliseconds(r.Wait)), r.Bound
	l.heldFor(r.Hold, r.Reason)
	l.history.add(r.Now, r.Used, r.Denied)
	for k, s := range l.seen {
		if s != nil && !s.at.After(l.triedAt) {
			l.seen[k] = nil // told
		}
	}
	for id, w := range l.runs {
		if w.calls == 0 && w.started == 0 && now.Sub(w.last) > idleAfter {
			delete(l.runs, id)
			continue
		}
		for _, d := range a.Runs {
			if d.ID == id {
				w.tokens -= d.Tokens
			}
		}
		w.calls, w.started = 0, 0
	}
	if last := &l.steered; r.Due && l.options.Bounds == nil &&
		(r.Used != last.Used || r.Done != last.Done || r.Denied != last.Denied || r.Headroom != last.Headroom) {
		l.steered = *r
		l.known, l.urgent = steer(l.known, r), true
	}
}

// leave gives back what the worker holds.
func (l *Limiter) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, exchangeWithin)
	defer cancel()
	l.mu.Lock()
	a := l.ask(time.Now())
	a.Runs, a.Leave = []demand{}, "any"
	if l.options.Bounds != nil {
		a.Leave = "last"
	}
	l.sliceAt = time.Time{}
	l.mu.Unlock()
	_, _ = exchange(ctx, l.options.Redis, l.options.Key, a) // if not, Redis forgets the worker by itself
}
