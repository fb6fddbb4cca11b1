package worker

import (
	"container/list"
	"sync"
	"time"

	"github.com/batchwright/batchwright/ratelimit"
)

const (
	// hungAfter is how long a call must have been in flight for it not to count against the slots of other runs.
	hungAfter = 30 * time.Second
	// lookAgain is how often a run that may make no call at all (paused, cut off, in an outage) is looked at.
	lookAgain = time.Second
	// briefly is how long limits may hold a run that loses none of its share by it: slices of a limit come that often.
	briefly = time.Second
)

// scheduler gives the slots of a worker to the records of all its runs. It promises that a slot is given to a record
// only when the call may start at once, so that what one run waits for holds nothing of another's; that runs which
// have work share the tokens by weight (start-time fair queueing: the run with the earliest start tag goes first,
// and one that was idle or stuck comes back at the present virtual time, with nothing saved up and nothing lost); and
// that nothing is looked at while nothing changes.
//
// Whoever makes a change that can let a call start hands the search on to one goroutine; each goroutine that finds a
// call hands it on to the next, so that none wakes for nothing while there is work for it.
type scheduler struct {
	slots int
	start func() // starts a goroutine that makes calls until next returns nil

	mu       sync.Mutex
	work     sync.Cond // there may be a call to start, or the scheduler closed
	lanes    []*lane
	clock    float64 // virtual time: the start tag of the latest call, in tokens a unit of weight
	inFlight int
	hung     int       // of those, the ones in flight for longer than hungAfter
	young    list.List // of *call: the others, oldest first
	callers  int       // goroutines that make calls, at most 2·slots
	idle     int       // of those, the ones that wait for work
	alarm    *time.Timer
	alarmAt  time.Time // zero when it is not set
	closed   bool
	gate     gate
}

// lane is one run's place in the scheduler, whose lock guards it.
type lane struct {
	weight float64
	// mayCall reports whether the run may make calls at all; admit starts one of so many that could start, or says how
	// long limits forbid it (0: until a call of the run ends or limits change). Both are called under the scheduler's lock.
	mayCall func() bool
	admit   func(r *record, ready int) (*permits, ratelimit.Cost, time.Duration)
	run     *run
	calls   sync.WaitGroup // its calls in flight, and whatever else the end of the run must wait for

	queue     queue
	space     sync.Cond     // a record was taken, or the lane closed
	suspected chan struct{} // holds a token when a suspect was added
	finish    float64       // finish tag of its latest call
	flying    map[*call]struct{}
	lease     int // records of earlier leases start no call any more
	inFlight  int
	hung      int
	// heldSince is when it was first held since its latest call, and heldClock the virtual time then; zero when it was not.
	heldSince time.Time
	heldClock float64
	held      bool      // nothing of it can start before heldUntil, or before something changes when that is zero
	heldUntil time.Time // meaningful while held
	closed    bool
}

// call is a record in flight.
type call struct {
	*record
	lane    *lane
	permits *permits
	cost    ratelimit.Cost // as estimated
	used    ratelimit.Cost // as it turned out; zero when the API gave no answer
	started time.Time
	young   *list.Element // nil when it counts as hung
}

func newScheduler(slots int, start func()) *scheduler {
	s := &scheduler{slots: slots, start: start, gate: gate{turn: make(chan struct{}, 1)}}
	s.work.L = &s.mu
	s.alarm = time.AfterFunc(time.Hour, s.ring)
	s.alarm.Stop()
	return s
}

