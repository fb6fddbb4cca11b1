package chaos

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/messages"
)

// virtualFleet is a run with its coordinator and workers in one bubble of testing/synctest, where hours take
// milliseconds: all of it is the program's own but the network, Redis and the Messages API. A process can't be stopped
// there as SIGSTOP does; that is for the tests with real ones.
type virtualFleet struct {
	t           *testing.T
	dir         string
	records     int
	api         *api
	redis       *virtualRedis
	coordinator *virtualCoordinator
	workers     []*virtualWorker
	gone        []*virtualWorker // killed
	drained     []*virtualWorker
	started     int // workers
	losses      []*loss
	wrong       []string // what did not hold
}

const (
	virtualSlots = 4
	longestCall  = 3 * time.Second
)

// startVirtualFleet starts a run of so many records. Inside a bubble.
func startVirtualFleet(t *testing.T, dir string, records, workers int) *virtualFleet {
	t.Helper()
	f := &virtualFleet{t: t, dir: dir, records: records, api: newAPI(), redis: startVirtualRedis(t)}
	var input strings.Builder
	for i := range records {
		fmt.Fprintf(&input, "{\"id\":\"r%d\",\"text\":\"record %d: is it good?\"}\n", i, i)
	}
	for name, content := range map[string]string{"job.yaml": jobFile(60), "in.jsonl": input.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.coordinate()
	f.workers = make([]*virtualWorker, workers)
	for i := range f.workers {
		f.work(i)
	}
	return f
}

func (f *virtualFleet) state() coordinator.State {
	return coordinator.StateOf(filepath.Join(f.dir, ".batchwright"), "chaos", false)
}

// virtualCoordinator is a process that coordinates, started again like one when it fails.
type virtualCoordinator struct {
	link *virtualLink
	kill context.CancelFunc
	done chan struct{}
	// The rest is there when it is done.
	complete bool
	err      error
}

// coordinate starts a coordinator.
func (f *virtualFleet) coordinate() {
	ctx, cancel := context.WithCancel(f.t.Context())
	c := &virtualCoordinator{link: f.redis.link(), kill: cancel, done: make(chan struct{})}
	f.coordinator = c
	go func() {
		defer close(c.done)
		defer cancel()
		for {
			c.complete, c.err = f.run(ctx, c.link)
			if c.err == nil || ctx.Err() != nil || errors.Is(c.err, courier.ErrFenced) {
				return
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}()
}

// run is what the command run --no-worker does.
func (f *virtualFleet) run(ctx context.Context, link *virtualLink) (complete bool, err error) {
	job, err := jobs.Load(filepath.Join(f.dir, "job.yaml"), jobs.Options{})
	if err != nil {
		return false, err
	}
	state := f.state()
	lock, err := state.Lock()
	if err != nil {
		return false, err
	}
	defer lock.Unlock()
	run, err := coordinator.Prepare(ctx, coordinator.Options{Job: job, State: state, BaseURL: "http://api", Window: 100})
	if err != nil {
		return false, err
	}
	if run.Finished() {
		return true, run.Close()
	}
	rdb := link.client()
	defer rdb.Close()
	if err := run.Own(ctx, rdb, coordinator.OwnOptions{}); err != nil {
		return false, errors.Join(err, run.Close())
	}
	outcome, err := run.Execute(ctx)
	return outcome.Complete, err
}

// virtualWorker is a process that works.
type virtualWorker struct {
	key    string // by which its calls are known
	link   *virtualLink
	rdb    *redis.Client
	worker *worker.Worker
	api    *api
	dead   atomic.Bool
}

// work starts worker i, in the place of the one before.
func (f *virtualFleet) work(i int) {
	f.started++
	w := &virtualWorker{link: f.redis.link(), key: fmt.Sprintf("-worker%d.%d", i+1, f.started), api: f.api}
	w.rdb = w.link.client()
	started, err := worker.Start(f.t.Context(), w.rdb, worker.Options{
		Slots:  virtualSlots,
		Caller: func(courier.Terms) (worker.Caller, error) { return w, nil },
	})
	if err != nil {
		panic(err) // without Only nothing is asked of Redis
	}
	w.worker = started
	f.workers[i] = w
}

// die ends worker i as a power cut would: nothing that it does from now on reaches anybody.
func (f *virtualFleet) die(i int) {
	w := f.workers[i]
	w.dead.Store(true)
	w.link.die()
	f.gone = append(f.gone, w)
}

// Call takes from 0.2 s to 3 s; a killed process makes no call, and hears of no answer.
func (w *virtualWorker) Call(ctx context.Context, body []byte) messages.Reply {
	cancelled := messages.Reply{Verdict: messages.Verdict{Kind: messages.Cancelled}}
	if w.dead.Load() {
		<-ctx.Done()
		return cancelled
	}
	found := recordIn.FindSubmatch(body)
	record, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		panic(err)
	}
	n := w.api.begin(record, w.key)
	hash := fnv.New32()
	fmt.Fprint(hash, record, w.key)
	const shortest = 200 * time.Millisecond
	timer := time.NewTimer(shortest + time.Duration(hash.Sum32())*time.Millisecond%(longestCall-shortest))
	defer timer.Stop()
	select {
	case <-timer.C:
		w.api.end(n, true)
	case <-ctx.Done():
		w.api.end(n, false)
		return cancelled
	}
	if w.dead.Load() {
		<-ctx.Done()
		return cancelled
	}
	return messages.Reply{
		Verdict: messages.Verdict{Kind: messages.Answered, Status: 200},
		Message: []byte(`{"type":"message","role":"assistant","stop_reason":"end_turn","model":"m","content":[{"type":"text","text":"yes"}],` +
			`"usage":{"input_tokens":20,"output_tokens":3}}`),
	}
}

func (w *virtualWorker) Account() string { return "account" }
func (w *virtualWorker) Close()          {}

func (f *virtualFleet) errorf(format string, args ...any) {
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

// finish waits for the end of the run, ends all that still runs, and holds that every record is there once (G1).
func (f *virtualFleet) finish() {
	t := f.t
	select {
	case <-f.coordinator.done:
	case <-time.After(time.Hour):
		f.errorf("the run has not ended an hour after the last fault, with %d of %d records answered", f.api.answered(), f.records)
		f.coordinator.kill()
		<-f.coordinator.done
	}
	if f.coordinator.err != nil || !f.coordinator.complete {
		f.errorf("the run ended with %v, complete %v", f.coordinator.err, f.coordinator.complete)
	}
	over, end := context.WithCancel(t.Context())
	end()
	for _, w := range f.gone {
		w.worker.Drain(over)
		w.rdb.Close()
	}
	for _, w := range f.workers {
		w.worker.Drain(t.Context())
		w.rdb.Close()
	}
	left := f.redis.server.DB(0).Keys()
	for _, key := range left {
		if !ofNoRun(key) {
			f.errorf("Redis still holds %s", key)
		}
	}
	for _, link := range f.redis.links {
		link.die() // no connection is being made any more
	}
	f.redis.server.Close()
	time.Sleep(2 * time.Second) // go-redis' last attempts to connect are over
	verified, err := coordinator.Verify(t.Context(), f.state())
	if err != nil || !verified.OK() {
		f.errorf("verify: %v, %+v", err, verified)
	}
	if n := f.api.answered(); n != f.records {
		f.errorf("%d of %d records were answered", n, f.records)
	}
}

// repeats holds that each answer to a record beyond its first is explained by a fault (G3), and counts them.
func (f *virtualFleet) repeats() int {
	n, unexplained := audit(f.api.all(), f.losses)
	for _, history := range unexplained {
		f.errorf("paid again, and no fault explains it: %s", history)
	}
	return n
}
