package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
)

// askAbove is the forecast from which a run on a terminal is confirmed first.
const askAbove jobs.Nanodollars = 10e9

// confirm asks on a terminal before a job that is forecast to be expensive.
func (f *runFlags) confirm(run *coordinator.Run, screen *progress) error {
	if f.yes || f.simulated || !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil
	}
	forecast := run.Forecast()
	if !forecast.Priced || forecast.Cost <= askAbove {
		return nil
	}
	if _, err := fmt.Fprintf(screen, "This job is forecast to cost about %s (%s). Run it? [y/N] ", forecast.Cost, forecast); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return usageError(errors.New("not run; --yes runs it without asking"))
	}
	return nil
}
