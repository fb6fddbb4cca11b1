package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// limitsPlan is what the limits benchmark is asked for.
type limitsPlan struct {
	scenarios []scenario
	quotas    []int64 // of the peers
	workers   []int
	length    time.Duration
	parallel  int
}

// limits measures how well a fleet uses an account's limits that no job file names: how much of the quota it uses and how
// many of its calls are refused. Scenarios are bound by their quota and not by the machine, so that some can run at the same time.
func limits(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench limits", flag.ContinueOnError)
	binary := flags.String("binary", "bin/batchwright", "the `program` to measure; make build makes it")
	chosen := flags.String("scenario", ".", "`regexp` of the names of scenarios to run")
	workers := flags.String("workers", "1,4,16", "`numbers` of worker processes")
	seconds := flags.Int("seconds", 60, "length of the window that is measured; where no headers tell of limits, a minute comes before it")
	parallel := flags.Int("parallel", 2, "`scenarios` to run at the same time")
	list := flags.Bool("list", false, "print the names of the chosen scenarios, and run nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	plan, err := makePlan(*chosen, *workers, *seconds, *parallel)
	if err != nil {
		return err
	}
	if *list {
		_, err := fmt.Fprintln(os.Stdout, strings.Join(plan.names(), "\n"))
		return err
	}
	path, err := filepath.Abs(*binary)
	if err != nil {
		return fmt.Errorf("find %s: %w", *binary, err)
	}
	scratch, err := os.MkdirTemp("", "batchwright-limits-")
	if err != nil {
		return fmt.Errorf("create scratch folder: %w", err)
	}
	defer os.RemoveAll(scratch) //nolint:errcheck // nothing is left to do about a folder in the temporary folder
	return plan.run(ctx, &bench{binary: path, scratch: scratch})
}

func makePlan(chosen, workers string, seconds, parallel int) (limitsPlan, error) {
	plan := limitsPlan{length: time.Duration(seconds) * time.Second, parallel: parallel}
	if seconds < 3 || parallel < 1 {
		return plan, errors.New("-seconds takes 3 or more and -parallel 1 or more")
	}
	match, err := regexp.Compile(chosen)
	if err != nil {
		return plan, fmt.Errorf("read -scenario: %w", err)
	}
	for _, s := range scenarios() {
		if match.MatchString(s.name) {
			plan.scenarios = append(plan.scenarios, s)
		}
	}
	for _, quota := range peerQuotas {
		if match.MatchString(peersName(quota)) {
			plan.quotas = append(plan.quotas, quota)
		}
	}
	if len(plan.scenarios)+len(plan.quotas) == 0 {
		return plan, fmt.Errorf("no scenario matches %q: -list prints their names", chosen)
	}
	for text := range strings.SplitSeq(workers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return plan, fmt.Errorf("-workers %q: write numbers of processes, as 1,4,16", workers)
		}
		plan.workers = append(plan.workers, n)
	}
	return plan, nil
}

func (p limitsPlan) names() []string {
	var names []string
	for _, s := range p.scenarios {
		names = append(names, s.name)
	}
	for _, quota := range p.quotas {
		names = append(names, peersName(quota))
	}
	return names
}

// run takes the measurements and prints their tables. One that fails costs none of the others.
func (p limitsPlan) run(ctx context.Context, b *bench) error {
	figures, failed := p.fleets(ctx, b)
	var peers []peerFigure
	for _, quota := range p.quotas {
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(os.Stderr, "measuring %s\n", peersName(quota))
		taken, err := b.peersAt(ctx, quota)
		peers = append(peers, taken...)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", peersName(quota), err))
		}
	}
	if _, err := fmt.Fprintf(os.Stdout, "%s; window %v\n\n", machine(), p.length); err != nil {
		return errors.Join(failed, err)
	}
	if len(figures) > 0 {
		failed = errors.Join(failed, writeLimitsTable(os.Stdout, figures))
	}
	if len(peers) > 0 {
		failed = errors.Join(failed, writePeersTable(os.Stdout, peers))
	}
	return failed
}

// fleets measures the scenarios, some at the same time, and returns the figures in order.
func (p limitsPlan) fleets(ctx context.Context, b *bench) ([]limitFigure, error) {
	n := len(p.scenarios) * len(p.workers)
	taken, errs := make([]limitFigure, n), make([]error, n)
	var group sync.WaitGroup
	room := make(chan struct{}, p.parallel)
	for i := range n {
		s, workers := p.scenarios[i/len(p.workers)], p.workers[i%len(p.workers)]
		room <- struct{}{}
		group.Go(func() {
			defer func() { <-room }()
			if errs[i] = ctx.Err(); errs[i] != nil {
				return
			}
			fmt.Fprintf(os.Stderr, "measuring %s with %d workers (%d of %d)\n", s.name, workers, i+1, n)
			figure, err := b.measureLimits(ctx, s, workers, p.length)
			if err != nil {
				errs[i] = fmt.Errorf("%s with %d workers: %w", s.name, workers, err)
				fmt.Fprintln(os.Stderr, "bench:", errs[i])
				return
			}
			taken[i] = figure
			fmt.Fprintf(os.Stderr, "  %s (%.0f calls)\n", strings.Join(figure.cells(), " | "), figure.calls)
		})
	}
	group.Wait()
	var figures []limitFigure
	for i, figure := range taken {
		if errs[i] == nil {
			figures = append(figures, figure)
		}
	}
	return figures, errors.Join(errs...)
}
