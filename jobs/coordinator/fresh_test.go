package coordinator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/simulator"
)

// A job can be begun anew as often as its author likes: an output that an earlier run of it left is in nobody's way,
// also when the run before did not get to its end.
func TestFreshAgain(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"out.jsonl", "out/"} {
		t.Run(output, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{Latency: 20 * time.Millisecond})
			r.write("job.yaml", strings.Replace(textJob, "out.jsonl", output, 1))
			r.write("in.jsonl", lines(400))
			r.complete()

			r.args.Fresh = true
			stopped, err := r.run(func(ctx context.Context, run *coordinator.Run, _ *worker.Worker) { run.Stop(ctx) })
			if err != nil || stopped.Complete {
				t.Fatalf("second run: complete %v, error %v; want it stopped", stopped.Complete, err)
			}
			r.complete()
		})
	}
}

// A run that can't begin leaves the earlier one where it is.
func TestFreshRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(20)+"{broken\n")
	r.complete()

	r.args.Fresh, r.args.Strict = true, true
	var bad *coordinator.BadInputError
	if _, err := r.run(nil); !errors.As(err, &bad) {
		t.Fatalf("--fresh --strict: %v, want a BadInputError", err)
	}
	r.args = coordinator.Options{}
	if again := r.complete(); again.Tally.Succeeded != 20 {
		t.Errorf("the earlier run has %d answers, want its 20", again.Tally.Succeeded)
	}
}
