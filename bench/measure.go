package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	concurrency = 128
	// pairs is how often run and bare loop alternate: a slow minute of the machine hits both.
	pairs = 5
	// starts is how often each start is timed.
	starts = 7
)

// throughput holds a whole run against a bare loop, with no latency: what all that batchwright adds to a call costs.
func throughput(ctx context.Context, b *bench) ([]figure, error) {
	const records = 40_000
	job, err := b.makeJob(records)
	if err != nil {
		return nil, err
	}
	sim, err := b.startSimulator(ctx)
	if err != nil {
		return nil, err
	}
	defer sim.stop()
	var runs, loops, ratios []float64
	for pair := range pairs {
		var ran, looped outcome
		first, second := b.runJob, b.runBareLoop
		if pair%2 == 1 {
			first, second = second, first
		}
		one, err := first(ctx, job, sim.url)
		if err != nil {
			return nil, err
		}
		two, err := second(ctx, job, sim.url)
		if err != nil {
			return nil, err
		}
		if ran, looped = one, two; pair%2 == 1 {
			ran, looped = two, one
		}
		if ran.answers != looped.answers {
			return nil, fmt.Errorf("the run and the bare loop wrote different answers: %s, %s", ran.answers, looped.answers)
		}
		runs = append(runs, records/ran.took.Seconds())
		loops = append(loops, records/looped.took.Seconds())
		ratios = append(ratios, looped.took.Seconds()/ran.took.Seconds())
		fmt.Fprintf(os.Stderr, "  pair %d: run %.0f/s, bare loop %.0f/s, ratio %.2f\n",
			pair+1, runs[pair], loops[pair], ratios[pair])
	}
	ratio := median(ratios)
	return []figure{{
		measure: fmt.Sprintf("rows/s of a run ÷ rows/s of a bare loop (40,000 records, no latency, median of %d pairs)", pairs),
		value:   fmt.Sprintf("%.2f (%.0f/s ÷ %.0f/s)", ratio, median(runs), median(loops)),
		goal:    "≥ 0.55", met: ratio >= 0.55,
	}}, nil
}

// latency holds a run against the time that 128 calls at once need when each takes 250 ms.
func latency(ctx context.Context, b *bench) ([]figure, error) {
	const (
		records = 80 * concurrency
		each    = 250 * time.Millisecond
		ideal   = records / concurrency * each
	)
	job, err := b.makeJob(records)
	if err != nil {
		return nil, err
	}
	sim, err := b.startSimulator(ctx, "--latency", each.String())
	if err != nil {
		return nil, err
	}
	defer sim.stop()
	var times []float64
	for range 3 {
		ran, err := b.runJob(ctx, job, sim.url)
		if err != nil {
			return nil, err
		}
		times = append(times, ran.took.Seconds())
	}
	ratio := median(times) / ideal.Seconds()
	return []figure{{
		measure: "time ÷ ideal time (10,240 records, 250 ms latency, median of 3)",
		value:   fmt.Sprintf("%.3f (%.2f s ÷ %.2f s)", ratio, median(times), ideal.Seconds()),
		goal:    "≤ 1.05", met: ratio <= 1.05,
	}}, nil
}

// memory compares the peak of a run with that of one ten times as long: it must not grow with the input.
func memory(ctx context.Context, b *bench) ([]figure, error) {
	const goal = 150.0
	sim, err := b.startSimulator(ctx)
	if err != nil {
		return nil, err
	}
	defer sim.stop()
	var figures []figure
	var peaks []float64
	for _, records := range []int{100_000, 1_000_000} {
		job, err := b.makeJob(records)
		if err != nil {
			return nil, err
		}
		ran, err := b.runJob(ctx, job, sim.url)
		if err != nil {
			return nil, err
		}
		peak := float64(ran.peakBytes) / 1e6
		peaks = append(peaks, peak)
		figures = append(figures, figure{
			measure: fmt.Sprintf("peak memory at %d records of 200 bytes", records),
			value:   fmt.Sprintf("%.0f MB (%.0f/s)", peak, float64(records)/ran.took.Seconds()),
			goal:    "≤ 150 MB", met: peak <= goal,
		})
	}
	growth := peaks[1] / peaks[0]
	return append(figures, figure{
		measure: "peak memory at 1,000,000 ÷ at 100,000",
		value:   fmt.Sprintf("%.2f", growth),
		goal:    "0.80 to 1.20", met: growth >= 0.8 && growth <= 1.2,
	}), nil
}

// startup times what a person waits for: the first call, and ten records from start to end.
func startup(ctx context.Context, b *bench) ([]figure, error) {
	job, err := b.makeJob(10)
	if err != nil {
		return nil, err
	}
	sim, err := b.startSimulator(ctx)
	if err != nil {
		return nil, err
	}
	defer sim.stop()
	var toCall, inAll []float64
	for range starts {
		spy, err := startSpy(ctx, sim.url)
		if err != nil {
			return nil, err
		}
		begin := time.Now()
		_, err = b.runJob(ctx, job, spy.url)
		called := spy.stop()
		if err != nil {
			return nil, err
		}
		toCall = append(toCall, called.Sub(begin).Seconds()*1000)
		ran, err := b.runJob(ctx, job, sim.url)
		if err != nil {
			return nil, err
		}
		inAll = append(inAll, ran.took.Seconds()*1000)
	}
	return []figure{
		{
			measure: fmt.Sprintf("start to first call (median of %d)", starts),
			value:   fmt.Sprintf("%.0f ms", median(toCall)), goal: "< 300 ms", met: median(toCall) < 300,
		},
		{
			measure: fmt.Sprintf("ten records in all (median of %d)", starts),
			value:   fmt.Sprintf("%.0f ms", median(inAll)), goal: "< 1 s", met: median(inAll) < 1000,
		},
	}, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// makeJob writes the input and the job file of a measurement into a folder of its own and returns the folder.
func (b *bench) makeJob(records int) (string, error) {
	folder := filepath.Join(b.scratch, fmt.Sprint(records))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("create job folder: %w", err)
	}
	if err := writeInput(filepath.Join(folder, inputName), records); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(folder, "job.yaml"), []byte(jobFile), 0o600); err != nil {
		return "", fmt.Errorf("write job file: %w", err)
	}
	return folder, nil
}
