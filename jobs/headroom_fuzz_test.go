package jobs

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Any text is a window that is shown as what reads back the same, or an error that says something.
func FuzzHeadroomWindow(f *testing.F) {
	for _, seed := range []string{
		"Mon-Fri 08:00-18:00 Europe/Berlin", "Sat, Sun 00:00-24:00 UTC", "22:00-06:00", "Fri-Mon,Wed 8:00-00:00 America/New_York",
		"Mon-Mon 24:00-24:00 Local", "-, 1:00- ..", "00:00-00:01 Etc/GMT+5", "",
	} {
		f.Add(seed, int64(1_800_000_000))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		w, err := parseWindow(text)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without a word")
			}
			return
		}
		if w.Days == 0 || w.Days > everyDay || w.Begin < 0 || w.Begin >= minutesOfDay || w.End < 1 || w.End > minutesOfDay {
			t.Fatalf("%q is %+v", text, w)
		}
		again, err := parseWindow(w.String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w, again); diff != "" {
			t.Fatalf("%q reads back as another window:\n%s", w, diff)
		}
		at := time.Unix(unix, 0)
		if inDays := (Window{Days: w.Days, Begin: 0, End: minutesOfDay, Zone: w.Zone}); w.Begin < w.End && w.Open(at) && !inDays.Open(at) {
			t.Fatalf("%q is open on another day: %s", w, at)
		}
	})
}

// Any JSON is a headroom below all that encodes to the same again, or an error.
func FuzzHeadroomJSON(f *testing.F) {
	for _, seed := range []string{
		"0.2", "null", "1", "-1", `{"default":0.1,"windows":[{"when":"Mon-Fri 08:00-18:00 Europe/Berlin","share":0.6}]}`,
		`{"windows":[{},{}]}`, `{"windows":null}`, `{"DEFAULT":1e-9,"default":0.3}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var h Headroom
		if json.Unmarshal(text, &h) != nil {
			if !h.IsZero() {
				t.Fatalf("an error, and yet %v", h)
			}
			return
		}
		if share := h.At(time.Now()); share < 0 || share >= 1 {
			t.Fatalf("headroom %v is %g now", h, share)
		}
		encoded, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var again Headroom
		if err := json.Unmarshal(encoded, &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(h, again); diff != "" {
			t.Fatalf("%s decodes as another headroom:\n%s", encoded, diff)
		}
	})
}
