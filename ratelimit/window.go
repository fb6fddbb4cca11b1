package ratelimit

const (
	// firstWindow is how many calls at once a service is tried with of which nothing is known.
	firstWindow = 16
	// mostWindow bounds the window where nothing else does.
	mostWindow = 100_000
	// easeOff is the part of the calls in flight that is left to a service that is overloaded.
	easeOff = 0.7
	// A service is overloaded when in a round so many calls meet that, and such a share: single ones are everyday.
	fewOverloads  = 3
	overloadShare = 0.1
	// slower is how many times the least latency a call must take for the service to be queueing, and gained how much
	// more must be answered a second for that to be worth it.
	slower, gained = 1.5, 1.1
	// beyond is how many more calls than the service works on are kept in flight, so that it never runs dry.
	beyond = 1.25
	// restFor is how long a window that was cut for queueing is left as it is.
	restFor = 30 * second
	// fewest answers make a mean.
	fewest = 30
	// roundFor is how many mean latencies a round lasts.
	roundFor = 2
)

// window is the number of calls at once, by additive increase and multiplicative decrease.
type window struct {
	Size float64 `json:"size"`
	// Growing is the slow start: until anything speaks against it the window grows by one for each answer, so that it
	// doubles in the time that a call takes.
	Growing bool `json:"growing"`
	CutAt   ms   `json:"cut_at"`
	RestTo  ms   `json:"rest_to"`

	// A round is as long as two calls take, and a second at least.
	Began mark `json:"began"`
	// Base is the least mean latency of a round, in milliseconds; Rate the answers a second of the round before.
	Base float64 `json:"base"`
	Rate float64 `json:"rate"`
	// Was is the window before it was cut for queueing, with the rate and the latency that it had then; zero when that
	// was not in the round before.
	Was        float64 `json:"was"`
	WasRate    float64 `json:"was_rate"`
	WasLatency float64 `json:"was_latency"`
}

// after is the window after what happened since the mark then. With rated the service limits the rate, and says by
// itself when calls are too many.
func (w window) after(then, now mark, rated bool) window {
	if w.Size == 0 {
		w = window{Size: firstWindow, Growing: true}
	}
	if w.Began.At == 0 || w.Began.At > now.At {
		w.Began = now
	}
	passed := now.Done[answered] - then.Done[answered]
	wanted := now.Denied[BoundByConcurrency-1] > then.Denied[BoundByConcurrency-1]
	over := now.Done[overloaded] - w.Began.Done[overloaded]
	switch {
	case now.At-w.CutAt >= max(second, ms(w.Base)) && over >= fewOverloads && over >= overloadShare*(over+now.Done[answered]-w.Began.Done[answered]):
		w.Size = max(1, easeOff*min(w.Size, float64(max(now.InFlight, 1))))
		w.Growing, w.CutAt, w.Began = false, now.At, now
	case now.Done.refusals() > then.Done.refusals():
		w.Growing = false // the rate is what is limited
	case w.Growing && wanted:
		w.Size += passed
	case wanted && now.At >= w.RestTo:
		w.Size += max(1, 0.1*w.Size) * float64(now.At-then.At) / max(float64(second), w.Base)
	}
	w.Size = min(w.Size, mostWindow)
	return w.round(now, rated)
}

// round looks, when a round is over, whether the service queues calls: they take longer and no more are answered. One that
// limits the rate does not.
func (w window) round(now mark, rated bool) window {
	n := now.Done[answered] - w.Began.Done[answered]
	took := (now.Done[latency] - w.Began.Done[latency]) / n
	lasted := now.At - w.Began.At
	usual := w.Base
	if usual == 0 {
		usual = took
	}
	if n < fewest || float64(lasted) < max(float64(second), roundFor*usual) {
		return w
	}
	// What more calls at once should have gained, at least.
	grown := float64(now.InFlight) / float64(max(w.Began.InFlight, 1))
	worth := max(gained, 1+(grown-1)/2)
	rate := n / (float64(lasted) / float64(second))
	before, queued := w.Rate, float64(w.Began.InFlight) > beyond*w.Size
	w.Began, w.Rate = now, rate
	if w.Base == 0 || took < w.Base {
		w.Base = took
	}
	atWork := rate * w.Base / float64(second) // by Little's law: what the service works on at once
	switch {
	case rated:
		w.Was = 0
	case w.Was > 0 && !queued && rate < 0.95*w.WasRate && took > 0.9*w.WasLatency:
		// Fewer at once made them no faster: calls have become longer, and nothing was queueing.
		w.Size, w.Base = w.Was, took
		w.Was = 0
	case now.At < w.RestTo:
	case before > 0 && took > slower*w.Base && rate < worth*before && float64(now.InFlight) > slower*atWork:
		w.Was, w.WasRate, w.WasLatency = w.Size, rate, took
		w.Size = max(1, min(w.Size, beyond*atWork))
		w.Growing, w.RestTo = false, now.At+restFor
	default:
		w.Was = 0
	}
	return w
}
