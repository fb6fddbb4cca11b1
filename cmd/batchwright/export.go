package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
)

type exportFlags struct {
	jobFlags
	path      string
	overwrite bool
}

func newExportCommand() *cobra.Command {
	f := &exportFlags{}
	command := &cobra.Command{
		Use:   "export JOB.yaml -o FILE | export NAME -o FILE",
		Short: "Write a run's output again, in another format or with other columns; no calls",
		Long: `Write the output of a run again from its journal: as another format, with other columns, or what there is of a
run that is not complete. Records without a result are left out. It makes no calls and changes nothing of the run,
so it can be used while the run is on.`,
		Example: `  batchwright export job.yaml -o answers.parquet
  batchwright export job.yaml -o - --set 'columns.keep=[]' | head
  batchwright export tickets-2026-11-22 -o all.jsonl.zst --set 'columns.add={raw: .text}'`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.export(c.Context(), args, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := command.Flags()
	f.addNamed(flags)
	flags.StringVarP(&f.path, "output", "o", "", "file to write (.jsonl .jsonl.gz .jsonl.zst .parquet), or - for JSONL on standard output")
	flags.BoolVar(&f.overwrite, "overwrite", false, "replace the file if it exists")
	return command
}

func (f *exportFlags) export(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if f.path == "" {
		return usageError(errors.New("name the file to write: -o answers.parquet, or -o - for standard output"))
	}
	if f.path != "-" && exists(f.path) && !f.overwrite {
		return usageError(fmt.Errorf("%s exists already: choose another file, or replace it with --overwrite", f.path))
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	state, err := f.find(args[0])
	if err != nil {
		return err
	}
	state, finished, err := f.newest(ctx, state)
	if err != nil {
		return err
	}
	defer finished()
	job, err := f.exported(args, state)
	if err != nil {
		return err
	}
	options := coordinator.ExportOptions{Job: job, State: state, Path: f.path}
	if f.path == "-" {
		options.Path, options.Stream = "", stdout
	}
	done, err := coordinator.Export(ctx, options)
	var changed *coordinator.InputChangedError
	switch {
	case errors.As(err, &changed):
		return &exitError{exitChanged, err}
	case errors.Is(err, context.Canceled):
		return &exitError{exitInterrupted, errors.New("interrupted; nothing was written")}
	case err != nil:
		return err
	}
	text := formatNumber(done.Records, "record") + " written to " + f.path
	switch left := done.Total - done.Records; {
	case !done.TotalKnown:
		text += "; the run has not counted its input yet"
	case left > 0:
		text += "; " + formatCount(left) + " have no result yet"
	}
	if _, err := fmt.Fprintln(stderr, text); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	if manifest, err := state.Manifest(); err == nil && !manifest.Finished.IsZero() && done.Records < done.Total {
		return fmt.Errorf("the run is complete, and the results of %s are gone from its state folder %s",
			formatNumber(done.Total-done.Records, "record"), state.Dir)
	}
	return nil
}

// exported is the job as it is now; an output that it lacks makes no difference here.
func (f *exportFlags) exported(args []string, state coordinator.State) (*jobs.Job, error) {
	if f.names(args[0]) {
		return f.reload(state)
	}
	f.options.Output = "export.jsonl"
	return f.load(args)
}
