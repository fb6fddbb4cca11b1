package coordinator

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/io/store"
)

// faulty is a bucket whose calls fail, hang until they are given up, or take a while, on demand.
type faulty struct {
	store.Bucket
	fail  atomic.Pointer[error]
	hang  atomic.Bool
	delay atomic.Int64
	// veto decides about each write and delete, by what it is and its key.
	veto atomic.Pointer[func(what, key string) error]
	// cut makes writes lose their connection: the store has the object, and the caller an error.
	cut atomic.Bool
}

var errStore = errors.New("the store is away")

func memory(t *testing.T) *faulty {
	t.Helper()
	bucket, err := store.OpenBucket("mem://", "")
	if err != nil {
		t.Fatal(err)
	}
	return &faulty{Bucket: bucket}
}

func (f *faulty) setFail(err error) {
	if err == nil {
		f.fail.Store(nil)
		return
	}
	f.fail.Store(&err)
}

func (f *faulty) call(ctx context.Context, what, key string) error {
	if f.hang.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if d := time.Duration(f.delay.Load()); d > 0 {
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
	if err := f.fail.Load(); err != nil {
		return *err
	}
	if veto := f.veto.Load(); veto != nil {
		return (*veto)(what, key)
	}
	return nil
}

func (f *faulty) setVeto(veto func(what, key string) error) { f.veto.Store(&veto) }

func (f *faulty) Put(ctx context.Context, key string, content io.Reader) error {
	if err := f.call(ctx, "put", key); err != nil {
		return err
	}
	err := f.Bucket.Put(ctx, key, content)
	if err == nil && f.cut.Load() {
		return errStore
	}
	return err
}

func (f *faulty) PutNew(ctx context.Context, key string, content io.Reader) error {
	if err := f.call(ctx, "put", key); err != nil {
		return err
	}
	return f.Bucket.PutNew(ctx, key, content)
}

func (f *faulty) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := f.call(ctx, "get", key); err != nil {
		return nil, err
	}
	return f.Bucket.Get(ctx, key)
}

func (f *faulty) List(ctx context.Context, prefix string) ([]string, error) {
	if err := f.call(ctx, "list", prefix); err != nil {
		return nil, err
	}
	return f.Bucket.List(ctx, prefix)
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	if err := f.call(ctx, "delete", key); err != nil {
		return err
	}
	return f.Bucket.Delete(ctx, key)
}

func lost(l *lease) bool {
	select {
	case <-l.lost:
		return true
	default:
		return false
	}
}

func mustTake(t *testing.T, b store.Bucket, own string) *lease {
	t.Helper()
	l, err := takeLease(t.Context(), b, own, 0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustClose(t *testing.T, l *lease) {
	t.Helper()
	if err := l.close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A released lease is taken at once, under the next number.
func TestLeaseReleased(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, began := memory(t), time.Now()
		for want := 1; want <= 3; want++ {
			l := mustTake(t, b, "")
			if l.number != want {
				t.Errorf("number %d, want %d", l.number, want)
			}
			mustClose(t, l)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("it took %v", waited)
		}
	})
}

// A lease that is renewed is held, for as long as a contender wants to wait and however slow the store is.
func TestLeaseHeld(t *testing.T) {
	t.Parallel()
	for name, delay := range map[string]time.Duration{"fast store": 0, "slow store": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := memory(t)
				holder := mustTake(t, b, "")
				b.delay.Store(int64(delay))
				for _, wait := range []time.Duration{0, time.Minute} {
					began := time.Now()
					l, err := takeLease(t.Context(), b, "", wait)
					var held *HeldError
					if !errors.As(err, &held) {
						t.Fatalf("%v, %v; want *HeldError", l, err)
					}
					if waited := time.Since(began); waited < wait || waited > wait+leaseTimeout {
						t.Errorf("told to wait %v it waited %v", wait, waited)
					}
					if held.Holder.PID == 0 || held.Holder.Host == "" {
						t.Errorf("the error does not name the holder: %v", held)
					}
				}
				if holder.stale() || lost(holder) {
					t.Error("the holder lost it")
				}
				mustClose(t, holder)
			})
		})
	}
}

// A contender that waits gets the lease as soon as it is released.
func TestLeaseWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		holder := mustTake(t, b, "")
		time.AfterFunc(2*time.Minute, func() { mustClose(t, holder) })
		began := time.Now()
		l, err := takeLease(t.Context(), b, "", 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited > 2*time.Minute+2*leasePoll {
			t.Errorf("it waited %v", waited)
		}
		mustClose(t, l)
	})
}

// A holder that has stopped to renew loses its lease after the timeout and not before, has known by then that it may,
// and finds out when it comes back.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		own := memory(t)
		own.Bucket = b.Bucket
		holder := mustTake(t, own, "")
		time.Sleep(leaseRenewal + time.Second)
		own.hang.Store(true) // as if it were stopped
		holder.mu.Lock()
		renewed, began := holder.renewed, time.Now()
		holder.mu.Unlock()
		l := mustTake(t, b, "")
		if waited := time.Since(began); waited < leaseTimeout || time.Since(renewed) < leaseTimeout {
			t.Errorf("taken %v after the last renewal, watched for %v", time.Since(renewed), waited)
		}
		if !holder.stale() {
			t.Error("the holder thinks that it holds the run while another one does")
		}
		if l.number != 2 {
			t.Errorf("number %d, want 2", l.number)
		}
		own.hang.Store(false)
		select {
		case <-holder.lost:
		case <-time.After(leaseCall + 2*leaseRenewal):
			t.Error("it does not find out")
		}
		mustClose(t, holder)
		if lost(l) {
			t.Error("the late holder took the run back")
		}
		mustClose(t, l)
	})
}

// The process that knows the holder to be dead, because it holds the lock of its folder, does not wait.
func TestLeaseOfOnesOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		dead := mustTake(t, b, "")
		dead.stop()
		dead.wait.Wait()
		began := time.Now()
		l := mustTake(t, b, dead.id)
		if waited := time.Since(began); waited > 0 {
			t.Errorf("it waited %v", waited)
		}
		mustClose(t, l)
	})
}

// Of many contenders one gets the run of a dead holder, and the others are told who has it.
func TestLeaseContended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		dead := mustTake(t, b, "")
		dead.stop()
		dead.wait.Wait()
		var mu sync.Mutex
		var got []*lease
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				l, err := takeLease(t.Context(), b, "", 0)
				var held *HeldError
				if err != nil && !errors.As(err, &held) {
					t.Error(err)
				}
				if err == nil {
					mu.Lock()
					got = append(got, l)
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		if len(got) != 1 {
			t.Fatalf("%d hold the run", len(got))
		}
		mustClose(t, got[0])
	})
}

// A store that comes and goes takes the run from nobody, as long as it does not go for longer than the timeout while a
// contender that can reach it watches.
func TestLeaseOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		holder := mustTake(t, b, "")
		for range 5 {
			b.setFail(errStore)
			time.Sleep(time.Hour)
			if !holder.stale() {
				t.Error("not stale after an hour")
			}
			b.setFail(nil)
			time.Sleep(2 * leaseRenewal)
			if holder.stale() || lost(holder) {
				t.Error("its own again, and it does not know")
			}
		}
		mustClose(t, holder)
	})
}
