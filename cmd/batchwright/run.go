package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/messages"
	"github.com/batchwright/batchwright/worker/simulator"
)

// runFlags are those of the run command beside the job's own.
type runFlags struct {
	jobFlags
	redisFlags
	noWorker                           bool
	fresh, acceptFailures, strict, yes bool
	quiet, asJSON                      bool
	summaryFile, logFormat             string
	waitLock                           time.Duration
	simulator                          simulator.Options
	metrics                            metricsServer
}

func newRunCommand() *cobra.Command {
	f := &runFlags{}
	command := &cobra.Command{
		Use:   "run JOB.yaml | run INPUT… -o OUTPUT --model M --prompt P",
		Short: "Run a job to its end; run again, it continues where it stopped",
		Long: `Run a job to its end. Stopped at any moment, by Ctrl-C, kill -9 or a power cut, the same command continues
where it stopped: answers that are on disk are never paid for again.

Alone it is one process that needs nothing else. With --redis, or BATCHWRIGHT_REDIS set, it hands the work out to all
workers on that Redis ("batchwright worker") and works itself as well, unless --no-worker is given.

With --metrics it tells Prometheus how the run goes: records by status and reason, spend, what limits bind, latencies.
docs/operations.md lists all of it, with alerts.

Exit codes: 0 complete · 1 failed · 2 usage or job file · 3 complete, with more failed records than
limits.max_failed · 4 blocked until a person acts · 5 another process runs this job · 6 the job changed since
the run began · 7 out of limits.max_time · 130, 143 interrupted.`,
		Example: `  batchwright run examples/classify/job.yaml --simulate
  batchwright run nightly.yaml --var date=2026-11-22
  batchwright run nightly.yaml --redis redis://queue:6379 --no-worker
  batchwright run nightly.yaml --metrics 127.0.0.1:9090
  batchwright run reviews.jsonl -o out.jsonl --model claude-haiku-4-5-20251001 --prompt 'Is this positive? {{.text}}'`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.checkSimulatorFlags(c.Flags()); err != nil {
				return err
			}
			return f.run(c.Context(), args, c.OutOrStdout())
		},
	}
	flags := command.Flags()
	f.jobFlags.add(flags)
	f.redisFlags.add(flags)
	flags.BoolVar(&f.noWorker, "no-worker", false, "make no calls in this process: workers on --redis make them; needs no credential")
	flags.BoolVar(&f.fresh, "fresh", false, "set an earlier run of this job aside and begin anew; what Redis holds of it stays there for up to 7 days")
	flags.BoolVar(&f.acceptFailures, "accept-failures", false, "go on although the first records were all refused alike")
	flags.BoolVar(&f.strict, "strict", false, "refuse input with records that can't be read or asked before any call")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask before a job that is forecast to cost over $10")
	flags.DurationVar(&f.waitLock, "wait-lock", 0, "wait so long for another process that runs this job")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	flags.BoolVar(&f.asJSON, "json", false, "print the summary as JSON on stdout")
	flags.StringVar(&f.summaryFile, "summary", "", "write the summary as JSON to this file")
	flags.StringVar(&f.logFormat, "log-format", "text", "format of the log: text or json")
	f.metrics.add(flags)
	addRehearsalFlags(flags, &f.simulator)
	return command
}

