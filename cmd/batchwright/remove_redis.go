package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
)

// remains is what the fleet's Redis may hold of a job's runs.
type remains struct {
	runs  []string
	rdb   redis.UniversalClient // nil when there is nothing to ask
	fault error                 // why the Redis that was named can't be asked
}

// remainsOf looks at what Redis may hold of some runs. It is an error when a coordinator has one of them, and none when Redis
// does not answer: the state on disk can be deleted all the same.
func (f *removeFlags) remainsOf(ctx context.Context, runs []string) (*remains, error) {
	r := &remains{runs: runs}
	if len(runs) == 0 || !f.given(os.Getenv) {
		return r, nil
	}
	rdb, _, err := f.connect(ctx, os.Getenv, 0)
	if usage := (*exitError)(nil); errors.As(err, &usage) {
		return nil, err
	}
	if err != nil {
		r.fault = err
		return r, nil //nolint:nilerr // erase tells it when the rest is done
	}
	r.rdb = rdb
	for _, run := range runs {
		_, err := courier.ReadTerms(ctx, rdb, run)
		switch {
		case err == nil, errors.Is(err, courier.ErrFormat):
			return nil, errors.Join(&exitError{exitOwned, fmt.Errorf("run %s has a coordinator now: batchwright stop ends it", run)}, rdb.Close())
		case !errors.Is(err, courier.ErrNoRun):
			r.fault = err
		}
	}
	return r, nil
}

// erase deletes it and says so.
func (r *remains) erase(ctx context.Context, out io.Writer) error {
	if r.fault != nil {
		return fmt.Errorf("%s: %w", r, r.fault)
	}
	if r.rdb == nil {
		return nil
	}
	for _, run := range r.runs {
		if err := courier.EraseRun(ctx, r.rdb, run); err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
	}
	if _, err := fmt.Fprintln(out, "deleted: what Redis held of run "+strings.Join(r.runs, ", ")); err != nil {
		return fmt.Errorf("write what was deleted: %w", err)
	}
	return nil
}

// String says what becomes of it when it can't be deleted.
func (r *remains) String() string {
	return fmt.Sprintf("what Redis may hold of run %s, prompts and answers included, stays there for up to 7 days", strings.Join(r.runs, ", "))
}

func (r *remains) close() {
	if r.rdb != nil {
		_ = r.rdb.Close() // nothing was left to send
	}
}

// runsIn lists the runs of a state folder: its own, and those that --fresh set aside in it.
func runsIn(state coordinator.State) ([]string, error) {
	folders := []string{state.Dir}
	entries, err := os.ReadDir(state.Dir)
	if err != nil {
		return nil, fmt.Errorf("list state folder: %w", err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			folders = append(folders, filepath.Join(state.Dir, entry.Name()))
		}
	}
	var runs []string
	for _, folder := range folders {
		if manifest, err := (coordinator.State{Dir: folder}).Manifest(); err == nil {
			runs = append(runs, manifest.Run)
		}
	}
	return runs, nil
}
