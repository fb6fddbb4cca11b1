package coordinator_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/batchwright/batchwright/jobs"
	"github.com/batchwright/batchwright/jobs/coordinator"
	"github.com/batchwright/batchwright/jobs/courier"
	"github.com/batchwright/batchwright/worker"
	"github.com/batchwright/batchwright/worker/messages"
	"github.com/batchwright/batchwright/worker/simulator"
)

func (r *rig) job(set ...string) *jobs.Job {
	r.t.Helper()
	job, err := jobs.Load(filepath.Join(r.dir, "job.yaml"), jobs.Options{Set: set})
	if err != nil {
		r.t.Fatal(err)
	}
	return job
}

func (r *rig) state() coordinator.State {
	return coordinator.StateOf(filepath.Join(r.dir, ".batchwright"), "job", r.args.Simulated)
}

func (r *rig) prepareTry(n int, set ...string) (*coordinator.Try, error) {
	r.t.Helper()
	return coordinator.PrepareTry(r.t.Context(), coordinator.TryOptions{
		Job: r.job(set...), State: r.state(), BaseURL: r.api.URL, Records: n, Slots: 8,
	})
}

// try tries n records with some keys of the job changed.
func (r *rig) try(n int, set ...string) ([]coordinator.Tried, coordinator.TryOutcome) {
	r.t.Helper()
	try, err := r.prepareTry(n, set...)
	if err != nil {
		r.t.Fatal(err)
	}
	var shown []coordinator.Tried
	outcome := r.execute(try, func(_ *worker.Worker, tried coordinator.Tried) { shown = append(shown, tried) })
	if err := try.Close(); err != nil {
		r.t.Error(err)
	}
	slices.SortFunc(shown, func(a, b coordinator.Tried) int { return int(a.Result.Record - b.Result.Record) })
	return shown, outcome
}

func (r *rig) execute(try *coordinator.Try, show func(*worker.Worker, coordinator.Tried)) coordinator.TryOutcome {
	r.t.Helper()
	embedded := courier.StartEmbedded()
	defer embedded.Close()
	if err := try.Own(r.t.Context(), embedded.Client()); err != nil {
		r.t.Fatal(err)
	}
	client, err := messages.New(messages.Options{BaseURL: r.api.URL, Secret: messages.NewSecret("k"), Timeout: time.Minute})
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	w, err := worker.Start(r.t.Context(), embedded.Client(), worker.Options{
		Only: try.ID(), Poll: 5 * time.Millisecond,
		Caller: func(courier.Terms) (worker.Caller, error) { return client, nil },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	outcome, err := try.Execute(r.t.Context(), func(tried coordinator.Tried) error {
		show(w, tried)
		return nil
	})
	w.Drain(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return outcome
}

func numbersOf(shown []coordinator.Tried) []int64 {
	var numbers []int64
	for i := range shown {
		numbers = append(numbers, shown[i].Result.Record)
	}
	return numbers
}

// A try answers the same records each time and pays for each request once: what was tried before is reused, by a
// later try and by the run. After a change of the prompt the difference to the last answer is told, and after
// changing it back too, although nothing is called then.
func TestTry(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(500))
	first, outcome := r.try(20)
	if len(first) != 20 || outcome.Tally.Succeeded != 20 || outcome.Sampled != 20 || outcome.Total != 500 || outcome.Compared != 0 {
		t.Fatalf("%d records tried, outcome %+v", len(first), outcome)
	}
	if p := outcome.Projected; p.Records != 500 || p.Cost != outcome.Tally.Cost*25 || p.Output != outcome.Tally.Usage.Output*25 || !p.Priced {
		t.Errorf("projected %+v of %+v", p, outcome.Tally)
	}
	if outcome.Paid != outcome.Tally.Cost || outcome.Paid == 0 {
		t.Errorf("paid %s of %s", outcome.Paid, outcome.Tally.Cost)
	}

	again, outcome := r.try(25)
	if calls := r.api.Stats().Calls; calls != 25 {
		t.Errorf("%d calls for 20 records and then 25", calls)
	}
	if outcome.Tally.Reused != 20 || outcome.Compared != 0 || outcome.Paid >= outcome.Tally.Cost {
		t.Errorf("second try: %+v", outcome)
	}
	for _, number := range numbersOf(first) {
		if !slices.Contains(numbersOf(again), number) {
			t.Errorf("record %d was tried first and not again", number)
		}
	}

	const other = `request.messages=[{role: user, content: "Riddle: {{.text}}"}]`
	changed, outcome := r.try(20, other)
	if outcome.Tally.Reused != 0 || outcome.Compared != 20 || outcome.Changed != 20 {
		t.Errorf("another prompt: %+v", outcome)
	}
	for i := range changed {
		if before := changed[i].Before; before == nil || jobs.Text(before.Message) != jobs.Text(first[i].Result.Message) {
			t.Fatalf("record %d: the answer before is not that of the first try", changed[i].Result.Record)
		}
	}
	back, outcome := r.try(20)
	if outcome.Tally.Reused != 20 || outcome.Compared != 20 || outcome.Paid != 0 {
		t.Errorf("the first prompt again: %+v", outcome)
	}
	if diff := cmp.Diff(jobs.Text(changed[0].Result.Message), jobs.Text(back[0].Before.Message)); diff != "" {
		t.Errorf("the answer before (-want +got):\n%s", diff)
	}

	calls := r.api.Stats().Calls
	if run := r.complete(); run.Tally.Reused != 25 || r.api.Stats().Calls-calls != 475 {
		t.Errorf("the run reused %d answers and made %d calls", run.Tally.Reused, r.api.Stats().Calls-calls)
	}
	if later := r.complete(); later.Tally.Reused != 25 { // from what the state folder holds
		t.Errorf("the finished run says that it reused %d answers", later.Tally.Reused)
	}
	checkComplete(t, r.read("out.jsonl"), 500)
}

// A failed record is shown with its reason. A failure without an answer is tried again the next time, one with an
// answer was paid for and is not.
func TestTryFailures(t *testing.T) {
	t.Parallel()
	var errors400 simulator.Faults
	if err := errors400.Set("400=30%"); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, simulator.Options{Deterministic: errors400})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(20)+`{"id":"broken"`+"\n")
	shown, outcome := r.try(100)
	rejected := outcome.Tally.Failed[jobs.ReasonRejected]
	if len(shown) != 21 || rejected == 0 || outcome.Tally.Failed[jobs.ReasonBadInput] != 1 {
		t.Fatalf("%d shown, %+v", len(shown), outcome.Tally)
	}
	if last := shown[20].Result; last.Reason != jobs.ReasonBadInput || !strings.Contains(last.Error, "in.jsonl:21") {
		t.Errorf("broken record: %+v", last)
	}
	calls := r.api.Stats().Calls
	_, outcome = r.try(100)
	if made := r.api.Stats().Calls - calls; made != rejected || outcome.Tally.Reused != 20-rejected {
		t.Errorf("again: %d calls, %d reused; want %d rejected ones called again", made, outcome.Tally.Reused, rejected)
	}
}

