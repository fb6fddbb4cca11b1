package ratelimit

import (
	"encoding/json"
	"math"
)

// ms is a moment or a duration of Redis' clock, in milliseconds.
type ms = int64

const second ms = 1000

// learned is what is known of a scope's limits. It travels in the settings.
type learned struct {
	// Told is what the service says, by kind.
	Told [kinds]told `json:"told"`
	// Rises is how often more was left than can have come in.
	Rises float64 `json:"rises"`
	// Found is the rate that refusals showed; nil when nothing was refused for long.
	Found *found `json:"found,omitempty"`
	// Refusal is when calls were last refused.
	Refusal mark `json:"refusal"`
	// Window is the number of calls at once that the service was seen to bear.
	Window window `json:"window"`
	// Marks are the totals of 5 to 10 and of up to 5 seconds ago.
	Marks []mark `json:"marks,omitempty"`
	// Minutes are the same of one to two minutes ago, and of up to one.
	Minutes []mark `json:"minutes,omitempty"`
	// Then is the latest of all totals.
	Then mark `json:"then"`
}

// mark is what all workers together had done at a moment.
type mark struct {
	At       ms                 `json:"at"`
	Used     amounts            `json:"used"`
	Done     counts             `json:"done"`
	Denied   [kinds + 1]float64 `json:"denied"`
	InFlight int                `json:"in_flight"`
}

const (
	// burstFor is how much of a limit may be used at once, as the time in which it comes in. The service may enforce
	// limits over a second; what all workers hold together must stay well below.
	burstFor = 0.5
	// nearly is the part of a limit that is used when the service says what it is: calls do not arrive as evenly as they
	// are started, and a bucket that is always full to the brim refuses the first that comes early.
	nearly = 0.99
	// margin is the part of what the service's bucket was seen to hold that is left in it.
	margin = 0.1
	// marksFor is how far back rates are measured.
	marksFor = 10 * second
)

// slack is how much more may be left than the service says, by its rounding: down to whole requests, to the nearest
// thousand tokens (API documentation, "Rate limits", response headers).
var slack = amounts{1, 500, 500, 500}

// steer returns the settings that follow from the present ones and what was seen since. It is a pure function.
func steer(present settings, r *reply) settings {
	var l learned
	if present.Learned != "" && json.Unmarshal([]byte(present.Learned), &l) != nil {
		l = learned{} // another version's: learnt anew
	}
	if f := l.Found; f != nil && (f.Kind < 0 || f.Kind >= kinds) {
		l = learned{} // no version's
	}
	now := mark{At: r.Now, Used: r.Used, Done: r.Done, Denied: r.Denied, InFlight: r.InFlight}
	if l.Then.At > now.At { // the clock went back: what was to come later is not waited for
		for k := range l.Told {
			t := &l.Told[k]
			t.At, t.Since, t.Counted, t.Distrust, t.Turned = 0, 0, 0, 0, 0
		}
		l.Window.CutAt, l.Window.RestTo = 0, 0
	}
	if l.Then.At == 0 || l.Then.At > now.At || l.Then.Done[answered] > now.Done[answered] {
		l.Then, l.Marks, l.Minutes, l.Refusal, l.Rises = now, nil, nil, mark{}, r.Rises // the first look, or Redis lost its totals
	}
	for k := range l.Told {
		l.Told[k] = l.Told[k].hear(r.Seen[k], now.At)
		if rose := r.Rises - l.Rises; rose > 0 {
			l.Told[k] = l.Told[k].waver(rose, now.At)
		}
	}
	l.Rises = r.Rises
	if now.Done.refusals() > l.Then.Done.refusals() {
		l.refused(now)
	} else {
		l.Found = l.Found.after(l.Then, now, l.limits(now.At))
	}
	l.Window = l.Window.after(l.Then, now, l.Found != nil || l.knows(now.At))
	l.Then = now
	l.Marks, l.Minutes = marked(l.Marks, now, marksFor/2), marked(l.Minutes, now, minute)
	next := l.settings(now.At, r.Headroom)
	// Two workers may steer at once; the later one's settings hold.
	next.Version = max(present.Version+1, now.At)
	return next
}