func (f *runFlags) run(ctx context.Context, args []string, stdout io.Writer) error {
	screen := newProgress(os.Stderr, f.quiet, os.Getenv)
	log, err := newLogger(screen, f.logFormat)
	if err != nil {
		return usageError(err)
	}
	slog.SetDefault(log)
	if err := f.metrics.listen(ctx); err != nil {
		return err
	}
	defer f.metrics.close(ctx)
	if _, err := os.Stat(filepath.Dir(f.summaryFile)); err != nil { // hours later it would be too late to say so
		return usageError(fmt.Errorf("--summary %s: %w", f.summaryFile, err))
	}
	job, state, err := f.open(args)
	if err != nil {
		return err
	}
	fleet := f.given(os.Getenv)
	if f.noWorker && !fleet {
		return usageError(errors.New("--no-worker leaves the calls to workers on a Redis: give --redis URL or set " + redisEnv))
	}
	if f.noWorker && f.simulated {
		return usageError(errors.New("--simulate simulates the API in this process, for a worker in it: leave out --no-worker, " +
			"or start batchwright simulate and give its address as api.base_url"))
	}
	calls := &endpoint{baseURL: baseURL(job), slots: worker.DefaultConcurrency}
	if !f.noWorker {
		calls, err = openEndpoint(ctx, job, f.simulated, f.simulator)
	} else if err = messages.CheckBaseURL(calls.baseURL); err != nil {
		err = usageError(err)
	}
	if err != nil {
		return err
	}
	defer calls.close()
	lock, err := lockState(ctx, state, f.waitLock)
	if err != nil {
		return err
	}
	defer lock.Unlock() //nolint:errcheck // the process ends
	mirror, release, err := f.claim(ctx, state, f.waitLock)
	if err != nil {
		return err
	}
	defer release()
	definition, err := f.definition(args)
	if err != nil {
		return err
	}
	run, err := coordinator.Prepare(ctx, coordinator.Options{
		Job: job, State: state, Definition: definition, BaseURL: calls.baseURL, Window: coordinator.WindowFor(calls.slots), Simulated: f.simulated,
		Fresh: f.fresh, AcceptFailures: f.acceptFailures, Strict: f.strict, Mirror: mirror,
	})
	if err != nil {
		return err
	}
	f.metrics.also(runMetrics{run.Progress, job.Limits.Budget})
	if run.Finished() {
		defer run.Close() //nolint:errcheck // nothing was written
		if p := run.Progress(); !exists(p.Output) {
			slog.WarnContext(ctx, "the output is gone; export writes it again from the journal, without calls",
				slog.String("output", p.Output))
		}
		return f.report(stdout, job, coordinator.Outcome{Complete: true, Progress: run.Progress()}, stopCause{})
	}
	if err := f.confirm(run, screen); err != nil {
		return errors.Join(err, run.Close())
	}
	outcome, cause, err := f.execute(ctx, run, calls, job, lock, state, screen, log)
	if err != nil {
		return err
	}
	return f.report(stdout, job, outcome, cause)
}

// stopCause is why a run was told to stop; the zero value when it was not.
type stopCause struct {
	signal  os.Signal
	timeout bool
}

// execute coordinates the run until it ends or is told to stop, and works for it in this process unless workers elsewhere
// are to do all.
func (f *runFlags) execute(ctx context.Context, run *coordinator.Run, calls *endpoint, job *jobs.Job,
	lock *coordinator.Lock, state coordinator.State, screen *progress, log *slog.Logger,
) (coordinator.Outcome, stopCause, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rdb, cipher, err := f.courier(ctx, lock, state)
	if err != nil {
		return coordinator.Outcome{}, stopCause{}, errors.Join(err, run.Close())
	}
	defer rdb.Close() //nolint:errcheck // what it holds is needed no more, or is for others
	embedded := !f.given(os.Getenv)
	if err := run.Own(ctx, rdb, coordinator.OwnOptions{Embedded: embedded, Cipher: cipher}); err != nil {
		return coordinator.Outcome{}, stopCause{}, errors.Join(err, run.Close())
	}
	calling := local(nobody{})
	if !f.noWorker {
		w, err := worker.Start(ctx, rdb, worker.Options{
			Only: run.ID(), Caller: calls.caller, Slots: calls.slots, Poll: pollOf(embedded), Cipher: cipher,
		})
		if err != nil {
			return coordinator.Outcome{}, stopCause{}, err
		}
		calling = w
		f.metrics.also(workerMetrics{w})
	}
	var cause stopCause
	watching, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		cause = f.watch(ctx, watching, job.Limits.MaxTime, run, calling, cancel)
	}()
	shown, hide := context.WithCancel(ctx)
	absent := noWorkers(calls.baseURL, cipher != nil)
	showing := make(chan struct{})
	go func() {
		defer close(showing)
		screen.follow(shown, log, func() snapshot { return snapshotOf(run.Progress(), calling.Stats(), absent) })
	}()
	outcome, err := run.Execute(ctx)
	calling.Drain(ctx)
	hide()
	<-showing
	close(watching)
	<-done
	if embedded {
		// Calls of which no result came count as well.
		made := calling.Stats()
		outcome.Tally.Calls = outcome.Before.Calls + made.Calls
		outcome.Tally.Retries = outcome.Before.Retries + made.Retries
	}
	return outcome, cause, err
}

