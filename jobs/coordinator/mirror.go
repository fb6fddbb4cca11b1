package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/jobs/courier"
)

// A checkpoint is stored at least every mirrorEvery while there is something new, and after mirrorResults results.
// While mostUnmirrored results wait to be stored nothing is handed out, so that this is what a lost disk can lose.
const (
	mirrorEvery    = 5 * time.Second
	mirrorResults  = 500
	mostUnmirrored = 1000
	// mirrorPoll is how often the mirror looks how many results there are.
	mirrorPoll = 50 * time.Millisecond
	// mirrorRetry is how long it waits after an error of the store.
	mirrorRetry = time.Second
	// mirrorCall is after how long one object's upload is given up.
	mirrorCall = 5 * time.Minute
	// lastMirror bounds the attempt to store the state of a run that was told twice to stop.
	lastMirror = 10 * time.Second
)

// Mirror keeps a run's state in a store, where a coordinator without this disk can take it up. It holds the run's
// lease there from Claim to Close.
type Mirror struct {
	bucket store.Bucket
	state  State
	lease  *lease
	// base is the newest checkpoint that Claim found, nil when there was none. When agrees is set, what it names as
	// sealed is what the state folder holds.
	base    *checkpoint
	agrees  bool
	fetched bool
	uploads uploads
	kept    atomic.Int64 // results in the last checkpoint
	failing atomic.Bool  // the last checkpoint could not be stored
}

// mirrorFile says, in the state folder, which lease the folder held last.
const mirrorFile = "mirror.json"

// claimNote is the content of mirrorFile.
type claimNote struct {
	Version int    `json:"version"`
	Lease   int    `json:"lease"`
	ID      string `json:"id"`
	// Base is the key of a checkpoint, of another holder, whose sealed parts are those of this folder.
	Base string `json:"base,omitempty"`
}

// Claim takes the run whose state is in a bucket for this process, and brings the state folder, whose lock the caller
// holds, up to it: a folder that has no run, or one that another coordinator has carried on since, gets what the
// bucket holds. *HeldError when another process holds the run, see takeLease.
func Claim(ctx context.Context, bucket store.Bucket, state State, wait time.Duration) (*Mirror, error) {
	note, err := state.claimNote(ctx, bucket)
	if err != nil {
		return nil, err
	}
	l, err := takeLease(ctx, bucket, note.ID, wait)
	if err != nil {
		return nil, err
	}
	m := &Mirror{bucket: bucket, state: state, lease: l}
	if err := m.settle(ctx, note); err != nil {
		return nil, errors.Join(err, l.close(ctx))
	}
	return m, nil
}

// settle decides whether the folder or the bucket has the newer state, and makes the folder hold it.
func (m *Mirror) settle(ctx context.Context, note claimNote) error {
	local, err := m.state.holdsRun()
	if err != nil {
		return err
	}
	key, base, err := steadyCheckpoint(ctx, m.bucket)
	if err != nil {
		return err
	}
	m.base = base
	now := claimNote{Version: stateVersion, Lease: m.lease.number, ID: m.lease.id}
	if base == nil || local && note.Lease >= leaseOf(key) {
		// Nobody has stored anything since this folder held the run.
		m.agrees = base != nil && (note.Lease == leaseOf(key) || note.Base == key)
		if m.agrees {
			now.Base = key
		}
		return m.state.writeClaimNote(now)
	}
	if local {
		slog.WarnContext(ctx, "the state folder holds an older state than the store: it is set aside",
			slog.String("folder", m.state.Dir))
		if err := m.state.setAside(time.Now(), base.Manifest.Simulated); err != nil {
			return err
		}
	}
	_, m.base, err = fetch(ctx, m.bucket, m.state, func(key string) error {
		now.Base = key
		return m.state.writeClaimNote(now)
	})
	m.agrees, m.fetched = true, true
	return err
}

// Current reports whether the state folder has all that the bucket has of the job's newest run.
func (s State) Current(ctx context.Context, bucket store.Bucket) (bool, error) {
	key, _, err := steadyCheckpoint(ctx, bucket)
	if err != nil || key == "" {
		return key == "", err
	}
	note, err := s.claimNote(ctx, bucket)
	if err != nil || note.Lease < leaseOf(key) {
		return false, err
	}
	return s.holdsRun()
}

// holdsRun reports whether there is a run in the folder, of this version.
func (s State) holdsRun() (bool, error) {
	_, err := s.Manifest()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// claimNote reads which lease of the bucket the folder held last; the zero value when it held none.
func (s State) claimNote(ctx context.Context, bucket store.Bucket) (claimNote, error) {
	var note claimNote
	data, err := os.ReadFile(filepath.Join(s.Dir, mirrorFile))
	if errors.Is(err, fs.ErrNotExist) {
		return note, nil
	}
	if err == nil {
		err = decodeVersioned(data, &note)
	}
	if err != nil {
		return note, fmt.Errorf("read %s: %w", filepath.Join(s.Dir, mirrorFile), err)
	}
	// The folder may have been used with another store since, whose leases have the same numbers.
	mark, err := readLease(ctx, bucket, note.Lease)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && mark.ID != note.ID:
		return claimNote{}, nil
	case err != nil:
		return note, fmt.Errorf("look at the lease of the run: %w", err)
	}
	return note, nil
}

