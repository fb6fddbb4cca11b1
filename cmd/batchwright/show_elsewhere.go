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
	if err := run.mayAnswer(); err != nil {
		return err
	}
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

// mayAnswer says what keeps a run's coordinator from being asked.
func (r *foundRun) mayAnswer() error {
	switch key := r.view.Terms.Key; {
	case !r.view.Owned:
		where := "on the machine of its coordinator"
		if r.status.Host != "" {
			where = fmt.Sprintf("on %s, where process %d was its coordinator and %s is to be its output",
				clean(r.status.Host), r.status.PID, clean(r.status.Output))
		}
		return fmt.Errorf("run %s has no coordinator now that could be asked: its records are in its state folder %s; "+
			"show reads them there, and batchwright run continues it", r.id, where)
	case key == r.cipher.Fingerprint():
		return nil
	case key == "":
		return fmt.Errorf("run %s is not encrypted: leave out --encrypt-env", r.id)
	case r.cipher == nil:
		return fmt.Errorf("run %s is encrypted: give the same --encrypt-env as to its run", r.id)
	}
	return fmt.Errorf("run %s is encrypted with another key: give the same --encrypt-env as to its run", r.id)
}

// ended says where to look when the run ended while it was asked.
func ended(err error, run *foundRun) error {
	if errors.Is(err, courier.ErrNoRun) {
		return fmt.Errorf("the run ended before it had answered: its records are on %s, where show reads them", clean(run.status.Host))
	}
	return err
}
