package ratelimit

import "testing"

// said is what the service says at a moment, in seconds.
type said struct{ at, limit, left float64 }

func hearAll(all []said) (t told, now ms) {
	for _, s := range all {
		now = ms(s.at * 1000)
		t = t.hear(noted{At: s.at * 1000, Limit: s.limit, Left: s.left}, now)
	}
	return t, now
}

// A lower limit is believed at once, a higher one when it was said for 3 s; one that jumps is that of several accounts,
// and is not heeded for 5 minutes.
func TestToldLimit(t *testing.T) {
	t.Parallel()
	const base = 1000 // a moment of Redis' clock is never near 0
	tests := map[string]struct {
		all         []said
		later       float64 // seconds after the last
		want        float64
		wantTrusted bool
	}{
		"nothing said":                           {nil, 0, 0, false},
		"the first word is believed":             {[]said{{base, 100, 50}}, 0, 100, true},
		"lower at once":                          {[]said{{base, 100, 50}, {base + 0.1, 50, 20}}, 0, 50, true},
		"higher not at once":                     {[]said{{base, 100, 50}, {base + 1, 200, 50}, {base + 2.9, 200, 50}}, 0, 100, true},
		"higher after 3 s":                       {[]said{{base, 100, 50}, {base + 1, 200, 50}, {base + 3, 200, 50}}, 0, 200, true},
		"of what was said in the 3 s, the least": {[]said{{base, 100, 50}, {base + 1, 150, 50}, {base + 3, 200, 50}}, 0, 150, true},
		"the old limit said again starts the 3 s anew": {
			[]said{{base, 100, 50}, {base + 1, 200, 50}, {base + 2, 100, 50}, {base + 4, 200, 50}}, 0, 100, true,
		},
		"a rounding is no change":                  {[]said{{base, 100_000, 50}, {base + 1, 100_050, 50}, {base + 9, 100_050, 50}}, 0, 100_000, true},
		"what is older than the latest is nothing": {[]said{{base, 100, 50}, {base - 5, 10, 5}}, 0, 100, true},
		"a limit of 0 is none":                     {[]said{{base, 0, 50}}, 0, 0, false},
		"a negative limit is none":                 {[]said{{base, 100, 50}, {base + 1, -100, 50}}, 0, 100, true},
		"a huge limit is taken":                    {[]said{{base, 1e300, 1e300}}, 0, 1e300, true},
		"four changes in a minute may be": {
			[]said{{base, 100, 9}, {base + 1, 90, 9}, {base + 2, 80, 9}, {base + 3, 70, 9}, {base + 4, 60, 9}}, 0, 60, true,
		},
		"five may not": {
			[]said{{base, 100, 9}, {base + 1, 50, 9}, {base + 2, 100, 9}, {base + 3, 50, 9}, {base + 4, 100, 9}, {base + 5, 50, 9}}, 0, 50, false,
		},
		"nearly 5 minutes later it is not heeded": {
			[]said{{base, 100, 9}, {base + 1, 50, 9}, {base + 2, 100, 9}, {base + 3, 50, 9}, {base + 4, 100, 9}, {base + 5, 50, 9}}, 299, 50, false,
		},
		"5 minutes later it is": {
			[]said{{base, 100, 9}, {base + 1, 50, 9}, {base + 2, 100, 9}, {base + 3, 50, 9}, {base + 4, 100, 9}, {base + 5, 50, 9}}, 300, 50, true,
		},
		"five changes in five minutes may be": {
			[]said{{base, 100, 9}, {base + 61, 50, 9}, {base + 122, 40, 9}, {base + 183, 30, 9}, {base + 244, 20, 9}, {base + 305, 10, 9}}, 0, 10, true,
		},
		"of which nothing is heard for 10 minutes": {[]said{{base, 100, 50}}, 600, 100, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, now := hearAll(tt.all)
			now += ms(tt.later * 1000)
			if got.Limit != tt.want || got.trusted(now) != tt.wantTrusted {
				t.Errorf("limit %v, trusted: %v; want %v and %v", got.Limit, got.trusted(now), tt.want, tt.wantTrusted)
			}
		})
	}
}

// Most is what the service's bucket was seen to hold in the last 30 to 60 s.
func TestToldMost(t *testing.T) {
	t.Parallel()
	const base = 1000
	tests := map[string]struct {
		all  []said
		want float64
	}{
		"the first":                        {[]said{{base, 100, 30}}, 30},
		"the most":                         {[]said{{base, 100, 30}, {base + 1, 100, 70}, {base + 2, 100, 10}}, 70},
		"after 30 s it still counts":       {[]said{{base, 100, 70}, {base + 1, 100, 10}, {base + 32, 100, 10}}, 70},
		"after 60 s it counts no more":     {[]said{{base, 100, 70}, {base + 1, 100, 10}, {base + 32, 100, 10}, {base + 64, 100, 10}}, 10},
		"never more than the limit":        {[]said{{base, 100, 1e9}}, 100},
		"nothing said of it":               {[]said{{base, 100, -1}}, 0},
		"a lower limit has a lower bucket": {[]said{{base, 100, 80}, {base + 1, 50, 5}}, 40},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, _ := hearAll(tt.all); got.Most != tt.want {
				t.Errorf("most %v, want %v", got.Most, tt.want)
			}
		})
	}
}

// More left than can have come in speaks for several accounts as much as limits that change.
func TestToldRises(t *testing.T) {
	t.Parallel()
	var l told
	l = l.hear(noted{At: 1e6, Limit: 100, Left: 50}, 1e6)
	if l = l.waver(4, 1e6); !l.trusted(1e6) {
		t.Error("not trusted after four rises")
	}
	if l = l.waver(1, 1e6+1000); l.trusted(1e6 + 1000) {
		t.Error("trusted after five rises in a minute")
	}
}
