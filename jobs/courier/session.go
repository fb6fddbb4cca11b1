package courier

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/internal/crashpoint"
	"github.com/batchwright/batchwright/jobs"
)

const (
	taskType   = "handout"
	batchField = "b"
	// keptBuffer bounds the memory kept for the next batch.
	keptBuffer = 1 << 20
	// A result waits at most this long for others to travel with.
	flushAfter = 5 * time.Millisecond
)

// newTask is what Asynq carries: the version and the number of a hand-out, 9 bytes.
func newTask(n Number) *asynq.Task {
	return asynq.NewTask(taskType, binary.BigEndian.AppendUint64([]byte{formatVersion}, uint64(n)))
}

func parseTask(payload []byte) (Number, error) {
	if len(payload) != 9 || payload[0] != formatVersion {
		return 0, fmt.Errorf("%w: task of %d bytes", ErrFormat, len(payload))
	}
	return Number(binary.BigEndian.Uint64(payload[1:])), nil
}

// HandOut is a claimed hand-out.
type HandOut struct {
	Number   Number
	Requests []jobs.Request
}

// Session is a worker's part in one run.
type Session struct {
	rdb     redis.UniversalClient
	keys    keys
	worker  string
	serve   func(HandOut)
	terms   Terms
	server  *asynq.Server
	renewed atomic.Int64 // monotonic time of the last renewal, as nanoseconds since start
	start   time.Time

	mu      sync.Mutex
	held    map[Number]int // claimed hand-outs → records not delivered yet
	pending []byte         // encoded deliveries that no flush has taken
	spare   []byte         // for pending, while the other is being sent
	wake    chan struct{}

	stop context.CancelFunc
	wait sync.WaitGroup
}

// SessionOptions configure a worker's session.
type SessionOptions struct {
	// Worker names the worker; unique over the fleet and over restarts.
	Worker string
	// Poll is how often an idle worker looks for work. Default 250 ms.
	Poll time.Duration
	// Serve takes over a claimed hand-out. It returns when the worker has room for the next one; each of the
	// hand-out's records must in the end be delivered through Deliver.
	Serve func(HandOut)
}

// claimScript takes a hand-out's records for a worker. While nobody holds the run, and nobody took it since the
// hand-out was made, its coordinator may only have been stopped for longer than its lease: then the claim fails, and
// Asynq tries again.
var claimScript = redis.NewScript(`
local records = redis.call('HGET', KEYS[2], ARGV[2])
if not records then return false end
local held = redis.call('GET', KEYS[1])
if not held and redis.call('GET', KEYS[4]) == ARGV[1] then return redis.error_reply('NOOWNER the run has no coordinator now') end
if not held or string.match(held, '^%d+') ~= ARGV[1] then return false end
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
return records`)

