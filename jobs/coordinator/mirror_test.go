package coordinator_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/io/store"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/simulator"
)

// inStore runs the rig's job with its state in a bucket, to its end or until so many records are done.
func (r *rig) inStore(bucket store.Bucket, until int64) coordinator.Outcome {
	r.t.Helper()
	state := coordinator.StateOf(filepath.Join(r.dir, ".batchwright"), "job", r.args.Simulated)
	mirror, err := coordinator.Claim(r.t.Context(), bucket, state, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer mirror.Close(r.t.Context())
	r.args.Mirror = mirror
	outcome, err := r.run(func(ctx context.Context, run *coordinator.Run, _ *worker.Worker) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for p := run.Progress(); until > 0 && p.Tally.Done() < until; p = run.Progress() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		if until > 0 {
			run.Stop(ctx)
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if outcome.Complete != (until == 0) {
		r.t.Fatalf("complete: %v; it was to stop at %d records of %d, 0 for the end", outcome.Complete, until, outcome.Tally.Done())
	}
	return outcome
}

// loseDisk deletes the state folder and what the job has written.
func (r *rig) loseDisk() {
	r.t.Helper()
	for _, name := range []string{".batchwright", "out.jsonl", "out"} {
		if err := os.RemoveAll(filepath.Join(r.dir, name)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A run that was stopped in order goes on without its disk, and pays nothing twice; the outputs of sealed parts, which
// the store does not have, are written again.
func TestStateInStore(t *testing.T) {
	t.Parallel()
	const records = 10_400 // more than a part
	for _, output := range []string{"out.jsonl", "out/"} {
		t.Run(output, func(t *testing.T) {
			t.Parallel()
			bucket, err := store.OpenBucket("mem://", "job")
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t, simulator.Options{})
			r.write("job.yaml", strings.Replace(textJob, "out.jsonl", output, 1))
			r.write("in.jsonl", lines(records))
			r.inStore(bucket, 10_050)
			r.loseDisk()
			outcome := r.inStore(bucket, 0)
			if stats := r.api.Stats(); stats.Repeated != 0 || outcome.Repeats != 0 {
				t.Errorf("%d calls were paid twice, the run says %d", stats.Repeated, outcome.Repeats)
			}
			r.holdsG1(records)
		})
	}
}

// A run that is begun anew leaves the old one's answers in the store; a rehearsal, which nobody paid for, does not.
func TestFreshInStore(t *testing.T) {
	t.Parallel()
	for simulated, want := range map[bool]int{false: 2, true: 1} {
		t.Run(fmt.Sprintf("simulated %v", simulated), func(t *testing.T) {
			t.Parallel()
			bucket, err := store.OpenBucket("mem://", "job")
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t, simulator.Options{})
			r.write("job.yaml", textJob)
			r.write("in.jsonl", lines(50))
			r.args.Simulated = simulated
			r.inStore(bucket, 0)
			r.args.Fresh = true
			r.inStore(bucket, 0)
			keys, err := bucket.List(t.Context(), "runs/")
			if err != nil {
				t.Fatal(err)
			}
			runs := make(map[string]bool)
			for _, key := range keys {
				runs[strings.Split(key, "/")[1]] = true
			}
			if len(runs) != want {
				t.Errorf("%d runs in the store, want %d", len(runs), want)
			}
		})
	}
}
