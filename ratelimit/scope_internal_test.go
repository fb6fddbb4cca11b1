package ratelimit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// An answer of Redis may be lost on the way, and the client sends the same again: that books nothing twice.
func TestScriptAskedTwice(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(b *bed) {
		t := b.t
		limits := requests(60, 10)
		limits.Burst = amounts{20}
		h := b.hand(t, "a", limits)
		if r := h.exchange(wants("r", 10, one)); r.Grant[Requests] != 10 {
			t.Fatalf("%v granted of a full bucket of 20, want 10", r.Grant)
		}
		h.start(6, one)
		h.next.Done[answered], h.next.Done[latency] = 2, 600
		first := h.exchange(wants("r", 4, one))
		level, held := b.level(t)
		for range 3 {
			again, err := exchange(t.Context(), b.rdb, scopeKey, &h.last)
			if err != nil {
				t.Fatal(err)
			}
			if again.Used != first.Used || again.Done != first.Done || again.Grant != first.Grant || again.Slots != first.Slots || again.Workers != 1 {
				t.Errorf("asked again: %+v, want what the first time gave: %+v", again, first)
			}
		}
		if level2, held2 := b.level(t); held2 != held || level2[Requests] > level[Requests]+1 || level2[Requests] < level[Requests] {
			t.Errorf("level %v, held %v after the same ask; it was %v and %v", level2, held2, level, held)
		}
	})
}

// Redis has forgotten a worker that was silent for long. What it reports when it is back counts once: what Redis had
// confirmed before is in the totals already.
func TestScriptForgottenWorkerReportsOnce(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(b *bed) {
		t := b.t
		limits := requests(600, 0)
		a, other := b.hand(t, "a", limits), b.hand(t, "b", limits)
		a.exchange(wants("r", 5, one))
		a.start(5, one)
		a.next.Done[answered] = 5
		a.exchange(wants("r", 1, one))
		b.advance(5 * time.Second)
		if r := other.exchange(); r.Workers != 1 || r.Used[Requests] != 5 {
			t.Fatalf("%d workers, used %v after the silence of one; want 1 and 5", r.Workers, r.Used)
		}
		a.start(2, one)
		a.next.Done[answered] = 6
		if r := a.exchange(); r.Used[Requests] != 7 || r.Done[answered] != 6 {
			t.Errorf("used %v, answered %v when it is back; want 7 and 6", r.Used[Requests], r.Done[answered])
		}
	})
}

// A worker that dies takes its slice and its slots with it for at most 5 s.
func TestScriptDeadWorker(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(b *bed) {
		t := b.t
		limits := requests(1200, 8)
		dead, alive := b.hand(t, "dead", limits), b.hand(t, "alive", limits)
		if r := dead.exchange(wants("r", 8, one)); r.Grant[Requests] != 8 || r.Slots != 8 {
			t.Fatalf("%v granted, %d slots; want 8 of both", r.Grant, r.Slots)
		}
		b.advance(time.Second)
		if r := alive.exchange(wants("r", 8, one)); r.Grant[Requests] != 0 || r.Slots != 0 || r.Bound != BoundByConcurrency {
			t.Errorf("%v granted, %d slots, bound by %q while another has all slots; want none", r.Grant, r.Slots, r.Bound)
		}
		b.advance(4 * time.Second)
		if r := alive.exchange(wants("r", 8, one)); r.Grant[Requests] != 8 || r.Slots != 8 || r.Workers != 1 {
			t.Errorf("%v granted, %d slots, %d workers 5 s after the other died; want 8, 8 and 1", r.Grant, r.Slots, r.Workers)
		}
	})
}

