package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// Run is a run that this process coordinates. Prepare makes it, Own connects it to a fleet, Execute runs it.
type Run struct {
	prepared
	owner *courier.Owner

	mu          sync.Mutex
	changed     sync.Cond // outstanding records, parts or the end of the feed changed
	parts       map[int]*part
	outstanding map[int64]*pending
	handouts    map[courier.Number]*handout
	returned    []*pending // in the order in which they came back
	window      window
	tally       Tally
	before      Tally // what earlier coordinators of this run had done
	repeats     int64
	journaled   courier.Position // of the results that are journaled
	reserved    jobs.Nanodollars // worst case of what is outstanding
	capacity    int              // calls that the fleet makes at once, as far as known
	fleet       Fleet
	pace        pace   // the renewing goroutine's own
	scratch     []byte // for encoding a result
	committing  bool   // results are on their way to the disk
	fed         bool   // every record was handed out or has its result
	stopping    bool
	told        bool // workers elsewhere know that
	paused      bool
	stopped     bool  // because a person wanted that, from anywhere
	failure     error // of the input; the run ends with it
	blocked     string
	trouble     string    // what hinders the coordinator: a full disk
	saidFull    time.Time // when it was last logged that Redis is full
	total       atomic.Int64
	totalKnown  atomic.Bool
	sameFailure sameFailure

	embedded  bool          // the only worker is in this process
	seen      sealedTimes   // of results in sealed parts
	suspicion suspicion     // whose records may have been the death of a worker
	refusing  chan struct{} // a worker can't make the run's calls
	drained   chan struct{} // closed when what the stream held at the start is journaled
	// The committer's own: what is journaled and not acknowledged.
	unacked   courier.Batch
	forgotten []courier.Number
	acked     time.Time

	saving    sync.Mutex // held while the manifest is written
	inbox     chan delivery
	finishing []*part
	layout    *jobs.Layout // nil until the output's columns are settled
	started   time.Time
}

// pending is a record that was handed out and has no result yet.
type pending struct {
	part     *part
	number   int64
	id       string
	digest   jobs.Digest
	handout  courier.Number
	size     int64
	reserved jobs.Nanodollars
	attempts int
	calls    int
	refusals int
	earliest time.Time // when it may be handed out again, while it is among the returned
	began    bool      // a call for it began on this hand-out
	deaths   int       // of workers that had it
	suspect  bool      // it may have been the death of one: it runs alone
}

// handout is a hand-out that is not complete.
type handout struct {
	left  int // records that are still outstanding
	mode  courier.Mode
	order []int64 // of its records, when they run alone
}

// delivery is what reaches the committer at once: from the fleet, or from the coordinator itself.
type delivery struct {
	batch courier.Batch
	own   []jobs.Result
	read  bool // batch came from the stream and is to be acknowledged
	empty bool // the stream held nothing more
}

// Outcome is how Execute ended.
type Outcome struct {
	Complete bool
	// Blocked says what a person must do; empty when nothing blocks.
	Blocked string
	// Stopped says that a person stopped the run with the stop command.
	Stopped bool
	Progress
}

// OwnOptions say how a run is to be owned.
type OwnOptions struct {
	// Embedded says that Redis and the only worker are in this process, and die with it.
	Embedded bool
	// Cipher encrypts prompts and answers on their way; nil leaves them plain.
	Cipher *courier.Cipher
}

// Own takes the run on a Redis. Workers may join from then on. What workers of an earlier coordinator still have is
// left with them.
func (r *Run) Own(ctx context.Context, rdb redis.UniversalClient, o OwnOptions) error {
	api := r.job.API
	owner, err := courier.Own(ctx, rdb, r.manifest.Run, r.manifest.Epoch, courier.OwnerOptions{
		Terms: courier.Terms{
			BaseURL: r.manifest.API, APIVersion: api.Version, Beta: api.Beta, Stream: api.Stream, Timeout: api.Timeout,
			MaxAttempts: r.job.MaxAttempts, Limits: r.job.Limits,
		},
		Cipher: o.Cipher, Status: r.statusJSON,
	})
	if err != nil {
		return fmt.Errorf("own run: %w", err)
	}
	r.owner, r.embedded = owner, o.Embedded
	r.mu.Lock()
	diedWithWorker := r.manifest.Running && !r.manifest.Fleet
	r.manifest.Epoch, r.manifest.Running, r.manifest.Fleet = owner.Epoch(), true, !o.Embedded
	r.mu.Unlock()
	err = r.saveManifest()
	if err == nil {
		err = r.adopt(ctx, diedWithWorker)
	}
	if err != nil {
		r.disown(ctx)
	}
	return err
}

