package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/jobs/courier/redistest"
	"github.com/batchwright/batchwright/worker/simulator"
)

// G5: a Redis that is full of prompts and refuses more is back-pressure. The run ends whole without a person, and
// nothing is paid again.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name                  string
		maxMemory             string // Redis itself takes 2 MB of it with its connections
		records, slots, bytes int
	}{
		{"a window does not fit", "3mb", 1000, 16, 8 << 10},
		{"a hand-out does not fit", "8mb", 200, 32, 64 << 10},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := startFleet(t, setup{
				records: c.records, staff: 2, slots: c.slots, noise: c.bytes, server: redistest.Options{MaxMemory: c.maxMemory},
				options: simulator.Options{Latency: 20 * time.Millisecond},
			})
			if code := f.ended(f.coordinator); code != exitComplete {
				t.Fatalf("the coordinator ended with exit code %d", code)
			}
			f.complete(exitComplete)
			f.answeredOnce(c.records)
			if f.redisCount("errorstats", "errorstat_OOM:count=") == 0 {
				t.Error("Redis refused nothing: it was not full")
			}
			f.lostNothing()
		})
	}
}

// G5, G3: a Redis that others have filled, for longer than any lease, costs time only. Coordinator and workers keep their
// leases, nobody is taken for dead, a call that was in flight all the while gets its result through, and the run goes on
// by itself when there is room.
func TestRedisStaysFull(t *testing.T) {
	t.Parallel()
	const records, slow = 600, 60
	called, release := make(chan struct{}, 8), make(chan struct{})
	f := startFleet(t, setup{
		records: records, staff: 2, slots: 8, prompt: "is this good?",
		options: simulator.Options{Latency: 100 * time.Millisecond},
		stays: func(record int64, _ string) bool {
			if record == slow {
				called <- struct{}{}
				<-release
			}
			return false
		},
	})
	end := sync.OnceFunc(func() { close(release) })
	t.Cleanup(end)
	room := func(most string) {
		t.Helper()
		if err := f.redis.Client.ConfigSet(t.Context(), "maxmemory", most).Err(); err != nil {
			t.Fatal(err)
		}
	}
	<-called
	room("1mb") // less than Redis itself takes
	began, refused := time.Now(), f.redisCount("errorstats", "errorstat_OOM:count=")
	until(t, "the end of every lease", func() bool { return time.Since(began) > courier.WorkerTimeout+3*time.Second })
	if answered := f.api.answered(); answered == records {
		t.Error("all was answered while Redis was full")
	}
	// It was 10 a second, and 17,000 when Asynq asked again at once for each that was refused.
	if refused = f.redisCount("errorstats", "errorstat_OOM:count=") - refused; refused > 2000 {
		t.Errorf("Redis refused %d commands in %v: something asks without a pause", refused, time.Since(began))
	}
	if !slices.ContainsFunc(f.left(), isOwner) {
		t.Error("the coordinator has lost its lease")
	}
	end()
	until(t, "the result of the slow call", func() bool { return journaled(t, f.state(), records)[slow] })
	room("100mb")
	if code := f.ended(f.coordinator); code != exitComplete {
		t.Fatalf("the coordinator ended with exit code %d", code)
	}
	f.complete(exitComplete)
	f.answeredOnce(records)
	f.lostNothing()
}

// G5, G3: while nobody takes results away they fill Redis. They get in all the same, because only their
// acknowledgement makes room, and wait for the coordinator; no answer is lost and none paid again.
func TestRedisFullOfResults(t *testing.T) {
	t.Parallel()
	const records = 400
	cases := []struct {
		name        string
		leave, back func(*fleet)
	}{
		{
			"coordinator stopped past its lease",
			func(f *fleet) { f.coordinator.process.signal(syscall.SIGSTOP) },
			func(f *fleet) {
				until(f.t, "the end of the lease", func() bool { return !slices.ContainsFunc(f.left(), isOwner) })
				f.coordinator.process.signal(syscall.SIGCONT)
			},
		},
		{
			"coordinator killed",
			func(f *fleet) { f.coordinator.process.kill() },
			func(f *fleet) { f.start(f.coordinator) },
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := startFleet(t, setup{
				// An answer takes 16 KB in Redis, and a worker has 48 records and more that it will still answer.
				records: records, staff: 2, slots: 24, maxTokens: 30_000, server: redistest.Options{MaxMemory: "3mb"},
				options: simulator.Options{Latency: 100 * time.Millisecond, AnswerTokens: 20_000},
			})
			until(t, "answers", func() bool { return f.api.answered() > records/10 })
			c.leave(f)
			until(t, "all results of what workers hold", func() bool {
				return f.api.open() == 0 && f.redisCount("memory", "used_memory:") > f.redisCount("memory", "maxmemory:")
			})
			answered, refused := f.api.answered(), f.redisCount("errorstats", "errorstat_OOM:count=")
			c.back(f)
			if code := f.ended(f.coordinator); code != exitComplete {
				t.Fatalf("the coordinator ended with exit code %d", code)
			}
			f.complete(exitComplete)
			f.answeredOnce(records)
			if refused == 0 {
				t.Error("Redis refused nothing while the coordinator was away: it was not full")
			}
			if answered == records {
				t.Error("all was answered while the coordinator was away")
			}
		})
	}
}

// isOwner tells the key of a run's lease.
func isOwner(key string) bool { return strings.HasSuffix(key, ":owner") }

// redisCount reads a number from a section of Redis' INFO; 0 when it is not there.
func (f *fleet) redisCount(section, before string) int {
	f.t.Helper()
	text, err := f.redis.Client.Info(f.t.Context(), section).Result()
	if err != nil {
		f.t.Fatal(err)
	}
	_, rest, found := strings.Cut(text, "\n"+before)
	if !found {
		return 0
	}
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	n, err := strconv.Atoi(digits)
	if err != nil {
		f.t.Fatal(fmt.Errorf("%s of Redis: %w", before, err))
	}
	return n
}