// marked are the two latest marks that are so far apart.
func marked(marks []mark, now mark, apart ms) []mark {
	if n := len(marks); n == 0 || now.At-marks[n-1].At >= apart {
		return append(marks, now)[max(0, n-1):]
	}
	return marks
}

// refused takes in that calls were refused. Where the service says what its limits are, one refusal in a while is by
// chance: the pause that it makes is enough.
func (l *learned) refused(now mark) {
	kind := refusedKind(l.Then, now)
	since := now.At - l.Refusal.At
	if since < aftermath(kind, l.Marks, now) || kind >= Output && now.Used[Requests]-l.Refusal.Used[Requests] < fewest {
		return // nothing has been tried since
	}
	if !l.knows(now.At) || since < marksFor {
		l.Found = l.Found.refused(kind, l.Marks, l.Refusal, l.Then, now)
		if kind >= Output && len(l.Minutes) > 0 {
			// In the trough of a wave nothing passes, however high the limit is.
			l.Found.Peak = max(l.Found.Peak, perMinute(kind, l.Minutes[0], now)/2)
		}
	}
	l.Refusal = now
}

// limits are the rates that the service says, a minute.
func (l *learned) limits(now ms) (limits amounts) {
	for k, t := range l.Told {
		if t.trusted(now) {
			limits[k] = nearly * t.Limit
		}
	}
	return limits
}

// knows reports whether the service says what its limits are.
func (l *learned) knows(now ms) bool {
	return l.limits(now) != amounts{}
}

// settings are the limits that follow from what is known.
func (l *learned) settings(now ms, headroom float64) settings {
	s := settings{Slack: slack}
	for k, limit := range l.limits(now) {
		s.Rate[k] = limit * (1 - headroom)
		s.Told[k], s.Most[k] = l.Told[k].Limit, l.Told[k].Most
		s.Reserve[k] = max(margin, headroom) * l.Told[k].Most
	}
	// The limit for both tokens together is mostly the sum of the other two, and then says nothing new.
	if in, out := s.Rate[Input], s.Rate[Output]; in > 0 && out > 0 && s.Rate[Tokens] >= 0.999*(in+out) {
		s.Rate[Tokens] = 0
	}
	for k, rate := range s.Rate {
		s.Burst[k] = rate / 60 * burstFor
	}
	if f := l.Found; f != nil {
		rate := f.rate() * (1 - headroom)
		if s.Rate[f.Kind] == 0 || rate < s.Rate[f.Kind] {
			s.Rate[f.Kind], s.Burst[f.Kind] = rate, rate/60*burstFor/2
		}
	}
	s.Burst[Requests] = max(s.Burst[Requests], 1)
	if !l.knows(now) || l.Window.CutAt > 0 && now-l.Window.CutAt < minute {
		s.Concurrency = int(math.Ceil(l.Window.Size))
		if s.Rate == (amounts{}) {
			s.Concurrency = max(1, int(l.Window.Size*(1-headroom))) // there is nothing else to leave room in
		}
	}
	encoded, err := json.Marshal(l)
	if err == nil {
		s.Learned = string(encoded)
	}
	return s
}

// firstSettings are those of a scope of which nothing is known.
func firstSettings() settings {
	l := learned{Window: window{Size: firstWindow, Growing: true}}
	return l.settings(0, 0)
}

// settingsOf are those of a job's own bounds.
func settingsOf(b Limits, version int64) settings {
	s := settings{Version: version, Rate: b.perMinute(), Slack: slack, Concurrency: b.Concurrency}
	for k, rate := range s.Rate {
		s.Burst[k] = rate / 60 * burstFor
	}
	s.Burst[Requests] = max(s.Burst[Requests], 1)
	return s
}
