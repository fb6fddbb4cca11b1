package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/jobs/coordinator"
)

func isURL(path string) bool { return strings.Contains(path, "://") }

// storeURL is the store that keeps the state beside its folder; "" when there is none.
func (f *jobFlags) storeURL() string {
	for _, address := range []string{f.state, os.Getenv("BATCHWRIGHT_STATE"), f.jobStore} {
		if isURL(address) {
			return address
		}
	}
	return ""
}

// where names for people where a state is kept.
func (f *jobFlags) where(state coordinator.State) string {
	if address := f.storeURL(); address != "" {
		return strings.TrimSuffix(address, "/") + "/" + filepath.Base(state.Dir)
	}
	return state.Dir
}

// bucket opens what the store keeps of a job, which has the name of the job's state folder there; nil without a store.
func (f *jobFlags) bucket(state coordinator.State) (store.Bucket, error) {
	address := f.storeURL()
	if address == "" {
		return nil, nil //nolint:nilnil // no store, and nothing wrong
	}
	bucket, err := store.OpenBucket(address, filepath.Base(state.Dir))
	if errors.Is(err, store.ErrScheme) {
		return nil, usageError(fmt.Errorf("state: %w", err))
	}
	return bucket, err
}

// claim takes a job's run in its store for this process; there is no mirror without a store. release gives it back.
func (f *jobFlags) claim(ctx context.Context, state coordinator.State, wait time.Duration) (m *coordinator.Mirror, release func(), err error) {
	bucket, err := f.bucket(state)
	if bucket == nil || err != nil {
		return nil, func() {}, err
	}
	if m, err = coordinator.Claim(ctx, bucket, state, wait); err != nil {
		return nil, nil, errors.Join(err, bucket.Close())
	}
	return m, func() {
		m.Close(ctx)
		closeBucket(ctx, bucket)
	}, nil
}

func closeBucket(ctx context.Context, bucket store.Bucket) {
	if err := bucket.Close(); err != nil {
		slog.WarnContext(ctx, "close the store", slog.Any("error", err))
	}
}

// newest is the newest state of a job for a command that only reads: its folder, or what the store has when another
// machine has carried the run on. done deletes what was fetched.
func (f *jobFlags) newest(ctx context.Context, state coordinator.State) (newest coordinator.State, done func(), err error) {
	bucket, err := f.bucket(state)
	if bucket == nil || err != nil {
		return state, func() {}, err
	}
	defer closeBucket(ctx, bucket)
	current, err := state.Current(ctx, bucket)
	if current || err != nil {
		return state, func() {}, err
	}
	dir, err := os.MkdirTemp("", "batchwright-")
	if err != nil {
		return state, nil, fmt.Errorf("make a folder for the state in the store: %w", err)
	}
	remove := func() {
		if err := os.RemoveAll(dir); err != nil {
			slog.WarnContext(ctx, "delete the fetched state", slog.Any("error", err))
		}
	}
	fetched := coordinator.State{Dir: filepath.Join(dir, filepath.Base(state.Dir))}
	if _, err := coordinator.Fetch(ctx, bucket, fetched); err != nil {
		remove()
		return state, nil, err
	}
	return fetched, remove, nil
}
