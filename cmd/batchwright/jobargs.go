package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker/messages"
)

// jobFlags are the flags by which every command that works on a job finds it.
type jobFlags struct {
	vars      map[string]string
	options   jobs.Options
	state     string
	simulated bool
	jobStore  string // what the job file says of a store
}

func (f *jobFlags) add(flags *pflag.FlagSet) {
	addVarFlag(flags, &f.vars)
	flags.StringArrayVar(&f.options.Set, "set", nil, "change a key of the job, as request.model=NAME; repeatable")
	flags.StringVarP(&f.options.Output, "output", "o", "", "output file (.jsonl .jsonl.gz .jsonl.zst .parquet), or folder ending in / (.parquet/ for Parquet)")
	flags.StringVar(&f.options.Model, "model", "", "model, as claude-haiku-4-5-20251001")
	flags.StringVar(&f.options.Prompt, "prompt", "", "prompt, a template: 'Summarise: {{.text}}'")
	flags.StringVar(&f.options.System, "system", "", "system prompt, a template")
	flags.Int64Var(&f.options.MaxTokens, "max-tokens", 0, "most tokens of an answer")
	f.addState(flags)
	flags.BoolVar(&f.simulated, "simulate", false, "work on the rehearsal of the job, against a simulator in this process: no key, no cost")
}

func (f *jobFlags) addState(flags *pflag.FlagSet) {
	flags.StringVar(&f.state, "state", "", "folder for the state of runs (default .batchwright beside the job file), or URL of a store that keeps it too (file:///mnt/shared/state); env BATCHWRIGHT_STATE")
}

// checkSimulatorFlags refuses flags of the simulator without --simulate: the calls would be real.
func (f *jobFlags) checkSimulatorFlags(flags *pflag.FlagSet) error {
	var stray error
	flags.Visit(func(flag *pflag.Flag) {
		if strings.HasPrefix(flag.Name, rehearsalPrefix) && !f.simulated {
			stray = usageError(fmt.Errorf("--%s belongs to a rehearsal: add --simulate, or leave it out to make real calls", flag.Name))
		}
	})
	return stray
}

// load reads the job that the arguments name: one job file, or input files with the rest in flags.
func (f *jobFlags) load(args []string) (*jobs.Job, error) {
	f.options.Vars = f.vars
	var job *jobs.Job
	var err error
	switch {
	case len(args) == 1 && isJobFile(args[0]):
		job, err = jobs.Load(args[0], f.options)
	case len(args) == 1 && isJobFolder(args[0]):
		job, err = jobs.Load(filepath.Join(args[0], "job.yaml"), f.options)
	case slices.ContainsFunc(args, isJobFile):
		return nil, usageError(fmt.Errorf("a job file takes no further arguments, and there are %d: name the input in it, or with --set input=PATH", len(args)))
	case len(args) > 0:
		f.options.Input = args
		job, err = jobs.New(f.options)
	default:
		return nil, usageError(errors.New("name a job file, or input files: batchwright run reviews.jsonl -o out.jsonl --model M --prompt '…{{.text}}…'"))
	}
	if err != nil {
		return nil, usageError(err)
	}
	f.jobStore = job.State
	return job, nil
}

func isJobFile(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".yaml" || ext == ".yml"
}

func isJobFolder(path string) bool {
	about, err := os.Stat(filepath.Join(path, "job.yaml"))
	return err == nil && !about.IsDir()
}

// stateOf is the state folder of a job.
func (f *jobFlags) stateOf(job *jobs.Job) coordinator.State {
	return coordinator.StateOf(f.stateRoot(job.Dir), job.Name, f.simulated)
}

func (f *jobFlags) stateRoot(dir string) string {
	for _, root := range []string{f.state, os.Getenv("BATCHWRIGHT_STATE")} {
		if root != "" && !isURL(root) {
			return root
		}
	}
	return filepath.Join(dir, ".batchwright")
}

// find is the state folder of a job that is named by its job file or by its name.
func (f *jobFlags) find(arg string) (coordinator.State, error) {
	if isJobFile(arg) || isJobFolder(arg) {
		job, err := f.load([]string{arg})
		if err != nil {
			return coordinator.State{}, err
		}
		return f.stateOf(job), nil
	}
	name := arg
	state := coordinator.StateOf(f.stateRoot("."), name, f.simulated)
	if _, err := os.Stat(state.Dir); err != nil && f.storeURL() == "" {
		return state, usageError(fmt.Errorf("there is no run of %q in %s: give its job file, or the folder of its state with --state",
			name, filepath.Dir(state.Dir)))
	}
	return state, nil
}

// baseURL is the API's address: the job's, else the environment's, else the service's.
func baseURL(job *jobs.Job) string {
	if job.API.BaseURL != "" {
		return strings.TrimRight(job.API.BaseURL, "/")
	}
	return defaultBaseURL(os.Getenv)
}

// defaultBaseURL is where calls go when nobody says otherwise.
func defaultBaseURL(env func(string) string) string {
	if address := env("ANTHROPIC_BASE_URL"); address != "" {
		return strings.TrimRight(address, "/")
	}
	return messages.DefaultBaseURL
}
