package worker

import (
	"time"
)

const (
	backoffBase = 500 * time.Millisecond
	backoffCap  = 60 * time.Second
	// A record that must wait longer than this goes back to the coordinator.
	longWait = 15 * time.Second
)

// backoff is the wait before the next attempt after n failed ones (n from 1), exponential with full jitter: uniform
// between 0 and min(base·2^(n-1), cap), so that records which failed together do not come back together.
func backoff(n int, random func() float64) time.Duration {
	ceiling := backoffCap
	if shift := max(n-1, 0); shift < 10 {
		ceiling = min(backoffBase<<shift, backoffCap)
	}
	return time.Duration(random() * float64(ceiling))
}

// stretched adds up to a tenth to a wait that the API asked for: never earlier, and not all at one moment.
func stretched(wait time.Duration, random func() float64) time.Duration {
	return wait + time.Duration(random()*float64(wait)/10)
}