// Join begins to serve a run. The session ends with Close.
func Join(ctx context.Context, rdb redis.UniversalClient, run string, options SessionOptions) (*Session, error) {
	k := keys{run}
	encoded, err := rdb.Get(ctx, k.terms()).Bytes()
	if err != nil {
		return nil, fmt.Errorf("read terms of run %s: %w", run, err)
	}
	var terms Terms
	if err := json.Unmarshal(encoded, &terms); err != nil || terms.Version != formatVersion {
		return nil, fmt.Errorf("%w: terms of run %s", ErrFormat, run)
	}
	if options.Poll == 0 {
		options.Poll = 250 * time.Millisecond
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Session{
		rdb: rdb, keys: k, worker: options.Worker, serve: options.Serve, terms: terms, start: time.Now(),
		held: make(map[Number]int), wake: make(chan struct{}, 1), stop: stop,
	}
	if err := s.renewOnce(ctx); err != nil {
		stop()
		return nil, err
	}
	s.server = asynq.NewServerFromRedisClient(rdb, asynq.Config{
		// One at a time: the next hand-out is claimed when Serve says that there is room.
		Concurrency:       1,
		Queues:            map[string]int{k.urgent(): 2, k.queue(): 1},
		StrictPriority:    true,
		TaskCheckInterval: options.Poll,
		RetryDelayFunc:    func(int, error, *asynq.Task) time.Duration { return time.Second },
		Logger:            asynqLog{},
		LogLevel:          asynq.WarnLevel,
	})
	if err := s.server.Start(asynq.HandlerFunc(s.handle)); err != nil {
		stop()
		return nil, fmt.Errorf("start queue server: %w", err)
	}
	s.wait.Go(func() { s.renew(running) })
	s.wait.Go(func() { s.flush(running) })
	return s, nil
}

// Terms of the run.
func (s *Session) Terms() Terms { return s.terms }

// MayCall reports whether the worker's lease is fresh enough to start a call. It is not when Redis is cut off or
// the process was stopped: then others may already have been given the same records.
func (s *Session) MayCall() bool {
	return time.Since(s.start)-time.Duration(s.renewed.Load()) < workerStale
}

// handle is Asynq's handler. Its context is Asynq's, with a lease that outages end: nothing but the claim uses it.
func (s *Session) handle(ctx context.Context, task *asynq.Task) error {
	n, err := parseTask(task.Payload())
	if err != nil {
		return err // another version's: left for others
	}
	records, err := claimScript.Run(ctx, s.rdb, []string{s.keys.owner(), s.keys.handouts(), s.keys.claims(), s.keys.epoch()},
		n.Epoch(), n.String(), s.worker).Text()
	if errors.Is(err, redis.Nil) {
		return nil // claimed before, withdrawn, or void
	}
	if err != nil {
		return fmt.Errorf("claim hand-out %d: %w", n, err)
	}
	requests, err := parseRequests([]byte(records))
	if err != nil {
		return fmt.Errorf("hand-out %d: %w", n, err)
	}
	s.mu.Lock()
	s.held[n] = len(requests)
	s.mu.Unlock()
	s.serve(HandOut{n, requests})
	return nil
}

// Deliver hands back one record of a claimed hand-out. It does not wait: deliveries are kept until Redis has them.
func (s *Session) Deliver(d Delivery) {
	s.mu.Lock()
	s.pending = appendDelivery(s.pending, &d)
	if left := s.held[d.Handout] - 1; left > 0 {
		s.held[d.Handout] = left
	} else {
		delete(s.held, d.Handout)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// flush sends pending deliveries, a few milliseconds' worth at a time, until the session closes and none is left.
func (s *Session) flush(ctx context.Context) {
	gather := time.NewTimer(0)
	defer gather.Stop()
	for {
		select {
		case <-ctx.Done():
			s.sendAll(ctx)
			return
		case <-s.wake:
		}
		gather.Reset(flushAfter)
		select {
		case <-ctx.Done():
		case <-gather.C:
		}
		s.sendAll(ctx)
	}
}

// sendAll sends what is pending and tries again until Redis has taken it. After the session was closed it gives up
// at the first error: the coordinator then hands the records out again.
func (s *Session) sendAll(ctx context.Context) {
	s.mu.Lock()
	batch := s.pending
	if len(batch) == 0 {
		s.mu.Unlock()
		return
	}
	s.pending, s.spare = s.spare[:0], nil
	s.mu.Unlock()
	sealed := seal(batch)
	if cap(batch) <= keptBuffer {
		s.mu.Lock()
		s.spare = batch
		s.mu.Unlock()
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := s.rdb.XAdd(context.WithoutCancel(ctx), &redis.XAddArgs{
			Stream: s.keys.results(), Values: []any{batchField, sealed},
		}).Err()
		if err == nil {
			crashpoint.Reach("delivered")
			return
		}
		if ctx.Err() != nil {
			slog.ErrorContext(ctx, "results not delivered", slog.Any("error", err))
			return
		}
		slog.WarnContext(ctx, "deliver results", slog.Any("error", err))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (s *Session) renew(ctx context.Context) {
	tick := time.NewTicker(workerRenewal)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.renewOnce(ctx); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "renew worker lease", slog.Any("error", err))
		}
	}
}

// renewOnce extends the worker's lease, whose value lists the hand-outs that it holds, and asserts those claims
// for a Redis that has forgotten them.
func (s *Session) renewOnce(ctx context.Context) error {
	began := time.Since(s.start)
	s.mu.Lock()
	held := make([]Number, 0, len(s.held))
	claims := make([]any, 0, 2*len(s.held))
	for n := range s.held {
		held = append(held, n)
		claims = append(claims, n.String(), s.worker)
	}
	s.mu.Unlock()
	encoded, err := json.Marshal(held)
	if err != nil {
		return fmt.Errorf("encode claims: %w", err)
	}
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, s.keys.worker(s.worker), encoded, workerTTL)
		if len(claims) > 0 {
			p.HSet(ctx, s.keys.claims(), claims...)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("renew lease of worker %s: %w", s.worker, err)
	}
	s.renewed.Store(int64(began))
	return nil
}

// StopClaiming makes the session claim no more hand-outs.
func (s *Session) StopClaiming() { s.server.Stop() }

// Close stops taking hand-outs, sends what is pending, and gives up the worker's lease. Every claimed record must
// have been delivered before.
func (s *Session) Close(ctx context.Context) {
	s.server.Shutdown()
	s.stop()
	s.wait.Wait()
	if err := s.rdb.Del(context.WithoutCancel(ctx), s.keys.worker(s.worker)).Err(); err != nil {
		slog.WarnContext(ctx, "give up worker lease", slog.Any("error", err))
	}
}

// asynqLog passes Asynq's warnings on.
type asynqLog struct{}

func (asynqLog) Debug(...any) {}

func (asynqLog) Info(...any) {}

func (asynqLog) Warn(args ...any) {
	slog.Warn("queue", slog.String("detail", fmt.Sprint(args...)))
}

func (asynqLog) Error(args ...any) {
	slog.Error("queue", slog.String("detail", fmt.Sprint(args...)))
}

func (l asynqLog) Fatal(args ...any) { l.Error(args...) }
