package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Report is what a worker says of its work for a run.
type Report struct {
	InFlight int `json:"in_flight"` // calls
	Waiting  int `json:"waiting"`   // records that wait for their time, a limit or the API
	// Why says what calls are waiting for; empty when they are not. BoundBy is one of Bounds when that is a limit.
	Why     string `json:"why,omitempty"`
	BoundBy string `json:"bound_by,omitempty"`
	// Limits are those that the calls keep, the job's own first; of more scopes than a screen holds only some are there.
	Limits []Limits `json:"limits,omitempty"`
}

// Beat is what a worker renews every 3 s for a run that it serves.
type Beat struct {
	Version int    `json:"version"` // formatVersion
	Count   uint64 `json:"count"`   // of renewals; it standing still is what tells a dead worker
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	// Slots is how many calls the worker makes at once, for all its runs.
	Slots int `json:"slots"`
	Report
	// Held lists the hand-outs that the worker has claimed and not delivered all records of.
	Held []Number `json:"held,omitempty"`
	// Refused says why the worker can't make the run's calls; empty while it can.
	Refused string `json:"refused,omitempty"`
	// Started is when the worker joined the run, At when it said all this, by its own clock.
	Started time.Time `json:"started"`
	At      time.Time `json:"at,omitzero"`
}

// Survey is what Redis holds of a run's hand-outs at one moment.
type Survey struct {
	Workers map[string]Beat
	Claims  map[Number]Claim
	// Unclaimed lists hand-outs whose records nobody has claimed.
	Unclaimed []Number
	// Queued counts the tasks that wait for a worker.
	Queued int64
	// End is where the stream of results ended: what a dead worker delivered lies before.
	End Position
}

// Survey looks at what became of all hand-outs. What it can't read, of other versions, is not in it.
func (o *Owner) Survey(ctx context.Context) (Survey, error) {
	s, _, err := survey(ctx, o.rdb, o.keys)
	return s, err
}

// Inherit is the first Survey of an owner that others were before. When Redis has lost something meanwhile it waits for
// WorkerTimeout: by then each worker that lives has renewed its lease, found out that Redis began anew, claimed again what
// it has in flight, and given back the rest.
func (o *Owner) Inherit(ctx context.Context) (Survey, error) {
	o.mu.Lock()
	whole := o.whole
	o.mu.Unlock()
	for {
		if !whole {
			slog.InfoContext(ctx, "redis has lost what it held of the run: waiting for workers to say what they have", slog.Duration("wait", WorkerTimeout))
			select {
			case <-ctx.Done():
				return Survey{}, fmt.Errorf("survey hand-outs: %w", ctx.Err())
			case <-time.After(WorkerTimeout):
			}
		}
		holder := o.holder()
		s, owner, err := survey(ctx, o.rdb, o.keys)
		if err != nil || owner == holder {
			return s, err
		}
		whole = false // it forgot a moment ago; the renewal of the lease takes it up again
	}
}

// survey also tells who owned the run at that moment.
func survey(ctx context.Context, rdb redis.UniversalClient, k keys) (s Survey, owner string, err error) {
	var holder *redis.StringCmd
	var workers, claims *redis.MapStringStringCmd
	var unclaimed *redis.StringSliceCmd
	var queued, urgent *redis.IntCmd
	var end *redis.XMessageSliceCmd
	// Not as a transaction, which a full Redis refuses.
	_, err = rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		// First the claims and then the end of the results: what a claimed hand-out delivered lies before it. And the owner
		// last: had Redis forgotten the rest, it would be another.
		workers, claims = p.HGetAll(ctx, k.workers()), p.HGetAll(ctx, k.claims())
		unclaimed = p.HKeys(ctx, k.handouts())
		queued, urgent = p.LLen(ctx, "asynq:{"+k.queue()+"}:pending"), p.LLen(ctx, "asynq:{"+k.urgent()+"}:pending")
		end = p.XRevRangeN(ctx, k.results(), "+", "-", 1)
		holder = p.Get(ctx, k.owner())
		return nil
	})
	if errors.Is(err, redis.Nil) {
		err = nil // nobody
	}
	if err != nil {
		return s, "", fmt.Errorf("survey hand-outs: %w", err)
	}
	now := time.Now()
	s.Workers = make(map[string]Beat, len(workers.Val()))
	for worker, text := range workers.Val() {
		var beat Beat
		if err := json.Unmarshal([]byte(text), &beat); err == nil && beat.Version == formatVersion {
			beat.restrain(now)
			s.Workers[worker] = beat
		}
	}
	s.Claims = make(map[Number]Claim, len(claims.Val()))
	for field, text := range claims.Val() {
		n, err := parseNumber(field)
		if err != nil {
			continue
		}
		if claim, err := parseClaim(text); err == nil {
			s.Claims[n] = claim
		}
	}
	for _, field := range unclaimed.Val() {
		if n, err := parseNumber(field); err == nil {
			s.Unclaimed = append(s.Unclaimed, n)
		}
	}
	s.Queued = queued.Val() + urgent.Val()
	if entries := end.Val(); len(entries) > 0 {
		s.End = Position(entries[0].ID)
	}
	return s, holder.Val(), nil
}

