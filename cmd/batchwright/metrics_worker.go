package main

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/ratelimit"
	"github.com/batchwright/batchwright/worker"
)

// The metrics of the worker in this process.
var (
	callsTotal = counter("batchwright_calls_total",
		"Calls of the Messages API that have ended, by outcome: answered; failed for a reason that may pass (5xx, timeout, broken connection; tried again); "+
			"rate_limited (HTTP 429) and overloaded (HTTP 529), which cost no attempt; rejected (the same request would be refused again); "+
			"blocked (nothing passes until a person acts: key, spend cap); cancelled (cut off by the worker's own end, and perhaps billed). "+
			"The share of rate_limited should be small: the limiter learns where the limit is by meeting it now and then.",
		"outcome")
	callSeconds = prometheus.NewDesc("batchwright_call_duration_seconds",
		"How long calls took, from their start to the last byte of the answer, by outcome. Calls at once = calls a second × this.", []string{"outcome"}, nil)
	retriesTotal = counter("batchwright_call_retries_total",
		"Calls for a record that had been called before, in this process or, as far as the coordinator knows, in another.")
	tokensTotal = counter("batchwright_tokens_total",
		"Tokens that answers in this process took, as the API bills them, by type: input (neither read from nor written to the cache), output, cache_read, cache_write.",
		"type")
	callsInFlight = gauge("batchwright_calls_in_flight", "Calls for records that have started and not ended. Near batchwright_call_slots: the worker is full, and more workers, or --concurrency, help if the limits allow.")
	waitingNow    = gauge("batchwright_records_waiting", "Records that this worker holds and that wait for anything but a slot: a limit, a retry that is due later, the end of an outage or of a pause.")
	slotsNow      = gauge("batchwright_call_slots", "Calls that this worker makes at once at most (--concurrency). It makes up to twice as many while some have hung for over 30 s.")
	runsNow       = gauge("batchwright_runs", "Runs that this worker serves, by state: calling, paused (by a person), outage (the API fails, and is probed until it is back), "+
		"blocked (this worker withdrew: its key, or the account behind it, is refused until a person acts).", "state")

	limitLearned = gauge("batchwright_limit_learned_per_minute",
		"The limit as the API says it, in requests or tokens a minute. Absent while it does not say. "+aboutLimits, limitLabels("kind")...)
	limitEffective = gauge("batchwright_limit_effective_per_minute",
		"The limit that the fleet keeps, in requests or tokens a minute: what the API says or was found to allow, or what the job sets; headroom is off it. "+aboutLimits, limitLabels("kind")...)
	limitRemaining = gauge("batchwright_limit_remaining",
		"What the API last said to be left of the limit, in requests or tokens. Absent while it does not say. "+aboutLimits, limitLabels("kind")...)
	limitUsed = gauge("batchwright_limit_used_last_minute",
		"What calls of the whole fleet took of the limit in the last minute, in requests or tokens. Near the effective limit: it is the limit that sets the speed. "+aboutLimits, limitLabels("kind")...)
	limitConcurrency = gauge("batchwright_limit_concurrency",
		"Calls that the whole fleet makes at once at most; absent when any number may. "+aboutLimits, limitLabels()...)
	limitInFlight = gauge("batchwright_limit_calls_in_flight", "Calls of the whole fleet that are in flight under the limits. "+aboutLimits, limitLabels()...)
	limitWorkers  = gauge("batchwright_limit_workers", "Workers that share the limits. "+aboutLimits, limitLabels()...)
	limitHeadroom = gauge("batchwright_limit_headroom_ratio", "Share of the limits, 0 to 1, that is left to other users of the key at this hour. "+aboutLimits, limitLabels()...)
	limitBound    = gauge("batchwright_limit_bound",
		"1 for what the next call of this worker waits for, 0 for all else, by bound: requests, input, output, tokens, concurrency; hold (nobody calls before a time, after a 429 or 529); "+
			"redis (it does not answer, and without it no call may start). All 0: calls wait for no limit.", limitLabels("bound")...)
	limitHold      = gauge("batchwright_limit_hold_seconds", "For how much longer nobody may start a call, after a 429 or 529; 0 when anybody may.", limitLabels()...)
	limitExchanges = counter("batchwright_limit_exchanges_total", "Times that this worker asked Redis for its share of the limits. They bring load to Redis, not to calls: none waits for one.", limitLabels()...)
)

const aboutLimits = "All workers that share limits say the same: take max by (api, scope, run, kind), not sum."

// limitLabels are those of limits: api is where calls go, and scope the class of models, for the limits of a key; for
// those of a job its run, and scope is "job".
func limitLabels(more ...string) []string { return append([]string{"api", "scope", "run"}, more...) }

