package coordinator

import (
	"slices"
	"time"

	"github.com/batchwright/batchwright/jobs/courier"
)

const (
	// lookEvery is how often the fleet is surveyed: a dead worker's records are out again within its timeout and twice
	// this.
	lookEvery = 250 * time.Millisecond
	// blindAfter is how long no survey may succeed before nothing is concluded from what was seen before: workers that
	// were cut off as well get a full timeout from then.
	blindAfter = 4 * time.Second
	// unclaimedFor is how long a hand-out must lie unclaimed, while no task or a later one only is on its way to a worker,
	// until its own task is taken for lost.
	unclaimedFor = 5 * time.Second
)

// watch concludes from surveys of the fleet which hand-outs will bring nothing more. It is a function of time and of
// what it is shown, and does nothing itself.
type watch struct {
	looked  time.Time
	workers map[string]sighting
	odd     map[courier.Number]oddity
	resting map[courier.Number]rest
	taken   map[bool]courier.Number // the latest hand-out that was seen claimed, by queue: urgent or not
}

// sighting is a worker's latest renewal, and when it was first seen.
type sighting struct {
	count uint64
	at    time.Time
}

// rest is since when a hand-out has been unclaimed, and since when a later one of its queue has been claimed.
type rest struct{ since, overtaken time.Time }

// oddity is a hand-out that may be lost.
type oddity struct {
	kind   oddKind
	worker string
	count  uint64 // of the worker's renewals when it was first seen
	since  time.Time
	ripe   bool             // lost, as soon as the results up to end are journaled
	end    courier.Position // of the results when it became ripe
}

type oddKind int

const (
	oddDead    oddKind = iota // its worker is dead
	oddOrphan                 // its worker lives and knows nothing of it: the reply to the claim was lost
	oddMissing                // Redis knows nothing of it
	oddIdle                   // not the coordinator's, and nobody's
)

// findings are what a look concludes.
type findings struct {
	// Dead lists workers that are dead and all of whose results are journaled, Lost hand-outs that got lost on the way,
	// with no death. Their records are to be handed out again.
	Dead []death
	Lost []courier.Number
	// Stuck lists unclaimed hand-outs that no worker will find: they are to be withdrawn and handed out again.
	Stuck []courier.Number
	// Stray lists unclaimed hand-outs that are not the coordinator's any more, Idle such claims.
	Stray, Idle []courier.Number
	// Live lists the workers that are alive.
	Live []string
}

// death is of a worker whose beat stands still at a count.
type death struct {
	worker   string
	count    uint64
	handouts []courier.Number // that it had not completed
}

func newWatch() *watch {
	return &watch{
		workers: make(map[string]sighting), odd: make(map[courier.Number]oddity),
		resting: make(map[courier.Number]rest), taken: make(map[bool]courier.Number),
	}
}

// look takes in a survey. out has the coordinator's hand-outs, each with whether it is urgent; epoch is the
// coordinator's own; journaled is how far results were journaled.
func (w *watch) look(now time.Time, s *courier.Survey, out map[courier.Number]bool, epoch uint32,
	journaled courier.Position,
) findings {
	if now.Sub(w.looked) > blindAfter {
		*w = *newWatch()
	}
	w.looked = now
	var f findings
	dead := w.roll(now, s)
	holders := make(map[courier.Number]string)
	for worker, beat := range s.Workers {
		if !dead[worker] {
			f.Live = append(f.Live, worker)
			for _, n := range beat.Held {
				holders[n] = worker
			}
		}
	}
	unclaimed := make(map[courier.Number]bool, len(s.Unclaimed))
	for _, n := range s.Unclaimed {
		unclaimed[n] = true
	}
	for n := range s.Claims {
		if urgent, ours := out[n]; ours {
			w.taken[urgent] = max(w.taken[urgent], n)
		}
	}
	left := make(map[string][]courier.Number) // hand-outs of dead workers that may be given up
	early := make(map[string]bool)            // dead workers with others that may not yet
	for n, urgent := range out {
		switch {
		case unclaimed[n]:
			delete(w.odd, n)
			if w.stuck(now, n, urgent, s.Queued == 0, epoch) {
				f.Stuck = append(f.Stuck, n)
			}
			continue
		case holders[n] != "":
			delete(w.odd, n)
		default:
			o := w.oddityOf(now, s, n, dead)
			switch {
			case !o.ripe || !journaled.Reached(o.end):
				early[o.worker] = true
			case o.kind == oddDead:
				left[o.worker] = append(left[o.worker], n)
			default:
				delete(w.odd, n)
				f.Lost = append(f.Lost, n)
			}
		}
		delete(w.resting, n)
	}
	for worker := range dead {
		if early[worker] {
			continue
		}
		f.Dead = append(f.Dead, death{worker, s.Workers[worker].Count, left[worker]})
		for _, n := range left[worker] {
			delete(w.odd, n)
		}
	}
	w.foreign(now, s, out, holders, &f)
	for n := range w.odd {
		if _, ours := out[n]; !ours && w.odd[n].kind != oddIdle {
			delete(w.odd, n) // all its results came after all
		}
	}
	for n := range w.resting {
		if !unclaimed[n] {
			delete(w.resting, n)
		}
	}
	slices.Sort(f.Live)
	return f
}

