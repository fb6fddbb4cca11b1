package coordinator

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/jobs/courier"
)

// Stopped at any call of a checkpoint for longer than its lease, and continued after another machine has taken the run
// and stored more, a coordinator finds that it was fenced out and has spoilt nothing.
func TestMirrorLateHolder(t *testing.T) {
	t.Parallel()
	for calls := int64(1); ; calls++ {
		ended := false
		synctest.Test(t, func(t *testing.T) {
			b := memory(t)
			s := newSite(t, "late", b)
			s.answer(6)
			if _, err := s.checkpoint(); err != nil {
				t.Fatal(err)
			}
			s.answer(7)
			woken := make(chan struct{})
			var n atomic.Int64
			s.bucket.setVeto(func(_, key string) error {
				if strings.HasPrefix(key, leaseDir) {
					if n.Load() >= calls {
						<-woken // its renewals stand still as well
					}
					return nil
				}
				if n.Add(1) == calls {
					<-woken
				}
				return nil
			})
			done := make(chan error, 1)
			go func() { done <- s.run.checkpoint(t.Context()) }()
			synctest.Wait()
			if n.Load() < calls {
				ended = true
				close(woken)
				<-done
				s.die()
				return
			}
			next := newSite(t, "next", b)
			next.answer(5)
			if _, err := next.checkpoint(); err != nil {
				t.Fatal(err)
			}
			next.answer(5)
			close(woken)
			if err := <-done; err != nil && !errors.Is(err, courier.ErrFenced) {
				t.Errorf("the late checkpoint: %v", err)
			}
			want, err := next.checkpoint()
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * leaseRenewal)
			if !lost(s.run.mirror.lease) {
				t.Error("the late holder does not know that it was fenced out")
			}
			if _, err := s.checkpoint(); !errors.Is(err, courier.ErrFenced) {
				t.Errorf("a checkpoint of it: %v, want ErrFenced", err)
			}
			s.die()
			next.die()
			wantStored(t, b, want)
		})
		if ended {
			return
		}
	}
}

// Stopped at any call of its taking over or its first checkpoint, while the holder that it took the run from, itself
// late, goes on for a while, and then a third one takes over, a coordinator spoils nothing of the third's.
func TestMirrorLateSuccessor(t *testing.T) {
	t.Parallel()
	for calls := int64(1); ; calls++ {
		ended := false
		synctest.Test(t, func(t *testing.T) {
			b := memory(t)
			first := newSite(t, "first", b)
			first.answer(6)
			if _, err := first.checkpoint(); err != nil {
				t.Fatal(err)
			}
			first.bucket.setVeto(func(what, key string) error { // its renewals fail, all else gets through
				if strings.HasPrefix(key, leaseDir) && what == "put" {
					return errStore
				}
				if what == "list" && key == leaseDir {
					return errStore
				}
				return nil
			})
			late := &site{t: t, name: "late", bucket: &faulty{Bucket: b.Bucket}}
			woken := make(chan struct{})
			var n atomic.Int64
			var took atomic.Bool
			late.bucket.setVeto(func(what, key string) error {
				if strings.HasPrefix(key, leaseDir) {
					if what == "put" {
						took.Store(true)
					}
					if took.Load() && n.Load() >= calls {
						<-woken
					}
					return nil
				}
				if n.Add(1) == calls {
					<-woken
				}
				return nil
			})
			dir := t.TempDir()
			done := make(chan error, 1)
			go func() {
				err := late.take(dir)
				if err == nil {
					err = late.answerOne()
				}
				if err == nil {
					err = late.run.checkpoint(t.Context())
				}
				done <- err
			}()
			time.Sleep(leaseTimeout + time.Minute)
			synctest.Wait()
			if n.Load() < calls {
				ended = true
				close(woken)
				if err := <-done; err != nil {
					t.Error(err)
				}
				first.die()
				late.die()
				return
			}
			first.answer(5) // seals a part whose pieces it then deletes
			if _, err := first.checkpoint(); err != nil {
				t.Fatal(err)
			}
			third := newSite(t, "third", b)
			third.answer(3)
			want, err := third.checkpoint()
			if err != nil {
				t.Fatal(err)
			}
			close(woken)
			if err := <-done; err != nil && !errors.Is(err, courier.ErrFenced) {
				t.Errorf("the late successor: %v", err)
			}
			if _, err := first.checkpoint(); err != nil {
				t.Error(err)
			}
			if late.run != nil {
				late.die()
			}
			first.die()
			third.die()
			wantStored(t, b, want)
		})
		if ended {
			return
		}
	}
}
