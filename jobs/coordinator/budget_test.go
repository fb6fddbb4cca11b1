package coordinator_test

import (
	"strings"
	"testing"

	"github.com/batchwright/batchwright/worker/simulator"
)

// Near the end of the budget records go out one by one, down to the last; what the budget does not cover blocks the
// run with the budget unspent, and a higher one goes on.
func TestBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("in.jsonl", lines(40))
	withBudget := func(usd string) string {
		return strings.Replace(textJob, "concurrency: 16", "concurrency: 16, budget_usd: "+usd, 1)
	}
	r.write("job.yaml", withBudget("0.0021"))
	outcome, err := r.run(nil)
	if err != nil {
		t.Fatal(err)
	}
	if outcome.Complete || !strings.Contains(outcome.Blocked, "limits.budget_usd") {
		t.Fatalf("with too small a budget: %+v", outcome)
	}
	if tally := outcome.Tally; tally.Cost == 0 || tally.Cost > 2_100_000 || len(tally.Failed) != 0 {
		t.Errorf("within the budget: %+v", tally)
	}
	// More than all records cost, by less than two might have: so the last one goes out alone.
	r.write("job.yaml", withBudget("0.0088"))
	r.complete()
	checkComplete(t, r.read("out.jsonl"), 40)
}