// open adds a lane.
func (s *scheduler) open(l *lane) {
	l.space.L, l.suspected, l.flying = &s.mu, make(chan struct{}, 1), make(map[*call]struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	l.closed = s.closed
	if !l.closed {
		s.lanes = append(s.lanes, l)
	}
}

// expire begins a new lease of the lane. It returns the records of earlier ones that it held, and those in flight.
func (s *scheduler) expire(l *lane, lease int) (held, flying []*record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.lease = lease
	l.space.Broadcast()
	for c := range l.flying {
		flying = append(flying, c.record)
	}
	return l.queue.drop(), flying
}

// shut takes a lane out and returns the records that it held; no call of it starts any more.
func (s *scheduler) shut(l *lane) []*record {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.closed = true
	for i := range s.lanes {
		if s.lanes[i] == l {
			s.lanes = append(s.lanes[:i], s.lanes[i+1:]...)
			break
		}
	}
	l.space.Broadcast()
	return l.queue.drop()
}

// close ends next for all callers.
func (s *scheduler) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.alarm.Stop()
	s.work.Broadcast()
}

// push adds records that may be tried now, again ones before new ones. It returns those that may not be tried by this
// worker any more.
func (s *scheduler) push(l *lane, again bool, records ...*record) []*record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var late []*record
	for _, r := range records {
		if l.over(r) {
			late = append(late, r)
			continue
		}
		r.flight.Store(nil)
		l.queue.push(again, r)
	}
	s.changedLocked(l)
	return late
}

// wait adds a record that is due later; it reports false when this worker may not try it any more.
func (s *scheduler) wait(l *lane, r *record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.over(r) {
		return false
	}
	r.flight.Store(nil)
	l.queue.wait(r)
	s.changedLocked(l)
	return true
}

// over reports whether a record may start no call here any more.
func (l *lane) over(r *record) bool { return l.closed || r.lease < l.lease }

// room waits until the lane has room for the next hand-out, or is closed.
func (s *scheduler) room(l *lane, low int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !l.closed && !l.queue.hasRoom(low) {
		l.space.Wait()
	}
}

// changed says that what the lane was held by may be over.
func (s *scheduler) changed(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changedLocked(l)
}

func (s *scheduler) changedLocked(l *lane) {
	l.held = false
	if len(l.queue.suspects) > 0 {
		select {
		case l.suspected <- struct{}{}:
		default:
		}
	}
	s.handOn(time.Now())
}

// changedAll says that what lanes were held by may be over.
func (s *scheduler) changedAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		l.held = false
	}
	s.handOn(time.Now())
}

// tend runs f in a goroutine that the end of the lane waits for; it does nothing when the lane is closed.
func (s *scheduler) tend(l *lane, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.closed {
		l.calls.Go(f)
	}
}

// next ends the call that the goroutine made last, if any, waits for the next one to make and takes its slot; nil when
// the scheduler is closed.
func (s *scheduler) next(made *call) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if made != nil {
		s.endLocked(made) // what that allows this goroutine looks for itself
	}
	for !s.closed {
		now := time.Now()
		if c := s.take(now); c != nil {
			s.handOn(now)
			return c
		}
		s.setAlarm(now)
		s.idle++
		s.work.Wait()
		s.idle--
	}
	return nil
}

// take starts the call that goes first now; nil when none may start.
func (s *scheduler) take(now time.Time) *call {
	for {
		l := s.first(now)
		if l == nil {
			return nil
		}
		r := l.queue.head(now)
		permits, cost, wait := l.admit(r, max(1, min(l.queue.startable(), s.slots-s.inFlight)))
		if permits == nil {
			if l.heldSince.IsZero() {
				l.heldSince, l.heldClock = now, s.clock
			}
			l.held, l.heldUntil = true, time.Time{}
			if wait > 0 {
				l.heldUntil = now.Add(wait)
			}
			continue
		}
		l.queue.pop(now)
		l.space.Signal()
		return s.begin(&call{record: r, lane: l, permits: permits, cost: cost}, now)
	}
}

// first is the lane whose call goes first among those that may start one as far as is known; its limiter may still
// forbid it.
func (s *scheduler) first(now time.Time) *lane {
	if s.closed || s.gate.shut {
		return nil
	}
	s.age(now)
	var first *lane
	for _, l := range s.lanes {
		// The start tag is the finish tag or the present: comparing finish tags gives the same order.
		if (first == nil || l.finish < first.finish) && s.startable(l, now) {
			first = l
		}
	}
	return first
}

