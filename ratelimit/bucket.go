package ratelimit

import (
	"math"
	"time"
)

// longestWait keeps a debt of centuries within what a Duration can say; after it the wait is computed anew.
const longestWait = 10 * 365 * 24 * time.Hour

// bucket is a token bucket that refills all the time. Its methods are pure functions of the time since the limiter
// was made; a bucket with no rate is never empty.
type bucket struct {
	rate  float64 // units per second; 0 means no limit
	burst float64 // what a full bucket holds, in units
	level float64 // units in it at time at; below 0 it is in debt
	at    time.Duration
}

// newBucket makes a full bucket that lets through perMinute units a minute, 0 meaning no limit. It holds what flows in
// within a second, and at least atLeast.
func newBucket(perMinute int64, headroom, atLeast float64) bucket {
	if perMinute <= 0 {
		return bucket{}
	}
	rate := max(1, float64(perMinute)*(1-headroom)) / 60
	burst := max(rate, atLeast)
	return bucket{rate: rate, burst: burst, level: burst}
}

// filled returns the bucket as it is at now.
func (b bucket) filled(now time.Duration) bucket {
	if now > b.at {
		b.level = min(b.burst, b.level+b.rate*(now-b.at).Seconds())
		b.at = now
	}
	return b
}

// wait returns how long after now a cost must wait. A cost that is larger than the bucket waits until it is full.
func (b bucket) wait(now time.Duration, cost float64) time.Duration {
	if b.rate == 0 || cost <= 0 {
		return 0
	}
	missing := min(cost, b.burst) - b.filled(now).level
	if missing <= 0 {
		return 0
	}
	// Rounded up to whole microseconds, so that the wait is never over a moment too early for the sum to come out.
	return time.Duration(min(math.Ceil(missing/b.rate*1e6), float64(longestWait/time.Microsecond))) * time.Microsecond
}

// take returns the bucket after cost has been taken from it at now; a negative cost gives back.
func (b bucket) take(now time.Duration, cost float64) bucket {
	if b.rate == 0 {
		return b
	}
	b = b.filled(now)
	b.level = min(b.burst, b.level-cost)
	return b
}
