package ratelimit

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

//go:embed scope.lua
var scopeLua string

var scopeScript = redis.NewScript(scopeLua)

// counts is what came of calls, as cumulative numbers.
type counts [9]float64

// What counts holds, by place. Refusals by a rate limit are counted by the kind that the service named.
const (
	answered   = iota
	latency                           // of the answered calls, in milliseconds, added up
	overloaded                        // calls that the service had no capacity for
	ramped                            // calls refused because usage grew too fast
	refused                           // and the three after it: calls that a limit refused, by Kind
	produced   = refused + int(kinds) // output tokens of calls that have ended
)

// refusals is the number of calls that any limit refused.
func (c counts) refusals() float64 {
	return c[ramped] + c[refused+int(Requests)] + c[refused+int(Input)] + c[refused+int(Output)] + c[refused+int(Tokens)]
}

// ask is what a worker tells the script and wants from it. The cumulative numbers in it make asking twice harmless.
type ask struct {
	Worker string `json:"worker"`
	// Used is what this worker's calls took since it began, Known what Redis has confirmed of that: it counts when Redis
	// does not know the worker any more. The same goes for Done and Reported.
	Used     amounts `json:"used"`
	Known    amounts `json:"known"`
	Done     counts  `json:"done"`
	Reported counts  `json:"reported"`
	InFlight int     `json:"inflight"`
	// Since is how many milliseconds ago the last of the slice was used; 0 when some is left.
	Since int64 `json:"since"`
	// Headroom is the largest share that the worker's runs leave to others.
	Headroom float64  `json:"headroom"`
	Runs     []demand `json:"runs"`
	// Seen is what the service said last, by kind.
	Seen [kinds]sighting `json:"seen"`
	// Hold is for how many more milliseconds nobody may start a call, Reason why.
	Hold   int64  `json:"hold"`
	Reason string `json:"reason"`
	// Refused counts the calls that a limit refused since the last exchange. Urgent asks to steer at once.
	Refused int  `json:"refused"`
	Urgent  bool `json:"urgent"`
	// Leave says that the worker is going. With "last" the state goes with the last worker.
	Leave string `json:"leave,omitempty"`
	// First says that the worker never had a state of the scope.
	First bool `json:"first"`
	// Version is that of the limits that the worker knows. Set are these, where Redis may not have them: they replace
	// older ones.
	Version int64     `json:"version"`
	Set     *settings `json:"set,omitempty"`
}

// demand is what a run has used and wants.
type demand struct {
	ID     string  `json:"id"`
	Weight float64 `json:"weight"`
	// Tokens were used since the last exchange.
	Tokens float64 `json:"tokens"`
	// Calls could start before the next exchange; Each is what one costs.
	Calls int     `json:"calls"`
	Each  amounts `json:"each"`
}

// sighting is what the service said of one kind.
type sighting struct {
	Age   int64   `json:"age"`   // milliseconds; -1 when it has said nothing since the last exchange
	Limit float64 `json:"limit"` // per minute; 0 when it did not say
	Left  float64 `json:"left"`  // -1 when it did not say
	Used  float64 `json:"used"`  // what this worker used since
}

// settings are the limits that hold for all workers of a scope.
type settings struct {
	Version int64 `json:"version"`
	// Rate is per minute, 0 for no limit; Burst is what a full bucket holds.
	Rate  amounts `json:"rate"`
	Burst amounts `json:"burst"`
	// Told is per minute what the service says, and Most what its bucket was seen to hold; 0 when it says nothing.
	Told amounts `json:"told"`
	Most amounts `json:"most"`
	// Slack is how much more may be left than the service said, by its rounding; Reserve is what is to be left.
	Slack   amounts `json:"slack"`
	Reserve amounts `json:"reserve"`
	// Concurrency is the number of calls at once; 0 for no limit.
	Concurrency int `json:"concurrency"`
	// Learned is what steer knows, as JSON in a string: Lua would change its numbers and empty lists.
	Learned string `json:"learned"`
}

// reply is what the script says.
type reply struct {
	// Now is Redis' time in milliseconds.
	Now   int64   `json:"now"`
	Grant amounts `json:"grant"`
	// Slots is how many calls may run at once in this worker; -1 for any number.
	Slots int `json:"slots"`
	// Wait is for how many milliseconds nothing can be granted, Bound why.
	Wait  float64 `json:"wait"`
	Bound Bound   `json:"bound"`
	// Hold is how many more milliseconds nobody may start a call.
	Hold     int64   `json:"hold"`
	Reason   string  `json:"reason"`
	Workers  int     `json:"workers"`
	Headroom float64 `json:"headroom"`
	// Set are the limits, when they are others than the worker knows. Lost says that Redis has none: ask again with them.
	Set  *settings `json:"set"`
	Lost bool      `json:"lost"`
	// Due says that this worker is to steer. What it reads for that follows, cumulative over all workers and time.
	Due      bool               `json:"due"`
	Used     amounts            `json:"used"`
	Done     counts             `json:"done"`
	Denied   [kinds + 1]float64 `json:"denied"`
	Level    amounts            `json:"level"`
	Seen     [kinds]noted       `json:"seen"`
	InFlight int                `json:"inflight"`
	// Rises counts how often more was left than can have come in.
	Rises float64 `json:"rises"`
}

// noted is the latest sighting of a kind that any worker had; its time is 0 when there was none.
type noted struct {
	At    float64 `json:"at"` // Redis' time in milliseconds
	Limit float64 `json:"limit"`
	Left  float64 `json:"left"`
}

// exchange asks Redis.
func exchange(ctx context.Context, rdb redis.UniversalClient, key string, a *ask) (*reply, error) {
	encoded, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode what is asked of the limiter: %w", err)
	}
	text, err := scopeScript.Run(ctx, rdb, []string{key}, encoded, channel(key)).Text()
	if a.Leave != "" && errors.Is(err, redis.Nil) {
		return nil, nil //nolint:nilnil // whoever leaves is told nothing
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the limiter's state: %w", err)
	}
	var r reply
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("the limiter's state in Redis is damaged: %w", err)
	}
	return &r, nil
}

// channel is where the workers of a scope hear of holds.
func channel(key string) string { return key + ":news" }
