package chaos

import (
	"slices"
	"time"
)

// virtualKinds are the faults that strike in a bubble.
var virtualKinds = []kind{
	workerKilled, workerCut, workerDrained, coordinatorKilled, coordinatorCut, redisKilled, redisRolled, redisEmptied, redisFlushed,
}

// play lets faults strike, each so long after the one before, and returns when all is up again. One whose target is not
// up is left out.
func (f *virtualFleet) play(faults []fault) {
	active := map[target]*scene{}
	last := time.Now()
	advance := func(now time.Time) {
		for on, s := range active {
			for len(s.steps) > 0 && !now.Before(s.due) && s.steps[0].do() {
				if s.steps = s.steps[1:]; len(s.steps) > 0 {
					s.due = now.Add(s.steps[0].after)
				}
			}
			if len(s.steps) == 0 {
				delete(active, on)
			}
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(faults) > 0 || len(active) > 0 {
		now := <-tick.C
		advance(now)
		for len(faults) > 0 && now.Sub(last) >= faults[0].soon {
			next := faults[0]
			faults, last = faults[1:], now
			if active[next.target()] == nil {
				steps := f.plan(next)
				active[next.target()] = &scene{fault: next, steps: steps, due: now.Add(steps[0].after)}
			}
		}
	}
}

// plan says what a fault does, as the one for real processes does.
func (f *virtualFleet) plan(now fault) []step {
	switch now.kind {
	case workerKilled:
		return []step{
			{0, func() bool {
				l := f.book(now, f.workers[now.worker].key)
				l.until = time.Now().Add(time.Hour)
				f.die(now.worker)
				return true
			}},
			{now.lasts, func() bool { f.work(now.worker); return true }},
		}
	case workerCut:
		w := f.workers[now.worker]
		var l *loss
		return []step{
			{0, func() bool {
				w.link.set(now.cut)
				if now.lasts > awayShort && now.cut != linkFlicker {
					l = f.book(now, w.key)
				} else {
					l = f.book(now)
				}
				l.until = time.Now().Add(time.Hour)
				return true
			}},
			{now.lasts, func() bool { w.link.set(linkUp); l.until = time.Now().Add(slack); return true }},
		}
	case workerDrained:
		w := f.workers[now.worker]
		drained := make(chan struct{})
		var l *loss
		return []step{
			{0, func() bool {
				l = f.book(now)
				go func() {
					defer close(drained)
					w.worker.Drain(f.t.Context())
					w.rdb.Close()
				}()
				return true
			}},
			{0, func() bool {
				select {
				case <-drained:
				default:
					return false
				}
				if !f.redis.knowsRun() { // nobody takes its results: a run that Redis does not know may be over
					l.keys[w.key], l.until = true, time.Now()
				}
				f.drained = append(f.drained, w)
				f.work(now.worker)
				return true
			}},
		}
	case coordinatorKilled:
		c := f.coordinator
		return []step{
			{0, func() bool { f.book(now); c.link.die(); c.kill(); return true }},
			{0, func() bool {
				select {
				case <-c.done:
					return true
				default:
					return false
				}
			}},
			{now.lasts, func() bool { f.coordinate(); return true }},
		}
	case coordinatorCut:
		link := f.coordinator.link
		return []step{
			{0, func() bool { f.book(now); link.set(now.cut); return true }},
			{now.lasts, func() bool { link.set(linkUp); return true }},
		}
	case redisKilled:
		return f.redisGone(now, func() { f.redis.restart(0) })
	case redisEmptied:
		return f.redisGone(now, func() { f.redis.restart(-1) })
	case redisRolled:
		var saved int
		gone := f.redisGone(now, func() { f.redis.restart(saved) })
		gone[0].after = now.age
		return append([]step{{0, func() bool { saved = f.redis.save(); return true }}}, gone...)
	case redisFlushed:
		return []step{{0, func() bool {
			f.forgotten(f.book(now))
			f.redis.flush()
			return true
		}}}
	default:
		panic(now.kind)
	}
}

// redisGone takes Redis away and brings it back in a way that keeps all, or less.
func (f *virtualFleet) redisGone(now fault, back func()) []step {
	return []step{
		{0, func() bool {
			f.redis.away(true)
			l := f.book(now)
			if now.kind != redisKilled {
				f.forgotten(l)
			}
			return true
		}},
		{now.lasts, func() bool { back(); f.redis.away(false); return true }},
	}
}

// book begins the account of a fault, which may cost the calls of these callers that have no result in a journal.
func (f *virtualFleet) book(now fault, keys ...string) *loss {
	l := &loss{fault: now, began: time.Now(), inFlight: f.api.open(keys...), keys: map[string]bool{}}
	for _, key := range keys {
		l.keys[key] = true
	}
	l.journaled = journaled(f.t, f.state().Dir, f.records)
	f.losses = append(f.losses, l)
	return l
}

// forgotten books what was answered and not journaled when Redis forgot it.
func (f *virtualFleet) forgotten(l *loss) {
	l.until, l.answeredOnly = time.Now(), true
	for _, w := range slices.Concat(f.gone, f.drained, f.workers) {
		l.keys[w.key] = true
	}
}