// buryScript forgets a worker unless it has renewed its lease since a count was read.
var buryScript = redis.NewScript(`
local beat = redis.call('HGET', KEYS[1], ARGV[1])
if beat and string.match(beat, '"count":(%d+)') ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1`)

// Bury forgets a dead worker, whose beat has stood still at a count. It reports false when the worker has renewed its
// lease meanwhile. Otherwise the worker, should it come back, gives back all that it has not begun: from here its
// hand-outs may go to others.
func (o *Owner) Bury(ctx context.Context, worker string, count uint64) (bool, error) {
	buried, err := buryScript.Run(ctx, o.rdb, []string{o.keys.workers()}, worker, strconv.FormatUint(count, 10)).Int()
	if err != nil {
		return false, fmt.Errorf("forget dead worker %s: %w", worker, err)
	}
	return buried == 1, nil
}

// Forget deletes claims that mean nothing any more.
func (o *Owner) Forget(ctx context.Context, claims []Number) error {
	if len(claims) == 0 {
		return nil
	}
	fields := make([]string, len(claims))
	for i, n := range claims {
		fields[i] = n.String()
	}
	if err := o.rdb.HDel(ctx, o.keys.claims(), fields...).Err(); err != nil {
		return fmt.Errorf("forget claims: %w", err)
	}
	return nil
}

// Want says what a person wants of a run: Pause, Stop, or nothing to go on. Its coordinator learns of it within a
// second, its workers within three.
func Want(ctx context.Context, rdb redis.UniversalClient, run, want string) error {
	k := keys{run}
	var err error
	if want == "" {
		err = rdb.Del(ctx, k.control()).Err()
	} else {
		err = rdb.Set(ctx, k.control(), want, retention).Err()
	}
	if err != nil {
		return fmt.Errorf("tell run %s: %w", run, err)
	}
	return nil
}

// Want says to workers what the coordinator wants of them.
func (o *Owner) Want(ctx context.Context, want string) error {
	return Want(ctx, o.rdb, o.keys.run, want)
}

// View is what Redis knows of a run.
type View struct {
	// Owned says that the run has a coordinator at this moment.
	Owned bool
	// Wanted is what a person wants of the run: Pause, Stop, or nothing.
	Wanted string
	// Status is the JSON that the coordinator last said of the run; nil when Redis has none.
	Status json.RawMessage
	Terms  Terms
	Survey
}

// Look shows a run as Redis knows it. ErrNoRun when it knows nothing of it, ErrFormat when it is another version's.
func Look(ctx context.Context, rdb redis.UniversalClient, run string) (View, error) {
	k := keys{run}
	var v View
	values, err := rdb.MGet(ctx, k.terms(), k.owner(), k.control(), k.status()).Result()
	if err != nil {
		return v, fmt.Errorf("look at run %s: %w", run, err)
	}
	if values[0] == nil {
		return v, fmt.Errorf("%w: %s", ErrNoRun, run)
	}
	encoded, _ := values[0].(string)
	if v.Terms, err = parseTerms(encoded, run); err != nil {
		return v, err
	}
	v.Owned = values[1] != nil
	v.Wanted, _ = values[2].(string)
	if status, ok := values[3].(string); ok {
		v.Status = json.RawMessage(status)
	}
	v.Survey, _, err = survey(ctx, rdb, k)
	return v, err
}

// EraseRun deletes what Redis holds of a run that nobody goes on with. ErrOwned when a coordinator has it.
func EraseRun(ctx context.Context, rdb redis.UniversalClient, run string) error {
	k := keys{run}
	switch err := rdb.Get(ctx, k.owner()).Err(); {
	case err == nil:
		return fmt.Errorf("erase run %s: %w", run, ErrOwned)
	case !errors.Is(err, redis.Nil):
		return fmt.Errorf("erase run %s: %w", run, err)
	}
	return erase(ctx, rdb, k, nil)
}
