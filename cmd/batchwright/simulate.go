package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/batchwright/batchwright/worker/simulator"
)

// rehearsalPrefix begins the names of the simulator's flags where it is one in the process.
const rehearsalPrefix = "sim-"

// addRehearsalFlags registers the simulator's flags for commands that have --simulate, which says where they are listed: there
// are more of them than of all others.
func addRehearsalFlags(flags *pflag.FlagSet, o *simulator.Options) {
	addSimulatorFlags(flags, o, rehearsalPrefix)
	flags.VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = flag.Hidden || strings.HasPrefix(flag.Name, rehearsalPrefix)
	})
	flags.Lookup("simulate").Usage += "; --sim-NAME VALUE does what --NAME VALUE does to batchwright simulate, whose --help lists them"
}

// addSimulatorFlags registers the flags that set the simulator's behaviour, each name begun with prefix ("" or "sim-").
func addSimulatorFlags(flags *pflag.FlagSet, o *simulator.Options, prefix string) {
	name := func(s string) string { return prefix + s }

	flags.DurationVar(&o.Latency, name("latency"), o.Latency,
		"median time to an answer, as 800ms; 0 answers at once")
	flags.Float64Var(&o.LatencySigma, name("latency-sigma"), o.LatencySigma,
		"spread of the latency (lognormal): 0 is fixed; at 0.5 one call in twenty takes over 2.3 times the median, at 1 over 5 times")
	flags.DurationVar(&o.TokenTime, name("token-time"), o.TokenTime,
		"time added for each output token, as 10ms; streams are spread over it")
	flags.Var(&o.Slow, name("slow"), "share of calls that take much longer, as 1%")
	flags.Float64Var(&o.SlowFactor, name("slow-factor"), o.SlowFactor, "how many times as long slow calls take (default 10)")
	flags.Var(&o.Hang, name("hang"), "share of calls that are never answered, as 0.1%: they end by your own timeout")

	flags.Int64Var(&o.RequestsPerMinute, name("requests-per-minute"), o.RequestsPerMinute,
		"rate limit; calls over it are answered 429 with retry-after, as by the service; 0 is none")
	flags.Int64Var(&o.InputTokensPerMinute, name("input-tokens-per-minute"), o.InputTokensPerMinute,
		"rate limit of input tokens; reads from the prompt cache do not count; 0 is none")
	flags.Int64Var(&o.OutputTokensPerMinute, name("output-tokens-per-minute"), o.OutputTokensPerMinute,
		"rate limit of output tokens, counted as they are written; 0 is none")
	flags.DurationVar(&o.Burst, name("burst"), o.Burst,
		"how much of a limit may be used at once, as the time in which it refills (default 10s); 1m lets a whole minute's limit through at once")
	flags.DurationVar(&o.Ramp, name("ramp"), o.Ramp,
		"time in which the request limit grows from a tenth to its full height, as for an organization whose traffic grows suddenly; 0 is off")

	flags.Var(&o.LimitHeaders, name("limit-headers"),
		"what answers tell of the limits: all (the service's anthropic-ratelimit headers; default), none (retry-after alone, as most "+
			"gateways and self-hosted servers), silent (not even that), jump (another account's from answer to answer), nonsense (values that cannot be)")
	flags.IntVar(&o.Parallel, name("parallel"), o.Parallel,
		"calls that are worked on at once, the others queue, as at a self-hosted server; 0 is any number")

	flags.Var(&o.Errors, name("errors"),
		"share of calls that fail, by kind, as 529=1%,500=0.5%,reset=0.1%; drawn for each call, so that a retry can succeed; "+
			"kinds: any status from 400 to 599, reset (connection broken), cut (half an answer), empty, html, error200 (an error with status 200)")
	flags.Var(&o.Deterministic, name("deterministic"),
		"like errors, but drawn from the request: the same record fails every time, as 500=0.1%")
	flags.Var(&o.Outages, name("outage"),
		"windows in which no call succeeds, as 30s@2m (for 30 s, 2 minutes after the start) or 30s@2m:reset; default kind 529")
	flags.Int64Var(&o.SpendCap, name("spend-cap"), o.SpendCap,
		"number of calls after which the spend cap of the account is reached; 0 is none")
	flags.IntVar(&o.SpendCapStatus, name("spend-cap-status"), o.SpendCapStatus,
		"how a reached cap is answered: 429 (the tier's cap, the default) or 400 (a limit that one has set oneself)")

	flags.Var(&o.Refuse, name("refuse"), "share of requests that the model declines (stop_reason refusal), the same ones each time")
	flags.Var(&o.Truncate, name("truncate"), "share of requests whose answer is cut by max_tokens, the same ones each time")
	flags.IntVar(&o.AnswerTokens, name("answer-tokens"), o.AnswerTokens,
		"median length of plain-text answers in tokens (default 60); answers to a JSON schema are as long as the schema asks")

	flags.StringVar(&o.Key, name("key"), o.Key, "the only key that is accepted; by default any is, so that no real one is needed")
	flags.BoolVar(&o.AnyModel, name("any-model"), o.AnyModel, "accept every model name, not just those that begin with claude")
	flags.Uint64Var(&o.Seed, name("seed"), o.Seed, "start of the draws of latencies and faults; answers depend on the request alone")
}

// newSimulateCommand is the command simulate: the simulator as a server, until it is interrupted.
func newSimulateCommand() *cobra.Command {
	var options simulator.Options
	var addr string
	command := &cobra.Command{
		Use:   "simulate",
		Short: "Serve a simulated Messages API to rehearse with, without a key or cost",
		Long: `Serve a simulated Messages API on this machine, until Ctrl-C.

Answers fit the request (with a JSON schema: an instance of it), are the same for the same request, and have
ids that begin with msg_sim, so that nobody takes them for a model's. Rate limits, latency and everything that goes wrong in practice are set by flags.
The URL goes to standard output; counts of what was served are at URL` + simulator.StatsPath + ` and are printed at the end.`,
		Example: `  # what a small account meets on a bad day
  batchwright simulate --requests-per-minute 1000 --latency 800ms --latency-sigma 0.6 --errors 529=2%,500=0.5%,cut=0.1%

  # in another terminal
  ANTHROPIC_BASE_URL=http://127.0.0.1:8787 ANTHROPIC_API_KEY=any batchwright run job.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			server, err := simulator.Listen(ctx, addr, options)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), server.URL); err != nil {
				return fmt.Errorf("write the address: %w", errors.Join(err, server.Close()))
			}
			cmd.PrintErrf("Simulated Messages API. Use it with:\n  export ANTHROPIC_BASE_URL=%s ANTHROPIC_API_KEY=%s\nCtrl-C ends it.\n", server.URL, cmp.Or(options.Key, "any"))
			<-ctx.Done()
			if err := server.Close(); err != nil {
				return err
			}
			counts, err := json.MarshalIndent(server.Stats(), "", "  ")
			if err != nil {
				return fmt.Errorf("encode stats: %w", err)
			}
			cmd.PrintErrf("%s\n", counts)
			return nil
		},
	}
	command.Flags().StringVar(&addr, "addr", "127.0.0.1:8787", "address to listen on; port 0 picks a free one")
	command.Flags().BoolVar(&options.Record, "record", false,
		"count as repeated the answers to requests that had been answered before; takes about 50 bytes of memory per request")
	addSimulatorFlags(command.Flags(), &options, "")
	return command
}
