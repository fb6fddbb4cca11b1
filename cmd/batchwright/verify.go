package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/batchwright/batchwright/jobs/coordinator"
)

type verifyFlags struct {
	jobFlags
	asJSON bool
}

func newVerifyCommand() *cobra.Command {
	f := &verifyFlags{}
	command := &cobra.Command{
		Use:   "verify JOB.yaml | verify NAME",
		Short: "Check that the output of a complete run has each record once, in order, unchanged",
		Long: `Check the output of a complete run against its input: that each record has exactly one row, in input order, with
the input's columns as they were, and that each row says how the record ended. It reads the manifest, the input and
the output, calls nothing and changes nothing. Answers are in the output and the journal alone, so there is
nothing here to hold them against.

Exit codes: 0 all is there · 1 something is wrong, and which record and where is listed · 2 usage · 6 the input is
not what the run has read.`,
		Example: `  batchwright verify job.yaml
  batchwright verify tickets-2026-11-22 --json | jq .problems`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.verify(c.Context(), args[0], c.OutOrStdout())
		},
	}
	flags := command.Flags()
	f.addFound(flags)
	flags.BoolVar(&f.asJSON, "json", false, "print what was found as JSON")
	return command
}

func (f *verifyFlags) verify(ctx context.Context, arg string, stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	state, err := f.find(arg)
	if err != nil {
		return err
	}
	state, done, err := f.newest(ctx, state)
	if err != nil {
		return err
	}
	defer done()
	found, err := coordinator.Verify(ctx, state)
	var changed *coordinator.InputChangedError
	switch {
	case errors.As(err, &changed):
		return &exitError{exitChanged, err}
	case errors.Is(err, context.Canceled):
		return &exitError{exitInterrupted, errors.New("interrupted; nothing is known of the output")}
	case err != nil:
		return err
	}
	if f.asJSON {
		err = writeVerificationJSON(stdout, found)
	} else {
		_, err = io.WriteString(stdout, verificationText(found))
	}
	switch {
	case err != nil:
		return fmt.Errorf("write what was found: %w", err)
	case found.OK():
		return nil
	case f.asJSON || !found.Complete:
		return &exitError{code: exitFailed}
	}
	return &exitError{exitFailed, fmt.Errorf("%s is not what the run has written; export writes it again from the journal, without calls", found.Output)}
}

func writeVerificationJSON(out io.Writer, v *coordinator.Verification) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		OK bool `json:"ok"`
		*coordinator.Verification
	}{v.OK(), v})
}

// verificationText is a line of confirmation, or a line for each problem.
func verificationText(v *coordinator.Verification) string {
	var b strings.Builder
	if v.OK() {
		proved := "each once and in input order"
		if len(v.Unchecked) > 0 {
			proved = "as far as can be told"
		}
		fmt.Fprintf(&b, "verified: %s, %s, in %s (%s succeeded, %s failed)\n",
			formatNumber(v.Records, "record"), proved, v.Output, formatCount(v.Succeeded), formatCount(v.Failed))
	}
	for i := range v.Problems {
		b.WriteString(v.Problems[i].String() + "\n")
	}
	if more := v.Faults - int64(len(v.Problems)); more > 0 {
		fmt.Fprintf(&b, "and %s more, %s in all\n", formatCount(more), formatCount(v.Faults))
	}
	for _, note := range v.Unchecked {
		b.WriteString("not checked: " + note + "\n")
	}
	return b.String()
}
