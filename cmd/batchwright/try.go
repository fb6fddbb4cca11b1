package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/simulator"
)

type tryFlags struct {
	jobFlags
	records   int
	asJSON    bool
	simulator simulator.Options
}

// Bounds on -n: a sample is held in memory, and what is larger is a run.
const (
	triedByDefault = 20
	mostTried      = 10_000
)

func newTryCommand() *cobra.Command {
	f := &tryFlags{}
	command := &cobra.Command{
		Use:   "try JOB.yaml | try INPUT… -o OUTPUT --model M --prompt P",
		Short: "Answer a stable random sample, readably: prompt, answer, cost, projected total",
		Long: `Answer a random sample of the input, the same records each time, to see a prompt at work before all of it is paid
for. Answers are kept: after a change of the prompt the difference to the last answer is shown, an unchanged request
is not paid for again, and run uses the answers too.`,
		Example: `  batchwright try job.yaml
  batchwright try job.yaml -n 5 --set request.model=claude-haiku-4-5-20251001
  batchwright try job.yaml --json | jq 'select(.changed)'`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.checkSimulatorFlags(c.Flags()); err != nil {
				return err
			}
			return f.try(c.Context(), args, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := command.Flags()
	f.add(flags)
	flags.IntVarP(&f.records, "number", "n", triedByDefault, "try so many records")
	flags.BoolVar(&f.asJSON, "json", false, "print a JSON object for each record on standard output")
	addRehearsalFlags(flags, &f.simulator)
	return command
}

func (f *tryFlags) try(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if f.records < 1 || f.records > mostTried {
		return usageError(errors.New("-n must be from 1 to 10,000; to answer more, run the job"))
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(stderr, nil)))
	job, state, err := f.open(args)
	if err != nil {
		return err
	}
	calls, err := openEndpoint(ctx, job, f.simulated, f.simulator)
	if err != nil {
		return err
	}
	defer calls.close()
	slots := job.Limits.Concurrency
	if slots == 0 {
		slots = worker.DefaultConcurrency
	}
	try, err := coordinator.PrepareTry(ctx, coordinator.TryOptions{
		Job: job, State: state, BaseURL: calls.baseURL, Records: f.records, Slots: slots, Simulated: f.simulated,
	})
	if errors.Is(err, coordinator.ErrTrying) {
		return &exitError{exitOwned, err}
	}
	if err != nil {
		return err
	}
	shown := tryScreen{out: stdout, asJSON: f.asJSON, style: styleFor(stdout)}
	outcome, interrupted, err := f.execute(ctx, try, calls, &shown)
	if err = errors.Join(err, try.Close()); err != nil {
		return err
	}
	end := stdout
	if f.asJSON {
		end = stderr
	}
	if err := writeTryEnd(end, job, &outcome, f.simulated); err != nil {
		return err
	}
	switch {
	case outcome.Blocked != "":
		return &exitError{code: exitBlocked}
	case interrupted:
		return &exitError{code: exitInterrupted}
	}
	return nil
}

// execute runs the try with a worker and a Redis in this process. A first signal lets the calls in flight end, a
// second one ends them.
func (f *tryFlags) execute(ctx context.Context, try *coordinator.Try, calls *endpoint, screen *tryScreen,
) (outcome coordinator.TryOutcome, interrupted bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	redis := courier.StartEmbedded()
	defer redis.Close() //nolint:errcheck // it holds nothing that is needed
	if err := try.Own(ctx, redis.Client()); err != nil {
		return outcome, false, err
	}
	calling, err := worker.Start(ctx, redis.Client(), worker.Options{
		Only: try.ID(), Caller: calls.caller, Slots: calls.slots, Poll: 20 * time.Millisecond,
	})
	if err != nil {
		return outcome, false, err
	}
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		interrupted = watchTry(ctx, ended, try, calling, cancel)
	}()
	outcome, err = try.Execute(ctx, screen.show)
	calling.Drain(ctx)
	close(ended)
	<-watched
	if interrupted && errors.Is(err, context.Canceled) {
		err = nil
	}
	return outcome, interrupted, err
}

func watchTry(ctx context.Context, ended <-chan struct{}, try *coordinator.Try, calling *worker.Worker, cancel context.CancelFunc) bool {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	select {
	case <-ended:
		return false
	case <-signals:
		slog.InfoContext(ctx, "stopping: calls in flight are being finished; a second signal ends them at once")
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		try.Stop()
		calling.Drain(ctx)
	}()
	select {
	case <-ended:
	case <-signals:
		calling.Abort()
		cancel()
	}
	<-drained
	return true
}

// styleFor is how a writer's text may look: plain unless it is a terminal.
func styleFor(w io.Writer) style {
	if file, ok := w.(*os.File); ok && isTerminal(file) {
		return styleOf(os.Getenv)
	}
	return style{}
}
