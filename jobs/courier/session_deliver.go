package courier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/internal/crashpoint"
)

const (
	// keptBuffer bounds the memory kept for the next batch.
	keptBuffer = 1 << 20
	// A result waits at most this long for others to travel with.
	flushAfter = 5 * time.Millisecond
	// keptFor is how long results wait for the coordinator of a run that Redis has forgotten.
	keptFor = 15 * time.Minute
)

// errGone says that Redis does not hold the run: it is complete, or Redis forgot it.
var errGone = errors.New("redis does not know the run")

// Deliver hands back one record of a claimed hand-out. It does not wait: deliveries are kept until Redis has them.
func (s *Session) Deliver(d Delivery) {
	s.mu.Lock()
	s.pending = appendDelivery(s.pending, &d)
	s.sending[d.Handout]++
	s.mu.Unlock()
	s.wakeFlush()
}

// Tell gives the coordinator news of a call, so that it knows what was in flight if this worker dies. The news travels
// with the next results.
func (s *Session) Tell(news News) {
	s.mu.Lock()
	s.pending = appendNews(s.pending, news)
	s.mu.Unlock()
	s.wakeFlush()
}

func (s *Session) wakeFlush() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Flushed waits until Redis has all that was delivered before. The error is that ctx ended first. For a run that Redis has
// forgotten nothing is waited for: its coordinator may never come back.
func (s *Session) Flushed(ctx context.Context) error { return s.flushed(ctx, false) }

// flushed may wait for a run that Redis has forgotten, too.
func (s *Session) flushed(ctx context.Context, evenGone bool) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for (len(s.pending) > 0 || s.onItsWay) && (evenGone || !s.gone) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("deliver results: %w", err)
		}
		if s.stopping.Err() != nil {
			return nil // closed: whoever closed it has waited
		}
		s.wakeFlush()
		s.sent.Wait()
	}
	return nil
}

// flush sends pending deliveries, a few milliseconds' worth at a time, until the session is closed.
func (s *Session) flush() {
	gather := time.NewTimer(0)
	defer gather.Stop()
	for {
		select {
		case <-s.stopping.Done():
			return
		case <-s.wake:
		}
		gather.Reset(flushAfter)
		select {
		case <-s.stopping.Done():
			return
		case <-gather.C:
		}
		s.sendAll()
	}
}

// sendAll sends what is pending and tries again until Redis has taken it or the session is closed.
func (s *Session) sendAll() {
	s.mu.Lock()
	batch, delivered := s.pending, s.sending
	if len(batch) == 0 {
		s.mu.Unlock()
		return
	}
	s.pending, s.spare = s.spare[:0], nil
	s.sending, s.onItsWay = make(map[Number]int, len(delivered)), true
	s.mu.Unlock()
	sealed := s.options.Cipher.seal(seal(batch), purposeResults, s.keys.run, 0)
	gone, failing := time.Time{}, false
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := s.send(sealed)
		if err == nil {
			crashpoint.Reach("delivered")
			break
		}
		if s.stopping.Err() != nil {
			return
		}
		if !errors.Is(err, errGone) {
			gone = time.Time{}
		} else if gone.IsZero() {
			gone = time.Now()
		}
		s.mu.Lock()
		s.gone = !gone.IsZero()
		s.sent.Broadcast()
		s.mu.Unlock()
		if !gone.IsZero() && (s.ended() || time.Since(gone) > keptFor) {
			slog.Warn("results dropped: the run has ended", slog.String("run", s.keys.run), slog.Int("hand_outs", len(delivered)))
			break
		}
		if !failing {
			failing = true
			slog.Warn("deliver results: keeping them and trying again", slog.String("run", s.keys.run), slog.Any("error", err))
		}
		select {
		case <-s.stopping.Done():
		case <-time.After(wait):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onItsWay, s.gone = false, false
	for n, records := range delivered {
		if left := s.claimed[n] - records; left > 0 {
			s.claimed[n] = left
		} else {
			delete(s.claimed, n)
		}
	}
	if cap(batch) <= keptBuffer {
		s.spare = batch
	}
	s.sent.Broadcast()
}

// ended reports whether the run is known to be complete.
func (s *Session) ended() bool {
	return s.rdb.ZScore(context.Background(), endedKey, s.keys.run).Err() == nil // the client's own timeouts end it
}

// deliverScript adds to the stream also when Redis is full: its first write is one that is allowed then. Results need
// room, for only their acknowledgement makes room.
var deliverScript = redis.NewScript(`
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', ARGV[1], ARGV[2])`)

// send adds a batch to the stream of results. Where there is no stream the run is over, or Redis has forgotten it, and
// nothing must be left there.
func (s *Session) send(sealed []byte) error {
	ctx := context.Background() // the client's own timeouts end it
	err := patient(s.rdb, len(sealed)).XAdd(ctx, &redis.XAddArgs{
		Stream: s.keys.results(), NoMkStream: true, Values: []any{batchField, sealed},
	}).Err()
	if IsFull(err) {
		err = deliverScript.Run(ctx, s.rdb, []string{s.keys.results()}, batchField, sealed, retention.Milliseconds()).Err()
	}
	if errors.Is(err, redis.Nil) {
		return errGone
	}
	return err
}