// local is the worker in this process.
type local interface {
	Drain(ctx context.Context)
	Abort()
	Stats() worker.Stats
}

// nobody is the worker of a process that only coordinates.
type nobody struct{}

func (nobody) Drain(context.Context) {}
func (nobody) Abort()                {}
func (nobody) Stats() worker.Stats   { return worker.Stats{} }

// redisPatience is how long a run waits for a Redis that does not answer: it may be starting as well, and a mistyped
// address must be told soon.
const redisPatience = time.Minute

// courier reaches the fleet's Redis, or starts one in this process.
func (f *runFlags) courier(ctx context.Context, lock *coordinator.Lock, state coordinator.State) (redis.UniversalClient, *courier.Cipher, error) {
	if f.given(os.Getenv) {
		return f.connect(ctx, os.Getenv, redisPatience)
	}
	embedded := courier.StartEmbedded()
	socket, err := state.Socket()
	if err == nil {
		err = errors.Join(embedded.Listen(ctx, socket), lock.Announce(socket))
	}
	if err != nil { // the run does without
		slog.WarnContext(ctx, "status, pause and stop will not find this run", slog.Any("error", err))
	}
	return embeddedClient{embedded.Client(), embedded}, nil, nil
}

// embeddedClient ends the Redis in this process with its client.
type embeddedClient struct {
	redis.UniversalClient
	server *courier.Embedded
}

// Close ends client and server.
func (e embeddedClient) Close() error { return e.server.Close() }

// pollOf is how often an idle worker looks for work: nobody else has to answer a Redis in the process.
func pollOf(embedded bool) time.Duration {
	if embedded {
		return 50 * time.Millisecond
	}
	return 0
}

// watch stops the run at a signal or when its time is over: first so that calls in flight are finished, at a second
// signal at once.
func (f *runFlags) watch(ctx context.Context, ended <-chan struct{}, maxTime time.Duration, run *coordinator.Run,
	calling local, cancel context.CancelFunc,
) stopCause {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	var timeout <-chan time.Time
	if maxTime > 0 {
		timer := time.NewTimer(maxTime)
		defer timer.Stop()
		timeout = timer.C
	}
	var cause stopCause
	select {
	case <-ended:
		return cause
	case cause.signal = <-signals:
		slog.InfoContext(ctx, "stopping: calls in flight are being finished; a second signal ends them at once")
	case <-timeout:
		cause.timeout = true
		slog.InfoContext(ctx, "out of time: calls in flight are being finished")
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		run.Stop(ctx)
		calling.Drain(ctx)
	}()
	select {
	case <-ended:
	case second := <-signals:
		cause.signal = second
		calling.Abort()
		cancel()
	}
	<-drained
	return cause
}

// report prints and writes the summary and turns the outcome into an exit code.
func (f *runFlags) report(stdout io.Writer, job *jobs.Job, outcome coordinator.Outcome, cause stopCause) error {
	if f.given(os.Getenv) {
		outcome.Blocked = blockedInFleet(outcome.Blocked)
	}
	s := summaryOf(job, outcome, cause, f.simulated)
	if f.asJSON {
		if err := s.writeJSON(stdout); err != nil {
			return err
		}
	} else if err := s.writeText(os.Stderr); err != nil {
		return err
	}
	if f.summaryFile != "" {
		if err := s.writeFile(f.summaryFile); err != nil {
			return err
		}
	}
	if s.ExitCode != exitComplete {
		return &exitError{code: s.ExitCode}
	}
	return nil
}

// lockState takes the job's state folder, waiting for another process that has it as long as the user wants.
func lockState(ctx context.Context, state coordinator.State, wait time.Duration) (*coordinator.Lock, error) {
	deadline := time.Now().Add(wait)
	for told := false; ; told = true {
		lock, err := state.Lock()
		var held *coordinator.HeldError
		if err == nil || !errors.As(err, &held) || time.Now().After(deadline) {
			return lock, err
		}
		if !told {
			slog.InfoContext(ctx, "waiting for the process that runs this job", slog.Int("pid", held.Holder.PID),
				slog.String("host", held.Holder.Host), slog.Duration("at_most", wait))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func newLogger(out io.Writer, format string) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(out, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(out, nil)), nil
	}
	return nil, fmt.Errorf("--log-format %q: choose text or json", format)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
