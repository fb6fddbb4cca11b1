package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
)

// control is something that a person tells a run.
type control struct {
	want string // in the courier's words
	done string // what the run is then
	left string // what a run without a coordinator is then
	// reached reports whether it is.
	reached func(*coordinator.Status) bool
}

func newPauseCommand() *cobra.Command {
	return newControlCommand("pause", "Make no new calls for a run until it is resumed",
		`Make no new calls for a run until it is resumed. Calls in flight end; workers learn of it within three seconds. A run
whose coordinator is away is paused as well, and still is when batchwright run continues it.`,
		control{
			courier.Pause, "paused",
			"paused; it has no coordinator now: its workers begin no more calls, and batchwright run takes it up paused",
			func(s *coordinator.Status) bool { return s.Paused },
		})
}

func newResumeCommand() *cobra.Command {
	return newControlCommand("resume", "Go on with a paused run", "Go on with a paused run.",
		control{
			"", "resumed", "resumed; it has no coordinator now: its workers call for what they hold, and batchwright run continues it",
			func(s *coordinator.Status) bool { return !s.Paused },
		})
}

func newStopCommand() *cobra.Command {
	return newControlCommand("stop", "End a run so that it can be continued",
		`End a run as Ctrl-C does: calls in flight are finished and kept, and batchwright run continues it. Its process exits
with 143. Workers of a run whose coordinator is away give back what they have not begun.`,
		control{
			courier.Stop, "stopping",
			"stopped; it has no coordinator now: its workers give back what they have not begun, and batchwright run continues it",
			func(s *coordinator.Status) bool { return s.Stopping },
		})
}

func newControlCommand(use, short, long string, told control) *cobra.Command {
	f := &statusFlags{}
	command := &cobra.Command{
		Use: use + " JOB", Short: short, Long: long + "\n\nJOB is a job file, its name, or a run's id.", Args: cobra.ExactArgs(1),
		Example: fmt.Sprintf("  batchwright %[1]s job.yaml\n  BATCHWRIGHT_REDIS=redis://queue:6379 batchwright %[1]s nightly", use),
		RunE:    func(c *cobra.Command, args []string) error { return f.tell(c.Context(), args, told, c.OutOrStdout()) },
	}
	f.add(command.Flags())
	command.Flags().BoolVar(&f.asJSON, "json", false, "print the run's status as JSON")
	return command
}

// controlWait is how long a coordinator may take to do what it is told; it renews every second.
const controlWait = 10 * time.Second

// tell tells a run something and waits until it is so.
func (f *statusFlags) tell(ctx context.Context, args []string, told control, stdout io.Writer) error {
	run, err := f.one(ctx, args)
	if err != nil {
		return err
	}
	defer closeRuns([]*foundRun{run})
	if told.want != courier.Stop && (run.status.Stopping || run.view.Wanted == courier.Stop) {
		// Its workers must not forget that they are to give back what waits.
		if !run.view.Owned {
			return fmt.Errorf("run %s was stopped: no call is begun for it until batchwright run continues it", run.id)
		}
		return fmt.Errorf("run %s is stopping: when it has ended, batchwright run continues it", run.id)
	}
	left := !run.view.Owned
	if err := courier.Want(ctx, run.rdb, run.id, told.want); err != nil {
		return err
	}
	done, err := told.await(ctx, run, left)
	if err != nil {
		return err
	}
	if f.asJSON {
		return writeLine(stdout, statusLineOf(run, time.Now()))
	}
	_, err = fmt.Fprintf(stdout, "%s: %s\n", run.name(), done)
	return err
}

// await waits until a run's coordinator has done what it was told and says what is so then. Nobody does it for a run that is
// left without one: workers obey by themselves.
func (c *control) await(ctx context.Context, run *foundRun, left bool) (string, error) {
	for deadline := time.Now().Add(controlWait); ; {
		err := run.look(ctx)
		gone := errors.Is(err, courier.ErrNoRun) || err == nil && !run.view.Owned || run.own && err != nil
		switch {
		case gone && c.want == courier.Stop:
			run.view.Owned, run.status.Stopping = false, true
			if left {
				return c.left, nil
			}
			return "stopped", nil
		case gone && err == nil:
			return c.left, nil
		case err == nil && c.reached(&run.status):
			return c.done, nil
		case time.Now().After(deadline):
			return "", errors.Join(fmt.Errorf("run %s was told and has not answered for %s", run.id, controlWait), err)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