// Execute runs the run until it is complete, blocked or stopped, and leaves its state folder so that it can go on.
// It returns an error only when it could not do even that.
func (r *Run) Execute(ctx context.Context) (Outcome, error) {
	r.mu.Lock()
	r.started = time.Now()
	r.mu.Unlock()
	if err := r.state.keepBallast(); err != nil {
		slog.WarnContext(ctx, "the disk is nearly full", slog.Any("error", err))
	}
	err := r.work(ctx)
	r.mu.Lock()
	complete := err == nil && r.fed && len(r.parts) == 0 && r.totalKnown.Load()
	if done, total := r.tally.Done(), r.total.Load(); complete && done != total {
		complete, err = false, fmt.Errorf("the input changed while the run was on: %d records were counted and %d read; "+
			"put it back as it was, or start anew with --fresh", total, done)
	}
	blocked := r.blocked
	r.mu.Unlock()
	if complete {
		blocked = "" // by its very last records: nothing is left that a person could stop
		err = r.finishRun(ctx)
	}
	r.mu.Lock()
	r.manifest.Elapsed += time.Since(r.started)
	r.started = time.Time{}
	r.manifest.Repeats, r.manifest.Running = r.repeats, false
	if r.embedded {
		r.manifest.Unknown += int64(len(r.outstanding)) // of a run that was not given the time to finish them
	}
	stopped := r.stopped
	r.mu.Unlock()
	err = errors.Join(err, r.suspicion.close(complete))
	r.state.dropBallast()
	err = errors.Join(err, r.saveManifest(), r.close(), r.keepLast(ctx))
	r.disown(ctx)
	return Outcome{Complete: complete && err == nil, Blocked: blocked, Stopped: stopped, Progress: r.Progress()}, err
}

// work keeps the coordinator's goroutines until nothing is left to do.
func (r *Run) work(ctx context.Context) error {
	if why := r.sameFailure.verdict(r.acceptFailures); why != "" {
		r.block(ctx, why)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.fail(ctx, r.scan(ctx)) })
	group.Go(func() error { return r.fail(ctx, r.feed(ctx)) })
	group.Go(func() error { return r.feedReturned(ctx) })
	group.Go(func() error { return r.receive(ctx) })
	group.Go(func() error { return r.commit(ctx) })
	group.Go(func() error { return r.finish(ctx) })
	group.Go(func() error { return r.watchDisk(ctx) })
	group.Go(func() error { return r.keepTime(ctx) })
	group.Go(func() error { return r.keep(ctx) })
	group.Go(func() error { return r.keepInStore(ctx) })
	group.Go(func() error { return r.recover(ctx) })
	group.Go(func() error { return r.answer(ctx) })
	group.Go(func() error {
		defer cancel()
		stop := context.AfterFunc(ctx, r.wake)
		defer stop()
		r.mu.Lock()
		defer r.mu.Unlock()
		for ctx.Err() == nil && !r.idle() {
			r.changed.Wait()
		}
		return nil
	})
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.failure, err)
}

// fail ends the run for an error of its input: what is in flight is paid for and is finished first.
func (r *Run) fail(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	r.mu.Lock()
	first := r.failure == nil
	if first {
		r.failure = err
	}
	r.mu.Unlock()
	if first {
		slog.ErrorContext(ctx, "stopping: calls in flight are being finished", slog.Any("error", err))
		r.Stop(ctx)
	}
	return nil
}