// roll calls the roll of the workers and returns those that are dead.
func (w *watch) roll(now time.Time, s *courier.Survey) map[string]bool {
	dead := make(map[string]bool)
	for worker, beat := range s.Workers {
		seen, known := w.workers[worker]
		switch {
		case !known || seen.count != beat.Count:
			w.workers[worker] = sighting{beat.Count, now}
		case now.Sub(seen.at) >= courier.WorkerTimeout:
			dead[worker] = true
		}
	}
	for worker := range w.workers {
		if _, there := s.Workers[worker]; !there {
			delete(w.workers, worker)
		}
	}
	return dead
}

// stuck reports whether an unclaimed hand-out has lost its task.
func (w *watch) stuck(now time.Time, n courier.Number, urgent, nothingQueued bool, epoch uint32) bool {
	if n.Epoch() != epoch {
		return true // void: no worker may claim it
	}
	r, known := w.resting[n]
	if !known {
		r.since = now
	}
	if r.overtaken.IsZero() && w.taken[urgent] > n {
		r.overtaken = now
	}
	w.resting[n] = r
	overtaken := !r.overtaken.IsZero() && now.Sub(r.overtaken) >= unclaimedFor
	return overtaken || nothingQueued && now.Sub(r.since) >= unclaimedFor
}

// oddityOf says what is odd about a hand-out that lies in Redis no more and that no living worker says it has.
func (w *watch) oddityOf(now time.Time, s *courier.Survey, n courier.Number, dead map[string]bool) oddity {
	o := oddity{kind: oddMissing, since: now}
	if claim, claimed := s.Claims[n]; claimed {
		if beat, there := s.Workers[claim.Worker]; there {
			o.worker, o.count, o.kind = claim.Worker, beat.Count, oddOrphan
			if dead[claim.Worker] {
				o.kind = oddDead
			}
		}
	}
	if o.kind == oddMissing {
		// A dead worker may have said that it has what its claim, lost with Redis, does not say.
		for worker := range dead {
			if slices.Contains(s.Workers[worker].Held, n) {
				o.kind, o.worker = oddDead, worker
			}
		}
	}
	known, before := w.odd[n]
	if before && known.kind == o.kind && known.worker == o.worker {
		o = known
	}
	if !o.ripe {
		switch o.kind {
		case oddDead:
			o.ripe = true
		case oddOrphan:
			// The renewal after the next began after the claim: it would name the hand-out, if the worker had it.
			o.ripe = s.Workers[o.worker].Count >= o.count+2
		case oddMissing, oddIdle:
			o.ripe = now.Sub(o.since) >= courier.WorkerTimeout
		}
		if o.ripe {
			o.end = s.End
			w.odd[n] = o
			o.ripe = false // what is in the stream comes first; the next look sees whether it came
			return o
		}
	}
	w.odd[n] = o
	return o
}

// foreign finds what Redis holds of hand-outs that are not the coordinator's.
func (w *watch) foreign(now time.Time, s *courier.Survey, out map[courier.Number]bool, holders map[courier.Number]string,
	f *findings,
) {
	for _, n := range s.Unclaimed {
		if _, ours := out[n]; ours {
			continue
		}
		if r, known := w.resting[n]; !known {
			w.resting[n] = rest{since: now}
		} else if now.Sub(r.since) >= unclaimedFor {
			f.Stray = append(f.Stray, n)
		}
	}
	for n := range s.Claims {
		if _, ours := out[n]; ours || holders[n] != "" {
			if w.odd[n].kind == oddIdle {
				delete(w.odd, n)
			}
			continue
		}
		o, known := w.odd[n]
		if !known || o.kind != oddIdle {
			w.odd[n] = oddity{kind: oddIdle, since: now}
		} else if now.Sub(o.since) >= 2*courier.WorkerTimeout {
			f.Idle = append(f.Idle, n)
			delete(w.odd, n)
		}
	}
}
