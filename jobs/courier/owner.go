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
)

// Owner is a coordinator's hold on its run.
type Owner struct {
	rdb    redis.UniversalClient
	client *asynq.Client
	keys   keys
	id     string // of this hold, over all its epochs
	terms  Terms
	cipher *Cipher
	status func() []byte

	mu    sync.Mutex
	epoch uint32
	count uint32 // of hand-outs in this epoch
	whole bool   // Redis had all that the owner before left in it
	last  string // id of the last stream entry read
	want  string // what a person wants, as far as known
	// answers are the keys of the last ones that were given; Redis forgets them by itself after a minute.
	answers []string

	beats   int64 // that Redis is known to have had; the renewing goroutine's own
	stop    context.CancelFunc
	wait    sync.WaitGroup
	lost    chan error
	forgot  chan struct{}
	wanting chan string
	full    atomic.Bool // Redis refused what needs memory
}

// OwnerOptions say what a coordinator tells the fleet.
type OwnerOptions struct {
	Terms Terms
	// Cipher encrypts prompts and answers; nil leaves them plain.
	Cipher *Cipher
	// Status gives the JSON that is shown of the run; asked with every renewal. May be nil.
	Status func() []byte
}

// What a person can want of a run, from any machine.
const (
	Pause = "pause" // make no new calls until resumed
	Stop  = "stop"  // finish what is in flight and end; the run can be continued
)

// instance is Lua for which life of which Redis this is: nothing where a server does not say, as an embedded one, which
// has but one. A restart, with whatever it was left, begins another, and so does a replica that takes over.
const instance = `
local said = redis.pcall('INFO', 'server')
local instance = type(said) == 'string' and string.match(said, 'run_id:(%w+)') or ''
`

// acquireScript takes the run unless somebody else holds it. A holder of an epoch before the caller's is one that only
// an old snapshot of Redis still knows. It returns the new epoch and whether Redis has lost nothing since the one before,
// or the holder. Of a script that was sent twice, for its first reply was lost, the second can't tell what was lost. A
// pause outlives the coordinator that it was meant for, a stop does not.
var acquireScript = redis.NewScript(instance + `
local held = redis.call('GET', KEYS[1])
local after = tonumber(ARGV[1])
if held and string.match(held, ':(.*)$') ~= ARGV[2] and tonumber(string.match(held, '^%d+')) >= after then return held end
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
local epoch = math.max(before, after) + 1
local whole = not held and before >= after and (after == 0 or string.match(redis.call('GET', KEYS[3]) or '', ' (.*)$') == instance)
redis.call('DEL', KEYS[5])
if ARGV[5] ~= 'unknown' then
	redis.call('DEL', KEYS[6])
	if ARGV[5] ~= '' then redis.call('SET', KEYS[6], ARGV[5]) end
elseif redis.call('GET', KEYS[6]) ~= 'pause' then
	redis.call('DEL', KEYS[6])
end
redis.call('SET', KEYS[2], epoch)
redis.call('SET', KEYS[3], '0 ' .. instance)
redis.call('SET', KEYS[1], epoch .. ':' .. ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[4], (string.gsub(ARGV[4], '"epoch":0', '"epoch":' .. epoch, 1)))
if redis.call('EXISTS', KEYS[7]) == 0 then redis.call('XDEL', KEYS[7], redis.call('XADD', KEYS[7], '*', 'v', '')) end
return {epoch, whole and 1 or 0}`)

// renewScript extends the owner's lease and counts the renewal. A lease that ran out is taken up again if nobody took the
// run meanwhile. A count that is behind, or another instance, says that Redis may have gone back in time. The first
// write of the script is one that a full Redis allows; it then allows the others.
var renewScript = redis.NewScript(instance + `
local held = redis.call('GET', KEYS[1])
local epoch = tonumber(redis.call('GET', KEYS[2]) or '0')
if held and held ~= ARGV[1] and tonumber(string.match(held, '^%d+')) > tonumber(ARGV[2]) then return 'fenced' end
if epoch > tonumber(ARGV[2]) then return 'fenced' end
if held and held ~= ARGV[1] or epoch < tonumber(ARGV[2]) then return 'forgotten' end
local count, on = string.match(redis.call('GET', KEYS[3]) or '-1 ', '^(%S+) (.*)$')
if tonumber(count) < tonumber(ARGV[4]) or on ~= instance then return 'forgotten' end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if not held then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3]) end
redis.call('SET', KEYS[3], ARGV[5] .. ' ' .. instance)
if ARGV[6] ~= '' then redis.call('SET', KEYS[5], ARGV[6]) end
return 'held' .. (redis.call('GET', KEYS[4]) or '')`)

