package courier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// Session is a worker's part in one run.
type Session struct {
	rdb     redis.UniversalClient
	keys    keys
	options SessionOptions
	host    string
	terms   Terms
	server  *asynq.Server
	start   time.Time
	renewed atomic.Pointer[time.Time] // when the last renewal began
	workers atomic.Int64              // of the run, as the last renewal saw them
	wanted  atomic.Value              // string: Pause, Stop or nothing
	over    chan struct{}             // closed when the run has ended

	mu       sync.Mutex
	lease    int            // how many leases have ended
	claimed  map[Number]int // hand-outs → records of each that Redis does not have back
	count    uint64         // of renewals, on from the time of joining: no session of a worker repeats one of an earlier session
	claiming Number         // a claim of it is on its way
	joined   bool           // a lease has begun
	instance string         // of Redis, at the last renewal
	epoch    string         // of the coordinator whose terms these are
	unsaid   bool           // the lease ended, and Redis does not know yet what is in flight
	refused  string
	pending  []byte         // encoded deliveries that no flush has taken
	sending  map[Number]int // how many of each hand-out those are
	spare    []byte         // for pending, while the other is being sent
	onItsWay bool           // a batch is being sent
	gone     bool           // it can't be: Redis has forgotten the run
	wake     chan struct{}
	renewal  chan struct{} // asks for a renewal out of turn
	sent     sync.Cond     // Redis has a batch, or somebody no longer waits for it

	stopping context.Context // ended by Close: what is pending is sent, and no more is renewed
	stop     context.CancelFunc
	wait     sync.WaitGroup
	closing  sync.Once
}

// SessionOptions configure a worker's session.
type SessionOptions struct {
	// Worker names the worker; unique over the fleet and over restarts, without spaces.
	Worker string
	// Slots is how many calls the worker makes at once.
	Slots int
	// Poll is how often an idle worker looks for work. Default 250 ms.
	Poll time.Duration
	// Cipher decrypts prompts and encrypts answers; nil when they travel plain.
	Cipher *Cipher
	// Accept may refuse a run before anything of it is claimed. May be nil.
	Accept func(Terms) error
	// Serve takes over a claimed hand-out. It returns when the worker has room for the next one; each of the
	// hand-out's records must in the end be delivered through Deliver.
	Serve func(HandOut)
	// Expired is called when the worker may have been taken for dead, or its claims may be forgotten: its lease was
	// renewed too late, or with a Redis that knew nothing of it or began anew. What it claimed before this many leases had
	// ended, and has not begun, may be with others by now and is to be given back; Expired returns what is in flight, the
	// numbers of records by hand-out. MayCall stays false until it returns. May be nil.
	Expired func(leases int) map[Number][]int64
	// Halt is called when the coordinator stops, or one with other terms took the run over: the run is to be left, and
	// what has not begun given back. May be nil.
	Halt func()
	// Report says what the worker does for the run; asked with each renewal. May be nil.
	Report func() Report
}

// claimScript takes a hand-out's records for a worker. While nobody holds the run, and nobody took it since the
// hand-out was made, its coordinator may only have been stopped for longer than its lease: then the claim fails, and
// Asynq tries again. So it does while the coordinator has not renewed its lease since Redis began anew: what Redis then
// holds may be of a time before other workers had claimed the same, and the coordinator is about to void it. What another
// version stored is left where it is.
var claimScript = redis.NewScript(instance + `
local stored = redis.call('HGET', KEYS[2], ARGV[2])
if not stored then return false end
local held = redis.call('GET', KEYS[1])
if not held and redis.call('GET', KEYS[4]) == ARGV[1] then return redis.error_reply('NOOWNER the run has no coordinator now') end
if not held or string.match(held, '^%d+') ~= ARGV[1] then return false end
local on = string.match(redis.call('GET', KEYS[5]) or '', ' (.*)$')
if on and on ~= instance then return redis.error_reply('NOOWNER the coordinator has yet to see that Redis began anew') end
local newline = string.find(stored, '\n', 1, true)
local version = #ARGV[4]
if not newline or string.sub(stored, 1, version) ~= ARGV[4] then return redis.error_reply('FORMAT another version stored it') end
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3] .. ' ' .. string.sub(stored, version + 1, newline - 1))
return string.sub(stored, newline + 1)`)

// Join begins to serve a run. The session ends with Close. Errors: ErrNoRun when the run has no coordinator now,
// ErrFormat when it is another version's or encrypted with another key, and whatever Accept says.
func Join(ctx context.Context, rdb redis.UniversalClient, run string, options SessionOptions) (*Session, error) {
	k := keys{run}
	terms, err := readTerms(ctx, rdb, k)
	if err != nil {
		return nil, err
	}
	if terms.Key != options.Cipher.Fingerprint() {
		return nil, fmt.Errorf("%w: run %s is encrypted with another key, or not at all: start run and workers with the same --encrypt-env",
			ErrFormat, run)
	}
	if options.Accept != nil {
		if err := options.Accept(terms); err != nil {
			return nil, err
		}
	}
	if options.Poll == 0 {
		options.Poll = 250 * time.Millisecond
	}
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	stopping, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Session{
		rdb: rdb, keys: k, options: options, host: host, terms: terms, start: time.Now(), over: make(chan struct{}),
		count:   uint64(time.Now().UnixMilli()),
		claimed: make(map[Number]int), sending: make(map[Number]int),
		wake: make(chan struct{}, 1), renewal: make(chan struct{}, 1), stopping: stopping, stop: stop,
		epoch: strconv.FormatUint(uint64(terms.Epoch), 10),
	}
	s.sent.L = &s.mu
	if err := s.renewOnce(ctx); err != nil && !errors.Is(err, ErrNoRun) {
		stop()
		return nil, err
	}
	s.joined = true
	s.server = asynq.NewServerFromRedisClient(calm{rdb, stopping, options.Poll}, asynq.Config{
		// One at a time: the next hand-out is claimed when Serve says that there is room.
		Concurrency:              1,
		Queues:                   map[string]int{k.urgent(): 2, k.queue(): 1},
		StrictPriority:           true,
		TaskCheckInterval:        options.Poll,
		DelayedTaskCheckInterval: time.Second,
		// What can't be claimed now, or here, is somebody's later: no task fails.
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return time.Second },
		IsFailure:      func(error) bool { return false },
		Logger:         asynqLog{},
		LogLevel:       asynq.WarnLevel,
	})
	if err := s.server.Start(asynq.HandlerFunc(s.handle)); err != nil {
		stop()
		return nil, fmt.Errorf("start queue server: %w", err)
	}
	s.wait.Go(s.renew)
	s.wait.Go(s.flush)
	return s, nil
}