// idle reports whether nothing more will happen. The caller holds the mutex.
func (r *Run) idle() bool {
	if len(r.outstanding) > 0 || len(r.inbox) > 0 || r.window.own > 0 || r.committing {
		return false
	}
	for _, p := range r.parts {
		if p.complete() && (r.layout != nil || !r.stopping) {
			return false // it is about to be written
		}
	}
	return r.stopping || r.fed && r.totalKnown.Load()
}

func (r *Run) wake() {
	r.mu.Lock()
	r.changed.Broadcast()
	r.mu.Unlock()
}

// Stop makes Execute hand nothing more out and end when the records in flight have come back.
func (r *Run) Stop(ctx context.Context) {
	r.mu.Lock()
	r.stopping = true
	numbers := slices.Collect(maps.Keys(r.handouts))
	r.changed.Broadcast()
	r.mu.Unlock()
	r.takeBack(ctx, numbers)
	r.tellStop(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.returned {
		r.settle(p)
	}
	r.returned = nil
	r.changed.Broadcast()
}

// tellStop tells workers elsewhere to give back what they have not begun.
func (r *Run) tellStop(ctx context.Context) {
	if err := r.owner.Want(ctx, courier.Stop); err != nil {
		slog.WarnContext(ctx, "tell workers to stop", slog.Any("error", err))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = true
}

// takeBack takes those of the hand-outs that nobody has claimed off the books.
func (r *Run) takeBack(ctx context.Context, numbers []courier.Number) {
	got, err := r.owner.Withdraw(ctx, numbers)
	if err != nil {
		return // the next look at the fleet tries it again
	}
	withdrawn := make(map[courier.Number]bool, len(got))
	for _, n := range got {
		withdrawn[n] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.outstanding {
		if withdrawn[p.handout] {
			r.settle(p)
		}
	}
}

// block stops the run until a person has acted.
func (r *Run) block(ctx context.Context, why string) {
	r.mu.Lock()
	first := r.blocked == ""
	if first {
		r.blocked = why
	}
	r.mu.Unlock()
	if first {
		r.Stop(ctx)
	}
}

// settle takes a record off the books. The caller holds the mutex.
func (r *Run) settle(p *pending) {
	if r.outstanding[p.number] != p {
		return
	}
	delete(r.outstanding, p.number)
	r.release(p)
	r.window.records--
	r.window.bytes -= p.size
	r.reserved -= p.reserved
	r.changed.Broadcast()
}

// release takes a record off its hand-out. The caller holds the mutex.
func (r *Run) release(p *pending) {
	h := r.handouts[p.handout]
	if h == nil {
		return
	}
	if h.left--; h.left <= 0 {
		delete(r.handouts, p.handout)
	}
}

// disown gives the run up for the next coordinator. That Redis can't be told is no failure: the lease runs out.
func (r *Run) disown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := r.owner.Close(ctx); err != nil {
		slog.WarnContext(ctx, "give up the run", slog.Any("error", err))
	}
}

func (r *Run) close() error {
	var err error
	for _, p := range r.parts {
		err = errors.Join(err, p.close())
	}
	return err
}

// window bounds what is handed out and not yet journaled, so that memory and Redis are.
type window struct {
	records    int
	bytes      int64
	own        int // results of the coordinator's own on their way to the committer
	maxRecords int
	maxBytes   int64
}

const (
	// maxWindowBytes bounds the request bodies handed out; half as much again is left for their results.
	maxWindowBytes = 64 << 20
	// minWindowBytes is what a full Redis makes of it at least.
	minWindowBytes = 256 << 10
)

// WindowFor is how many records may be handed out for so many calls at once: enough that no slot runs dry between two
// hand-outs, and no more than memory should hold.
func WindowFor(calls int) int { return 4*calls + 256 }

// room reports whether a chunk of so many bytes fits. One always fits into an empty window.
func (w *window) room(bytes int64) bool {
	return w.records == 0 || w.records < w.maxRecords && w.bytes+bytes <= w.maxBytes
}