// Own takes the run for this process, under an epoch later than after, and renews its hold until Close. It voids
// every hand-out of earlier epochs that nobody has claimed. A coordinator that was killed a moment ago holds the run
// until its lease runs out: that long Own waits. ErrOwned when somebody else holds the run.
func Own(ctx context.Context, rdb redis.UniversalClient, run string, after uint32, options OwnerOptions) (*Owner, error) {
	o := &Owner{
		rdb: rdb, client: asynq.NewClientFromRedisClient(rdb), keys: keys{run}, id: uuid.NewString(),
		terms: options.Terms, cipher: options.Cipher, status: options.Status, epoch: after, last: "0",
		lost: make(chan error, 1), forgot: make(chan struct{}, 1), wanting: make(chan string, 1),
	}
	o.terms.Version, o.terms.Epoch, o.terms.Key = formatVersion, 0, o.cipher.Fingerprint()
	began := time.Now()
	for {
		err := o.acquire(ctx, "unknown")
		if err == nil {
			break
		}
		var owned *ownedError
		if !errors.As(err, &owned) || !owned.mayBeDead() || time.Since(began) > ownerTTL+ownerRenewal {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(ownerRenewal / 4):
		}
	}
	// The lease outlives the call that took it; Close ends it.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	o.stop = stop
	o.announce(ctx)
	o.wait.Go(func() { o.renew(renewing) })
	return o, nil
}

// ownedError says who owns the run.
type ownedError struct {
	holder string // "EPOCH:HOLDER"
	after  uint32
}

func (e *ownedError) Error() string { return ErrOwned.Error() }

func (e *ownedError) Unwrap() error { return ErrOwned }

// mayBeDead reports whether the holder is of the latest epoch that the caller knows, and so may be the one whose state
// the caller took over. One of a later epoch began after that.
func (e *ownedError) mayBeDead() bool {
	epoch, _, _ := strings.Cut(e.holder, ":")
	return epoch == strconv.FormatUint(uint64(e.after), 10)
}

// acquire takes the run, at first or after Redis forgot it, with what a person is known to want, or "unknown".
func (o *Owner) acquire(ctx context.Context, want string) error {
	encoded, err := json.Marshal(o.terms)
	if err != nil {
		return fmt.Errorf("encode terms: %w", err)
	}
	o.mu.Lock()
	after := o.epoch
	o.mu.Unlock()
	k := o.keys
	reply, err := acquireScript.Run(ctx, o.rdb,
		[]string{k.owner(), k.epoch(), k.beat(), k.terms(), k.handouts(), k.control(), k.results()},
		after, o.id, ownerTTL.Milliseconds(), encoded, want).Result()
	if err != nil {
		return fmt.Errorf("take ownership of run %s: %w", k.run, err)
	}
	if holder, owned := reply.(string); owned {
		return &ownedError{holder: holder, after: after}
	}
	taken, _ := reply.([]any)
	if len(taken) != 2 {
		return fmt.Errorf("%w: ownership", ErrFormat)
	}
	epoch, _ := taken[0].(int64)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.epoch, o.whole = uint32(epoch), taken[1] == int64(1) //nolint:gosec // an epoch counts ownerships
	o.count, o.last, o.beats = 0, "0", 0
	return nil
}

// Epoch is the owner's epoch; a later owner must be given it.
func (o *Owner) Epoch() uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epoch
}

// Lost yields ErrFenced, once, when the hold on the run is gone.
func (o *Owner) Lost() <-chan error { return o.lost }

// Forgot yields a value when Redis had lost what it held of the run, or had gone back in time. By then the run is owned
// again under a later epoch: all hand-outs that nobody had claimed are void.
func (o *Owner) Forgot() <-chan struct{} { return o.forgot }

// Wants yields what a person wants of the run whenever that changes: Pause, Stop, or nothing.
func (o *Owner) Wants() <-chan string { return o.wanting }

// Full reports whether Redis lately refused what needs memory.
func (o *Owner) Full() bool { return o.full.Load() }

// holder is the value of the owner key.
func (o *Owner) holder() string { return strconv.FormatUint(uint64(o.Epoch()), 10) + ":" + o.id }

func (o *Owner) renew(ctx context.Context) {
	tick := time.NewTicker(ownerRenewal)
	defer tick.Stop()
	for n, well := int64(1), true; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := o.renewOnce(ctx, n)
		was := well
		well = err == nil
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrFenced):
			o.lost <- err
			return
		case was && !well:
			slog.WarnContext(ctx, "renew ownership: trying again every second", slog.Any("error", err))
		case !was && well:
			slog.InfoContext(ctx, "ownership is renewed again")
		}
		if well && n%2 == 0 {
			o.announce(ctx)
		}
	}
}

