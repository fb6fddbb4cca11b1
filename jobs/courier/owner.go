package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs"
)

// Errors that end a coordinator's ownership.
var (
	// ErrOwned says that another coordinator holds the run's lease.
	ErrOwned = errors.New("another coordinator owns the run")
	// ErrFenced says that another coordinator took the run over while this one was away.
	ErrFenced = errors.New("another coordinator took the run over")
	// ErrForgotten says that Redis lost the run's state; the run must be owned anew, under a later epoch.
	ErrForgotten = errors.New("redis forgot the run")
	// ErrUnknown says that Redis could not be asked whether a hand-out is out: a worker may have it.
	ErrUnknown = errors.New("not known whether a worker has it")
)

// Terms tell workers how a run's calls are to be made. They hold no credential.
type Terms struct {
	Version     int           `json:"version"` // formatVersion
	BaseURL     string        `json:"base_url"`
	APIVersion  string        `json:"api_version"`
	Beta        []string      `json:"beta,omitempty"`
	Stream      bool          `json:"stream,omitempty"`
	Timeout     time.Duration `json:"timeout_ns"`
	MaxAttempts int           `json:"max_attempts"`
	// Limits are the job's own bounds.
	Limits jobs.Limits `json:"limits"`
}

// Owner is a coordinator's hold on its run.
type Owner struct {
	rdb    redis.UniversalClient
	client *asynq.Client
	keys   keys
	holder string // "EPOCH:ID", the value of the owner key
	epoch  uint32
	count  atomic.Uint32
	last   string // id of the last stream entry read

	stop context.CancelFunc
	wait sync.WaitGroup
	lost chan error
}

var acquireScript = redis.NewScript(`
local held = redis.call('GET', KEYS[1])
if held then return held end
local epoch = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[1])) + 1
redis.call('SET', KEYS[2], epoch)
redis.call('SET', KEYS[1], epoch .. ':' .. ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[3], ARGV[4])
redis.call('DEL', KEYS[4])
return epoch`)

// renewScript extends the owner's lease. A lease that ran out is taken up again if nobody took the run meanwhile.
var renewScript = redis.NewScript(`
local held = redis.call('GET', KEYS[1])
if held == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return 'held'
end
if held then return 'fenced' end
local epoch = tonumber(redis.call('GET', KEYS[2]) or '0')
if epoch < tonumber(ARGV[2]) then return 'forgotten' end
if epoch > tonumber(ARGV[2]) then return 'fenced' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 'held'`)