// What was used before Redis lost the state nobody knows: who has a state in mind begins it anew with empty buckets, a
// worker that never had one with full ones. The same when what lies there is no state of this version.
func TestScriptLostState(t *testing.T) {
	t.Parallel()
	tests := map[string]func(ctx context.Context, rdb *redis.Client) error{
		"deleted": func(ctx context.Context, rdb *redis.Client) error { return rdb.Del(ctx, scopeKey).Err() },
	}
	for name, garbage := range map[string]string{
		"empty": "", "cut": `{"format":1,"wor`, "null": "null", "number": "17", "list": "[1,2]", "text": `"format"`, "binary": "\x00\xff\x7f",
		"another format": `{"format":2,"workers":{}}`, "format as text": `{"format":"1"}`, "no format": `{}`,
	} {
		tests[name] = func(ctx context.Context, rdb *redis.Client) error { return rdb.Set(ctx, scopeKey, garbage, 0).Err() }
	}
	eachRedis(t, func(b *bed) {
		t := b.t
		for name, lose := range tests {
			limits := requests(600, 4)
			old := b.hand(t, "old", limits)
			old.exchange(wants("r", 2, one))
			old.start(2, one)
			if err := lose(t.Context(), b.rdb); err != nil {
				t.Fatal(err)
			}
			r := old.exchange(wants("r", 4, one))
			if r.Grant[Requests] > 1 || r.Lost { // a real server's clock goes on: one may have come in
				t.Errorf("%s: %v granted, lost: %v to a worker that knew the state; want an empty bucket", name, r.Grant, r.Lost)
			}
			b.advance(time.Second)
			if r := old.exchange(wants("r", 4, one)); r.Grant[Requests] < 2 {
				t.Errorf("%s: %v granted a second later, want what has come in", name, r.Grant)
			}

			if err := lose(t.Context(), b.rdb); err != nil {
				t.Fatal(err)
			}
			if r := b.hand(t, "new", limits).exchange(wants("r", 4, one)); r.Grant[Requests] != 4 || r.Used[Requests] != 0 {
				t.Errorf("%s: %v granted to a worker that never had a state, want 4 of a full bucket", name, r.Grant)
			}
			if err := b.rdb.Del(t.Context(), scopeKey).Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A hold goes to all workers, and nothing shortens it.
func TestScriptHold(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(b *bed) {
		t := b.t
		news := b.rdb.Subscribe(t.Context(), channel(scopeKey))
		t.Cleanup(func() { _ = news.Close() })
		if _, err := news.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		limits := requests(600, 0)
		a, other := b.hand(t, "a", limits), b.hand(t, "b", limits)
		a.exchange()
		a.next.Hold, a.next.Reason = 10_000, "the API asks for a pause"
		a.exchange()
		select {
		case m := <-news.Channel():
			if !strings.Contains(m.Payload, `"hold":10000`) || !strings.Contains(m.Payload, "the API asks for a pause") {
				t.Errorf("workers hear %s, want the hold and why", m.Payload)
			}
		case <-time.After(10 * time.Second):
			t.Error("nothing is heard of the hold")
		}
		a.next.Hold, a.next.Reason = 1000, "a shorter one"
		a.exchange()
		r := other.exchange(wants("r", 3, one))
		if r.Grant[Requests] != 0 || r.Bound != BoundByHold || r.Hold > 10_000 || r.Hold < 5000 || r.Reason != "the API asks for a pause" {
			t.Errorf("granted %v, bound by %q, hold %d ms (%q); want none before the 10 s are over", r.Grant, r.Bound, r.Hold, r.Reason)
		}
		b.advance(11 * time.Second)
		if r := other.exchange(wants("r", 3, one)); r.Grant[Requests] != 3 || r.Hold != 0 {
			t.Errorf("granted %v, hold %d ms after it was over; want 3", r.Grant, r.Hold)
		}
	})
}

// Calls that a limit refused empty the bucket, so that the pause holds for all. Output goes on coming from calls that run,
// for a third of a call's time, a second at most.
func TestScriptRefusalEmptiesTheBucket(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		kind Kind
		took float64 // of an answered call, in milliseconds
		want float64 // pause in milliseconds
	}{
		"requests":               {Requests, 3000, 250},
		"input":                  {Input, 3000, 250},
		"output of short calls":  {Output, 300, 250},
		"output of longer calls": {Output, 1800, 600},
		"output of long calls":   {Output, 60_000, 1000},
		"tokens of both":         {Tokens, 1800, 600},
	}
	eachRedis(t, func(b *bed) {
		t := b.t
		for name, tt := range tests {
			var limits settings
			limits.Rate[tt.kind], limits.Burst[tt.kind], limits.Version = 60_000, 500, 1
			h := b.hand(t, name, limits)
			h.exchange()
			h.next.Refused = 1
			h.next.Done[answered], h.next.Done[latency], h.next.Done[refused+int(tt.kind)] = 1, tt.took, 1
			h.exchange()
			if level, _ := b.level(t); level[tt.kind] != -tt.want { // 60,000 a minute are 1 a millisecond
				t.Errorf("%s: level %v after the refusal, want %v ms of the rate below 0", name, level[tt.kind], tt.want)
			}
			if err := b.rdb.Del(t.Context(), scopeKey).Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What the service says is left corrects what is in our bucket, only downward and only by what nothing else explains.
func TestScriptSighting(t *testing.T) {
	t.Parallel()
	// 6,000 a minute are 100 a second; our bucket holds 50, the service's was seen to hold 100.
	limits := settings{
		Version: 1, Rate: amounts{6000}, Burst: amounts{50}, Told: amounts{6000}, Most: amounts{100}, Slack: slack, Reserve: amounts{10},
	}
	tests := map[string]struct {
		seen      sighting
		want      float64 // level
		wantRises float64
	}{
		"as expected":                            {sighting{0, 6000, 100, 0}, 50, 0},
		"less by rounding and what is under way": {sighting{0, 6000, 90, 0}, 50, 0},
		"another user took 40":                   {sighting{0, 6000, 60, 0}, 50 - (40 - 1 - 10), 0},
		"another user took all":                  {sighting{0, 6000, 0, 0}, -25, 0}, // a quarter second of the rate is the most it is in debt
		"less because we used it":                {sighting{0, 6000, 60, 0}, 50 - 29, 0},
		"less than the reserve":                  {sighting{0, 6000, 5, 0}, -25, 0},
		"more than the bucket was seen to hold":  {sighting{0, 6000, 300, 0}, 50, 0},
		"old":                                    {sighting{700, 6000, 0, 0}, 50, 0},
		"nothing said of what is left":           {sighting{0, 6000, -1, 0}, 50, 0},
		"nothing said":                           {sighting{-1, 6000, 0, 0}, 50, 0},
		"no number that can be":                  {sighting{0, -5, -7e300, 0}, 50, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newFake(t)
			h := b.hand(t, "a", limits)
			h.exchange()
			b.advance(2 * time.Second) // what is expected of the service's bucket is full, too
			h.exchange()
			h.next.Seen[Requests] = tt.seen
			r := h.exchange()
			if level, _ := b.level(t); level[Requests] != tt.want || r.Rises != tt.wantRises {
				t.Errorf("level %v, %v rises; want %v and %v", level[Requests], r.Rises, tt.want, tt.wantRises)
			}
		})
	}
	t.Run("more than can have come in", func(t *testing.T) {
		t.Parallel()
		b := newFake(t)
		h := b.hand(t, "a", limits)
		h.exchange()
		b.advance(2 * time.Second)
		for i, left := range []float64{0, 100, 0, 100} { // two accounts behind one address
			h.next.Seen[Requests] = sighting{0, 6000, left, 0}
			if r := h.exchange(); r.Rises != float64((i+1)/2) {
				t.Errorf("%v rises after %d sightings, want %d", r.Rises, i+1, (i+1)/2)
			}
			b.advance(20 * time.Millisecond)
		}
	})
}

// Newer limits replace older ones, never the other way round, and a worker hears of them with its next exchange.
func TestScriptNewerLimits(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(b *bed) {
		t := b.t
		old, newer := requests(600, 4), requests(1200, 6)
		newer.Version = 2
		a, other := b.hand(t, "a", newer), b.hand(t, "b", old)
		a.exchange()
		r := other.exchange()
		if r.Set == nil {
			t.Fatal("a worker with old limits hears nothing of newer ones")
		}
		if diff := cmp.Diff(newer, *r.Set); diff != "" {
			t.Errorf("limits after an older worker came, -want +got:\n%s", diff)
		}
		if r := a.exchange(); r.Set != nil {
			t.Errorf("limits sent to a worker that knows them: %+v", r.Set)
		}
	})
}

// One worker steers at a time, four times a second at most, unless there is urgent news.
func TestScriptSteering(t *testing.T) {
	t.Parallel()
	b := newFake(t)
	a, other := b.hand(t, "a", requests(600, 0)), b.hand(t, "b", requests(600, 0))
	due := func(h *hand, urgent bool) bool {
		h.next.Urgent = urgent
		return h.exchange().Due
	}
	var got []bool
	got = append(got, due(a, false), due(other, false))
	b.advance(200 * time.Millisecond)
	got = append(got, due(a, false), due(other, true), due(a, false))
	b.advance(250 * time.Millisecond)
	got = append(got, due(other, false), due(a, false))
	if diff := cmp.Diff([]bool{true, false, false, true, false, true, false}, got); diff != "" {
		t.Errorf("who steers, -want +got:\n%s", diff)
	}
}

// Who leaves gives back all that it holds. A job's own limits end with its last worker; those of a key stay for the next
// job, for ten minutes.
func TestScriptLeaving(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(b *bed) {
		t := b.t
		limits := requests(1200, 8)
		a, other := b.hand(t, "a", limits), b.hand(t, "b", limits)
		a.exchange(wants("r", 8, one))
		other.exchange()
		leave := func(h *hand, how string) {
			h.next.Leave = how
			if r := h.exchange(); r != nil {
				t.Errorf("a worker that leaves is told %+v", r)
			}
		}
		leave(a, "last")
		if r := other.exchange(wants("r", 8, one)); r.Grant[Requests] != 8 || r.Slots != 8 || r.Workers != 1 {
			t.Errorf("%v granted, %d slots after the other left; want all 8", r.Grant, r.Slots)
		}
		leave(other, "any")
		if ttl := b.rdb.PTTL(t.Context(), scopeKey).Val(); ttl < 9*time.Minute || ttl > 10*time.Minute {
			t.Errorf("the scope of a key is kept for %v, want 10 minutes", ttl)
		}
		c := b.hand(t, "c", limits)
		c.next.First = false
		c.exchange()
		leave(c, "last")
		if n := b.rdb.Exists(t.Context(), scopeKey).Val(); n != 0 {
			t.Error("a job's limits are there after its last worker left")
		}
		leave(c, "last") // it was not there any more
		if n := b.rdb.Exists(t.Context(), scopeKey).Val(); n != 0 {
			t.Error("a worker that leaves a lost scope makes it anew")
		}
	})
}

// A scope of which nobody hears any more is gone after ten minutes.
func TestScriptExpires(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(b *bed) {
		t := b.t
		h := b.hand(t, "a", requests(600, 0))
		h.exchange()
		h.exchange() // the first write takes the time to live away
		if ttl := b.rdb.PTTL(t.Context(), scopeKey).Val(); ttl < 9*time.Minute || ttl > 10*time.Minute {
			t.Errorf("the scope is kept for %v, want 10 minutes", ttl)
		}
	})
}

// A call that is larger than the bucket starts when that is full, and its debt is paid before the next.
func TestScriptLargerThanTheBucket(t *testing.T) {
	t.Parallel()
	b := newFake(t)
	limits := settings{Version: 1, Rate: amounts{0, 60_000}, Burst: amounts{0, 500}}
	h := b.hand(t, "a", limits)
	huge := amounts{1, 3000, 0, 3000}
	if r := h.exchange(wants("r", 2, huge)); r.Grant[Input] != 3000 {
		t.Fatalf("%v granted of a full bucket, want one call of 3,000", r.Grant)
	}
	h.start(1, huge)
	r := h.exchange(wants("r", 1, huge))
	if r.Grant[Input] != 0 || r.Wait != 3000 {
		t.Errorf("%v granted, wait %v ms after 2,500 of debt; want none for 3 s", r.Grant, r.Wait)
	}
	b.advance(2900 * time.Millisecond)
	if r := h.exchange(wants("r", 1, huge)); r.Grant[Input] != 0 {
		t.Errorf("%v granted before the debt is paid", r.Grant)
	}
	b.advance(100 * time.Millisecond)
	if r := h.exchange(wants("r", 1, huge)); r.Grant[Input] != 3000 {
		t.Errorf("%v granted after the debt is paid, want one call", r.Grant)
	}
}

// However many wait, none of the workers gets what another holds: level and what is held are never more than the bucket.
func TestScriptManyWorkersShareOneBucket(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(b *bed) {
		t := b.t
		limits := requests(2400, 10) // 20 in the bucket
		sum, slots := 0.0, 0
		for i := range 40 {
			r := b.hand(t, fmt.Sprint("w", i), limits).exchange(wants("r", 3, one))
			sum, slots = sum+r.Grant[Requests], slots+r.Slots
			if level, held := b.level(t); level[Requests]+held[Requests] > 20+1e-6 {
				t.Errorf("level %v and held %v are more than the bucket of 20", level, held)
			}
		}
		if sum > 20 || slots > 10 {
			t.Errorf("40 workers were granted %v calls and %d slots of 20 and 10", sum, slots)
		}
	})
}
