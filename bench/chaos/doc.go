// Package chaos proves the guarantees of a run on many machines with real processes: a coordinator, workers and a
// redis-server, which are killed, stopped, cut off and made to forget by a schedule that a seed draws, while a
// simulated Messages API records every call that it answers. It has tests only.
//
// What is promised at the end: the run is complete and verified (G1); every answer to a record beyond its first is
// explained by a fault that struck while an answer to that record was lost, or its call in flight, where the fault
// struck (G3); no record failed; and Redis holds nothing of the run any more.
//
// The schedule of faults is the seed's alone. What each of them hits is up to the machine.
package chaos
