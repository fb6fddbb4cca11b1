package coordinator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
)

// sitePart is how many records a part has in these tests.
const sitePart = 4

// site is a coordinator on a machine of its own, as far as its state goes: it spools records, journals results, and
// seals parts.
type site struct {
	t      *testing.T
	name   string
	bucket *faulty
	run    *Run
}

// newSite takes the run on a machine with an empty disk.
func newSite(t *testing.T, name string, b *faulty) *site {
	t.Helper()
	return siteAt(t, name, b, t.TempDir())
}

func siteAt(t *testing.T, name string, b *faulty, dir string) *site {
	t.Helper()
	s := &site{t: t, name: name, bucket: &faulty{Bucket: b.Bucket}}
	if err := s.take(dir); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) take(dir string) error {
	state := State{dir}
	if err := state.create(); err != nil {
		return err
	}
	mirror, err := Claim(s.t.Context(), s.bucket, state, 0)
	if err != nil {
		return err
	}
	manifest, err := state.Manifest()
	if errors.Is(err, os.ErrNotExist) {
		manifest = &Manifest{Version: stateVersion, Run: newRunID(), PartRecords: sitePart}
		err = state.writeManifest(manifest)
	}
	if err != nil {
		return err
	}
	s.run = &Run{prepared: prepared{state: state, manifest: manifest, mirror: mirror, input: &Input{Rows: -1}}}
	mirror.begin(manifest)
	return s.run.load()
}

// answer gives results to the first so many records that have none.
func (s *site) answer(n int) {
	s.t.Helper()
	for range n {
		if err := s.answerOne(); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) answerOne() error {
	r := s.run
	r.mu.Lock()
	defer r.mu.Unlock()
	var p *part
	for i := range r.nextPart {
		if open := r.parts[i]; open != nil && !open.complete() {
			p = open
			break
		}
	}
	if p == nil {
		first := int64(r.nextPart * sitePart)
		var err error
		if p, err = createPart(r.state, r.nextPart, first, jobs.Position{Row: first}); err != nil {
			return err
		}
		r.parts[r.nextPart] = p
		r.nextPart++
	}
	number := p.meta.First + int64(p.done)
	if !p.has(number) {
		record := jobs.Record{Number: number, Position: jobs.Position{Row: number}}
		if err := errors.Join(p.add(&record), p.spool.Flush()); err != nil {
			return err
		}
	}
	result := jobs.Result{Record: number, ID: s.name, Status: jobs.Succeeded, Calls: 1, Message: []byte(`{}`)}
	if err := errors.Join(r.book(p, &result, make(map[*part]bool)), p.log.Commit()); err != nil {
		return err
	}
	if p.done < sitePart {
		return nil
	}
	var err error
	if p.meta, err = p.fill(); err != nil {
		return err
	}
	return s.seal(p)
}

// seal does what the coordinator does, but for the output.
func (s *site) seal(p *part) error {
	var b strings.Builder
	compressed, err := zstd.NewWriter(&b)
	if err != nil {
		return err
	}
	for i := range sitePart {
		_, entry, err := p.result(p.meta.First + int64(i))
		if err != nil {
			return err
		}
		if _, err := compressed.Write(append(entry, '\n')); err != nil {
			return err
		}
	}
	if err := compressed.Close(); err != nil {
		return err
	}
	if err := store.WriteFile(p.state.partFile(p.meta.Index, sealedSuffix), []byte(b.String())); err != nil {
		return err
	}
	meta := p.meta
	meta.Sealed, meta.Tally = true, p.tally
	if err := p.state.writePart(&meta); err != nil {
		return err
	}
	delete(s.run.parts, p.meta.Index)
	return p.remove()
}

// checkpoint stores the site's state and returns the results that it had.
func (s *site) checkpoint() (map[int64]string, error) {
	had := resultsIn(s.t, s.run.state)
	return had, s.run.checkpoint(s.t.Context())
}

// die ends the site as a kill does: nothing is given up in order.
func (s *site) die() {
	s.run.mirror.lease.stop()
	s.run.mirror.lease.wait.Wait()
	_ = s.run.close()
	_ = s.run.suspicion.file.Close()
}

// resultsIn gives, by record, who gave its result.
func resultsIn(t *testing.T, state State) map[int64]string {
	t.Helper()
	results, err := OpenResults(state)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[int64]string)
	for result, err := range results.All() {
		if err != nil {
			t.Fatal(err)
		}
		found[result.Record] = result.ID
	}
	return found
}

// wantStored takes the run over on one more machine, which must find all those results, and go on.
func wantStored(t *testing.T, b *faulty, want map[int64]string) {
	t.Helper()
	last := newSite(t, "last", b)
	defer last.die()
	got := resultsIn(t, last.run.state)
	for record, who := range want {
		if got[record] != who {
			t.Errorf("the result of record %d is %q's, want %q's; of %d stored there are %d", record, got[record], who, len(want), len(got))
		}
	}
	last.answer(2 * sitePart)
	if more := resultsIn(t, last.run.state); len(more) != len(got)+2*sitePart {
		t.Errorf("%d results after %d more than %d", len(more), 2*sitePart, len(got))
	}
}

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
