package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	f.addFound(flags)
	f.addAddress(flags)
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

// name is what people call the run; its coordinator may not have said yet.
func (r *foundRun) name() string {
	if r.status.Job == "" {
		return "run " + r.id
	}
	return clean(r.status.Job)
}

func closeRuns(runs []*foundRun) {
	for _, run := range runs {
		if run.own {
			_ = run.rdb.Close() // nothing was left to send
		}
	}
}

// target is what an argument names.
type target struct {
	name string // of a job, or a run's id; empty for all runs
	root string // the folder where states of runs on this machine lie
	own  string // id of the run whose state on this machine is meant; empty when there is none
}

// runs finds the runs that are on: the one that the argument names, or all.
func (f *fleetFlags) runs(ctx context.Context, args []string) ([]*foundRun, error) {
	to, err := f.target(args)
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
			case to.names(run):
				found = append(found, run)
			}
		}
	}
	states, err := os.ReadDir(to.root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return found, fmt.Errorf("look for runs in %s: %w", to.root, err)
	}
	for _, entry := range states {
		run, err := embeddedRun(ctx, coordinator.State{Dir: filepath.Join(to.root, entry.Name())})
		if err != nil {
			return found, err
		}
		if run != nil && (to.names(run) || entry.Name() == to.name) {
			found = append(found, run)
		} else if run != nil {
			closeRuns([]*foundRun{run})
		}
	}
	return to.narrow(found, f.simulated), nil
}

// target is what the arguments name.
func (f *fleetFlags) target(args []string) (target, error) {
	to := target{root: f.stateRoot(".")}
	if len(args) == 0 {
		return to, nil
	}
	to.name = args[0]
	state := coordinator.StateOf(to.root, to.name, f.simulated)
	byFile := isJobFile(args[0]) || isJobFolder(args[0])
	if byFile {
		job, err := f.load(args)
		if err != nil {
			return to, err
		}
		to.name, to.root, state = job.Name, f.stateRoot(job.Dir), f.stateOf(job)
	}
	if byFile || f.simulated { // a name alone may be that of another machine's run as well
		if manifest, err := state.Manifest(); err == nil {
			to.own = manifest.Run
		}
	}
	return to, nil
}

// names reports whether a run may be meant.
func (to *target) names(run *foundRun) bool {
	return to.name == "" || run.status.Job == to.name || run.id == to.name || run.id == to.own
}

// narrow keeps of several runs of that name the one whose state is on this machine. A rehearsal is never any other.
func (to *target) narrow(found []*foundRun, simulated bool) []*foundRun {
	sure := func(run *foundRun) bool { return run.id == to.own || run.id == to.name }
	if to.name == "" || !simulated && !slices.ContainsFunc(found, sure) {
		return found
	}
	return slices.DeleteFunc(found, func(run *foundRun) bool {
		if sure(run) {
			return false
		}
		closeRuns([]*foundRun{run})
		return true
	})
}

// one finds the run that the argument names.
func (f *fleetFlags) one(ctx context.Context, args []string) (*foundRun, error) {
	found, err := f.runs(ctx, args)
	switch {
	case err != nil:
	case len(found) == 0:
		err = f.absent(ctx, args[0])
	case len(found) > 1:
		ids := make([]string, len(found))
		for i, run := range found {
			ids[i] = run.id
		}
		err = fmt.Errorf("%d runs are called %q: name the one that you mean by its run id, which batchwright status shows (%s)",
			len(found), found[0].status.Job, strings.Join(ids, ", "))
	case found[0].foreign:
		err = fmt.Errorf("run %s: %s", found[0].id, ofAnotherVersion)
	default:
		return found[0], nil
	}
	closeRuns(found)
	return nil, err
}

// absent says why no run that the argument names is on.
func (f *fleetFlags) absent(ctx context.Context, arg string) error {
	unnamed := ""
	if !f.given(os.Getenv) {
		unnamed = "; " + noRedisNamed
	}
	state, err := f.find(arg)
	if err != nil {
		return fmt.Errorf("no run of %q is on: batchwright status lists those that are%s", arg, unnamed)
	}
	holder := state.Holder()
	// Another machine may have carried the run on.
	state, done, err := f.newest(ctx, state)
	if err != nil {
		return err
	}
	defer done()
	switch manifest, err := state.Manifest(); {
	case err != nil:
		return fmt.Errorf("no run of %q is on: batchwright status lists those that are%s", arg, unnamed)
	case !manifest.Finished.IsZero():
		return fmt.Errorf("the run of %q is complete since %s", arg, manifest.Finished.Local().Format(time.DateTime))
	case holder != nil: // a fleet's coordinator, one of another machine that shares the disk, or one that begins or ends
		return fmt.Errorf("the run of %q is not on as far as is seen from here, but process %d on %s has its state%s",
			arg, holder.PID, holder.Host, unnamed)
	}
	return fmt.Errorf("the run of %q is not on: batchwright run continues it%s", arg, unnamed)
}

// noRedisNamed says why runs of a fleet are not found.
const noRedisNamed = "no Redis was named (--redis, " + redisEnv + ")"

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