// renewOnce renews the lease for the nth time in this epoch, or owns the run anew when Redis has forgotten it.
func (o *Owner) renewOnce(ctx context.Context, n int64) error {
	var status []byte
	if o.status != nil {
		status = o.status()
	}
	k := o.keys
	reply, err := renewScript.Run(ctx, o.rdb, []string{k.owner(), k.epoch(), k.beat(), k.control(), k.status()},
		o.holder(), o.Epoch(), ownerTTL.Milliseconds(), o.beats, n, status).Text()
	switch {
	case err != nil:
		return err
	case reply == "fenced":
		return ErrFenced
	case reply == "forgotten":
		o.mu.Lock()
		want := o.want
		o.mu.Unlock()
		if err := o.acquire(ctx, want); err != nil {
			return err
		}
		select {
		case o.forgot <- struct{}{}:
		default: // it has not yet seen that it happened before
		}
		return nil
	}
	o.beats = n
	o.wanted(reply[len("held"):])
	return nil
}

// wanted passes on what a person wants, if that is new.
func (o *Owner) wanted(want string) {
	o.mu.Lock()
	changed := o.want != want
	o.want = want
	o.mu.Unlock()
	if !changed {
		return
	}
	select {
	case <-o.wanting: // nobody saw the one before
	default:
	}
	o.wanting <- want
}

// announce lets workers and status find the run, and bounds how long Redis keeps it without a coordinator. That it
// fails costs time only: the next one is two seconds away.
func (o *Owner) announce(ctx context.Context) {
	_, err := o.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZRem(ctx, endedKey, o.keys.run)
		p.ZAdd(ctx, runsKey, redis.Z{Score: float64(time.Now().Unix()), Member: o.keys.run})
		p.ZRemRangeByScore(ctx, runsKey, "-inf", strconv.FormatInt(time.Now().Add(-retention).Unix(), 10))
		for _, key := range o.keys.lasting() {
			p.Expire(ctx, key, retention)
		}
		return nil
	})
	// Unlike the lease's renewal this needs memory, if only a little.
	if full := IsFull(err); o.full.Swap(full) && full {
		return // as it was said
	}
	if err != nil && ctx.Err() == nil {
		slog.WarnContext(ctx, "announce run", slog.Any("error", err))
	}
}

// Close gives the run up, leaving in Redis what another coordinator can use.
func (o *Owner) Close(ctx context.Context) error {
	o.stop()
	o.wait.Wait()
	var status []byte
	if o.status != nil {
		status = o.status() // how it ended
	}
	if err := releaseScript.Run(ctx, o.rdb, []string{o.keys.owner(), o.keys.status()},
		o.holder(), status, retention.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("give up ownership: %w", err)
	}
	return nil
}

var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end
return 1`)

// Erase deletes everything that Redis holds of the run, and gives it up; for a run that is complete. ErrFenced when it is
// another coordinator's by now.
func (o *Owner) Erase(ctx context.Context) error {
	o.stop()
	o.wait.Wait()
	if holder, err := o.rdb.Get(ctx, o.keys.owner()).Result(); err == nil && holder != o.holder() {
		return fmt.Errorf("erase run: %w", ErrFenced)
	}
	o.mu.Lock()
	answers := o.answers
	o.mu.Unlock()
	return erase(ctx, o.rdb, o.keys, answers)
}

// erase deletes a run's keys, and some answers that were given.
func erase(ctx context.Context, rdb redis.UniversalClient, k keys, answers []string) error {
	// First what holds prompts and answers, whatever becomes of the rest.
	err := rdb.Del(ctx, append(k.own(), answers...)...).Err()
	now := time.Now()
	err = errors.Join(err, rdb.ZRem(ctx, runsKey, k.run).Err(),
		rdb.ZAdd(ctx, endedKey, redis.Z{Score: float64(now.Unix()), Member: k.run}).Err(),
		rdb.ZRemRangeByScore(ctx, endedKey, "-inf", strconv.FormatInt(now.Add(-endedFor).Unix(), 10)).Err(),
		rdb.Expire(ctx, endedKey, endedFor).Err())
	for _, queue := range []string{k.queue(), k.urgent()} {
		err = errors.Join(err, eraseQueue(ctx, rdb, queue))
	}
	if err != nil {
		return fmt.Errorf("erase run: %w", err)
	}
	return nil
}

// eraseQueue deletes an Asynq queue. One that has tasks of a worker that died Asynq would refuse to delete.
func eraseQueue(ctx context.Context, rdb redis.UniversalClient, queue string) error {
	prefix := "asynq:{" + queue + "}:"
	active, err := rdb.LRange(ctx, prefix+"active", 0, -1).Result()
	if err != nil {
		return err
	}
	gone := append(counters(queue, time.Now()), prefix+"active", prefix+"lease")
	for _, id := range active {
		gone = append(gone, prefix+"t:"+id)
	}
	if err := rdb.Del(ctx, gone...).Err(); err != nil {
		return err
	}
	err = asynq.NewInspectorFromRedisClient(rdb).DeleteQueue(queue, true)
	if errors.Is(err, asynq.ErrQueueNotFound) {
		return nil
	}
	return err
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