// ackScript deletes results up to an id and the claims that are done with, for the owner alone.
var ackScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
if #ARGV > 2 then redis.call('HDEL', KEYS[3], unpack(ARGV, 3)) end
return 1`)

// Own takes the run for this process, under an epoch later than after, and renews its hold until Close. It voids
// every hand-out of earlier epochs that nobody has claimed. ErrOwned when somebody else holds the run.
func Own(ctx context.Context, rdb redis.UniversalClient, run string, after uint32, terms Terms) (*Owner, error) {
	terms.Version = formatVersion
	encoded, err := json.Marshal(terms)
	if err != nil {
		return nil, fmt.Errorf("encode terms: %w", err)
	}
	k := keys{run}
	id := uuid.NewString()
	reply, err := acquireScript.Run(ctx, rdb, []string{k.owner(), k.epoch(), k.terms(), k.handouts()},
		after, id, ownerTTL.Milliseconds(), encoded).Result()
	if err != nil {
		return nil, fmt.Errorf("take ownership of run %s: %w", run, err)
	}
	epoch, ok := reply.(int64)
	if !ok {
		return nil, fmt.Errorf("%w (epoch and holder: %v)", ErrOwned, reply)
	}
	// The lease outlives the call that took it; Close ends it.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	o := &Owner{
		rdb: rdb, client: asynq.NewClientFromRedisClient(rdb), keys: k,
		holder: strconv.FormatInt(epoch, 10) + ":" + id,
		epoch:  uint32(epoch), //nolint:gosec // an epoch counts ownerships
		last:   "0", stop: stop, lost: make(chan error, 1),
	}
	o.wait.Go(func() { o.renew(renewing) })
	return o, nil
}

// Epoch is the owner's epoch; a later owner must be given it.
func (o *Owner) Epoch() uint32 { return o.epoch }

// Lost yields ErrFenced or ErrForgotten, once, when the hold on the run is gone.
func (o *Owner) Lost() <-chan error { return o.lost }

func (o *Owner) renew(ctx context.Context) {
	tick := time.NewTicker(ownerRenewal)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		state, err := renewScript.Run(ctx, o.rdb, []string{o.keys.owner(), o.keys.epoch()},
			o.holder, o.epoch, ownerTTL.Milliseconds()).Text()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			slog.WarnContext(ctx, "renew ownership", slog.Any("error", err))
		case state == "fenced":
			o.lost <- ErrFenced
			return
		case state == "forgotten":
			o.lost <- ErrForgotten
			return
		}
	}
}

// Next is the number of the next hand-out. It will not be used again.
func (o *Owner) Next() Number { return numberOf(o.epoch, o.count.Add(1)) }

// HandOut gives requests to the fleet under a number from Next. Urgent ones go before all others. When it fails no
// worker has them and none will: their records can be handed out under another number.
func (o *Owner) HandOut(ctx context.Context, n Number, requests []jobs.Request, urgent bool) error {
	if err := o.rdb.HSet(ctx, o.keys.handouts(), n.String(), appendRequests(requests)).Err(); err != nil {
		// Without a task nobody looks for them, whether they were stored or not.
		return fmt.Errorf("store hand-out %d: %w", n, err)
	}
	queue := o.keys.queue()
	if urgent {
		queue = o.keys.urgent()
	}
	// Asynq's own retries and timeouts must never give up on a task: only a claim ends a hand-out.
	_, err := o.client.EnqueueContext(ctx, newTask(n),
		asynq.Queue(queue), asynq.TaskID(n.String()), asynq.MaxRetry(1<<30), asynq.Timeout(1<<60))
	// A command that was sent twice, because the first reply was lost, finds its own task.
	if err == nil || errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil
	}
	// The task may be there all the same: only taking the records back makes sure that nobody claims them.
	got, withdrawErr := o.Withdraw(ctx, []Number{n})
	switch {
	case withdrawErr != nil:
		return fmt.Errorf("%w: %w", errors.Join(err, withdrawErr), ErrUnknown)
	case len(got) == 0:
		return nil // claimed meanwhile
	}
	return fmt.Errorf("enqueue hand-out %d: %w", n, err)
}

// Withdraw takes back hand-outs that nobody has claimed yet and reports which of them it got.
func (o *Owner) Withdraw(ctx context.Context, numbers []Number) ([]Number, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	removed := make([]*redis.IntCmd, len(numbers))
	_, err := o.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, n := range numbers {
			removed[i] = p.HDel(ctx, o.keys.handouts(), n.String())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("withdraw %d hand-outs: %w", len(numbers), err)
	}
	var got []Number
	for i, n := range numbers {
		if removed[i].Val() == 1 {
			got = append(got, n)
		}
	}
	return got, nil
}

// Batch is what one read of the stream gave.
type Batch struct {
	Deliveries []Delivery
	upTo       string
}

// Empty reports whether the read gave nothing.
func (b Batch) Empty() bool { return b.upTo == "" }

// Read waits up to wait for deliveries that it has not returned before. An entry that cannot be understood is
// logged and passed over; it stays in the stream until a later entry is acknowledged.
func (o *Owner) Read(ctx context.Context, wait time.Duration) (Batch, error) {
	streams, err := o.rdb.XRead(ctx, &redis.XReadArgs{
		Streams: []string{o.keys.results(), o.last}, Count: 256, Block: wait,
	}).Result()
	if errors.Is(err, redis.Nil) {
		return Batch{}, nil
	}
	if err != nil {
		return Batch{}, fmt.Errorf("read results: %w", err)
	}
	var batch Batch
	for _, stream := range streams {
		for _, entry := range stream.Messages {
			payload, _ := entry.Values[batchField].(string)
			deliveries, err := parseDeliveries([]byte(payload))
			if err != nil {
				slog.WarnContext(ctx, "pass over results", slog.String("entry", entry.ID), slog.Any("error", err))
			}
			batch.Deliveries = append(batch.Deliveries, deliveries...)
			batch.upTo = entry.ID
		}
	}
	o.last = batch.upTo
	return batch, nil
}

// Ack deletes a batch's entries, and everything older, from the stream, once its results are durable, and forgets
// the claims of hand-outs that are complete. ErrFenced when the run is no longer this coordinator's.
func (o *Owner) Ack(ctx context.Context, batch Batch, complete []Number) error {
	args := make([]any, 0, 2+len(complete))
	args = append(args, o.holder, afterEntry(batch.upTo))
	for _, n := range complete {
		args = append(args, n.String())
	}
	done, err := ackScript.Run(ctx, o.rdb, []string{o.keys.owner(), o.keys.results(), o.keys.claims()}, args...).Int()
	if err != nil {
		return fmt.Errorf("acknowledge results: %w", err)
	}
	if done == 0 {
		// The lease may only have run out: the next renewal tells that from a fence.
		slog.WarnContext(ctx, "acknowledge results: not the owner at the moment")
	}
	return nil
}

// afterEntry is the smallest stream id above id ("MILLISECONDS-SEQUENCE").
func afterEntry(id string) string {
	millis, sequence, found := strings.Cut(id, "-")
	if !found {
		return "0"
	}
	n, err := strconv.ParseUint(sequence, 10, 64)
	if err != nil {
		return "0"
	}
	return millis + "-" + strconv.FormatUint(n+1, 10)
}

// Close gives the run up, leaving in Redis what another coordinator can use.
func (o *Owner) Close(ctx context.Context) error {
	o.stop()
	o.wait.Wait()
	if err := releaseScript.Run(ctx, o.rdb, []string{o.keys.owner()}, o.holder).Err(); err != nil {
		return fmt.Errorf("give up ownership: %w", err)
	}
	return nil
}

var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`)

