package coordinator

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/jobs"
)

// A coordinator on another machine finds what the last checkpoint held: sealed parts, open ones, and what was stored
// in pieces.
func TestMirrorHandsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		want := map[int64]string{}
		for i := range 5 {
			s := newSite(t, fmt.Sprint("site", i), b)
			for range 3 {
				s.answer(3)
				var err error
				if want, err = s.checkpoint(); err != nil {
					t.Fatal(err)
				}
			}
			s.answer(2) // lost with its disk
			s.die()
		}
		if len(want) != 5*9 {
			t.Errorf("%d results, want %d", len(want), 5*9)
		}
		wantStored(t, b, want)
	})
}

// The same machine goes on with its own folder, which has more than the store; another one that was here before, and
// is behind, takes what the store has and sets its own aside.
func TestMirrorKnowsTheNewerState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		here, there := t.TempDir(), t.TempDir()
		s := siteAt(t, "here", b, here)
		s.answer(6)
		if _, err := s.checkpoint(); err != nil {
			t.Fatal(err)
		}
		s.answer(1)
		s.die()
		began := time.Now()
		s = siteAt(t, "here", b, here)
		if time.Since(began) > 0 {
			t.Error("a restart on the same disk waited for its own lease")
		}
		if got := len(resultsIn(t, s.run.state)); got != 7 || s.run.mirror.fetched {
			t.Errorf("%d results, fetched %v: want the 7 of the folder", got, s.run.mirror.fetched)
		}
		if _, err := s.checkpoint(); err != nil {
			t.Fatal(err)
		}
		s.answer(1) // never stored
		s.die()
		other := siteAt(t, "there", b, there)
		other.answer(3)
		want, err := other.checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		other.die()
		s = siteAt(t, "here", b, here)
		if !s.run.mirror.fetched {
			t.Error("it went on with a state that is behind")
		}
		aside, err := filepath.Glob(filepath.Join(here, "aside-*", manifestFile))
		if err != nil || len(aside) != 1 {
			t.Errorf("set aside: %v, %v", aside, err)
		} else if kept := resultsIn(t, State{filepath.Dir(aside[0])}); len(kept) != 8 {
			t.Errorf("%d results are set aside, want 8: answers that were paid for", len(kept))
		}
		s.die()
		wantStored(t, b, want)
	})
}

// Broken off at any call by an error, by a connection that is lost when the store has the object, or by its death, a
// checkpoint leaves a store from which another machine goes on with all that the one before held.
func TestMirrorBrokenOffAnywhere(t *testing.T) {
	t.Parallel()
	for name, breakOff := range map[string]func(f *faulty){
		"error": func(f *faulty) { f.setFail(errStore) },
		"cut":   func(f *faulty) { f.cut.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for calls := 1; ; calls++ {
				ended := false
				synctest.Test(t, func(t *testing.T) {
					b := memory(t)
					s := newSite(t, "first", b)
					s.answer(6)
					want, err := s.checkpoint()
					if err != nil {
						t.Fatal(err)
					}
					s.answer(7) // seals parts, begins one
					n := 0
					s.bucket.setVeto(func(_, key string) error {
						if n++; n == calls {
							breakOff(s.bucket)
						}
						return nil
					})
					now, err := s.checkpoint()
					if ended = n < calls; ended && err != nil {
						t.Fatal(err)
					}
					if err == nil {
						want = now
					}
					// It goes on when the store does, or dies.
					s.bucket.veto.Store(nil)
					s.bucket.setFail(nil)
					s.bucket.cut.Store(false)
					if calls%2 == 0 {
						s.answer(1)
						if want, err = s.checkpoint(); err != nil {
							t.Fatal(err)
						}
					}
					s.die()
					wantStored(t, b, want)
				})
				if ended {
					return
				}
			}
		})
	}
}

