package worker

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker/messages"
)

// DefaultConcurrency is the number of calls at once when nobody names one. The limits of the API are to bind, and not
// this: with 5 s a call it is 3,000 calls a minute.
const DefaultConcurrency = 256

// Caller makes calls of the Messages API for one run.
type Caller interface {
	// Call makes one call; it returns when the answer is whole or ctx is done.
	Call(ctx context.Context, body []byte) messages.Reply
	// Account names what shares rate limits beside the model: base URL and credential, as a fingerprint that tells
	// neither.
	Account() string
	// Close drops the connections that no call is using, when the run is left.
	Close()
}

// Options configure a worker.
type Options struct {
	// Caller makes the caller for a run with these terms, or says why this worker can't make the run's calls: its error
	// is shown to people. The terms come from Redis: a credential goes only to base URLs that the process was started
	// with. Required.
	Caller func(courier.Terms) (Caller, error)
	// Only is the id of the one run to serve. Empty serves all runs that have a coordinator on this Redis, as they come
	// and go.
	Only string
	// Slots is the number of calls at once, over all runs. Calls that have been in flight for 30 s take no slot from
	// other runs, so at most twice as many are made when some hang. Default DefaultConcurrency.
	Slots int
	// Cipher decrypts prompts and encrypts answers; nil when they travel plain.
	Cipher *courier.Cipher
	// Poll is how often an idle worker looks for work of a run; default as courier.SessionOptions.
	Poll time.Duration
}

// Worker serves any number of runs.
type Worker struct {
	name     string
	options  Options
	source   source
	schedule *scheduler
	scopes   *scopes
	random   func() float64
	meters   meters

	calling     context.Context // of every call; ended by Abort
	abort       context.CancelFunc
	discovering context.Context // ended when no more runs are to be joined
	stopJoining context.CancelFunc
	slots       sync.WaitGroup // the goroutines that make calls
	discovery   sync.WaitGroup // the goroutine that finds runs
	watching    sync.WaitGroup // one goroutine for each run: it leaves the run when that is over
	drain       sync.Once

	mu             sync.Mutex
	runs           map[string]*run
	passed         map[string]passedOver
	calls, retries int64 // of the runs that were left
}

// Start serves runs until Drain or Abort. With Only it has joined the run when it returns.
func Start(ctx context.Context, rdb redis.UniversalClient, options Options) (*Worker, error) {
	return startFrom(ctx, onRedis{rdb}, rdb, options)
}

// startFrom serves the runs of a source, and shares limits through a Redis.
func startFrom(ctx context.Context, from source, rdb redis.UniversalClient, options Options) (*Worker, error) {
	if options.Slots == 0 {
		options.Slots = DefaultConcurrency
	}
	w := &Worker{
		name: name(), options: options, source: from, random: mathrand.Float64,
		runs: make(map[string]*run), passed: make(map[string]passedOver),
	}
	w.schedule = newScheduler(options.Slots, func() { w.slots.Go(w.callAll) })
	w.scopes = &scopes{rdb: rdb, worker: w.name, changed: w.schedule.changedAll, open: make(map[string]*scope)}
	w.calling, w.abort = context.WithCancel(context.WithoutCancel(ctx))
	w.discovering, w.stopJoining = context.WithCancel(w.calling)
	if options.Only != "" {
		if err := w.join(ctx, options.Only); err != nil {
			w.abort()
			return nil, err
		}
	}
	w.discovery.Go(func() { w.discover(w.discovering) })
	return w, nil
}

// name is unique over the fleet and over restarts.
func name() string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6])
}

// serving lists the runs that the worker serves.
func (w *Worker) serving() []*run {
	w.mu.Lock()
	defer w.mu.Unlock()
	runs := make([]*run, 0, len(w.runs))
	for _, r := range w.runs {
		runs = append(runs, r)
	}
	return runs
}

// Drain takes no more work, gives back at once what has not begun, waits for the calls in flight and leaves all runs.
// The end of ctx is the end of the grace: it cuts the calls that are still in flight, as Abort does.
func (w *Worker) Drain(ctx context.Context) {
	w.drain.Do(func() {
		w.stopJoining()
		w.discovery.Wait()
		cut := context.AfterFunc(ctx, w.abort)
		defer cut()
		var left sync.WaitGroup
		for _, r := range w.serving() {
			left.Go(func() { r.end(ctx) })
		}
		left.Wait()
		w.watching.Wait()
		w.schedule.close()
		w.slots.Wait()
		w.abort()
	})
}

// outlasting is a context that ends so long after ctx.
func outlasting(ctx context.Context, extra time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	last := time.AfterFunc(time.Hour, cancel)
	last.Stop()
	stop := context.AfterFunc(ctx, func() { last.Reset(extra) })
	return longer, func() {
		stop()
		last.Stop()
		cancel()
	}
}

// Abort ends the calls in flight; their records go back. They may have been answered and billed.
func (w *Worker) Abort() { w.abort() }
