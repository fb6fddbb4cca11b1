package chaos

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// G6: with the other workers idle, what a killed worker had in flight is called again within 15 s of its death, one call
// after the other.
func TestDeathAmongIdle(t *testing.T) {
	t.Parallel()
	const records, workers = 16, 2
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := startVirtualFleet(t, dir, records, workers)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for len(f.api.all()) < records { // a worker that has more than it calls would leave more than that
			<-tick.C
		}
		busy := slices.IndexFunc(f.workers, func(w *virtualWorker) bool { return f.api.open(w.key) > 0 })
		f.play([]fault{{kind: workerKilled, worker: busy, lasts: time.Minute}})
		f.finish()
		f.repeats()
		f.calledAgain(0)
		for _, wrong := range f.wrong {
			t.Error(wrong)
		}
	})
}

// handedOutAgain is how long after the death of a worker others may have its records at the latest.
const handedOutAgain = 15 * time.Second

// calledAgain holds that the calls in flight at the death of a worker are made again: the first within 15 s, the others
// in turn. Where workers have others to make, which take so long each, the first waits until the worker that makes it
// has room, for two calls, and each is made alone, so that it waits for one more; after it that worker does other things
// for as long as it had to wait.
func (f *virtualFleet) calledAgain(others time.Duration) {
	calls := f.api.all()
	for _, l := range f.losses {
		if l.fault.kind != workerKilled {
			continue
		}
		var again []call
		inFlight := 0
		for i, c := range calls {
			if !l.keys[c.key] || c.began.After(l.began) || c.ended.Before(l.began) {
				continue
			}
			inFlight++
			next := slices.IndexFunc(calls[i+1:], func(next call) bool { return next.record == c.record })
			if next >= 0 {
				again = append(again, calls[i+1+next])
			}
		}
		if len(again) != inFlight || inFlight == 0 {
			f.errorf("%d calls were in flight at the death of a worker, and %d made again", inFlight, len(again))
			continue
		}
		slices.SortFunc(again, func(x, y call) int { return x.began.Compare(y.began) })
		due := l.began.Add(handedOutAgain + 3*others)
		for _, c := range again {
			if late := c.began.Sub(due); late > 0 {
				f.errorf("record %d was in flight at the death of a worker and called again after %v, %v too late",
					c.record, c.began.Sub(l.began), late)
			}
			rest := c.ended.Sub(c.began) + others
			due = c.ended.Add(rest + others + slack)
		}
	}
}