// calling is a worker as metrics read it.
type calling interface {
	Stats() worker.Stats
	Meters() worker.Meters
}

// workerMetrics turns what a worker counts into metrics when they are asked for: calls pay nothing for it.
type workerMetrics struct{ worker calling }

// Describe lists the metrics.
func (workerMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range []family{
		callsTotal, retriesTotal, tokensTotal, callsInFlight, waitingNow, slotsNow, runsNow, limitLearned, limitEffective, limitRemaining,
		limitUsed, limitConcurrency, limitInFlight, limitWorkers, limitHeadroom, limitBound, limitHold, limitExchanges,
	} {
		descs <- f.desc
	}
	descs <- callSeconds
}

// Collect tells what they are now.
func (w workerMetrics) Collect(to chan<- prometheus.Metric) {
	meters, stats := w.worker.Meters(), w.worker.Stats()
	for _, calls := range meters.Calls {
		to <- callsTotal.of(float64(calls.Count), calls.Outcome)
		if calls.Count > 0 { // or seven histograms would be told of, most of them empty
			to <- histogramOf(calls)
		}
	}
	to <- retriesTotal.of(float64(meters.Retries))
	tokens(to, tokensTotal, meters.Usage)
	to <- callsInFlight.of(float64(stats.InFlight))
	to <- waitingNow.of(float64(stats.Waiting))
	to <- slotsNow.of(float64(meters.Slots))
	for state, n := range meters.Runs {
		to <- runsNow.of(float64(n), state)
	}
	seen := make(map[[3]string]bool)
	for _, limits := range stats.Limits {
		labels := [3]string{labelOf(shownAPI(limits.BaseURL)), labelOf(limits.Scope), ""}
		if limits.Run != "" {
			labels = [3]string{"", "job", labelOf(limits.Run)}
		}
		if !seen[labels] { // two of the same name would make the whole scrape fail
			seen[labels] = true
			collectLimits(to, &limits, labels)
		}
	}
}

func collectLimits(to chan<- prometheus.Metric, limits *worker.KeptLimits, of [3]string) {
	labels := func(more ...string) []string { return append(of[:], more...) }
	for _, limit := range limits.Limits {
		kind := strings.TrimSuffix(limit.Kind, " tokens") // the words of status --json: requests, input, output, tokens
		if limit.Learned > 0 {
			to <- limitLearned.of(limit.Learned, labels(kind)...)
		}
		if limit.Effective > 0 {
			to <- limitEffective.of(limit.Effective, labels(kind)...)
		}
		if limit.Left != nil {
			to <- limitRemaining.of(*limit.Left, labels(kind)...)
		}
		to <- limitUsed.of(limit.Used, labels(kind)...)
	}
	if limits.Concurrency > 0 {
		to <- limitConcurrency.of(float64(limits.Concurrency), labels()...)
	}
	to <- limitInFlight.of(float64(limits.InFlight), labels()...)
	to <- limitWorkers.of(float64(limits.Workers), labels()...)
	to <- limitHeadroom.of(limits.Headroom, labels()...)
	for _, bound := range courier.Bounds {
		to <- limitBound.of(truth(bound == limits.Bound.String()), labels(bound)...)
	}
	hold := time.Duration(0)
	if limits.Bound == ratelimit.BoundByHold {
		hold = max(0, time.Until(limits.Until))
	}
	to <- limitHold.of(hold.Seconds(), labels()...)
	to <- limitExchanges.of(float64(limits.Exchanges), labels()...)
}

func histogramOf(calls worker.Calls) prometheus.Metric {
	buckets := make(map[float64]uint64, len(calls.Within))
	for most, n := range calls.Within {
		buckets[most.Seconds()] = n
	}
	m, err := prometheus.NewConstHistogram(callSeconds, calls.Count, calls.Took.Seconds(), buckets, calls.Outcome)
	if err != nil {
		return prometheus.NewInvalidMetric(callSeconds, err)
	}
	return m
}

// tokens tells of tokens by their type.
func tokens(to chan<- prometheus.Metric, f family, usage jobs.Usage, labels ...string) {
	for kind, n := range map[string]int64{
		"input": usage.Input, "output": usage.Output, "cache_read": usage.CacheRead, "cache_write": usage.CacheWrite(),
	} {
		to <- f.of(float64(n), append(slices.Clip(labels), kind)...)
	}
}

// shownAPI is an API's address as a label.
func shownAPI(address string) string {
	if address == "" {
		return ""
	}
	return strings.TrimRight(shown(address), "/")
}