func (s State) writeClaimNote(note claimNote) error {
	data, err := json.Marshal(note)
	if err != nil {
		return fmt.Errorf("encode note of the lease: %w", err)
	}
	if err := store.WriteFile(filepath.Join(s.Dir, mirrorFile), append(data, '\n')); err != nil {
		return fmt.Errorf("write note of the lease: %w", err)
	}
	return nil
}

// Close gives the run up for the next coordinator. That the store can't be told is no failure: the lease runs out.
func (m *Mirror) Close(ctx context.Context) {
	if err := m.lease.close(ctx); err != nil {
		slog.WarnContext(ctx, "give up the run", slog.Any("error", err))
	}
}

// begin takes up a run, which Prepare has found in the folder or begun there.
func (m *Mirror) begin(manifest *Manifest) {
	if m == nil {
		return
	}
	m.uploads = uploads{run: manifest.Run, simulated: manifest.Simulated, files: make(map[string]storedFile), stored: make(map[string]bool)}
	if m.base == nil || m.base.Manifest.Run != manifest.Run {
		return
	}
	m.kept.Store(m.base.Done)
	if m.agrees {
		m.uploads.sealed = m.base.Sealed
	}
}

// lostDisk reports whether the state came from the store, so that what its last coordinator had not stored is lost.
func (m *Mirror) lostDisk() bool { return m != nil && m.fetched }

// hindrance says why nothing may be handed out now, with so many results in the journal; "" when nothing does.
func (m *Mirror) hindrance(done int64) string {
	switch {
	case m == nil:
		return ""
	case m.lease.stale():
		return "the store of the state can't be reached"
	case done-m.kept.Load() < mostUnmirrored:
		return ""
	case m.failing.Load():
		return "the state can't be kept in its store; see the log"
	}
	return "results are being kept in the store"
}

// confirm waits until the store says that the run is still this coordinator's; courier.ErrFenced when it is not.
// What others can see of a run is written only then.
func (m *Mirror) confirm(ctx context.Context) error {
	if m == nil {
		return nil
	}
	for {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, leaseCall)
			defer cancel()
			return m.lease.confirm(ctx)
		}()
		if err == nil || errors.Is(err, courier.ErrFenced) {
			return err
		}
		if err := sleep(ctx, mirrorRetry); err != nil {
			return err
		}
	}
}

// keepInStore mirrors the state folder while the run is on.
func (r *Run) keepInStore(ctx context.Context) error {
	if r.mirror == nil {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.watchLease(ctx) })
	group.Go(func() error { return r.mirrorParts(ctx) })
	return group.Wait()
}

// watchLease ends the run when another process has taken it, and wakes who waits to hand out when nothing hinders
// that any more.
func (r *Run) watchLease(ctx context.Context) error {
	hindered := ""
	for {
		timer := time.NewTimer(leasePoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-r.mirror.lease.lost:
			timer.Stop()
			return courier.ErrFenced
		case <-timer.C:
		}
		r.mu.Lock()
		if now := r.mirror.hindrance(r.tally.Done()); now != hindered {
			hindered = now
			r.changed.Broadcast()
		}
		r.mu.Unlock()
	}
}

// mirrorParts stores a checkpoint whenever one is due.
func (r *Run) mirrorParts(ctx context.Context) error {
	m := r.mirror
	next := time.Now()
	for sleep(ctx, mirrorPoll) == nil {
		r.mu.Lock()
		unmirrored := r.tally.Done() - m.kept.Load()
		r.mu.Unlock()
		if time.Now().Before(next) && (unmirrored < mirrorResults || m.failing.Load()) {
			continue
		}
		err := r.checkpoint(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			next = time.Now().Add(mirrorEvery)
		case errors.Is(err, courier.ErrFenced):
			return err
		default:
			slog.WarnContext(ctx, "keep the state in its store", slog.Any("error", err))
			next = time.Now().Add(mirrorRetry)
		}
	}
	return nil
}

// keepLast stores how the run ended, which it has to before it may say that it is complete. It waits for a store that
// can't be reached; only a run that was told to end at once gives up.
func (r *Run) keepLast(ctx context.Context) error {
	if r.mirror == nil {
		return nil
	}
	r.mu.Lock()
	r.committing = false // of a group that could not be journaled
	r.mu.Unlock()
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastMirror)
		defer cancel()
	}
	for {
		err := r.checkpoint(ctx)
		if err == nil {
			err = r.mirror.confirm(ctx)
		}
		if err == nil || errors.Is(err, courier.ErrFenced) {
			return err
		}
		slog.WarnContext(ctx, "keep the state in its store", slog.Any("error", err))
		if sleep(ctx, mirrorRetry) != nil {
			return fmt.Errorf("the store has not the last results, which are on this disk alone: run again to store them: %w", err)
		}
	}
}

// checkpoint stores the state of the run as it is now.
func (r *Run) checkpoint(ctx context.Context) error {
	m := r.mirror
	select {
	case <-m.lease.lost:
		return courier.ErrFenced
	default:
	}
	p, err := r.picture(ctx)
	if err != nil {
		return err
	}
	err = errors.Join(m.store(ctx, p), p.close())
	m.failing.Store(err != nil)
	if err == nil {
		m.kept.Store(p.done)
		r.wake()
	}
	return err
}
