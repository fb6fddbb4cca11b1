package ratelimit

import (
	"math"
	"sync"
)

const (
	firstBytesPerToken = 4   // English prose; code and other scripts have fewer, so learning starts at once
	firstOutput        = 256 // or max_tokens if less
	memory             = 50  // calls over which the means are taken, roughly
)

// Estimator learns from real usage what calls of one job cost, so that they can be admitted on an estimate. The zero
// value is ready for use; its methods may be called from many goroutines.
type Estimator struct {
	mu    sync.Mutex
	calls int
	// Exponentially weighted means over the calls learned from. The ratio of the first two weighs long bodies more,
	// as the limits do.
	bytes, input, output float64
}

// Estimate returns the tokens that a call with a body of bodyBytes will use; output is at most maxTokens when that is
// not 0. Both are at least 1.
func (e *Estimator) Estimate(bodyBytes int, maxTokens int64) (input, output int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	perByte, out := 1.0/firstBytesPerToken, float64(firstOutput)
	if e.calls > 0 {
		perByte, out = e.input/e.bytes, e.output
	}
	input = int64(math.Ceil(max(1, perByte*float64(bodyBytes))))
	output = int64(math.Ceil(max(1, out)))
	if maxTokens > 0 {
		output = min(output, maxTokens)
	}
	return input, output
}

// Learn takes in what a call with a body of bodyBytes used, in tokens as the rate limits count them. Usage that cannot
// be (no body, no input, negative output) is ignored.
func (e *Estimator) Learn(bodyBytes int, input, output int64) {
	if bodyBytes <= 0 || input <= 0 || output < 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = min(e.calls+1, memory)
	weight := 1 / float64(e.calls) // a plain mean at first, so that the first calls count
	e.bytes += weight * (float64(bodyBytes) - e.bytes)
	e.input += weight * (float64(input) - e.input)
	e.output += weight * (float64(output) - e.output)
}
