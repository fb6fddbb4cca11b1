package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/messages"
)

// workerFlags are those of the worker command.
type workerFlags struct {
	redisFlags
	baseURLs    []string
	keyEnv      string
	concurrency int
	grace       time.Duration
	logFormat   string
	longest     time.Duration // timeout of a call of the runs that were joined
	longestMu   sync.Mutex
	secret      messages.Secret
	metrics     metricsServer
}

func newWorkerCommand() *cobra.Command {
	f := &workerFlags{}
	command := &cobra.Command{
		Use:   "worker --redis URL",
		Short: "Make calls for any run on a Redis",
		Long: `Make calls for all runs that have a coordinator on this Redis ("batchwright run JOB --redis URL"), as they come and
go. A worker needs Redis and a credential, and neither input nor output. Start as many as you like, stop them at any time.

The credential is read from ANTHROPIC_API_KEY, or from the variable that --key-env names, or from the file that the
variable with _FILE after its name names. It is sent only to https://api.anthropic.com, or to the addresses given with
--base-url or ANTHROPIC_BASE_URL: never to one that came through Redis.

With --metrics it tells Prometheus of calls, latencies, tokens and limits; docs/operations.md lists all of it, with alerts.
It has no health check, on purpose: a worker that waits for Redis or the API is well, and restarting it mends nothing.

SIGTERM or Ctrl-C: calls in flight are finished, for --grace at most, and all else is given back at once. A second
signal ends the calls.`,
		Example: `  export BATCHWRIGHT_REDIS=redis://queue:6379
  batchwright worker
  batchwright worker --metrics :9090
  batchwright worker --concurrency 256 --base-url https://gateway.example/v1-proxy --key-env GATEWAY_KEY`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context()) },
	}
	flags := command.Flags()
	f.add(flags)
	flags.IntVar(&f.concurrency, "concurrency", worker.DefaultConcurrency, "calls at once, over all runs")
	flags.DurationVar(&f.grace, "grace", 0, "how long calls in flight may take to end after SIGTERM (default the longest call timeout of its runs, and 30s)")
	flags.StringArrayVar(&f.baseURLs, "base-url", nil, "`URL` of an API that the credential may be sent to; repeatable")
	flags.StringVar(&f.keyEnv, "key-env", "", "`VARIABLE` that holds the credential (default ANTHROPIC_API_KEY, then ANTHROPIC_AUTH_TOKEN)")
	flags.StringVar(&f.logFormat, "log-format", "text", "format of the log: text or json")
	f.metrics.add(flags)
	return command
}

func (f *workerFlags) run(ctx context.Context) error {
	log, err := newLogger(os.Stderr, f.logFormat)
	if err != nil {
		return usageError(err)
	}
	slog.SetDefault(log)
	if f.concurrency < 1 {
		return usageError(fmt.Errorf("--concurrency %d: a worker makes at least one call at once", f.concurrency))
	}
	if len(f.baseURLs) == 0 {
		f.baseURLs = []string{defaultBaseURL(os.Getenv)}
	}
	if f.secret, err = messages.ReadSecret(os.Getenv, f.keyEnv); err != nil {
		return usageError(f.keyless(err))
	}
	if err := f.checkBaseURLs(); err != nil {
		return usageError(err)
	}
	if err := f.metrics.listen(ctx); err != nil {
		return err
	}
	defer f.metrics.close(ctx)
	rdb, cipher, err := f.connect(ctx, os.Getenv, math.MaxInt64)
	if err != nil {
		return err
	}
	defer rdb.Close() //nolint:errcheck // the process ends
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	w, err := worker.Start(ctx, rdb, worker.Options{Caller: f.caller, Slots: f.concurrency, Cipher: cipher})
	if err != nil {
		return err
	}
	f.metrics.also(workerMetrics{w})
	slog.InfoContext(ctx, "worker ready", slog.Int("concurrency", f.concurrency), slog.String("base_urls", strings.Join(f.baseURLs, " ")))
	<-signals
	grace := f.graceNow()
	slog.InfoContext(ctx, "draining: calls in flight are being finished; a second signal ends them at once",
		slog.Duration("grace", grace))
	draining, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		w.Drain(draining)
	}()
	select {
	case <-drained:
		return nil
	case <-signals:
		slog.WarnContext(ctx, "ending calls in flight: they may be paid for again")
		cancel() // nor are results that Redis does not take soon waited for
	case <-draining.Done():
		slog.WarnContext(ctx, "the grace is over: ending calls in flight")
	}
	w.Abort()
	<-drained
	return nil
}

// keyless says what a worker without a credential can do: it has no simulator of its own.
func (f *workerFlags) keyless(err error) error {
	if !errors.Is(err, messages.ErrNoSecret) {
		return err
	}
	return fmt.Errorf("%w: set %s, or the same with _FILE after its name to a file that holds it; "+
		"to rehearse, let batchwright simulate be the API, which takes any", messages.ErrNoSecret, cmp.Or(f.keyEnv, "ANTHROPIC_API_KEY"))
}

// checkBaseURLs refuses addresses that no call can be made to, before they are logged: one may hold a password.
func (f *workerFlags) checkBaseURLs() error {
	for _, address := range f.baseURLs {
		if address == "" {
			return errors.New("--base-url is empty: leave it out, or write it as https://host")
		}
		if err := messages.CheckBaseURL(address); err != nil {
			return fmt.Errorf("--base-url or ANTHROPIC_BASE_URL: %w", err)
		}
	}
	return nil
}

// caller makes the caller for a run, whose terms came through Redis: the credential goes nowhere that this process was
// not started with.
func (f *workerFlags) caller(terms courier.Terms) (worker.Caller, error) {
	if !slices.ContainsFunc(f.baseURLs, func(address string) bool { return sameURL(address, terms.BaseURL) }) {
		return nil, fmt.Errorf("its calls go to %.200q, and this worker sends its credential only to %s: to serve the run start a worker "+
			"with --base-url and that address", shown(terms.BaseURL), strings.Join(f.baseURLs, ", "))
	}
	client, err := messages.New(messages.Options{
		BaseURL: terms.BaseURL, Version: terms.APIVersion, Beta: terms.Beta, Stream: terms.Stream, Timeout: terms.Timeout,
		Secret: f.secret, MaxConns: 2 * f.concurrency, UserAgent: "batchwright/" + version(),
	})
	if err != nil {
		return nil, err
	}
	f.longestMu.Lock()
	f.longest = max(f.longest, cmp.Or(terms.Timeout, messages.DefaultTimeout))
	f.longestMu.Unlock()
	return client, nil
}

// drainSlack is how much longer than its longest call a drain may take.
const drainSlack = 30 * time.Second

// graceNow is how long a drain may take.
func (f *workerFlags) graceNow() time.Duration {
	if f.grace > 0 {
		return f.grace
	}
	f.longestMu.Lock()
	defer f.longestMu.Unlock()
	return min(f.longest, math.MaxInt64-drainSlack) + drainSlack // a timeout from Redis may be any number
}

// sameURL compares addresses but for a slash at their end.
func sameURL(a, b string) bool { return strings.TrimRight(a, "/") == strings.TrimRight(b, "/") }

// shown is an address as people may see it: without the parts that can hold a credential.
func shown(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "what is no URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
