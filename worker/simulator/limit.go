package simulator

import (
	"math"
	"net/http"
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

func newBucket(perMinute int64, burst time.Duration, now time.Time) *bucket {
	if perMinute == 0 {
		return nil
	}
	rate := float64(perMinute) / 60
	capacity := max(rate*burst.Seconds(), 1)
	return &bucket{perMinute: perMinute, rate: rate, capacity: capacity, level: capacity, at: now}
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

// limiter holds the service's limits; a nil bucket is no limit.
type limiter struct {
	mu                      sync.Mutex
	requests, input, output *bucket
	ramp                    *ramp
}

func newLimiter(o *Options, now time.Time) *limiter {
	burst := o.Burst
	if burst == 0 {
		burst = 10 * time.Second
	}
	l := &limiter{
		requests: newBucket(o.RequestsPerMinute, burst, now),
		input:    newBucket(o.InputTokensPerMinute, burst, now),
		output:   newBucket(o.OutputTokensPerMinute, burst, now),
	}
	if l.requests == nil && l.input == nil && l.output == nil {
		return nil
	}
	if o.Ramp > 0 && l.requests != nil {
		l.ramp = &ramp{length: o.Ramp, full: l.requests.rate}
	}
	return l
}

// admit charges a call and its input, or says which limit refuses it; a refused call is charged nothing. Output is not
// known yet: a call passes while that bucket is not empty, and produced takes it into debt.
func (l *limiter) admit(now time.Time, input int) (refusal, bool) {
	if l == nil {
		return refusal{}, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ramp != nil {
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
	if l.requests != nil {
		l.requests.level--
	}
	if l.input != nil {
		l.input.level -= float64(input)
	}
	if l.ramp != nil {
		l.ramp.level--
	}
	return refusal{}, true
}

// produced charges output tokens.
func (l *limiter) produced(now time.Time, tokens int) {
	if l == nil || l.output == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.output.refill(now)
	l.output.level -= float64(tokens)
}

// writeHeaders sets the service's anthropic-ratelimit headers for the limits there are.
func (l *limiter) writeHeaders(h http.Header, now time.Time) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range []*bucket{l.requests, l.input, l.output} {
		if b != nil {
			b.refill(now)
		}
	}
	if b := l.requests; b != nil {
		h["Anthropic-Ratelimit-Requests-Limit"] = decimal(b.perMinute)
		h["Anthropic-Ratelimit-Requests-Remaining"] = decimal(int64(max(b.level, 0)))
		h["Anthropic-Ratelimit-Requests-Reset"] = b.reset(now)
	}
	if b := l.input; b != nil {
		h["Anthropic-Ratelimit-Input-Tokens-Limit"] = decimal(b.perMinute)
		h["Anthropic-Ratelimit-Input-Tokens-Remaining"] = decimal(b.thousands())
		h["Anthropic-Ratelimit-Input-Tokens-Reset"] = b.reset(now)
	}
	if b := l.output; b != nil {
		h["Anthropic-Ratelimit-Output-Tokens-Limit"] = decimal(b.perMinute)
		h["Anthropic-Ratelimit-Output-Tokens-Remaining"] = decimal(b.thousands())
		h["Anthropic-Ratelimit-Output-Tokens-Reset"] = b.reset(now)
	}
	if in, out := l.input, l.output; in != nil && out != nil {
		h["Anthropic-Ratelimit-Tokens-Limit"] = decimal(in.perMinute + out.perMinute)
		h["Anthropic-Ratelimit-Tokens-Remaining"] = decimal(in.thousands() + out.thousands())
		later := in
		if out.wait(out.capacity) > in.wait(in.capacity) {
			later = out
		}
		h["Anthropic-Ratelimit-Tokens-Reset"] = later.reset(now)
	}
}

// thousands is what remains, rounded to the nearest thousand as the service does for tokens.
func (b *bucket) thousands() int64 { return int64(math.Round(max(b.level, 0)/1000)) * 1000 }

// reset is when the bucket will be full, in RFC 3339.
func (b *bucket) reset(now time.Time) []string {
	full := now.Add(b.wait(b.capacity) + time.Second - 1).Truncate(time.Second)
	return []string{full.UTC().Format(time.RFC3339)}
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
