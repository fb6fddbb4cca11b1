package coordinator_test

import (
	"strings"
	"testing"

	"github.com/batchwright/batchwright/worker/simulator"
)

// A job all of whose records were refused alike has ended: there is nothing left to block.
func TestSameFailureAtTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, simulator.Options{})
	r.write("job.yaml", strings.Replace(textJob, "max_tokens: 50", "max_tokens: 50\n  no_such_field: 1", 1))
	r.write("in.jsonl", lines(20))
	if outcome := r.complete(); outcome.Blocked != "" {
		t.Errorf("complete, and blocked: %s", outcome.Blocked)
	}
}
