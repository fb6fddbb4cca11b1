package coordinator_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/simulator"
)

// What changed since a run began is named, and nothing is called.
func TestChanged(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]struct {
		file, content, want string
	}{
		"request": {"job.yaml", strings.Replace(textJob, "max_tokens: 50", "max_tokens: 51", 1), `+ "max_tokens": 51`},
		"input":   {"in.jsonl", lines(399), "in.jsonl had"},
		"output":  {"job.yaml", strings.Replace(textJob, "out.jsonl", "other.jsonl", 1), "other.jsonl"},
		"columns": {"job.yaml", textJob + "columns: {prefix: x_}\n", "x_"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, simulator.Options{Latency: time.Millisecond})
			r.write("job.yaml", textJob)
			r.write("in.jsonl", lines(400))
			if _, err := r.run(func(ctx context.Context, run *coordinator.Run, w *worker.Worker) {
				run.Stop(ctx)
				w.Drain(ctx)
			}); err != nil {
				t.Fatal(err)
			}
			r.write(change.file, change.content)
			calls := r.api.Stats().Calls
			var changed *coordinator.ChangedError
			if _, err := r.run(nil); !errors.As(err, &changed) || !strings.Contains(err.Error(), change.want) {
				t.Errorf("after a change: %v, want a ChangedError with %q", err, change.want)
			}
			if r.api.Stats().Calls != calls {
				t.Error("calls were made for a changed job")
			}
		})
	}
}

// A second process can't take a running job.
func TestLocked(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(1))
	_, unlock, err := r.prepare()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	var held *coordinator.HeldError
	if _, _, err := r.prepare(); !errors.As(err, &held) || held.Holder.PID != os.Getpid() {
		t.Errorf("second lock: %v, want a HeldError that names process %d", err, os.Getpid())
	}
}

// A dead key, a spend cap and twenty refusals alike block the run, fail no record more than they must, and the same
// command goes on when a person has acted.
func TestBlocked(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]simulator.Options{
		"key":          {Key: "another"},
		"spend cap":    {SpendCap: 100},
		"set by owner": {SpendCap: 100, SpendCapStatus: 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options)
			r.write("job.yaml", textJob)
			r.write("in.jsonl", lines(600))
			outcome, err := r.run(nil)
			if err != nil {
				t.Fatal(err)
			}
			if outcome.Complete || outcome.Blocked == "" || len(outcome.Tally.Failed) != 0 {
				t.Fatalf("outcome: %+v", outcome)
			}
			if want := options.SpendCap; outcome.Tally.Succeeded != want {
				t.Errorf("%d succeeded before the run was blocked, want %d", outcome.Tally.Succeeded, want)
			}
			address := strings.TrimPrefix(r.api.URL, "http://")
			r.api.Close()
			if r.api, err = simulator.Listen(t.Context(), address, simulator.Options{}); err != nil {
				t.Fatal(err)
			}
			if outcome := r.complete(); outcome.Tally.Succeeded != 600 || outcome.Tally.Calls > 600+2*16 {
				t.Errorf("after a person acted: %+v", outcome.Tally)
			}
		})
	}
	t.Run("same refusal", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, simulator.Options{})
		r.write("job.yaml", strings.Replace(textJob, "max_tokens: 50", "max_tokens: 50\n  no_such_field: 1", 1))
		r.write("in.jsonl", lines(5000))
		for range 2 { // the second time it is blocked at once
			outcome, err := r.run(nil)
			if err != nil {
				t.Fatal(err)
			}
			if outcome.Complete || !strings.Contains(outcome.Blocked, "--accept-failures") {
				t.Fatalf("outcome: %+v", outcome)
			}
		}
		if calls := r.api.Stats().Calls; calls > 2*20 {
			t.Errorf("%d calls before the job was stopped", calls)
		}
		r.args.AcceptFailures = true
		if outcome := r.complete(); outcome.Tally.Failed[jobs.ReasonRejected] != 5000 {
			t.Errorf("tally with --accept-failures: %+v", outcome.Tally)
		}
	})
}

// An input that turns out broken in the middle ends the run with an error, and every answer that was paid for is kept.
func TestInputBreaksOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{Latency: 5 * time.Millisecond})
	r.write("job.yaml", strings.Replace(textJob, "in.jsonl", "in.jsonl.gz", 1))
	// Texts that do not shrink, so that the cut comes late in the records.
	var plain strings.Builder
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 100_000 {
		fmt.Fprintf(&plain, "{\"id\":\"r%d\",\"text\":\"%x%x%x%x\"}\n", i, random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64())
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(plain.String())); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r.write("in.jsonl.gz", packed.String()[:packed.Len()*3/4])
	outcome, err := r.run(nil)
	if err == nil || !strings.Contains(err.Error(), "in.jsonl.gz") || outcome.Complete {
		t.Fatalf("outcome %+v, error %v; want an error that names the file", outcome, err)
	}
	paid := r.api.Stats().Answered
	if paid == 0 {
		t.Fatal("the input broke off before any call: the test shows nothing")
	}
	if outcome.Tally.Succeeded != paid {
		t.Errorf("%d answers were paid for and %d kept", paid, outcome.Tally.Succeeded)
	}
}
