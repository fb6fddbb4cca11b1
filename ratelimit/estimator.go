package ratelimit

import (
	"math"
	"sync"
)

const (
	firstBytesPerToken = 4   // English prose; code and other scripts have fewer, so learning starts at once
	firstOutput        = 256 // or max_tokens if less
	memory             = 50  // calls over which the means are taken, roughly
	mostOff            = 4   // times that media may cost more or less than estimated; beyond, the text is to blame
)

// Estimator learns from real usage what calls of one job cost, so that they can be admitted on an estimate. The zero
// value is ready for use; its methods may be called from many goroutines.
//
// A request's size is its bytes of text, and what its images and documents cost in tokens by an estimate. Calls without
// media teach the ratio of tokens to bytes; calls with media teach by what factor that estimate is off, the rest of
// their input being text of a known ratio.
type Estimator struct {
	mu     sync.Mutex
	calls  int
	output float64 // mean over all calls
	text   ratio   // tokens to bytes, of calls without media
	media  ratio   // tokens to estimated ones
	beside ratio   // tokens to bytes of the text beside media, in place of text as long as no call is without media
}

// ratio is the quotient of two exponentially weighted means, so that large calls weigh more, as in the limits.
type ratio struct {
	calls    int
	of, over float64
}

func (r *ratio) learn(of, over float64) {
	r.calls = min(r.calls+1, memory)
	r.of = mean(r.of, of, r.calls)
	r.over = mean(r.over, over, r.calls)
}

func (r *ratio) or(first float64) float64 {
	if r.calls == 0 {
		return first
	}
	return r.of / r.over
}

// mean is a plain mean at first, so that the first calls count.
func mean(so, value float64, calls int) float64 { return so + (value-so)/float64(calls) }

// Estimate returns the tokens that a call with textBytes of text and media estimated at mediaTokens will use; output is
// at most maxTokens when that is not 0. Both are at least 1.
func (e *Estimator) Estimate(textBytes int, mediaTokens, maxTokens int64) (input, output int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := e.perByte() * float64(textBytes)
	media := e.media.or(1) * float64(mediaTokens)
	input = int64(math.Ceil(max(1, text+media)))
	out := float64(firstOutput)
	if e.calls > 0 {
		out = e.output
	}
	output = int64(math.Ceil(max(1, out)))
	if maxTokens > 0 {
		output = min(output, maxTokens)
	}
	return input, output
}

func (e *Estimator) perByte() float64 { return e.text.or(e.beside.or(1.0 / firstBytesPerToken)) }

// Learn takes in what a call of such a size used, in tokens as the rate limits count them. Usage that cannot be (no
// body, no input, negative output) is ignored.
func (e *Estimator) Learn(textBytes int, mediaTokens, input, output int64) {
	if textBytes <= 0 || mediaTokens < 0 || input <= 0 || output < 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = min(e.calls+1, memory)
	e.output = mean(e.output, float64(output), e.calls)
	if mediaTokens == 0 {
		e.text.learn(float64(input), float64(textBytes))
		return
	}
	estimate := float64(mediaTokens)
	rest := float64(input) - e.perByte()*float64(textBytes)
	media := min(max(rest, estimate/mostOff), estimate*mostOff)
	e.media.learn(media, estimate)
	if media != rest { // the text costs more than was thought, or less, like a prompt that is read from the cache
		e.beside.learn(max(0, float64(input)-media), float64(textBytes))
	}
}
