package simulator

import (
	"sync"
	"sync/atomic"

	"github.com/batchwright/batchwright/jobs"
)

// Stats counts what a simulator has done with calls of POST /v1/messages since it began.
type Stats struct {
	// Calls counts the calls received.
	Calls int64 `json:"calls"`
	// ByStatus counts the answers by HTTP status.
	ByStatus map[int]int64 `json:"by_status"`
	// Answered counts complete messages, refusals included: what the service would bill.
	Answered int64 `json:"answered"`
	// Repeated counts the answers to bodies that had been answered before; 0 unless Options.Record is set.
	Repeated int64 `json:"repeated"`
	// Broken counts calls that met reset, cut, empty, html or error200.
	Broken int64 `json:"broken"`
	// Abandoned counts calls whose client went away before the answer was written.
	Abandoned int64 `json:"abandoned"`
	// The tokens of the answered messages, as their usage says.
	InputTokens      int64 `json:"input_tokens"`
	CacheReadTokens  int64 `json:"cache_read_tokens"`
	CacheWriteTokens int64 `json:"cache_write_tokens"`
	OutputTokens     int64 `json:"output_tokens"`
	// Admitted counts the calls that the limits let through, and Refused those that they answered 429. A difference of two
	// Stats tells what was used of a limit in between.
	Admitted int64 `json:"admitted"`
	Refused  int64 `json:"refused"`
	// ChargedInputTokens and ChargedOutputTokens are what the limits count: input without reads from the cache when a call is
	// admitted, output as it is produced, both also of calls that then fail.
	ChargedInputTokens  int64 `json:"charged_input_tokens"`
	ChargedOutputTokens int64 `json:"charged_output_tokens"`
	// InFlight counts the open calls, queued ones included, and MaxInFlight the most there were at once.
	InFlight    int64 `json:"in_flight"`
	MaxInFlight int64 `json:"max_in_flight"`
}

// counters is what Stats reads. All of it is atomic: no call waits for another to be counted.
type counters struct {
	calls                                         atomic.Uint64
	byStatus                                      [600]atomic.Int64
	answered, repeated, broken, abandoned         atomic.Int64
	inputTokens, cacheRead, cacheWrite, outTokens atomic.Int64
	inFlight, maxInFlight                         atomic.Int64

	mu       sync.Mutex
	byDigest map[jobs.Digest]int // nil unless recording
}

// begin counts a call in and returns its number, from 1.
func (c *counters) begin() uint64 {
	open := c.inFlight.Add(1)
	for most := c.maxInFlight.Load(); open > most; most = c.maxInFlight.Load() {
		if c.maxInFlight.CompareAndSwap(most, open) {
			break
		}
	}
	return c.calls.Add(1)
}

func (c *counters) end() { c.inFlight.Add(-1) }

func (c *counters) message(digest jobs.Digest, u usage) {
	c.answered.Add(1)
	c.inputTokens.Add(int64(u.input))
	c.cacheRead.Add(int64(u.cacheRead))
	c.cacheWrite.Add(int64(u.cacheWrite5m + u.cacheWrite1h))
	c.outTokens.Add(int64(u.output))
	if c.byDigest == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byDigest[digest]++
	if c.byDigest[digest] > 1 {
		c.repeated.Add(1)
	}
}

// Stats returns the counts so far.
func (s *Simulator) Stats() Stats {
	c := &s.counters
	calls := c.calls.Load()
	passed := s.limiter.sums()
	stats := Stats{
		Calls:            int64(calls), //nolint:gosec // a count of calls stays far below 2^63
		ByStatus:         map[int]int64{},
		Answered:         c.answered.Load(),
		Repeated:         c.repeated.Load(),
		Broken:           c.broken.Load(),
		Abandoned:        c.abandoned.Load(),
		InputTokens:      c.inputTokens.Load(),
		CacheReadTokens:  c.cacheRead.Load(),
		CacheWriteTokens: c.cacheWrite.Load(),
		OutputTokens:     c.outTokens.Load(),
		Admitted:         passed.admitted,
		Refused:          passed.refused,
		InFlight:         c.inFlight.Load(),
		MaxInFlight:      c.maxInFlight.Load(),

		ChargedInputTokens:  passed.input,
		ChargedOutputTokens: passed.output,
	}
	for status := range c.byStatus {
		if n := c.byStatus[status].Load(); n > 0 {
			stats.ByStatus[status] = n
		}
	}
	return stats
}

// Answered returns how many complete messages a request body with this digest (see jobs.DigestOf) has been answered
// with; always 0 unless Options.Record is set. Records that render to the same body share a digest.
func (s *Simulator) Answered(digest jobs.Digest) int {
	s.counters.mu.Lock()
	defer s.counters.mu.Unlock()
	return s.counters.byDigest[digest]
}
