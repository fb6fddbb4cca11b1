package ratelimit

const (
	// raiseAfter is how long a higher limit must be said before it is believed; a lower one is at once.
	raiseAfter = 3 * second
	// fickle is how often a limit may change within fickleFor. One that changes more often is that of several accounts
	// behind one address.
	fickle    = 4
	fickleFor = 60 * second
	// distrustFor is for how long a fickle limit is not heeded.
	distrustFor = 5 * 60 * second
	// turnFor is for how long the most that was left counts, once or twice over.
	turnFor = 30 * second
	// forgetAfter is how long a limit holds of which nothing is heard.
	forgetAfter = 10 * 60 * second
)

// told is what the service says of one kind of limit.
type told struct {
	Limit float64 `json:"limit"` // per minute, as believed; 0 for none
	Said  float64 `json:"said"`  // what was said last
	At    ms      `json:"at"`    // when
	Since ms      `json:"since"` // when it was last said that the limit is no higher than believed
	Least float64 `json:"least"` // the lowest said since then
	// Most is the most that was said to be left lately: what the service's bucket holds, as far as that was seen. Next is
	// the same since Turned.
	Most     float64 `json:"most"`
	Next     float64 `json:"next"`
	Turned   ms      `json:"turned"`
	Changes  float64 `json:"changes"` // of Said, and rises, since Counted
	Counted  ms      `json:"counted"`
	Distrust ms      `json:"distrust"` // not heeded before
}

// trusted reports whether there is a limit to go by.
func (t told) trusted(now ms) bool { return t.Limit > 0 && now >= t.Distrust && now-t.At < forgetAfter }

// hear takes in the latest sighting.
func (t told) hear(s noted, now ms) told {
	at := ms(s.At)
	if at <= t.At || !(s.Limit > 0) {
		return t
	}
	t.At = at
	if t.Said != 0 && changed(t.Said, s.Limit) {
		t = t.waver(1, now)
	}
	t.Said = s.Limit
	switch {
	case t.Limit == 0, s.Limit < t.Limit:
		if t.Limit > 0 {
			t.Most *= s.Limit / t.Limit
			t.Next = 0
		}
		t.Limit, t.Since, t.Least = s.Limit, at, 0
	case !changed(t.Limit, s.Limit):
		t.Since, t.Least = at, 0
	default:
		if t.Least == 0 || s.Limit < t.Least {
			t.Least = s.Limit
		}
		if at-t.Since >= raiseAfter {
			t.Limit, t.Since, t.Least = t.Least, at, 0
		}
	}
	if at-t.Turned > turnFor {
		t.Most, t.Next, t.Turned = t.Next, 0, at
	}
	t.Next = min(max(t.Next, s.Left), t.Limit)
	t.Most = max(t.Most, t.Next)
	return t
}

// waver counts what speaks for several accounts behind the address.
func (t told) waver(times float64, now ms) told {
	if now-t.Counted > fickleFor {
		t.Counted, t.Changes = now, 0
	}
	if t.Changes += times; t.Changes > fickle {
		t.Distrust, t.Changes = now+distrustFor, 0
	}
	return t
}

// changed compares limits.
func changed(a, b float64) bool { return a < 0.999*b || b < 0.999*a }