func (s *scheduler) startable(l *lane, now time.Time) bool {
	switch {
	case l.held && (l.heldUntil.IsZero() || now.Before(l.heldUntil)):
		return false
	case s.inFlight-(s.hung-l.hung) >= s.slots: // what hangs of other runs takes no slot from this one
		return false
	case l.queue.head(now) == nil:
		return false
	}
	l.held = !l.mayCall()
	l.heldUntil = now.Add(lookAgain)
	return !l.held
}

// begin books a call as in flight and charges its estimated tokens to the lane.
func (s *scheduler) begin(c *call, now time.Time) *call {
	l := c.lane
	present := s.clock
	if !l.heldSince.IsZero() && now.Sub(l.heldSince) < briefly {
		present = l.heldClock
	}
	l.heldSince = time.Time{}
	start := max(l.finish, present)
	s.clock, l.finish = max(s.clock, start), start+tokens(c.cost)/l.weight
	s.inFlight++
	l.inFlight++
	l.calls.Add(1)
	l.flying[c] = struct{}{}
	c.flight.Store(c)
	c.started, c.young = now, s.young.PushBack(c)
	return c
}

// end books a call as no longer in flight.
func (s *scheduler) end(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(c)
	s.handOn(time.Now())
}

// endLocked charges what the call really used. One without an answer keeps its estimate: were it free, a run whose
// calls all fail would always go first.
func (s *scheduler) endLocked(c *call) {
	l := c.lane
	if c.used != (ratelimit.Cost{}) {
		l.finish += (tokens(c.used) - tokens(c.cost)) / l.weight
	}
	s.inFlight--
	l.inFlight--
	delete(l.flying, c)
	l.held = false
	if c.young != nil {
		s.young.Remove(c.young)
	} else {
		s.hung--
		l.hung--
	}
	if s.inFlight == 0 && s.gate.quiet != nil {
		close(s.gate.quiet)
		s.gate.quiet = nil
	}
	l.calls.Done()
}

func tokens(c ratelimit.Cost) float64 { return float64(c.Input + c.Output) }

// age finds the calls that hang.
func (s *scheduler) age(now time.Time) {
	for e := s.young.Front(); e != nil; e = s.young.Front() {
		c := e.Value.(*call)
		if now.Sub(c.started) < hungAfter {
			return
		}
		s.young.Remove(e)
		c.young = nil
		s.hung++
		c.lane.hung++
	}
}

// handOn lets one goroutine look for a call if one may start, and otherwise sees to it that somebody looks when time
// alone has changed that.
func (s *scheduler) handOn(now time.Time) {
	switch {
	case s.first(now) == nil:
		s.setAlarm(now)
	case s.idle > 0:
		s.work.Signal()
	case s.callers < 2*s.slots:
		s.callers++
		s.start()
	}
}

// setAlarm makes the alarm ring when the next call could start without anything else changing. It follows a search
// that found none at now.
func (s *scheduler) setAlarm(now time.Time) {
	if s.closed || s.gate.shut {
		return
	}
	var at time.Time
	earliest := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, l := range s.lanes {
		switch {
		case l.queue.head(now) == nil:
			earliest(l.queue.nextDue())
		case l.held && l.heldUntil.IsZero():
		case l.held && l.heldUntil.After(now):
			earliest(l.heldUntil)
		default: // no slot is free for it
			if e := s.young.Front(); e != nil {
				earliest(e.Value.(*call).started.Add(hungAfter))
			}
		}
	}
	if at.IsZero() || !s.alarmAt.IsZero() && !at.Before(s.alarmAt) {
		return // an alarm that rings too early is set anew
	}
	s.alarmAt = at
	s.alarm.Reset(at.Sub(now))
}

func (s *scheduler) ring() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarmAt = time.Time{}
	s.handOn(time.Now())
}
