package main

import (
	"errors"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
)

// addNamed registers what it takes to find a run by its job file or its name.
func (f *jobFlags) addNamed(flags *pflag.FlagSet) {
	addVarFlag(flags, &f.vars)
	flags.StringArrayVar(&f.options.Set, "set", nil, "change a key of the job, as columns.keep=[]; repeatable")
	f.addState(flags)
	flags.BoolVar(&f.simulated, "simulate", false, "the job's rehearsal, whose state is NAME.simulated, in place of its run")
}

// addFound is addNamed for commands that look for a run and do nothing with its job: a change of a key can only matter
// where it gave the job its name.
func (f *jobFlags) addFound(flags *pflag.FlagSet) {
	f.addNamed(flags)
	flags.Lookup("set").Hidden = true
}

// open finds a job and its state: by its job file, by the name of a run that was begun, or by input files with the
// rest in flags.
func (f *jobFlags) open(args []string) (*jobs.Job, coordinator.State, error) {
	if len(args) == 1 && f.names(args[0]) {
		state, err := f.find(args[0])
		if err != nil {
			return nil, state, err
		}
		job, err := f.reload(state)
		return job, state, err
	}
	job, err := f.load(args)
	if err != nil {
		return nil, coordinator.State{}, err
	}
	return job, f.stateOf(job), nil
}

// names reports whether an argument is the name of a run and not a file.
func (f *jobFlags) names(arg string) bool {
	if arg == "" || isJobFile(arg) || isJobFolder(arg) || filepath.Base(arg) != arg {
		return false
	}
	state := coordinator.StateOf(f.stateRoot("."), arg, f.simulated)
	return exists(state.Dir) || f.storeURL() != "" && !exists(arg)
}

// reload makes the job of a run again as it was given when the run began, with what the flags say now.
func (f *jobFlags) reload(state coordinator.State) (*jobs.Job, error) {
	manifest, err := state.Manifest()
	if err != nil {
		return nil, usageError(errors.New("no run of this job has begun: give its job file"))
	}
	f.options.Vars = f.vars
	job, err := manifest.Definition.Load(f.options)
	if err == nil {
		f.jobStore = job.State
	}
	return job, err
}

// definition is how the arguments give a job, to be kept with its run.
func (f *jobFlags) definition(args []string) (coordinator.Definition, error) {
	options := f.options
	switch {
	case len(args) == 1 && isJobFile(args[0]):
		return coordinator.Define(args[0], options)
	case len(args) == 1 && isJobFolder(args[0]):
		return coordinator.Define(filepath.Join(args[0], "job.yaml"), options)
	}
	return coordinator.Define("", options)
}
