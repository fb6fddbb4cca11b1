package coordinator

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/jobs/courier"
)

// Times of a lease. A contender takes a run over when it has seen its lease unchanged for leaseTimeout by its own
// clock; the holder hands nothing out from leaseStale after its last renewal began, so that clocks may differ in speed.
const (
	leaseTimeout = 20 * time.Second
	leaseStale   = 15 * time.Second
	leaseRenewal = 4 * time.Second
	leasePoll    = time.Second
	// leaseCall is after how long a request about the lease is given up.
	leaseCall = 8 * time.Second
)

const leaseDir = "lease/"

// lease is the hold of one process on a run whose state is in a store. Each taking has a number of its own, one higher
// than the last: whoever creates the object of that number holds the run, and everything it stores carries the
// number. The holder renews by counting on in its object.
type lease struct {
	bucket store.Bucket
	number int
	id     string

	stop context.CancelFunc
	wait sync.WaitGroup
	lost chan struct{} // closed when another one has taken the run

	mu      sync.Mutex
	mark    leaseMark
	renewed time.Time // when the latest renewal that succeeded began
}

// leaseMark is the content of a lease's object.
type leaseMark struct {
	Version  int    `json:"version"`
	ID       string `json:"id"`    // random, of this taking
	Count    int64  `json:"count"` // goes up with each renewal
	Released bool   `json:"released,omitempty"`
	Holder
}

func leaseKey(number int) string { return fmt.Sprintf("%s%08d", leaseDir, number) }

// takeLease takes the run for this process. A lease that was released, or whose id is own (that of a holder which the
// caller knows to be dead), is taken at once; another one when nobody has renewed it for leaseTimeout. *HeldError when
// it is renewed and wait is over.
func takeLease(ctx context.Context, bucket store.Bucket, own string, wait time.Duration) (*lease, error) {
	began := time.Now()
	last, seen, since := 0, leaseMark{}, began
	for first := true; ; first = false {
		number, mark, err := topLease(ctx, bucket)
		if err != nil {
			return nil, fmt.Errorf("look at the lease of the run: %w", err)
		}
		if number != last || mark.ID != seen.ID || mark.Count != seen.Count {
			if !first && !mark.Released && time.Since(began) >= wait {
				return nil, &HeldError{mark.Holder}
			}
			last, seen, since = number, mark, time.Now()
		}
		free := number == 0 || mark.Released || own != "" && mark.ID == own
		if free || time.Since(since) >= leaseTimeout {
			l, err := createLease(ctx, bucket, number+1)
			if !errors.Is(err, fs.ErrExist) {
				return l, err
			}
			continue // another contender was faster
		}
		if first {
			slog.InfoContext(ctx, "the run is held by another process or one that was killed: watching whether it lives",
				slog.String("host", mark.Host), slog.Int("pid", mark.PID), slog.Duration("for", leaseTimeout))
		}
		if err := sleep(ctx, leasePoll); err != nil {
			return nil, err
		}
	}
}

// topLease reads the lease of the highest number; 0 when nobody ever took the run.
func topLease(ctx context.Context, bucket store.Bucket) (int, leaseMark, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseCall)
	defer cancel()
	number, err := topNumber(ctx, bucket)
	if err != nil || number == 0 {
		return 0, leaseMark{}, err
	}
	mark, err := readLease(ctx, bucket, number)
	return number, mark, err
}

func topNumber(ctx context.Context, bucket store.Bucket) (int, error) {
	keys, err := bucket.List(ctx, leaseDir)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	number, err := strconv.Atoi(path.Base(keys[len(keys)-1]))
	if err != nil {
		return 0, fmt.Errorf("%s is no lease: %w", keys[len(keys)-1], err)
	}
	return number, nil
}

func readLease(ctx context.Context, bucket store.Bucket, number int) (leaseMark, error) {
	var mark leaseMark
	data, err := readObject(ctx, bucket, leaseKey(number))
	if err != nil {
		return mark, err
	}
	if err := decodeVersioned(data, &mark); err != nil {
		return mark, fmt.Errorf("read lease %d: %w", number, err)
	}
	return mark, nil
}

func readObject(ctx context.Context, bucket store.Bucket, key string) ([]byte, error) {
	object, err := bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(object)
	if err = errors.Join(err, object.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return data, nil
}

// createLease takes a number that nobody has, and renews the lease until close. fs.ErrExist when somebody has it.
func createLease(ctx context.Context, bucket store.Bucket, number int) (*lease, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "a machine without a name"
	}
	id := rand.Text()
	l := &lease{
		bucket: bucket, number: number, id: id, lost: make(chan struct{}), renewed: time.Now(),
		mark: leaseMark{Version: stateVersion, ID: id, Holder: Holder{PID: os.Getpid(), Host: host, Started: time.Now().UTC()}},
	}
	data, err := json.Marshal(l.mark)
	if err != nil {
		return nil, fmt.Errorf("encode lease: %w", err)
	}
	creating, cancel := context.WithTimeout(ctx, leaseCall)
	defer cancel()
	if err := bucket.PutNew(creating, leaseKey(number), bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("take the lease of the run: %w", err)
	}
	// It outlives the call that took it; close ends it.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.wait.Go(func() { l.renew(renewing) })
	return l, nil
}

// renew keeps the lease until it is given up or another process has taken the run.
func (l *lease) renew(ctx context.Context) {
	for sleep(ctx, leaseRenewal) == nil {
		err := l.renewOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, courier.ErrFenced):
			close(l.lost)
			return
		case err != nil:
			slog.WarnContext(ctx, "renew the lease of the run", slog.Any("error", err))
		}
	}
}

func (l *lease) renewOnce(ctx context.Context) error {
	began := time.Now()
	l.mu.Lock()
	l.mark.Count++
	mark := l.mark
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, leaseCall)
	defer cancel()
	if err := l.write(ctx, mark); err != nil {
		return err
	}
	if err := l.confirm(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	l.renewed = began
	l.mu.Unlock()
	return nil
}

func (l *lease) write(ctx context.Context, mark leaseMark) error {
	data, err := json.Marshal(mark)
	if err != nil {
		return fmt.Errorf("encode lease: %w", err)
	}
	return l.bucket.Put(ctx, leaseKey(l.number), bytes.NewReader(data))
}

// confirm asks the store whether the run is still this process's; courier.ErrFenced when it is not.
func (l *lease) confirm(ctx context.Context) error {
	top, err := topNumber(ctx, l.bucket)
	if err == nil && top > l.number {
		return courier.ErrFenced
	}
	return err
}

// stale reports whether another process may be about to take the run. A machine that was suspended knows that from the
// time of day alone: its monotonic clock stood still.
func (l *lease) stale() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.renewed) > leaseStale || time.Now().Round(0).Sub(l.renewed.Round(0)) > leaseStale
}

// close gives the lease up, so that the next one need not wait for it to run out.
func (l *lease) close(ctx context.Context) error {
	l.stop()
	l.wait.Wait()
	select {
	case <-l.lost:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseCall)
	defer cancel()
	l.mark.Released = true
	if err := l.write(ctx, l.mark); err != nil {
		return fmt.Errorf("give up the lease of the run: %w", err)
	}
	return nil
}
