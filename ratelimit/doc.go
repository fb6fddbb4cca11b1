// Package ratelimit admits calls at the speed that a service's limits allow, for all workers that share a Redis.
//
// What shares limits is a scope: an address, a credential and a class of models, or one job's own bounds. Its state (token
// buckets, what each worker holds of them, what the service said of its limits) lies in Redis under one key and changes
// only by one atomic script. A worker takes slices out of it, each good for many calls, so that a call costs a small part
// of a round trip. A Limiter is one worker's part in a scope. The package knows nothing of prompts and of HTTP.
//
// The limits of a scope need not be known: they are learned from what the service says with each answer, and where it
// says nothing from what it refuses. That is a pure function of what was seen so far, steer.
package ratelimit
