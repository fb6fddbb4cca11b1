// Package worker makes the calls of runs: it finds the runs of a Redis, claims their hand-outs, calls the Messages API
// once for each record at a time, tries again what failed for a while, and delivers each record's result or the record
// itself. It keeps no state that outlives it, reads no input and writes no output.
//
// It promises that a record which waits holds no slot, and a run which waits none of another's; that runs with work share
// the tokens by weight; that no call starts while the worker is cut off from Redis; that a suspect is in flight alone;
// that an attempt is charged to a record only while others show that the API is up; and that a call which has begun is
// finished before a drain ends, unless its grace is over.
package worker
