package simulator

import (
	"strconv"
	"sync"
	"time"
)

// bucket is a token bucket that refills continuously. It knows time only as it is told, and is not safe for concurrent use.
type bucket struct {
	perMinute int64
	rate      float64 // per second
	capacity  float64
	level     float64 // below zero: debt
	at        time.Time
}

// newBucket returns a full one, or nil for no limit.
func newBucket(perMinute int64, burst time.Duration, now time.Time) *bucket {
	if perMinute <= 0 {
		return nil
	}
	b := &bucket{at: now}
	b.set(perMinute, burst)
	b.level = b.capacity
	return b
}

// set changes the limit. What the bucket holds stays, as far as there is room, and so does a debt.
func (b *bucket) set(perMinute int64, burst time.Duration) {
	b.perMinute, b.rate = perMinute, float64(perMinute)/60
	b.capacity = max(b.rate*burst.Seconds(), 1)
	b.level = min(b.level, b.capacity)
}

func (b *bucket) refill(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.level = min(b.capacity, b.level+b.rate*passed.Seconds())
		b.at = now
	}
}

// wait is how long it takes until the bucket holds n; one that never will is answered with the time to be full.
func (b *bucket) wait(n float64) time.Duration {
	missing := min(n, b.capacity) - b.level
	if n > b.capacity {
		missing = max(missing, b.rate) // it would be refused when full, too: never say "at once"
	}
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / b.rate * float64(time.Second))
}

// refusal is a call that a limit does not let through.
type refusal struct {
	limit string
	code  string // error.details.error_code
	wait  time.Duration
}

// limiter holds the service's limits, and what it has let through; a nil bucket is no limit.
type limiter struct {
	burst time.Duration

	mu                      sync.Mutex
	requests, input, output *bucket
	ramp                    *ramp
	passed                  passed
}

// passed is what a limiter has let through, whether or not a bucket was charged for it.
type passed struct {
	admitted, refused int64 // calls
	input, output     int64 // tokens
}

func newLimiter(o *Options, now time.Time) *limiter {
	burst := o.Burst
	if burst == 0 {
		burst = 10 * time.Second
	}
	l := &limiter{
		burst:    burst,
		requests: newBucket(o.RequestsPerMinute, burst, now),
		input:    newBucket(o.InputTokensPerMinute, burst, now),
		output:   newBucket(o.OutputTokensPerMinute, burst, now),
	}
	if o.Ramp > 0 && l.requests != nil {
		l.ramp = &ramp{length: o.Ramp, full: l.requests.rate}
	}
	return l
}

// set changes the limits; one that is new begins with a full bucket.
func (l *limiter) set(now time.Time, requests, input, output int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, change := range []struct {
		b         **bucket
		perMinute int64
	}{{&l.requests, requests}, {&l.input, input}, {&l.output, output}} {
		if b := *change.b; b != nil && change.perMinute > 0 {
			b.refill(now)
			b.set(change.perMinute, l.burst)
		} else {
			*change.b = newBucket(change.perMinute, l.burst, now)
		}
	}
	if l.ramp != nil && l.requests != nil {
		l.ramp.full = l.requests.rate
	}
}

// admit charges a call and its input, or says which limit refuses it; a refused call is charged nothing. Output is not
// known yet: a call passes while that bucket is not empty, and produced takes it into debt.
func (l *limiter) admit(now time.Time, input int) (refusal, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if refused, ok := l.check(now, input); !ok {
		l.passed.refused++
		return refused, false
	}
	if l.requests != nil {
		l.requests.level--
		if l.ramp != nil {
			l.ramp.level--
		}
	}
	if l.input != nil {
		l.input.level -= float64(input)
	}
	l.passed.admitted++
	l.passed.input += int64(input)
	return refusal{}, true
}

// check says whether a call may pass now, or which limit refuses it.
func (l *limiter) check(now time.Time, input int) (refusal, bool) {
	if l.ramp != nil && l.requests != nil {
		if wait := l.ramp.wait(now); wait > 0 {
			return refusal{"the acceleration limit", "ramp_limit_exceeded", wait}, false
		}
	}
	for _, ask := range []struct {
		b    *bucket
		need float64
		name string
	}{
		{l.requests, 1, "requests per minute"},
		{l.input, float64(input), "input tokens per minute"},
		{l.output, 1, "output tokens per minute"},
	} {
		if ask.b == nil {
			continue
		}
		ask.b.refill(now)
		if wait := ask.b.wait(ask.need); wait > 0 {
			return refusal{"the limit of " + strconv.FormatInt(ask.b.perMinute, 10) + " " + ask.name, "", wait}, false
		}
	}
	return refusal{}, true
}

// produced charges output tokens.
func (l *limiter) produced(now time.Time, tokens int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passed.output += int64(tokens)
	if l.output != nil {
		l.output.refill(now)
		l.output.level -= float64(tokens)
	}
}

// sums returns what was let through so far.
func (l *limiter) sums() passed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed
}

func decimal(n int64) []string { return []string{strconv.FormatInt(n, 10)} }

// ramp is the service's acceleration limit: the request rate that it lets through grows from a tenth of the limit to
// all of it, and starts over after a minute without calls.
type ramp struct {
	length      time.Duration
	full        float64 // requests per second
	start, last time.Time
	level       float64
}

// wait is how long a call must wait now; 0 lets it through.
func (r *ramp) wait(now time.Time) time.Duration {
	if r.start.IsZero() || now.Sub(r.last) > time.Minute {
		r.start, r.last, r.level = now, now, 1
	}
	grown := min(1, now.Sub(r.start).Seconds()/r.length.Seconds())
	rate := r.full * (0.1 + 0.9*grown)
	r.level = min(r.level+rate*now.Sub(r.last).Seconds(), max(rate, 1)) // holds one second's worth
	r.last = now
	if r.level >= 1 {
		return 0
	}
	return time.Duration((1 - r.level) / rate * float64(time.Second))
}
