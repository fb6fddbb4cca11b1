package ratelimit

import (
	"testing"
)

// look is what all did between two looks at a window, a second apart.
type look struct {
	answered, latency float64 // the latency of each, in ms
	overloaded        float64
	refused           float64
	wanted            bool // more calls at once
	inFlight          int
	rated             bool // the service limits the rate
}

func repeat(n int, l look) (all []look) {
	for range n {
		all = append(all, l)
	}
	return all
}

// windowAfter looks at all of it, from a window that has just begun.
func windowAfter(w window, all []look) window {
	then := mark{At: 1_000_000}
	if w.Size > 0 {
		w.Began = then
	}
	for _, l := range all {
		now := then
		now.At += second
		now.Done[answered] += l.answered
		now.Done[latency] += l.answered * l.latency
		now.Done[overloaded] += l.overloaded
		now.Done[refused] += l.refused
		now.InFlight = l.inFlight
		if l.wanted {
			now.Denied[BoundByConcurrency-1]++
		}
		w = w.after(then, now, l.rated)
		then = now
	}
	return w
}

func TestWindow(t *testing.T) {
	t.Parallel()
	growing, steady := window{Size: 16, Growing: true}, window{Size: 40}
	all := func(parts ...[]look) (looks []look) {
		for _, p := range parts {
			looks = append(looks, p...)
		}
		return looks
	}
	tests := map[string]struct {
		w        window
		looks    []look
		min, max float64
	}{
		"nothing known":                  {window{}, repeat(1, look{}), 16, 16},
		"slow start: doubles in a round": {growing, repeat(1, look{answered: 16, latency: 900, wanted: true}), 32, 32},
		"and again":                      {growing, []look{{answered: 16, latency: 900, wanted: true}, {answered: 32, latency: 900, wanted: true}}, 64, 64},
		"not when no more is wanted":     {growing, repeat(5, look{answered: 16, latency: 900}), 16, 16},
		"a refusal ends the slow start":  {growing, []look{{answered: 16, refused: 1, wanted: true, inFlight: 16}, {answered: 16, latency: 900, wanted: true}}, 17, 18},
		"additive: a tenth a second":     {steady, repeat(1, look{wanted: true}), 44, 44},
		"additive: one at least":         {window{Size: 2}, repeat(1, look{wanted: true}), 3, 3},
		"additive: slower with long calls": {
			window{Size: 40, Base: 4000}, repeat(1, look{wanted: true}), 41, 41,
		},
		"overload: 0.7 of what was in flight":                {steady, repeat(1, look{overloaded: 9, inFlight: 30}), 21, 21},
		"overload: never more than before":                   {steady, repeat(1, look{overloaded: 9, inFlight: 300}), 28, 28},
		"overload: again when it goes on":                    {steady, repeat(2, look{overloaded: 9, inFlight: 300}), 19.6, 19.6},
		"overload: one is left":                              {steady, repeat(20, look{overloaded: 9, inFlight: 1}), 1, 1},
		"overload: one call of many is chance":               {steady, repeat(1, look{answered: 1000, latency: 100, overloaded: 1, inFlight: 40}), 40, 40},
		"never more than the most":                           {window{Size: 99_000}, repeat(10, look{wanted: true}), mostWindow, mostWindow},
		"nothing is answered: it hangs, and nothing changes": {steady, repeat(60, look{inFlight: 40}), 40, 40},
		// 40 a second at 400 ms are 16 at once; the others only wait in the service's queue.
		"queueing: back to what the service works on": {
			window{Size: 64, Base: 400, Rate: 40}, repeat(4, look{answered: 40, latency: 1600, wanted: true, inFlight: 64}), 16, 24,
		},
		"queueing is not looked for where the rate is limited": {
			window{Size: 64, Base: 400}, repeat(8, look{answered: 40, latency: 1600, rated: true}), 64, 64,
		},
		"longer calls that are answered faster are none": {
			window{Size: 64, Base: 400},
			[]look{{answered: 40, latency: 700}, {answered: 40, latency: 700}, {answered: 60, latency: 700, wanted: true}, {answered: 60, latency: 700, wanted: true}},
			64, 80,
		},
		// Calls have become four times as long and nothing was queueing: fewer at once are answered more slowly, and take as long.
		"undone when it was none": {
			window{Size: 64, Base: 400, Rate: 40},
			all(repeat(4, look{answered: 40, latency: 1600, wanted: true, inFlight: 64}), repeat(8, look{answered: 13, latency: 1600, wanted: true, inFlight: 20})), 64, 120,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := windowAfter(tt.w, tt.looks)
			if w.Size < tt.min-1e-6 || w.Size > tt.max+1e-6 {
				t.Errorf("%v calls at once, want %v to %v; %+v", w.Size, tt.min, tt.max, w)
			}
		})
	}
}

// A window that was cut for queueing rests for half a minute.
func TestWindowRests(t *testing.T) {
	t.Parallel()
	w := windowAfter(window{Size: 64, Base: 400, Rate: 40}, repeat(4, look{answered: 40, latency: 1600, wanted: true, inFlight: 64}))
	cut := w.Size
	w.RestTo = 1_000_000 + 30*second // the looks begin anew
	if w = windowAfter(w, repeat(29, look{answered: 1, latency: 400, wanted: true})); w.Size != cut {
		t.Errorf("%v calls at once while it rests, want %v", w.Size, cut)
	}
	w.RestTo = 1_000_000 + 30*second
	if w = windowAfter(w, repeat(32, look{answered: 1, latency: 400, wanted: true})); w.Size <= cut {
		t.Errorf("%v calls at once after the rest, want more than %v", w.Size, cut)
	}
}
