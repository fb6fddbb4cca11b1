package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
)

// The metrics of the run that this process coordinates. The label for the job's name is job_name: job is Prometheus' own.
var (
	runRecords = runGauge("records", "Records of the input, as far as it has been read; batchwright_run_records_counted is 1 as soon as that is all of it.")
	runCounted = runGauge("records_counted", "1 when batchwright_run_records is final, 0 while the input is still being read.")
	runDone    = runCounter("records_done_total",
		"Records that have their result in the journal, by status (succeeded, failed) and, for failed ones, reason (as in the output's _reason). It counts over all restarts of the run. "+
			"Its rate is the run's speed in records a second; a rate of 0 for long means that somebody should look.", "status", "reason")
	runReused  = runCounter("records_reused_total", "Records that were done without a call, with an answer that try had paid for.")
	runRepeats = runCounter("repeats_total", "Answers that were paid for and not needed, because another came first: what deaths of workers or the loss of Redis cost.")
	runUnknown = runGauge("repeats_unknown", "At most so many further calls may have been paid for in vain: those that nobody could count, because a kill came before.")
	runTokens  = runCounter("tokens_total", "Tokens of the answers in the journal, over the whole fleet and all restarts, by type.", "type")
	runSpend   = runCounter("spend_usd_total", "What the answers in the journal cost at list prices, in US dollars, over all restarts. It lacks batchwright_run_records_unpriced_total.")
	runPriced  = runCounter("records_unpriced_total", "Records with answers whose model has no known price.")
	runBudget  = runGauge("budget_usd", "The job's limits.budget_usd, in US dollars; absent without one. The run stops before it, when the next record could cost more than is left.")
	runOut     = runGauge("records_outstanding", "Records that are handed out to workers and not back: on their way in Redis, waiting at a worker, or in flight.")
	runWindow  = runGauge("window_records", "Records that may be outstanding at once. It follows the fleet (4 for each call at once, and 256); outstanding well below it: the input, the disk or the budget holds the run.")
	runBlocked = runGauge("blocked", "1 when a person must act before the run can go on: key, spend cap, budget, the same refusal again and again. The process soon ends with exit code 4 then: alert on that as well.")
	runPaused  = runGauge("paused", "1 when a person paused the run (batchwright pause).")
	runTrouble = runGauge("hindered", "1 when something hinders the coordinator: its disk or store is full or fails, or Redis is. It goes on by itself when that is over.")
	runWorkers = runGauge("workers", "Workers that serve the run, by their renewals of the last seconds, the one in this process included. 0 for long: start some.")
	runFlying  = runGauge("calls_in_flight", "Calls for the run in flight in the whole fleet.")
	runWaiting = runGauge("records_waiting", "Records of the run that wait at workers, in the whole fleet, for a limit, a retry, the API or the end of a pause.")
)

func runCounter(name, help string, labels ...string) family {
	return counter("batchwright_run_"+name, help, append([]string{"run", "job_name"}, labels...)...)
}

func runGauge(name, help string) family {
	return gauge("batchwright_run_"+name, help, "run", "job_name")
}

// runMetrics turns where a run stands into metrics when they are asked for.
type runMetrics struct {
	progress func() coordinator.Progress
	budget   jobs.Nanodollars // 0 for none
}

// Describe lists the metrics.
func (runMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range []family{
		runRecords, runCounted, runDone, runReused, runRepeats, runUnknown, runTokens, runSpend, runPriced, runBudget, runOut, runWindow,
		runBlocked, runPaused, runTrouble, runWorkers, runFlying, runWaiting,
	} {
		descs <- f.desc
	}
}

// Collect tells what they are now.
func (r runMetrics) Collect(to chan<- prometheus.Metric) {
	p := r.progress()
	tell := func(f family, value float64, labels ...string) {
		to <- f.of(value, append([]string{p.Run, p.Job}, labels...)...)
	}
	tell(runRecords, float64(p.Total))
	tell(runCounted, truth(p.TotalKnown))
	tell(runDone, float64(p.Tally.Succeeded), "succeeded", "")
	for _, reason := range jobs.Reasons {
		tell(runDone, float64(p.Tally.Failed[reason]), "failed", string(reason))
	}
	tell(runReused, float64(p.Tally.Reused))
	tell(runRepeats, float64(p.Repeats))
	tell(runUnknown, float64(p.Unknown))
	tokens(to, runTokens, p.Tally.Usage, p.Run, p.Job)
	tell(runSpend, usd(p.Tally.Cost))
	tell(runPriced, float64(p.Tally.Unpriced))
	if r.budget > 0 {
		tell(runBudget, usd(r.budget))
	}
	tell(runOut, float64(p.Outstanding))
	tell(runWindow, float64(p.Window))
	tell(runBlocked, truth(p.Blocked != ""))
	tell(runPaused, truth(p.Paused))
	tell(runTrouble, truth(p.Trouble != ""))
	tell(runWorkers, float64(p.Fleet.Workers))
	tell(runFlying, float64(p.Fleet.InFlight))
	tell(runWaiting, float64(p.Fleet.Waiting))
}

func usd(n jobs.Nanodollars) float64 { return float64(n) / 1e9 }
