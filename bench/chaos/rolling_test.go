package chaos

import (
	"testing"
	"time"

	"github.com/batchwright/batchwright/worker/simulator"
)

// G3: a rolling restart repeats no call. Each worker in turn is told to end while it has calls in flight and records that
// it has not begun, with its successor at work already; the whole fleet twice.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	const records = 2000
	f := startFleet(t, setup{
		records: records, staff: 3, slots: 8, prompt: "is this good?",
		options: simulator.Options{Latency: 60 * time.Millisecond, LatencySigma: 0.5},
	})
	f.api.dragging.Store(int64(240 * time.Millisecond)) // until the last restart, so that the run outlasts it
	for range 2 {
		for i, old := range f.workers {
			f.workers[i] = f.hire()
			until(t, "calls of both", func() bool {
				return f.api.open(f.workers[i].key()) > 0 && f.api.open(old.key()) > 0
			})
			f.end(old)
			// A worker that drains is no failure, whatever its supervisor does about failures.
			if code := f.ended(old); code != exitComplete {
				t.Errorf("%s, told to end, ended with exit code %d", old.name, code)
			}
		}
	}
	if !f.coordinator.process.running() {
		t.Fatal("the run was over before the last restart")
	}
	f.api.dragging.Store(0)
	if code := f.ended(f.coordinator); code != exitComplete {
		t.Fatalf("the coordinator ended with exit code %d", code)
	}
	f.complete(exitComplete)
	f.answeredOnce(records)
	f.lostNothing()
}
