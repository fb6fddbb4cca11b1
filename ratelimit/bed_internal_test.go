package ratelimit

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

const scopeKey = "{scope}"

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Context() context.Context
	Fatal(args ...any)
}

// bed is a Redis with one scope whose time a test moves.
type bed struct {
	t       *testing.T
	rdb     *redis.Client
	advance func(time.Duration)
}

// eachRedis runs a test of the script on the fake that the other tests use and on a real server, so that what holds on
// the one holds on the other.
func eachRedis(t *testing.T, test func(b *bed)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		test(newFake(t))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(newReal(t, redistest.Start(t)))
	})
}

// began is the time of a fake at first.
var began = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func newFake(t *testing.T) *bed {
	t.Helper()
	server := miniredis.RunT(t)
	now := began
	server.SetTime(now)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true, Protocol: 2})
	t.Cleanup(func() { _ = rdb.Close() })
	return &bed{t, rdb, func(d time.Duration) {
		now = now.Add(d)
		server.SetTime(now)
	}}
}

// newReal moves time on a server whose clock it can't move by making all that the scope knows older.
func newReal(t *testing.T, rdb *redis.Client) *bed {
	t.Helper()
	return &bed{t, rdb, func(d time.Duration) {
		text, err := rdb.Get(t.Context(), scopeKey).Result()
		if errors.Is(err, redis.Nil) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var state map[string]any
		if err := json.Unmarshal([]byte(text), &state); err != nil {
			t.Fatal(err)
		}
		age(state, float64(d.Milliseconds()))
		encoded, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		if err := rdb.Set(t.Context(), scopeKey, encoded, redis.KeepTTL).Err(); err != nil {
			t.Fatal(err)
		}
	}}
}

func age(value any, by float64) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			age(element, by)
		}
	case map[string]any:
		for name, field := range v {
			at, isNumber := field.(float64)
			switch name {
			case "at", "steered", "held_until", "back", "since":
				if isNumber && at > 0 {
					v[name] = at - by
				}
			case "set":
			default:
				age(field, by)
			}
		}
	}
}

// level is what lies in the buckets, and held what workers have of them.
func (b *bed) level(t tester) (level, held amounts) {
	t.Helper()
	text, err := b.rdb.Get(t.Context(), scopeKey).Result()
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Level   amounts `json:"level"`
		Workers map[string]struct {
			Held amounts `json:"held"`
		} `json:"workers"`
	}
	if err := json.Unmarshal([]byte(text), &state); err != nil {
		t.Fatal(err)
	}
	for _, w := range state.Workers {
		held = held.plus(w.Held)
	}
	return state.Level, held
}

// hand is one worker as the script sees it.
type hand struct {
	t    tester
	b    *bed
	next ask
	set  *settings
	last ask // that was sent
}

func (b *bed) hand(t tester, name string, s settings) *hand {
	t.Helper()
	h := &hand{t: t, b: b, set: &s, next: ask{Worker: name, First: true, Set: &s, Runs: []demand{}}}
	h.next.Version = s.Version
	return h
}

// wants asks for so many calls of one run.
func wants(run string, calls int, each amounts) demand {
	return demand{ID: run, Weight: 1, Calls: calls, Each: each}
}

// exchange asks as a limiter does: again with the limits when Redis has none.
func (h *hand) exchange(runs ...demand) *reply {
	h.t.Helper()
	a := h.next
	a.Runs = append(a.Runs, runs...)
	for k := range a.Seen {
		if a.Seen[k] == (sighting{}) {
			a.Seen[k].Age = -1
		}
	}
	r, err := exchange(h.t.Context(), h.b.rdb, scopeKey, &a)
	if err == nil && r != nil && r.Lost {
		a.Set = h.set
		r, err = exchange(h.t.Context(), h.b.rdb, scopeKey, &a)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.last = a
	h.next = ask{
		Worker: a.Worker, Used: a.Used, Known: a.Used, Done: a.Done, Reported: a.Done, InFlight: a.InFlight, Headroom: a.Headroom,
		Version: a.Version, Runs: []demand{},
	}
	return r
}

// start takes calls out of the slice.
func (h *hand) start(n int, each amounts) {
	for k := range each {
		h.next.Used[k] += float64(n) * each[k]
	}
	h.next.InFlight += n
}

// requests are limits of requests alone, with a bucket for half a second.
func requests(perMinute float64, concurrency int) settings {
	return settings{
		Version: 1, Rate: amounts{perMinute}, Burst: amounts{max(1, perMinute/120)}, Slack: slack, Concurrency: concurrency,
	}
}

var one = amounts{1, 1000, 100, 1100}
