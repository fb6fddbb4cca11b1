package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
)

// here reports whether the state that find has named, or not, can be read from this machine.
func (f *showFlags) here(state coordinator.State, err error) bool {
	if err != nil {
		return false
	}
	_, err = state.Manifest()
	return !errors.Is(err, fs.ErrNotExist) || f.storeURL() != ""
}

// ask shows the whole of a run, or records of it, as its coordinator on another machine tells them.
func (f *showFlags) ask(ctx context.Context, args []string, whole bool, stdout io.Writer) error {
	if f.selection.Most > coordinator.MaxAsked {
		return usageError(fmt.Errorf("-n %d: a run whose state is on another machine is asked for %s records at most",
			f.selection.Most, formatCount(coordinator.MaxAsked)))
	}
	run, err := f.one(ctx, args)
	if err != nil {
		return err
	}
	defer closeRuns([]*foundRun{run})
	if whole {
		o, dir, err := coordinator.AskOverview(ctx, run.rdb, run.cipher, run.id)
		if err != nil {
			return ended(err, run)
		}
		return f.overview(&o, fmt.Sprintf("%s on %s", clean(dir), clean(run.status.Host)), stdout)
	}
	found, err := coordinator.AskRecords(ctx, run.rdb, run.cipher, run.id, f.selection, f.printer(stdout))
	if err != nil {
		return ended(err, run)
	}
	return f.conclude(found, stdout)
}

// ended says where to look when the run ended while it was asked.
func ended(err error, run *foundRun) error {
	if errors.Is(err, courier.ErrNoRun) {
		return fmt.Errorf("the run ended before it had answered: its records are on %s, where show reads them", clean(run.status.Host))
	}
	return err
}
