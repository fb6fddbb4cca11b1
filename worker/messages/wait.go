package messages

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxWait bounds every wait that a server can ask for: a longer one, whether meant or a mistake, is looked at
// again after this time.
const MaxWait = time.Hour

// retryAfter returns how long the server asks to wait: retry-after-ms (milliseconds), else retry-after (seconds,
// with or without a fraction, or an HTTP-date; RFC 9110, section 10.2.3). It is 0 when nothing sensible is
// given, and at most MaxWait.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if wait, ok := parseWait(h.Get("Retry-After-Ms"), time.Millisecond); ok {
		return wait
	}
	text := h.Get("Retry-After")
	if wait, ok := parseWait(text, time.Second); ok {
		return wait
	}
	if at, err := http.ParseTime(strings.TrimSpace(text)); err == nil {
		return min(max(at.Sub(now), 0), MaxWait)
	}
	return 0
}

// parseWait reads a number of units; what is no number, infinite or below 0 is not ok.
func parseWait(text string, unit time.Duration) (time.Duration, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		return 0, false
	}
	// Compared as floats: a large number of units overflows a Duration.
	if n >= float64(MaxWait)/float64(unit) {
		return MaxWait, true
	}
	return time.Duration(n * float64(unit)), true
}
