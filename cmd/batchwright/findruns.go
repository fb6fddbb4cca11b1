package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/pflag"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
)

// fleetFlags find runs that are on.
type fleetFlags struct {
	jobFlags
	redisFlags
}

func (f *fleetFlags) add(flags *pflag.FlagSet) {
	f.addNamed(flags)
	f.redisFlags.add(flags)
}

// foundRun is a run that a Redis knows.
type foundRun struct {
	id     string
	rdb    redis.UniversalClient
	cipher *courier.Cipher // what the flags say
	own    bool            // rdb is this run's alone, to be closed with it
	view   courier.View
	status coordinator.Status
	// foreign says that another version of batchwright wrote what Redis holds of it: nothing but its id is known.
	foreign bool
}

// look sees where the run stands.
func (r *foundRun) look(ctx context.Context) error {
	view, err := courier.Look(ctx, r.rdb, r.id)
	if err == nil && view.Status != nil { // else it has just begun
		r.status, err = coordinator.ParseStatus(view.Status)
	}
	if r.foreign = errors.Is(err, courier.ErrFormat); r.foreign {
		return nil
	}
	if err == nil {
		r.view = view
	}
	return err
}

func closeRuns(runs []*foundRun) {
	for _, run := range runs {
		if run.own {
			_ = run.rdb.Close() // nothing was left to send
		}
	}
}

// runs finds the runs that are on: the one that the argument names, or all.
func (f *fleetFlags) runs(ctx context.Context, args []string) ([]*foundRun, error) {
	name, root, err := f.named(args)
	if err != nil {
		return nil, err
	}
	var found []*foundRun
	if f.given(os.Getenv) {
		rdb, cipher, err := f.connect(ctx, os.Getenv, 0)
		if err != nil {
			return nil, err
		}
		ids, err := courier.Runs(ctx, rdb)
		if err != nil {
			return nil, errors.Join(err, rdb.Close())
		}
		for _, id := range ids {
			run := &foundRun{id: id, rdb: rdb, cipher: cipher}
			switch err := run.look(ctx); {
			case errors.Is(err, courier.ErrNoRun): // it ended a moment ago
			case err != nil:
				return found, err
			case name == "" || run.status.Job == name || id == name:
				found = append(found, run)
			}
		}
	}
	states, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return found, fmt.Errorf("look for runs in %s: %w", root, err)
	}
	for _, entry := range states {
		run, err := embeddedRun(ctx, coordinator.State{Dir: filepath.Join(root, entry.Name())})
		if err != nil {
			return found, err
		}
		if run != nil && (name == "" || run.status.Job == name || run.id == name || entry.Name() == name) {
			found = append(found, run)
		} else if run != nil {
			closeRuns([]*foundRun{run})
		}
	}
	return found, nil
}

// one finds the run that the argument names, which a coordinator must have now.
func (f *fleetFlags) one(ctx context.Context, args []string) (*foundRun, error) {
	found, err := f.runs(ctx, args)
	switch {
	case err != nil:
	case len(found) == 0:
		err = f.absent(args[0])
	case len(found) > 1:
		err = fmt.Errorf("%d runs are called %q: name the one that you mean by its run id, which batchwright status shows",
			len(found), args[0])
	case found[0].foreign:
		err = fmt.Errorf("run %s: %s", found[0].id, ofAnotherVersion)
	case !found[0].view.Owned:
		err = fmt.Errorf("run %s has no coordinator now, so that it makes no calls: batchwright run continues it", found[0].id)
	default:
		return found[0], nil
	}
	closeRuns(found)
	return nil, err
}

// absent says why no run that the argument names is on.
func (f *fleetFlags) absent(arg string) error {
	if state, err := f.find(arg); err == nil {
		if manifest, err := state.Manifest(); err == nil {
			if !manifest.Finished.IsZero() {
				return fmt.Errorf("the run of %q is complete since %s", arg, manifest.Finished.Local().Format(time.DateTime))
			}
			return fmt.Errorf("the run of %q is not on: batchwright run continues it", arg)
		}
	}
	return fmt.Errorf("no run of %q is on: batchwright status lists those that are", arg)
}

// named is the name that the argument gives, empty for none, and the folder where states of runs on this machine lie.
func (f *fleetFlags) named(args []string) (name, root string, err error) {
	root = f.stateRoot(".")
	if len(args) == 0 {
		return "", root, nil
	}
	if !isJobFile(args[0]) && !isJobFolder(args[0]) {
		return args[0], root, nil
	}
	job, err := f.load(args)
	if err != nil {
		return "", "", err
	}
	return job.Name, f.stateRoot(job.Dir), nil
}

// embeddedRun is the run of a state folder that a process on this machine runs with a Redis of its own; nil when there
// is none.
func embeddedRun(ctx context.Context, state coordinator.State) (*foundRun, error) {
	holder := state.Holder()
	if holder == nil || holder.Socket == "" {
		return nil, nil //nolint:nilnil // no such run, and nothing wrong
	}
	if host, err := os.Hostname(); err == nil && host != holder.Host {
		return nil, nil //nolint:nilnil // on a shared disk: its socket leads nowhere from here
	}
	manifest, err := state.Manifest()
	if err != nil {
		return nil, err
	}
	run := &foundRun{id: manifest.Run, rdb: courier.ConnectSocket(holder.Socket), own: true}
	if err := run.look(ctx); err != nil {
		_ = run.rdb.Close() // it is gone
		if errors.Is(err, courier.ErrNoRun) || state.Holder() == nil {
			return nil, nil //nolint:nilnil // it ended a moment ago
		}
		return nil, err
	}
	return run, nil
}