// Terms of the run.
func (s *Session) Terms() Terms { return s.terms }

// MayCall reports whether the worker may start a call: its lease is fresh and nobody paused or stopped the run. The lease is stale
// when Redis is cut off or the process was stopped: then others may already have been given the same records. A machine
// that was suspended knows that from the time of day alone: its monotonic clock stood still.
func (s *Session) MayCall() bool {
	renewed := *s.renewed.Load()
	return s.wanted.Load() == "" && time.Since(renewed) < workerStale && time.Now().Round(0).Sub(renewed.Round(0)) < workerStale
}

// Paused reports whether a person paused the run.
func (s *Session) Paused() bool { return s.wanted.Load() == Pause }

// Workers counts the live workers of the run, this one included.
func (s *Session) Workers() int { return max(int(s.workers.Load()), 1) }

// Over is closed when the run has ended, or has had no coordinator for a while and nothing of it is held here.
func (s *Session) Over() <-chan struct{} { return s.over }

// handle is Asynq's handler. Its context is Asynq's, with a lease that outages end: nothing but the claim uses it.
func (s *Session) handle(ctx context.Context, task *asynq.Task) error {
	n, err := parseTask(task.Payload())
	if err != nil {
		return err // another version's: left for others
	}
	s.mu.Lock()
	lease := s.lease
	s.claiming = n // it counts as held: on a slow link its records are long on their way
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.claiming = 0
	}()
	sealed, err := claimScript.Run(ctx, patient(s.rdb, bulk),
		[]string{s.keys.owner(), s.keys.handouts(), s.keys.claims(), s.keys.epoch(), s.keys.beat()},
		n.Epoch(), n.String(), s.options.Worker, storedVersion).Text()
	if errors.Is(err, redis.Nil) {
		return nil // claimed before, withdrawn, or void
	}
	if err != nil {
		return fmt.Errorf("claim hand-out %d: %w", n, err)
	}
	plain, err := s.options.Cipher.open([]byte(sealed), purposeHandOut, s.keys.run, n)
	if err != nil {
		return fmt.Errorf("hand-out %d: %w", n, err)
	}
	requests, alone, err := parseRequests(plain)
	if err != nil {
		return fmt.Errorf("hand-out %d: %w", n, err)
	}
	if len(requests) == 0 {
		return nil // nobody hands out such
	}
	s.mu.Lock()
	s.claimed[n], s.claiming = len(requests), 0
	s.mu.Unlock()
	s.options.Serve(HandOut{Number: n, Requests: requests, Alone: alone, Lease: lease})
	return nil
}

// StopClaiming makes the session claim no more hand-outs.
func (s *Session) StopClaiming() { s.server.Stop() }

// Refuse withdraws the worker from the run, for a reason that a person must mend: it claims no more, and the coordinator
// is told at once. Records that it holds must still be delivered.
func (s *Session) Refuse(why string) {
	s.mu.Lock()
	s.refused = why
	s.mu.Unlock()
	s.StopClaiming()
	select {
	case s.renewal <- struct{}{}:
	default:
	}
}

// Close stops taking hand-outs, sends what is pending for as long as ctx lasts, and gives up the worker's lease. Every
// claimed record must have been delivered before. What could not be sent is handed out again by the coordinator.
func (s *Session) Close(ctx context.Context) {
	s.closing.Do(func() {
		s.server.Shutdown()
		if err := s.flushed(ctx, true); err != nil {
			slog.ErrorContext(ctx, "results not delivered", slog.Any("error", err))
		}
		s.stop()
		s.wait.Wait()
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := s.rdb.HDel(leaving, s.keys.workers(), s.options.Worker).Err(); err != nil {
			slog.WarnContext(ctx, "give up worker lease", slog.Any("error", err))
		}
	})
}

// asynqLog takes what Asynq says of its own recovery, which nothing here depends on: whoever can't reach Redis says so.
type asynqLog struct{}

func (asynqLog) Debug(...any) {}

func (asynqLog) Info(...any) {}

func (asynqLog) Warn(args ...any) {
	slog.Debug("queue", slog.String("detail", fmt.Sprint(args...)))
}

func (l asynqLog) Error(args ...any) { l.Warn(args...) }

func (asynqLog) Fatal(args ...any) {
	slog.Error("queue", slog.String("detail", fmt.Sprint(args...)))
}
