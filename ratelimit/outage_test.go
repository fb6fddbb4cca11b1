package ratelimit_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/ratelimit"
)

// tenASecond are a job's own bounds.
var tenASecond = &ratelimit.Limits{RequestsPerMinute: 600}

var oneCall = ratelimit.Cost{Requests: 1, Input: 1000, Output: 100}

// admitted is how many calls start at once.
func admitted(l *ratelimit.Limiter) (n int) {
	for range 1000 {
		p, _, _ := l.TryAdmit(ratelimit.Run{ID: "r"}, oneCall, 10)
		if p == nil {
			break
		}
		p.Settle(ratelimit.Outcome{Used: oneCall})
		n++
	}
	return n
}

// While Redis is away a worker starts what it holds and no more, and after 2 s nothing at all. The bound says why. When
// Redis is back it goes on at the limits' speed.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(w *simulated) (back func()){
		"connections end": func(w *simulated) func() { w.sever(); return w.mend },
		"errors": func(w *simulated) func() {
			w.fleet.redis.SetError("LOADING Redis is loading the dataset in memory")
			return func() { w.fleet.redis.SetError("") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, nil)
				defer f.end()
				warned := 0
				w := f.workBy(ratelimit.Options{Key: "own", Worker: "w", Bounds: tenASecond, BoundsVersion: 1, Warn: func(error) { warned++ }})
				for range 20 {
					admitted(w.limiter)
					time.Sleep(100 * time.Millisecond)
				}
				back := away(w)
				n := 0
				for range 200 {
					n += admitted(w.limiter)
					time.Sleep(10 * time.Millisecond)
				}
				if n > 5 { // the bucket of half a second
					t.Errorf("%d calls in the 2 s after Redis went away, want 5 at most", n)
				}
				time.Sleep(10 * time.Millisecond)
				for range 60 {
					p, bound, _ := w.limiter.TryAdmit(ratelimit.Run{ID: "r"}, oneCall, 10)
					if p != nil || bound != ratelimit.BoundByRedis {
						t.Fatalf("a call starts without Redis, or is bound by %q", bound)
					}
					time.Sleep(time.Second)
				}
				if s := w.limiter.State(); s.Bound != ratelimit.BoundByRedis || s.Why == "" {
					t.Errorf("bound by %q (%q), want Redis", s.Bound, s.Why)
				}
				if warned != 1 {
					t.Errorf("warned %d times of one outage, want once", warned)
				}
				back()
				n = 0
				for range 500 {
					n += admitted(w.limiter)
					time.Sleep(20 * time.Millisecond)
				}
				if n < 60 || n > 105 {
					t.Errorf("%d calls in the 10 s after Redis came back, want nearly 100 and none beyond", n)
				}
			})
		})
	}
}

// A fleet does not come back in one moment, and the calls that have piled up do not go beyond the limits.
func TestNoStampede(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, nil)
		defer f.end()
		for i := range 12 {
			f.workBy(ratelimit.Options{Key: "own", Worker: fmt.Sprint("w", i), Bounds: tenASecond, BoundsVersion: 1})
		}
		all := func() (n int) {
			for _, w := range f.workers {
				n += admitted(w.limiter)
			}
			return n
		}
		exchanges := func() (n int64) {
			for _, w := range f.workers {
				n += w.limiter.State().Exchanges
			}
			return n
		}
		for range 20 {
			all()
			time.Sleep(100 * time.Millisecond)
		}
		f.redis.SetError("LOADING Redis is loading the dataset in memory")
		for range 100 {
			all()
			time.Sleep(100 * time.Millisecond)
		}
		f.redis.SetError("")
		f.redis.FlushAll()
		before, most, n := exchanges(), int64(0), 0
		for range 30 {
			n += all()
			time.Sleep(100 * time.Millisecond)
			now := exchanges()
			most = max(most, now-before)
			before = now
		}
		if most > 24 {
			t.Errorf("%d exchanges of 12 workers in a tenth of a second, want two each at most", most)
		}
		if n > 35 {
			t.Errorf("%d calls in the 3 s after, want 30 and the bucket of 5 at most", n)
		}
	})
}

