package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// A run that Redis does not know is looked for again so soon: a coordinator renews every second.
	goneRenewal = 500 * time.Millisecond
	// A run that Redis has not known for so long has ended.
	goneFor = 10 * time.Second
	// A run without a coordinator is left after this, when nothing of it is held here.
	ownerless = 30 * time.Second
)

// beatScript renews a worker's lease. It returns how many workers there are, whether the run has a coordinator, what a
// person wants, whether Redis knew the worker, which instance it is, and the epoch of the run's terms; or nothing when
// Redis does not know the run. Its first write is one that a full Redis allows.
var beatScript = redis.NewScript(instance + `
local terms = redis.call('GET', KEYS[1])
if not terms then return false end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local new = redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return {redis.call('HLEN', KEYS[2]), redis.call('EXISTS', KEYS[3]), redis.call('GET', KEYS[4]) or '', 1 - new, instance,
	string.match(terms, '"epoch":(%d+)') or ''}`)

// reclaimScript writes down claims, as claimScript does, that Redis does not know and that a run still has a use for. Its
// first write is one that a full Redis allows.
var reclaimScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
redis.call('PEXPIRE', KEYS[2], ARGV[1])
for i = 2, #ARGV, 2 do redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1`)

// renew keeps the worker's lease until the session is closed, and finds out when the run is over.
func (s *Session) renew() {
	timer := time.NewTimer(workerRenewal)
	defer timer.Stop()
	seen, owned := time.Now(), time.Now() // when Redis last knew the run, and a coordinator of it
	ended, well := false, true
	for {
		select {
		case <-s.stopping.Done():
			return
		case <-timer.C:
		case <-s.renewal:
		}
		err := s.renewOnce(s.stopping)
		now := time.Now()
		switch {
		case s.stopping.Err() != nil:
			return
		case errors.Is(err, errGone):
			timer.Reset(goneRenewal)
		case errors.Is(err, ErrNoRun):
			seen = now
			timer.Reset(workerRenewal)
		default:
			seen, owned = now, now // Redis can't be asked, or all is well
			timer.Reset(workerRenewal)
		}
		was := well
		well = err == nil || errors.Is(err, ErrNoRun) || errors.Is(err, errGone) // a run that Redis does not know has most likely ended
		switch {
		case was && !well:
			slog.Warn("renew worker lease: trying again every three seconds", slog.String("run", s.keys.run), slog.Any("error", err))
		case !was && well:
			slog.Info("worker lease is renewed again", slog.String("run", s.keys.run))
		}
		idle := s.idle()
		if !ended && (now.Sub(seen) > goneFor && idle || now.Sub(owned) > ownerless && idle) {
			ended = true
			close(s.over)
		}
	}
}

// idle reports whether the session holds nothing of the run.
func (s *Session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.claimed) == 0 && len(s.pending) == 0
}

// expire ends the worker's lease; the next one began with the renewal that found out. What is in flight is claimed again
// where Redis does not know that: the next coordinator would call it too.
func (s *Session) expire(ctx context.Context) error {
	s.mu.Lock()
	s.lease++
	lease := s.lease
	s.mu.Unlock()
	slog.WarnContext(ctx, "worker lease ran out: what has not begun goes back", slog.String("run", s.keys.run))
	if s.options.Expired == nil {
		return nil
	}
	claims := []any{retention.Milliseconds()}
	for n, records := range s.options.Expired(lease) {
		claims = append(claims, n.String(), s.options.Worker+" "+string(rangesOf(records)))
	}
	if len(claims) == 1 {
		return nil
	}
	err := reclaimScript.Run(ctx, s.rdb, []string{s.keys.terms(), s.keys.claims()}, claims...).Err()
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("claim again what is in flight: %w", err)
	}
	return nil
}

// reread leaves a run whose coordinator is another one by now, with other terms: the worker joins it anew under those.
func (s *Session) reread(ctx context.Context, epoch string) {
	terms, err := readTerms(ctx, s.rdb, s.keys)
	if err != nil && !errors.Is(err, ErrFormat) {
		return // the next renewal tries again
	}
	s.epoch = epoch
	terms.Epoch = s.terms.Epoch
	if !reflect.DeepEqual(terms, s.terms) && s.options.Halt != nil {
		slog.InfoContext(ctx, "the run goes on under other terms: joining it anew", slog.String("run", s.keys.run))
		s.options.Halt()
	}
}

// renewOnce renews the worker's lease and lists the hand-outs that it holds. ErrNoRun says that the run has no
// coordinator now: the lease holds all the same.
func (s *Session) renewOnce(ctx context.Context) error {
	began := time.Now()
	beat := Beat{Version: formatVersion, Host: s.host, PID: os.Getpid(), Slots: s.options.Slots, Started: s.start.UTC(), At: began.UTC()}
	if s.options.Report != nil {
		beat.Report = s.options.Report()
		beat.restrain(began) // of the limits some came through Redis; what is no number can't be said at all
	}
	s.mu.Lock()
	s.count++
	beat.Count, beat.Refused = s.count, s.refused
	for n := range s.claimed {
		beat.Held = append(beat.Held, n)
	}
	if s.claiming != 0 {
		beat.Held = append(beat.Held, s.claiming)
	}
	s.mu.Unlock()
	encoded, err := json.Marshal(beat)
	if err != nil {
		return fmt.Errorf("encode beat: %w", err)
	}
	reply, err := beatScript.Run(ctx, s.rdb, []string{s.keys.terms(), s.keys.workers(), s.keys.owner(), s.keys.control()},
		s.options.Worker, encoded, retention.Milliseconds()).Slice()
	switch {
	case errors.Is(err, redis.Nil):
		return errGone
	case err != nil:
		return fmt.Errorf("renew lease of worker %s: %w", s.options.Worker, err)
	case len(reply) != 6:
		return fmt.Errorf("%w: renewal", ErrFormat)
	}
	before := s.instance
	s.instance, _ = reply[4].(string)
	if s.joined && (s.unsaid || began.Sub(*s.renewed.Load()) >= workerStale || reply[3] == int64(0) || s.instance != before) {
		err := s.expire(ctx)
		if s.unsaid = err != nil; s.unsaid {
			return err
		}
	}
	s.renewed.Store(&began)
	if epoch, _ := reply[5].(string); epoch != s.epoch {
		s.reread(ctx, epoch)
	}
	workers, _ := reply[0].(int64)
	s.workers.Store(workers)
	want, _ := reply[2].(string)
	if last := s.wanted.Swap(want); want == Stop && last != Stop && s.options.Halt != nil {
		s.options.Halt()
	}
	if reply[1] == int64(0) {
		return ErrNoRun
	}
	return nil
}
