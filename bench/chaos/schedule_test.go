package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// kind is what a fault does.
type kind int

const (
	workerKilled kind = iota
	workerStopped
	workerCut
	workerDrained
	coordinatorKilled
	coordinatorStopped
	coordinatorCut
	coordinatorDrained
	redisKilled  // and started again with all that its append-only file has
	redisRolled  // killed while it had no append-only file, and started again with what it had saved some seconds before
	redisEmptied // killed, and started again with nothing
	redisFlushed // FLUSHALL while all goes on
	redisStopped // SIGSTOP
	redisRewound // killed, and started again with a snapshot that an earlier fault took
	rivalStarted // a second coordinator for the same run
	kinds        = iota
)

var kindNames = [kinds]string{
	workerKilled: "worker: kill -9", workerStopped: "worker: SIGSTOP, SIGCONT", workerCut: "worker cut off from Redis",
	workerDrained: "worker: SIGTERM", coordinatorKilled: "coordinator: kill -9",
	coordinatorStopped: "coordinator: SIGSTOP, SIGCONT", coordinatorCut: "coordinator cut off from Redis",
	coordinatorDrained: "coordinator: SIGTERM", redisKilled: "Redis: kill -9, AOF",
	redisRolled: "Redis: kill -9, RDB only", redisEmptied: "Redis: kill -9, nothing left", redisFlushed: "Redis: FLUSHALL",
	redisStopped: "Redis: SIGSTOP, SIGCONT", redisRewound: "Redis: old snapshot restored",
	rivalStarted: "a second coordinator",
}

func (k kind) String() string { return kindNames[k] }

// weights say how often a kind is drawn.
var weights = [kinds]int{
	workerKilled: 6, workerStopped: 4, workerCut: 6, workerDrained: 3, coordinatorKilled: 4, coordinatorStopped: 2,
	coordinatorCut: 3, coordinatorDrained: 1, redisKilled: 2, redisRolled: 2, redisEmptied: 2, redisFlushed: 3,
	redisStopped: 2, redisRewound: 2, rivalStarted: 1,
}

// target is what a fault holds until it is over, so that no two act on the same process at once.
type target int

const (
	onCoordinator target = -1
	onRedis       target = -2
)

// fault is one entry of the schedule.
type fault struct {
	kind   kind
	worker int // from 0, for the kinds that hit one
	// at is the share of records that must have been answered, from 0 to 1.
	at float64
	// soon is set when the fault does not wait for that, but strikes so long after the one before.
	soon time.Duration
	// lasts is how long it takes until what was hit is up again.
	lasts time.Duration
	// age of the snapshot that comes back.
	age time.Duration
	cut cut
}

func (f *fault) target() target {
	switch f.kind {
	case workerKilled, workerStopped, workerCut, workerDrained:
		return target(f.worker)
	case redisKilled, redisRolled, redisEmptied, redisFlushed, redisStopped, redisRewound:
		return onRedis
	default:
		return onCoordinator
	}
}

func (f *fault) String() string {
	s := f.kind.String()
	if f.target() >= 0 {
		s = fmt.Sprintf("%s (%d)", s, f.worker+1)
	}
	if f.cut != linkUp {
		s += ": " + cutNames[f.cut]
	}
	if f.lasts > 0 {
		s += fmt.Sprintf(" for %.1f s", f.lasts.Seconds())
	}
	if f.age > 0 {
		s += fmt.Sprintf(", snapshot of %.1f s before", f.age.Seconds())
	}
	return s
}

const (
	// A schedule of so many faults has time for a worker that is stopped for minutes, as a frozen machine is: past every
	// lease and the 86 s after which Asynq gives up on a worker.
	longFaults = 50
	longStop   = 150 * time.Second
)

// draw makes a schedule of so many faults. Each kind comes once before any comes twice, in an order of the seed's.
// The longest that anything is down, stopped or cut is given; one stop in a long schedule is longer.
func draw(seed uint64, faults, workers int, longest time.Duration) []fault {
	random := rand.New(rand.NewPCG(seed, 0))
	var bag []kind
	for k, weight := range weights {
		for range weight {
			bag = append(bag, kind(k))
		}
	}
	first := random.Perm(kinds)
	schedule := make([]fault, faults)
	for i := range schedule {
		f := &schedule[i]
		f.kind = bag[random.IntN(len(bag))]
		if i < len(first) {
			f.kind = kind(first[i])
		}
		f.worker = random.IntN(workers)
		f.at = float64(i+1) / float64(faults+2)
		if random.IntN(4) == 0 {
			f.soon = between(random, 10*time.Millisecond, 2*time.Second)
		}
		switch f.kind {
		case workerStopped, workerCut, coordinatorStopped, coordinatorCut, redisStopped:
			f.lasts = between(random, min(time.Second, longest/4), longest)
		case workerKilled, workerDrained, coordinatorKilled, coordinatorDrained,
			redisKilled, redisRolled, redisEmptied, redisRewound:
			f.lasts = between(random, 0, longest/4)
		default: // over at once
		}
		if f.kind == workerCut || f.kind == coordinatorCut {
			f.cut = linkReset + cut(random.IntN(int(linkFlicker-linkReset)+1))
		}
		if f.kind == redisRolled {
			f.age = between(random, 200*time.Millisecond, longest/2)
		}
	}
	if faults >= longFaults {
		prolong(schedule, workers)
	}
	return schedule
}

// prolong makes the first stop of a worker a long one. What would hit that worker meanwhile, and have all later faults
// wait for it, hits the next one.
func prolong(schedule []fault, workers int) {
	first := slices.IndexFunc(schedule, func(f fault) bool { return f.kind == workerStopped })
	long := &schedule[first]
	long.lasts = max(long.lasts, longStop)
	for i := range schedule[first+1 : first+1+(len(schedule)-first)/3] {
		if f := &schedule[first+1+i]; f.target() == long.target() {
			f.worker = (f.worker + 1) % workers
		}
	}
}

// between draws a time, short ones more often than long ones.
func between(random *rand.Rand, least, most time.Duration) time.Duration {
	u := random.Float64()
	return least + time.Duration(u*u*float64(most-least))
}

// A seed names its schedule for good: a run that found something can be had again.
func TestScheduleIsTheSeeds(t *testing.T) {
	t.Parallel()
	one, again := draw(7, 60, 3, time.Minute), draw(7, 60, 3, time.Minute)
	if diff := cmp.Diff(one, again, cmp.AllowUnexported(fault{})); diff != "" {
		t.Errorf("the same seed gave another schedule:\n%s", diff)
	}
	if cmp.Equal(one, draw(8, 60, 3, time.Minute), cmp.AllowUnexported(fault{})) {
		t.Error("another seed gave the same schedule")
	}
	seen := map[kind]bool{}
	for _, f := range one[:kinds] {
		seen[f.kind] = true
	}
	if len(seen) != kinds {
		t.Errorf("the first %d faults are of %d kinds only", kinds, len(seen))
	}
	long := 0
	for _, f := range one {
		if f.kind == workerStopped && f.lasts >= longStop {
			long++
		}
	}
	if long != 1 {
		t.Errorf("a worker is stopped for minutes %d times, want once", long)
	}
}
