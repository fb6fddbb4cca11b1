package ratelimit

import (
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs/courier/redistest"
)

// A full Redis that refuses writes goes on keeping the limits: the state does not grow.
func TestScriptRedisFull(t *testing.T) {
	t.Parallel()
	server := redistest.StartServer(t, redistest.Options{MaxMemory: "4mb"})
	b := newReal(t, server.Client)
	h := b.hand(t, "a", requests(600, 0))
	h.exchange()
	filler := strings.Repeat("x", 1<<16)
	var err error
	for i := 0; i < 1000 && err == nil; i++ {
		err = server.Client.Set(t.Context(), "filler"+strconv.Itoa(i), filler, 0).Err()
	}
	if !redis.HasErrorPrefix(err, "OOM") {
		t.Fatalf("filling up ended with %v, want OOM", err)
	}
	if r := h.exchange(wants("r", 3, one)); r.Grant[Requests] != 3 {
		t.Errorf("%v granted of a full Redis, want 3", r.Grant)
	}
	if err := server.Client.Del(t.Context(), scopeKey).Err(); err != nil {
		t.Fatal(err)
	}
	if err := server.Client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if r := b.hand(t, "b", requests(600, 0)).exchange(wants("r", 3, one)); r.Grant[Requests] != 3 {
		t.Errorf("%v granted of a full Redis that had neither state nor script, want 3", r.Grant)
	}
}

// A user of Redis who may not publish still keeps the limits: workers hear of a hold with their next exchange.
func TestScriptWithoutPublish(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string][]any{
		"command": {"on", ">secret", "~*", "&*", "+@all", "-publish"},
		"channel": {"on", ">secret", "~*", "resetchannels", "+@all"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.StartServer(t, redistest.Options{})
			if err := server.Client.Do(t.Context(), append([]any{"ACL", "SETUSER", "app"}, rules...)...).Err(); err != nil {
				t.Fatal(err)
			}
			rdb := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "app", Password: "secret", DisableIdentity: true, Protocol: 2})
			t.Cleanup(func() { _ = rdb.Close() })
			b := newReal(t, rdb)
			a, other := b.hand(t, "a", requests(600, 0)), b.hand(t, "b", requests(600, 0))
			a.exchange()
			a.next.Hold, a.next.Reason = 60_000, "pause"
			a.exchange()
			if r := other.exchange(wants("r", 1, one)); r.Bound != BoundByHold {
				t.Errorf("bound by %q, want the hold that the other met", r.Bound)
			}
		})
	}
}
