// Package worker makes the calls of a run: it claims hand-outs, calls the Messages API once for each record at a
// time, tries again what failed for a while, and delivers each record's result or the record itself. It keeps no
// state that outlives it, reads no input and writes no output.
//
// It promises that a record which waits holds no slot, that an attempt is charged to a record only while others
// show that the API is up, and that a call which has begun is finished before a drain ends.
package worker
