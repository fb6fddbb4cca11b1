package courier

import (
	"strconv"
	"time"
)

// Leases, from the protocol in docs/architecture.md.
const (
	ownerTTL     = 5 * time.Second
	ownerRenewal = time.Second

	workerTTL     = 12 * time.Second
	workerRenewal = 3 * time.Second
	// A worker starts no call when its last renewal is older than this: it may already be taken for dead.
	workerStale = 9 * time.Second
)

// keys names everything that Redis holds of a run. The braces put all of it, Asynq's main queue included, into
// one hash slot of a cluster.
type keys struct{ run string }

func (k keys) prefix() string              { return "bw:{" + k.run + "}:" }
func (k keys) owner() string               { return k.prefix() + "owner" }    // string "EPOCH:HOLDER", TTL
func (k keys) epoch() string               { return k.prefix() + "epoch" }    // counter
func (k keys) terms() string               { return k.prefix() + "terms" }    // JSON of Terms
func (k keys) handouts() string            { return k.prefix() + "handouts" } // hash number → records, unclaimed
func (k keys) claims() string              { return k.prefix() + "claims" }   // hash number → worker
func (k keys) results() string             { return k.prefix() + "results" }  // stream of batches of deliveries
func (k keys) worker(worker string) string { return k.prefix() + "worker:" + worker }
func (k keys) queue() string               { return k.run }            // Asynq queue of new work
func (k keys) urgent() string              { return k.run + "-again" } // Asynq queue of work handed out again

// Number identifies a hand-out and is never used again: the owner's epoch in the high 32 bits, a count below.
type Number uint64

func numberOf(epoch uint32, count uint32) Number { return Number(epoch)<<32 | Number(count) }

// Epoch is the epoch of the coordinator that made the hand-out.
func (n Number) Epoch() uint32 { return uint32(n >> 32) }

func (n Number) String() string { return strconv.FormatUint(uint64(n), 10) }