// A key that is refused ends a try with the remedy, and costs no record.
func TestTryBlocked(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{Key: "another"})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(200))
	shown, outcome := r.try(100)
	if outcome.Blocked == "" || len(shown) != 0 || outcome.Projected.Records != 0 {
		t.Errorf("%d shown, outcome %+v", len(shown), outcome)
	}
}

// A try that is stopped shows what was in flight and ends; all that it paid for is reused.
func TestTryStopped(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{Latency: 2 * time.Millisecond})
	r.write("job.yaml", strings.Replace(textJob, "concurrency: 16", "concurrency: 2", 1))
	r.write("in.jsonl", lines(1000))
	try, err := r.prepareTry(900)
	if err != nil {
		t.Fatal(err)
	}
	var shown int
	draining := make(chan struct{})
	r.execute(try, func(w *worker.Worker, _ coordinator.Tried) {
		if shown++; shown == 10 {
			try.Stop()
			go func() {
				defer close(draining)
				w.Drain(t.Context())
			}()
		}
	})
	<-draining
	if err := try.Close(); err != nil {
		t.Fatal(err)
	}
	calls := r.api.Stats().Calls
	if int64(shown) != calls || shown >= 900 {
		t.Errorf("%d shown of %d calls", shown, calls)
	}
	if _, outcome := r.try(900); outcome.Tally.Reused != calls || r.api.Stats().Calls != 900 {
		t.Errorf("after the stop %d were reused, want %d; %d calls in all", outcome.Tally.Reused, calls, r.api.Stats().Calls)
	}
}

// What a try refuses before any call.
func TestTryRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", textJob)
	r.write("in.jsonl", lines(50))
	var usage *coordinator.UsageError
	if _, err := r.prepareTry(50, "limits.budget_usd=0.001"); !errors.As(err, &usage) || !strings.Contains(err.Error(), "budget") {
		t.Errorf("over the budget: %v", err)
	}
	try, err := r.prepareTry(5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.prepareTry(5); !errors.Is(err, coordinator.ErrTrying) {
		t.Errorf("second try at once: %v", err)
	}
	if err := try.Close(); err != nil {
		t.Fatal(err)
	}
	// A run's lock is no hindrance.
	lock, err := r.state().Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if shown, _ := r.try(5); len(shown) != 5 {
		t.Errorf("%d records tried while a run is on", len(shown))
	}
}

// A try leaves no goroutine behind.
func TestTryEndsItsGoroutines(t *testing.T) { //nolint:paralleltest // it looks at all goroutines
	ignore := goleak.IgnoreCurrent()
	t.Run("try", func(t *testing.T) {
		r := newRig(t, simulator.Options{})
		r.write("job.yaml", textJob)
		r.write("in.jsonl", lines(10))
		r.try(5)
	})
	goleak.VerifyNone(t, ignore)
}
