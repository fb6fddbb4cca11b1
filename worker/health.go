package worker

import (
	"math/bits"
	"sync"
	"time"
)

// outageAfter is how long calls must fail for a while, with no success, before the run waits.
const outageAfter = 30 * time.Second

// starvedAfter is how long rate limits must refuse every record before a probe looks whether they refuse everything.
// A limit per minute has filled up many times by then, so that what is still refused asks for more than there is.
const starvedAfter = 10 * time.Minute

// health knows whether the API is up, from the calls of all records together. It decides to whom a failed attempt
// is charged: to the record when others succeeded after it, to nobody when a probe confirmed an outage.
type health struct {
	mu        sync.Mutex
	success   time.Time     // of the latest call that the API answered as it should
	failing   time.Time     // of the first failure since then; zero when there was none
	outage    time.Time     // when an outage was last confirmed
	over      chan struct{} // closed when the outage that is on ends; nil while none is
	refusing  time.Time     // of the first refusal by a rate limit since a record was answered; zero when there was none
	model     string        // of the latest request that was not answered, for the probe
	successes [40]time.Time
}

// succeeded notes a record's call that the API answered, of a request of so many bytes.
func (h *health) succeeded(now time.Time, size int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answered(now)
	h.refusing = time.Time{}
	h.successes[sizeClass(size)] = now
}

// probed notes a probe that found the API up, and whether the rate limits let it pass. It is smaller than any record.
func (h *health) probed(now time.Time, passed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answered(now)
	if passed {
		h.successes[0] = now
	}
}

// answered ends an outage. The caller holds the mutex.
func (h *health) answered(now time.Time) {
	h.success, h.failing = now, time.Time{}
	if h.over != nil {
		close(h.over)
		h.over = nil
	}
}

// refused notes a record that a rate limit refused and reports whether that has been so for every record for so long
// that a probe must look whether anything passes.
func (h *health) refused(now time.Time, model string) (starved bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.model = model
	if h.refusing.IsZero() {
		h.refusing = now
	}
	return now.Sub(h.refusing) >= starvedAfter
}

// failed notes a transient failure and reports whether calls have now failed for so long that a probe must decide.
func (h *health) failed(now time.Time, model string) (suspect bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.model = model
	if h.failing.IsZero() {
		h.failing = now
	}
	return now.Sub(h.failing) >= outageAfter
}

// confirmed notes a probe that failed: an outage is on.
func (h *health) confirmed(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outage = now
	if h.over == nil {
		h.over = make(chan struct{})
	}
	if h.failing.IsZero() {
		h.failing = now
	}
}

// since reports whether an outage is on, when calls began to fail, and with which model.
func (h *health) since() (out bool, failing time.Time, model string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.over != nil, h.failing, h.model
}

// up returns a channel that is closed when the API is up again; nil when it is.
func (h *health) up() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.over
}

// charge decides over a record's attempts that failed between first and last and that nothing has decided yet:
// known is false while neither an outage nor a success came after them.
func (h *health) charge(first, last time.Time) (charged, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.outage.Before(first):
		return false, true
	case !h.success.Before(last):
		return true, true
	}
	return false, false
}

// outsized reports whether, since a moment, requests that are clearly smaller than size bytes succeeded and none
// that is as large or larger: then a rate limit refuses this one for its size.
func (h *health) outsized(since time.Time, size int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	own, smaller := sizeClass(size), false
	for class, at := range h.successes {
		if !at.After(since) {
			continue
		}
		if class >= own {
			return false
		}
		smaller = true
	}
	return smaller
}

// sizeClass groups sizes by powers of two.
func sizeClass(size int) int { return min(bits.Len(uint(max(size, 0))), 39) }