// A hold that one worker meets reaches the others at once, also those that have no exchange under way.
func TestHoldReachesAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, nil)
		defer f.end()
		a, other := f.work("a"), f.work("b")
		for _, w := range []*simulated{a, other} {
			admitted(w.limiter)
		}
		time.Sleep(5 * time.Second)
		p, err := a.limiter.Admit(context.Background(), ratelimit.Run{ID: "r"}, oneCall)
		if err != nil {
			t.Fatal(err)
		}
		p.Settle(ratelimit.Outcome{Refused: true, Hold: 10 * time.Second, Reason: "429"})
		time.Sleep(20 * time.Millisecond)
		p, bound, wait := other.limiter.TryAdmit(ratelimit.Run{ID: "r"}, oneCall, 1)
		if p != nil || bound != ratelimit.BoundByHold || wait > 10*time.Second || wait < 9900*time.Millisecond {
			t.Errorf("20 ms after another worker was refused: bound by %q for %v, want the hold of 10 s", bound, wait)
		}
		if s := other.limiter.State(); s.Reason != "429" {
			t.Errorf("reason %q, want that of the other worker", s.Reason)
		}
		time.Sleep(9 * time.Second)
		if n := admitted(other.limiter); n > 0 {
			t.Errorf("%d calls within the hold", n)
		}
		time.Sleep(2 * time.Second)
		if _, bound, _ := other.limiter.TryAdmit(ratelimit.Run{ID: "r"}, oneCall, 1); bound == ratelimit.BoundByHold {
			t.Error("held after the hold")
		}
	})
}

// answers is a Redis that answers the script with whatever a test says.
type answers struct{ text func() any }

func (a *answers) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a *answers) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (a *answers) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if c, is := cmd.(*redis.Cmd); is && (cmd.Name() == "evalsha" || cmd.Name() == "eval") {
			if answer := a.text(); answer != nil {
				c.SetVal(answer)
				return nil
			}
		}
		return next(ctx, cmd)
	}
}

// Whatever Redis answers: nothing panics, nothing spins, and when it answers well again calls start again, at the speed
// of the limits.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]any{
		"no JSON":           "\x00\xff",
		"cut":               `{"now":1`,
		"null":              "null",
		"empty":             "{}",
		"a number":          int64(17),
		"a list":            []any{"a"},
		"wrong types":       `{"now":"x","grant":{},"slots":[]}`,
		"huge time":         `{"now":9223372036854775807,"grant":[0,0,0,0],"due":true}`,
		"past the integers": `{"now":1e300,"grant":[0,0,0,0]}`,
		"negative":          `{"now":-9223372036854775808,"grant":[-1e300,-1,-1,-1],"slots":0,"wait":-1e300,"bound":-7,"hold":-9223372036854775808,"workers":-1}`,
		"long waits":        `{"now":5,"grant":[0,0,0,0],"slots":0,"wait":1e300,"bound":99,"workers":9223372036854775807}`,
		"huge set":          `{"now":5,"grant":[0,0,0,0],"due":true,"set":{"version":4,"rate":[1e15,1e15,1e15,1e15],"burst":[1e15,1e15,1e15,1e15],"learned":"{\"window\":{\"size\":1e9}}"}}`,
		"bad learned":       `{"now":5,"grant":[0,0,0,0],"due":true,"set":{"version":2,"rate":[1,1,1,1],"learned":"[]"}}`,
		"lost for ever":     `{"lost":true}`,
		"long lists":        `{"now":5,"grant":[0,0,0,0,5,6,7,8],"done":[1,2,3,4,5,6,7,8,9,10,11,12],"due":true}`,
		"odd totals":        `{"now":5,"grant":[0,0,0,0],"due":true,"used":[-1,1e308,-1e308,0],"done":[1e300,0,0,0,0,0,0,0,1e308],"seen":[{"at":1e308,"limit":-1,"left":1e308},{"at":4,"limit":1e308,"left":1e308},{},{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, nil)
				defer f.end()
				hostile := true
				client := redis.NewClient(&redis.Options{
					Addr: "127.0.0.1:6379", DisableIdentity: true, Protocol: 2, Dialer: (&simulated{fleet: f}).dial,
				})
				defer client.Close()
				client.AddHook(&answers{func() any {
					if hostile {
						return answer
					}
					return nil
				}})
				l := ratelimit.Open(ratelimit.Options{Redis: client, Key: "scope", Worker: "w"})
				defer l.Close()
				n := 0
				for range 100 {
					n += admitted(l)
					l.State()
					time.Sleep(100 * time.Millisecond)
				}
				if n > 0 {
					t.Errorf("%d calls on answers that grant nothing", n)
				}
				if exchanges := l.State().Exchanges; exchanges > 200 {
					t.Errorf("%d exchanges in 10 s, want 20 a second at most", exchanges)
				}
				synctest.Wait()
				hostile = false
				n = 0
				for range 200 {
					n += admitted(l)
					time.Sleep(100 * time.Millisecond)
				}
				if n == 0 {
					t.Errorf("no call in the 20 s after Redis answers well again: %+v", l.State())
				}
			})
		})
	}
}