// While results wait to be stored nothing more is handed out than a lost disk may lose; when the store can't be reached
// for as long as another machine needs to take the run, nothing at all. Both end with the store's return.
func TestMirrorHoldsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		s := newSite(t, "s", b)
		defer s.die()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.run.keepInStore(ctx) }()
		hindrance := func() string {
			synctest.Wait()
			s.run.mu.Lock()
			defer s.run.mu.Unlock()
			return s.run.hindrance()
		}
		s.answer(10)
		time.Sleep(mirrorEvery + time.Second)
		if kept := s.run.mirror.kept.Load(); kept != 10 || hindrance() != "" {
			t.Errorf("%d of 10 results kept, held back: %q", kept, hindrance())
		}
		// Uploads fail, the lease is renewed.
		s.bucket.setVeto(func(what, key string) error {
			if what == "put" && !strings.HasPrefix(key, leaseDir) {
				return errStore
			}
			return nil
		})
		s.answer(mostUnmirrored - 1)
		time.Sleep(time.Hour)
		if why := hindrance(); why != "" {
			t.Errorf("held back with %d results to be stored: %s", mostUnmirrored-1, why)
		}
		s.answer(1)
		if hindrance() == "" {
			t.Errorf("not held back with %d results to be stored", mostUnmirrored)
		}
		s.bucket.veto.Store(nil)
		time.Sleep(2*mirrorRetry + 2*leasePoll)
		if kept, why := s.run.mirror.kept.Load(), hindrance(); why != "" || kept != mostUnmirrored+10 {
			t.Errorf("%d kept, held back after the store's return: %s", kept, why)
		}
		s.bucket.setFail(errStore)
		time.Sleep(leaseStale)
		time.Sleep(leasePoll)
		if hindrance() == "" {
			t.Error("not held back when another machine may have taken the run")
		}
		s.bucket.setFail(nil)
		time.Sleep(2 * leaseRenewal)
		if why := hindrance(); why != "" {
			t.Errorf("held back although the run is its own again: %s", why)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A part that stays open for hours is stored again as one now and then, and nothing is left of the pieces.
func TestMirrorPutsPiecesTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		s := newSite(t, "s", b)
		s.run.manifest.PartRecords = 1 << 20
		s.answer(1)
		var want map[int64]string
		for range 5 * mostPieces {
			s.run.mu.Lock()
			p := s.run.parts[0]
			result := jobs.Result{Record: 0, ID: "s", Status: jobs.Succeeded, Calls: 1, Message: []byte(`{}`)}
			if err := errors.Join(s.run.book(p, &result, make(map[*part]bool)), p.log.Commit()); err != nil {
				t.Fatal(err)
			}
			s.run.mu.Unlock()
			var err error
			if want, err = s.checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
		keys, err := b.List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) > mostPieces+4 {
			t.Errorf("%d objects for one open part", len(keys))
		}
		s.die()
		wantStored(t, b, want)
	})
}

// rm leaves nothing but the number of the last lease, by which a coordinator that slept finds out.
func TestRemoveStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := memory(t)
		s := newSite(t, "asleep", b)
		s.answer(6)
		if _, err := s.checkpoint(); err != nil {
			t.Fatal(err)
		}
		elsewhere := State{filepath.Join(t.TempDir(), "none")}
		var held *HeldError
		if err := RemoveStored(t.Context(), b, elsewhere); !errors.As(err, &held) {
			t.Fatalf("%v while the run is on, want *HeldError", err)
		}
		s.bucket.hang.Store(true)
		if err := RemoveStored(t.Context(), b, elsewhere); err != nil {
			t.Fatal(err)
		}
		keys, err := b.List(t.Context(), "")
		if err != nil || len(keys) != 1 || keys[0] != leaseKey(2) {
			t.Errorf("left: %v, %v", keys, err)
		}
		s.bucket.hang.Store(false)
		time.Sleep(leaseCall + 2*leaseRenewal)
		if !lost(s.run.mirror.lease) {
			t.Error("the coordinator does not know that its run is gone")
		}
		s.die()
	})
}
