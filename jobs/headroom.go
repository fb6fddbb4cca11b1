package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds on what says a headroom; anything may come through Redis.
const (
	maxHeadroomWindows = 64
	maxHeadroomJSON    = 16 << 10 // bytes; 64 of the longest windows take about 10 KiB
)

// Headroom is the share of each rate limit that is left for other users of the key, by the time of the week.
//
// What the job file or JSON gave is checked. A Headroom made by hand must have shares of at least 0 and below 1.
type Headroom struct { //nolint:recvcheck // decoding alone changes it
	// Default is the share while no window is open.
	Default float64
	// Windows change the share while they are open; of several the largest share counts.
	Windows []HeadroomWindow
}

// HeadroomWindow is a share of the limits for some hours of the week.
type HeadroomWindow struct {
	When  Window
	Share float64
}

// At gives the share (at least 0, below 1) at a moment.
func (h Headroom) At(t time.Time) float64 {
	share, found := 0.0, false
	for _, w := range h.Windows {
		if w.When.Open(t) {
			share, found = max(share, w.Share), true
		}
	}
	if !found {
		return h.Default
	}
	return share
}

// IsZero reports whether nothing was said, so that JSON can leave it out (omitzero).
func (h Headroom) IsZero() bool { return h.Default == 0 && len(h.Windows) == 0 }

// stretchStep is how finely Stretch looks at time; a week has 2016 of it.
const stretchStep = 5 * time.Minute

// Stretch gives the time that work takes which would take so long with the whole limits, when it begins at from.
func (h Headroom) Stretch(from time.Time, work time.Duration) time.Duration {
	if len(h.Windows) == 0 {
		return stretched(work, 1-h.Default)
	}
	const week = 7 * 24 * time.Hour
	var passed, done time.Duration
	for passed < week {
		left := 1 - h.At(from.Add(passed))
		step := time.Duration(float64(stretchStep) * left)
		if done+step >= work {
			return passed + stretched(work-done, left)
		}
		done, passed = done+step, passed+stretchStep
	}
	return stretched(work, float64(done)/float64(week)) // of many weeks each is like the first
}

// stretched divides, and gives the longest duration for what is longer.
func stretched(work time.Duration, by float64) time.Duration {
	if long := float64(work) / by; long < math.MaxInt64 {
		return time.Duration(long)
	}
	return math.MaxInt64
}

// String gives "20%", or "10%, 60% Mon-Fri 08:00-18:00 Europe/Berlin".
func (h Headroom) String() string {
	parts := []string{percentage(h.Default)}
	for _, w := range h.Windows {
		parts = append(parts, percentage(w.Share)+" "+w.When.String())
	}
	return strings.Join(parts, ", ")
}

// percentage shows a share with as many digits as anyone writes.
func percentage(share float64) string {
	return strconv.FormatFloat(math.Round(share*1e9)/1e7, 'f', -1, 64) + "%"
}

// headroomJSON is a headroom with windows as JSON, in which a window's text is that of the job file.
type headroomJSON struct {
	Default float64              `json:"default,omitempty"`
	Windows []headroomWindowJSON `json:"windows"`
}

type headroomWindowJSON struct {
	When  string  `json:"when"`
	Share float64 `json:"share"`
}

// MarshalJSON gives a number where there are no windows.
func (h Headroom) MarshalJSON() ([]byte, error) {
	var encoded any = h.Default
	if len(h.Windows) > 0 {
		stored := headroomJSON{Default: h.Default}
		for _, w := range h.Windows {
			stored.Windows = append(stored.Windows, headroomWindowJSON{When: w.When.String(), Share: w.Share})
		}
		encoded = stored
	}
	text, err := json.Marshal(encoded)
	if err != nil {
		return nil, fmt.Errorf("encode headroom: %w", err)
	}
	return text, nil
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses a share or a window that no job file can have.
func (h *Headroom) UnmarshalJSON(text []byte) error {
	if len(text) > maxHeadroomJSON {
		return fmt.Errorf("decode headroom: %d bytes, of at most %d", len(text), maxHeadroomJSON)
	}
	if bytes.Equal(text, []byte("null")) {
		return nil
	}
	var stored headroomJSON
	if bytes.HasPrefix(text, []byte("{")) {
		// A key of a later version must not be passed over: others would be left too little.
		strict := json.NewDecoder(bytes.NewReader(text))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&stored); err != nil {
			return fmt.Errorf("decode headroom: %w", err)
		}
	} else if err := json.Unmarshal(text, &stored.Default); err != nil {
		return fmt.Errorf("decode headroom: %w", err)
	}
	return h.restore(stored)
}

// restore takes over what was decoded once all of it is right.
func (h *Headroom) restore(stored headroomJSON) error {
	if len(stored.Windows) > maxHeadroomWindows {
		return fmt.Errorf("decode headroom: %d windows, of at most %d", len(stored.Windows), maxHeadroomWindows)
	}
	shares := []float64{stored.Default}
	decoded := Headroom{Default: stored.Default}
	for _, w := range stored.Windows {
		window, err := parseWindow(w.When)
		if err != nil {
			return fmt.Errorf("decode headroom %s: %w", quoted(w.When), err)
		}
		decoded.Windows = append(decoded.Windows, HeadroomWindow{When: window, Share: w.Share})
		shares = append(shares, w.Share)
	}
	if bad := slices.IndexFunc(shares, func(share float64) bool { return share < 0 || share >= 1 }); bad >= 0 {
		return fmt.Errorf("decode headroom: the share %g is not from 0 to below 1", shares[bad])
	}
	*h = decoded
	return nil
}