// Erase deletes everything that Redis holds of the run; for a run that is complete.
func (o *Owner) Erase(ctx context.Context) error {
	inspector := asynq.NewInspectorFromRedisClient(o.rdb)
	for _, queue := range []string{o.keys.queue(), o.keys.urgent()} {
		if err := inspector.DeleteQueue(queue, true); err != nil && !errors.Is(err, asynq.ErrQueueNotFound) {
			return fmt.Errorf("delete queue: %w", err)
		}
		if err := o.rdb.Del(ctx, counters(queue, time.Now())...).Err(); err != nil {
			return fmt.Errorf("delete counters of queue: %w", err)
		}
	}
	err := o.rdb.Del(ctx, o.keys.handouts(), o.keys.claims(), o.keys.results(), o.keys.terms(), o.keys.epoch()).Err()
	if err != nil {
		return fmt.Errorf("erase run: %w", err)
	}
	return nil
}

// counters names Asynq's statistics of a queue, which deleting the queue leaves behind: totals, and one a day that
// it keeps for 90 days.
func counters(queue string, now time.Time) []string {
	var names []string
	for _, kind := range []string{"processed", "failed"} {
		name := "asynq:{" + queue + "}:" + kind
		names = append(names, name)
		for days := range 91 {
			names = append(names, name+":"+now.UTC().AddDate(0, 0, -days).Format(time.DateOnly))
		}
	}
	return names
}
