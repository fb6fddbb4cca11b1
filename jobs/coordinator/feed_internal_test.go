package coordinator

import (
	"testing"

	"github.com/batchwright/batchwright/jobs"
)

// A part whose last results come while a resumed feed looks through it is sealed and closed in the middle of that; the
// feed passes over what is left of it.
func TestFeedPassesOverSealedPart(t *testing.T) {
	t.Parallel()
	state := State{t.TempDir()}
	if err := state.create(); err != nil {
		t.Fatal(err)
	}
	p, err := createPart(state, 0, 0, jobs.Position{})
	if err != nil {
		t.Fatal(err)
	}
	for number := range int64(3) {
		if err := p.add(&jobs.Record{Number: number}); err != nil {
			t.Fatal(err)
		}
		p.note(&jobs.Result{Record: number}, 0)
	}
	if err := p.remove(); err != nil {
		t.Fatal(err)
	}
	r := &Run{parts: map[int]*part{0: p}}
	for _, index := range []int{0, 1} { // the second is not among the open parts any more
		var c chunk
		if err := r.feedPart(t.Context(), &c, index); err != nil || !c.empty() {
			t.Errorf("part %d: fed %d requests, %v", index, len(c.requests), err)
		}
	}
}
