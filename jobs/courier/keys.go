package courier

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Leases, from the protocol in docs/architecture.md.
const (
	ownerTTL     = 5 * time.Second
	ownerRenewal = time.Second

	workerRenewal = 3 * time.Second
	// WorkerTimeout is how long a worker's beat must stand still, before the eyes of a coordinator that was connected
	// all along, until the worker is dead.
	WorkerTimeout = 12 * time.Second
	// A worker starts no call when its last renewal is older than this: it may soon be taken for dead.
	workerStale = 9 * time.Second

	// retention bounds how long Redis keeps what an abandoned run left in it: its coordinator died and never came back.
	retention = 7 * 24 * time.Hour
)

// runsKey is a sorted set of the runs that coordinators have announced, by the time at which they last did.
const runsKey = "bw:runs"

// endedKey is a sorted set of the runs that are complete, by when they ended, for a day: who does not find a run in Redis
// learns from it whether the run is over or forgotten.
const (
	endedKey = "bw:ended"
	endedFor = 24 * time.Hour
)

// keys names everything that Redis holds of a run. The braces put all of it, Asynq's queues included, into one hash
// slot of a cluster.
type keys struct{ run string }

func (k keys) prefix() string   { return "bw:{" + k.run + "}:" }
func (k keys) owner() string    { return k.prefix() + "owner" }    // string "EPOCH:HOLDER", TTL
func (k keys) epoch() string    { return k.prefix() + "epoch" }    // counter of ownerships
func (k keys) beat() string     { return k.prefix() + "beat" }     // string "COUNT INSTANCE": the owner's renewals, and the Redis that had the last
func (k keys) terms() string    { return k.prefix() + "terms" }    // JSON of Terms; there while Redis knows the run
func (k keys) control() string  { return k.prefix() + "control" }  // what a person wants: Pause or Stop
func (k keys) status() string   { return k.prefix() + "status" }   // JSON of what the owner says of the run
func (k keys) handouts() string { return k.prefix() + "handouts" } // hash number → version, record numbers and requests, unclaimed
func (k keys) claims() string   { return k.prefix() + "claims" }   // hash number → worker and record numbers
func (k keys) results() string  { return k.prefix() + "results" }  // stream of batches of deliveries
func (k keys) workers() string  { return k.prefix() + "workers" }  // hash worker → JSON of Beat
func (k keys) asks() string     { return k.prefix() + "asks" }     // list of questions from other machines, TTL
func (k keys) limits() string   { return k.prefix() + "limits" }   // state of the job's own limits, as package ratelimit keeps it
func (k keys) queue() string    { return k.run }                   // Asynq queue of new work

// answer is the list of the pieces of an answer to a question, with a TTL.
func (k keys) answer(id string) string { return k.prefix() + "answer:" + id }

// urgent is the Asynq queue of work handed out again. Asynq names a queue's keys "asynq:{NAME}:…", so that the brace in
// this name makes the run's id alone their hash tag.
func (k keys) urgent() string { return k.run + "}again" }

// own lists the run's keys that are not the queues' and not answers'.
func (k keys) own() []string { return append(k.lasting(), k.owner(), k.asks(), k.limits()) }

// lasting lists those of them that live as long as the run.
func (k keys) lasting() []string {
	return []string{
		k.epoch(), k.beat(), k.terms(), k.control(), k.status(), k.handouts(), k.claims(), k.results(), k.workers(),
	}
}

// LimitsKey is where the workers of a run share the job's own limits.
func LimitsKey(run string) string { return keys{run}.limits() }

// ScopeKey is where all workers share the limits of an account and a class of models. It outlives runs: what was learned
// of the limits is kept for some minutes.
func ScopeKey(scope string) string { return ScopePrefix + "{" + scope + "}" }

// ScopePrefix begins the keys of all scopes.
const ScopePrefix = "bw:limit:"

// Number identifies a hand-out and is never used again: the owner's epoch in the high 32 bits, a count below.
type Number uint64

func numberOf(epoch uint32, count uint32) Number { return Number(epoch)<<32 | Number(count) }

// Epoch is the epoch of the coordinator that made the hand-out.
func (n Number) Epoch() uint32 { return uint32(n >> 32) }

func (n Number) String() string { return strconv.FormatUint(uint64(n), 10) }

func parseNumber(text string) (Number, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: hand-out number %q", ErrFormat, text)
	}
	return Number(n), nil
}

// Runs lists the runs that coordinators have announced on a Redis, also those that have none at the moment.
func Runs(ctx context.Context, rdb redis.UniversalClient) ([]string, error) {
	runs, err := rdb.ZRange(ctx, runsKey, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return runs, nil
}

// IsFull reports whether an error says that Redis has no memory left and evicts nothing. Asynq passes on the text alone.
func IsFull(err error) bool {
	return err != nil && (redis.IsOOMError(err) || strings.Contains(err.Error(), "OOM command not allowed"))
}
