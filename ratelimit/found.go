package ratelimit

const (
	// cut is the part of the rate that passed which is tried after a refusal.
	cut = 0.93
	// backIn is how many saturated seconds it takes from a cut back to the rate that was refused. From then on the rate
	// grows faster and faster, so that a limit that was raised is found: 7 % over it after twice the time, half over it
	// after three times.
	backIn = 14.0
	// wave is the longest time between two refusals that are of one wave.
	wave = 2 * minute
	// gentle is how much of its rate a limit on growth lets usage grow in a second; halved at each refusal.
	gentle = 0.05
	// firstRate, in calls a minute, is not gone below at the first refusal.
	firstRate = 60.0
	// leastRate, a minute, is never gone below: what is refused then is refused for another reason.
	leastRate = 1.0
)

// found is the rate of one kind at which calls were refused, and how usage grew since.
type found struct {
	Kind Kind    `json:"kind"`
	Peak float64 `json:"peak"` // per minute, that passed when calls were refused
	At   ms      `json:"at"`   // of the refusal
	Busy float64 `json:"busy"` // seconds since then in which more was wanted
	// Slope is the part of Peak by which the rate may grow in a second; 0 when only its level is limited.
	Slope float64 `json:"slope,omitempty"`
}

// rate is what may be tried now, per minute.
func (f *found) rate() float64 {
	if f.Slope > 0 {
		return max(leastRate, f.Peak*(0.8+f.Slope*f.Busy))
	}
	return max(leastRate, f.Peak*regrowth(f.Busy))
}

// regrowth is the part of the rate that was refused which may be tried after so many seconds: cubic, as in CUBIC (RFC
// 9438), flat where the limit was and steep far from it.
func regrowth(busy float64) float64 {
	x := (busy - backIn) / backIn
	return 1 + (1-cut)*x*x*x
}

// after is what is known of the rate when, after the mark then, no call was refused. limits are what the service says, 0
// where it does not.
func (f *found) after(then, now mark, limits amounts) *found {
	if f == nil {
		return nil
	}
	next := *f
	if now.Denied[f.Kind] > then.Denied[f.Kind] {
		next.Busy += float64(now.At-then.At) / float64(second)
	}
	if limit := limits[f.Kind]; limit > 0 && next.rate() >= limit {
		return nil // the service's own word is enough again
	}
	return &next
}

// refusedKind is the kind of limit that most of the refusals since the mark then named.
func refusedKind(then, now mark) Kind {
	kind, most := Requests, 0.0
	for k := range kinds {
		if n := now.Done[refused+int(k)] - then.Done[refused+int(k)]; n > most {
			kind, most = k, n
		}
	}
	return kind
}

// aftermath is for how long after a refusal others tell nothing new: those calls were under way, or the service's bucket
// pays for what was. Output counts when calls end.
func aftermath(kind Kind, marks []mark, now mark) ms {
	if kind < Output || len(marks) == 0 {
		return second
	}
	n := now.Done[answered] - marks[0].Done[answered]
	took := (now.Done[latency] - marks[0].Done[latency]) / max(n, 1)
	return min(max(second, ms(2*took)), marksFor)
}

// perMinute is the rate at which a kind was used between two marks.
func perMinute(kind Kind, since, now mark) float64 {
	return (now.Used[kind] - since.Used[kind]) / float64(max(now.At-since.At, second)) * float64(minute)
}

// refused is what a refusal shows: the rate that passes is the one that passed. marks are those of the last seconds, and
// last that of the last refusal.
func (f *found) refused(kind Kind, marks []mark, last, then, now mark) *found {
	slope := 0.0
	if now.Done[ramped] > then.Done[ramped] {
		kind, slope = Requests, gentle
		if f != nil && f.Slope > 0 {
			slope = f.Slope / 2
		}
	}
	// One refusal in a while is by chance, and what passed in some seconds is the rate. When refusals follow each other
	// the rate is far off, or a bucket was emptied that had been full: what counts is what has passed since the last one.
	// Output passes in waves, as calls go on ending after a refusal: there it is what passed in a whole wave.
	since := then
	if len(marks) > 0 {
		since = marks[0]
	}
	if last.At > since.At || kind >= Output && last.At > 0 && now.At-last.At < wave {
		since = last
	}
	peak := perMinute(kind, since, now)
	if f != nil && f.Kind == kind && kind < Output {
		peak = max(peak, f.rate()/2) // while all was held nothing passed
	}
	if calls := now.Used[Requests]; f == nil && calls > 0 {
		peak = max(peak, firstRate*now.Used[kind]/calls) // little was tried before the first refusal
	}
	return &found{Kind: kind, Peak: max(peak, leastRate), At: now.At, Slope: slope}
}
