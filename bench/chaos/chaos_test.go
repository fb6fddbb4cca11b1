package chaos

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/batchwright/batchwright/worker/simulator"
)

// number reads a setting of make chaos from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}

// G1, G3, G5, G6: a run ends whole, without a person, whatever is killed, stopped, cut off and forgotten on the way,
// and pays again only for what was in flight, or not yet journaled, where a fault struck.
//
// In go test each kind of fault strikes once. CHAOS_RECORDS, CHAOS_FAULTS, CHAOS_SEED, CHAOS_WORKERS and CHAOS_SECONDS
// (the longest that anything is away) make it longer; make chaos sets them.
func TestChaos(t *testing.T) {
	t.Parallel()
	seed := number(t, "CHAOS_SEED", 5)
	records, faults := int(number(t, "CHAOS_RECORDS", 3000)), int(number(t, "CHAOS_FAULTS", kinds))
	workers := int(number(t, "CHAOS_WORKERS", 3))
	longest := time.Duration(number(t, "CHAOS_SECONDS", 4)) * time.Second
	t.Logf("CHAOS_SEED=%d: %d records, %d faults, %d workers", seed, records, faults, workers)
	f := startFleet(t, setup{
		records: records, staff: workers, slots: 16, coordinatorWorks: seed%4 == 0,
		prompt: "is this good?",
		options: simulator.Options{
			Seed: seed, Latency: 40 * time.Millisecond, LatencySigma: 0.5, Slow: 0.001, SlowFactor: 50,
			Errors: simulator.Faults{{Kind: "529", Share: 0.002}, {Kind: "500", Share: 0.002}},
		},
	})
	d := director{fleet: f, schedule: draw(seed, faults, workers, longest), active: map[target]*scene{}}
	began := time.Now()
	d.direct()
	f.complete(exitComplete)
	d.judge(time.Since(began))
}

// scene is a fault that is on.
type scene struct {
	fault fault
	steps []step
	due   time.Time
}

// together is how many faults are on at once at most.
const together = 3

// director lets the faults of a schedule strike, each when its time has come and what it hits is up.
type director struct {
	*fleet
	schedule []fault
	active   map[target]*scene
	struck   int
	last     time.Time // when the last one struck
}

// direct returns when the run is complete.
func (d *director) direct() {
	t := d.t
	t.Helper()
	const patience = 3 * time.Minute
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	answered, moved := -1, time.Now()
	for d.coordinatorRuns() {
		now := <-tick.C
		if n := d.api.answered(); n != answered {
			answered, moved = n, now
			if len(d.snapshots) == 0 && n > d.records/50 {
				d.snapshot()
			}
		}
		if now.Sub(moved) > patience && len(d.active) == 0 {
			d.dump()
			t.Fatalf("nothing has moved for %v, with %d of %d records answered and all up", patience, answered, d.records)
		}
		d.advance(now)
		d.begin(now, answered)
		for i, m := range d.workers {
			if d.active[target(i)] == nil && !m.process.running() {
				t.Fatalf("%s ended by itself with exit code %d:\n%s", m.name, m.process.command.ProcessState.ExitCode(), tail(m.process.log, 40))
			}
		}
	}
	for len(d.active) > 0 { // the run was quicker than the last faults
		d.advance(<-tick.C)
	}
}

// coordinatorRuns reports whether the coordinator has yet to end the run.
func (d *director) coordinatorRuns() bool {
	code, ended := d.coordinator.process.wait(0)
	if scene := d.active[onCoordinator]; !ended || scene != nil && (scene.fault.kind == coordinatorKilled || scene.fault.kind == coordinatorDrained) {
		return true
	}
	if code != exitComplete {
		d.t.Fatalf("the coordinator ended by itself with exit code %d:\n%s", code, tail(d.coordinator.process.log, 40))
	}
	return false
}

// advance takes the faults that are on to their next steps.
func (d *director) advance(now time.Time) {
	for on := onRedis; int(on) < len(d.workers); on++ {
		s := d.active[on]
		if s == nil || now.Before(s.due) || !s.steps[0].do() {
			continue
		}
		if s.steps = s.steps[1:]; len(s.steps) == 0 {
			delete(d.active, on)
			continue
		}
		s.due = now.Add(s.steps[0].after)
	}
}

// begin lets the next fault strike if it is time, and slows the API while the faults lag behind the records.
func (d *director) begin(now time.Time, answered int) {
	if d.struck == len(d.schedule) || len(d.snapshots) == 0 {
		d.api.dragging.Store(0)
		return
	}
	next := d.schedule[d.struck]
	share := float64(answered) / float64(d.records)
	drag := time.Duration(0)
	if share > next.at+1/float64(len(d.schedule)+2) {
		drag = time.Second
	}
	d.api.dragging.Store(int64(drag))
	due := share >= next.at || next.soon > 0 && d.struck > 0 && now.Sub(d.last) >= next.soon
	if !due || d.active[next.target()] != nil || len(d.active) >= together {
		return
	}
	d.struck++
	d.last = now
	d.t.Logf("%s %5.1f%% answered, %d in flight: %s", now.Format("15:04:05.000"), 100*share, d.api.open(), &next)
	d.active[next.target()] = &scene{fault: next, steps: d.plan(next), due: now}
}

// judge holds what was paid against what the faults explain, and prints the account.
func (d *director) judge(took time.Duration) {
	t := d.t
	t.Helper()
	calls := d.api.all()
	slices.SortStableFunc(d.losses, func(a, b *loss) int { return a.began.Compare(b.began) })
	repeats, unexplained := audit(calls, d.losses)
	bound := 0
	for _, l := range d.losses {
		bound += len(l.lost)
	}
	fmt.Fprintf(t.Output(), "%d records in %.0f s, %d faults, %d calls, %d paid again\n%s", d.records, took.Seconds(),
		len(d.losses), len(calls), repeats, table(d.losses))
	if d.struck != len(d.schedule) {
		t.Errorf("%d of %d faults struck before the run was over", d.struck, len(d.schedule))
	}
	if answered := d.api.answered(); answered != d.records {
		t.Errorf("%d of %d records were answered", answered, d.records)
	}
	if repeats > bound {
		t.Errorf("%d calls were paid again, over the bound of %d", repeats, bound)
	}
	for i, history := range unexplained {
		if i == 10 {
			break
		}
		t.Errorf("paid again, and no fault explains it: %s", history)
	}
	if len(unexplained) > 0 {
		t.Errorf("%d of %d repeats are explained by no fault", len(unexplained), repeats)
	}
	summary := d.summary()
	if summary.Failed > 0 || summary.Succeeded != d.records {
		t.Errorf("of %d records %d succeeded and %d failed", d.records, summary.Succeeded, summary.Failed)
	}
	t.Logf("the run says: %d repeats, and at most %d that nobody could count", summary.Repeats, summary.Unknown)
	if summary.Repeats+summary.Unknown < repeats {
		t.Errorf("%d calls were paid again, and the run says that at most %d were", repeats, summary.Repeats+summary.Unknown)
	}
}
