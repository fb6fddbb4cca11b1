package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/batchwright/batchwright/jobs/coordinator"
)

type removeFlags struct {
	jobFlags
	redisFlags
	yes bool
}

func newRemoveCommand() *cobra.Command {
	f := &removeFlags{}
	command := &cobra.Command{
		Use:   "rm JOB.yaml | rm NAME",
		Short: "Delete the state of a job, with the answers in it; its output stays",
		Long: `Delete the state of a job: its run, runs that --fresh set aside, and tries, with all answers that were paid for.
Output that was written stays. On a terminal it asks first; elsewhere it needs --yes.

With the fleet's Redis named, what that holds of the runs is deleted as well, and a run that has a coordinator is refused.
Without, Redis forgets by itself, after up to 7 days, the prompts and answers that a run which did not end left in it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ask := term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
			return f.remove(c.Context(), args[0], ask, c.InOrStdin(), c.ErrOrStderr())
		},
	}
	flags := command.Flags()
	f.addFound(flags)
	f.addAddress(flags)
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	return command
}

func (f *removeFlags) remove(ctx context.Context, arg string, ask bool, in io.Reader, out io.Writer) error {
	state, err := f.find(arg)
	if err != nil {
		return err
	}
	what, runs, err := f.holdings(ctx, state)
	if err != nil {
		return err
	}
	elsewhere, err := f.remainsOf(ctx, runs)
	if err != nil {
		return err
	}
	defer elsewhere.close()
	if elsewhere.fault != nil {
		what += "; " + elsewhere.String()
	}
	switch {
	case f.yes:
	case !ask:
		return usageError(fmt.Errorf("%s: give --yes to delete it", what))
	default:
		if _, err := fmt.Fprintf(out, "%s.\nDelete it? [y/N] ", what); err != nil {
			return fmt.Errorf("ask: %w", err)
		}
		answer, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read answer: %w", err)
		}
		if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
			return usageError(errors.New("nothing was deleted"))
		}
	}
	err = f.removeAll(ctx, state)
	if errors.Is(err, coordinator.ErrTrying) {
		return &exitError{exitOwned, err}
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "deleted: %s\n", what); err != nil {
		return fmt.Errorf("write what was deleted: %w", err)
	}
	return elsewhere.erase(ctx, out)
}

// holdings says what there is to delete, and lists the runs in it.
func (f *removeFlags) holdings(ctx context.Context, state coordinator.State) (what string, runs []string, err error) {
	newest, done, err := f.newest(ctx, state)
	if err != nil {
		return "", nil, err
	}
	defer done()
	held, err := newest.Holdings()
	if err != nil {
		return "", nil, err
	}
	runs, err = runsIn(newest)
	return fmt.Sprintf("%s holds %s", f.where(state), describeHoldings(&held, f.simulated)), runs, err
}

// removeAll deletes a job's state from its store, if it has one, and from this machine.
func (f *removeFlags) removeAll(ctx context.Context, state coordinator.State) error {
	bucket, err := f.bucket(state)
	if err != nil {
		return err
	}
	if bucket == nil {
		return state.Remove()
	}
	defer closeBucket(ctx, bucket)
	if err := coordinator.RemoveStored(ctx, bucket, state); err != nil || !exists(state.Dir) {
		return err
	}
	return state.Remove()
}

func describeHoldings(h *coordinator.Holdings, simulated bool) string {
	kind := "paid"
	if simulated {
		kind = "simulated"
	}
	text := formatNumber(h.Answers, kind+" answer")
	if h.Tried > 0 {
		text += fmt.Sprintf(" and %s of tries", formatCount(h.Tried))
	}
	if !simulated {
		text += " (" + formatDollars(h.Cost)
		if h.Unpriced > 0 {
			text += fmt.Sprintf(", and %s without a known price", formatCount(h.Unpriced))
		}
		text += ")"
	}
	if h.Unfinished {
		text += ", of a run that is not complete"
	}
	return text
}
