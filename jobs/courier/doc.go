// Package courier carries work between a coordinator and its workers over Redis: hand-outs go out through Asynq,
// results come back through a stream. It is the only package that knows Redis keys, scripts and wire formats.
//
// Redis is a courier, never the record: whatever it holds of a run can vanish at any moment, and the coordinator
// hands out again what has no result. What the package promises is that a hand-out, whose number is never used
// again, is claimed at most once, by a worker, while the coordinator that made it owns the run.
package courier
