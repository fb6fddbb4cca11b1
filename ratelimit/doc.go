// Package ratelimit decides when a call to a rate-limited API may start. It promises that calls which wait
// start in the order in which they asked, that in any minute no more is started than the limits and one second's burst
// allow, and that a call that ends, is given up or is cancelled leaves nothing behind. It knows nothing of prompts or of
// the API.
package ratelimit
