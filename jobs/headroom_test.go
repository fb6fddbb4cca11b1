package jobs

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // as in the binary

	"github.com/google/go-cmp/cmp"
)

// headroomOf reads the value of limits.headroom.
func headroomOf(t *testing.T, value string) Headroom {
	t.Helper()
	job, err := parseJob("job.yaml", []byte(testJob), Options{Set: []string{"limits.headroom=" + value}})
	if err != nil {
		t.Fatal(err)
	}
	return job.Limits.Headroom
}

// The share at a moment is that of the windows that are open by the clocks of their zone.
func TestHeadroomAt(t *testing.T) {
	t.Parallel()
	// 2026-11-23 is a Monday. Berlin puts its clocks forward on Sunday 2026-03-29 at 01:00 UTC and back on Sunday
	// 2026-10-25 at 01:00 UTC.
	const (
		office  = `{default: 10%, "Mon-Fri 08:00-18:00 Europe/Berlin": 60%}`
		night   = `{"Mon 22:00-06:00 UTC": 50%}`
		weekend = `{"Fri-Mon 12:00-13:00": 50%}`
		sunday  = `{"Sun 23:00-01:00 UTC": 50%}`
		spring  = `{"Sun 01:30-02:30 Europe/Berlin": 50%}`
		nap     = `{"02:00-03:00 Europe/Berlin": 50%}`
	)
	for name, tc := range map[string]struct {
		headroom, at string
		want         float64
	}{
		"a plain share at any time":                 {"20%", "2026-11-23T12:00:00Z", 0.2},
		"nothing":                                   {"0", "2026-11-23T12:00:00Z", 0},
		"before the window":                         {office, "2026-11-23T06:59:59Z", 0.1},
		"the window's first moment":                 {office, "2026-11-23T07:00:00Z", 0.6},
		"the window's last moment":                  {office, "2026-11-23T16:59:59.999Z", 0.6},
		"the window's end":                          {office, "2026-11-23T17:00:00Z", 0.1},
		"the moment in another zone's words":        {office, "2026-11-23T02:00:00-05:00", 0.6},
		"a day that is not the window's":            {office, "2026-11-22T12:00:00Z", 0.1},
		"no default":                                {night, "2026-11-23T12:00:00Z", 0},
		"a window may leave less than the default":  {`{default: 10%, "Sun 00:00-24:00": 0%}`, "2026-11-22T12:00:00Z", 0},
		"of two open windows the largest":           {`{"00:00-24:00": 30%, "Mon 00:00-24:00": 70%, "12:00-13:00": 0%}`, "2026-11-23T12:30:00Z", 0.7},
		"without a zone the clock is UTC":           {`{"08:00-09:00": 50%}`, "2026-11-23T08:00:00Z", 0.5},
		"the whole day to its end":                  {`{"Mon 00:00-24:00 UTC": 50%}`, "2026-11-23T23:59:59Z", 0.5},
		"the whole day and not the next":            {`{"Mon 00:00-24:00 UTC": 50%}`, "2026-11-24T00:00:00Z", 0},
		"to 00:00 is to the end of the day":         {`{"Mon 22:00-00:00 UTC": 50%}`, "2026-11-23T23:59:00Z", 0.5},
		"to 00:00 is not into the next day":         {`{"Mon 22:00-00:00 UTC": 50%}`, "2026-11-24T00:00:00Z", 0},
		"over midnight, its evening":                {night, "2026-11-23T22:00:00Z", 0.5},
		"over midnight, its morning":                {night, "2026-11-24T05:59:00Z", 0.5},
		"over midnight, its end":                    {night, "2026-11-24T06:00:00Z", 0},
		"over midnight, the morning before":         {night, "2026-11-23T05:00:00Z", 0},
		"over midnight, the evening after":          {night, "2026-11-24T22:00:00Z", 0},
		"over the week's end, the first day":        {weekend, "2026-11-20T12:00:00Z", 0.5},
		"over the week's end, Sunday":               {weekend, "2026-11-22T12:00:00Z", 0.5},
		"over the week's end, the last day":         {weekend, "2026-11-23T12:00:00Z", 0.5},
		"over the week's end, the day after":        {weekend, "2026-11-24T12:00:00Z", 0},
		"over midnight and the week's end":          {sunday, "2026-11-23T00:30:00Z", 0.5},
		"over midnight and the week's end, before":  {sunday, "2026-11-22T00:30:00Z", 0},
		"summer time, two hours before UTC":         {office, "2026-07-20T06:00:00Z", 0.6},
		"summer time, the end":                      {office, "2026-07-20T16:00:00Z", 0.1},
		"the last working day of winter time":       {office, "2026-03-27T06:30:00Z", 0.1},
		"the first working day of summer time":      {office, "2026-03-30T06:30:00Z", 0.6},
		"before an hour that is left out":           {spring, "2026-03-29T00:59:00Z", 0.5},
		"the end of a window that is left out":      {spring, "2026-03-29T01:00:00Z", 0},
		"a window that is left out whole":           {nap, "2026-03-29T01:00:00Z", 0},
		"an hour that comes twice, before":          {nap, "2026-10-24T23:59:00Z", 0},
		"an hour that comes twice, the first time":  {nap, "2026-10-25T00:30:00Z", 0.5},
		"an hour that comes twice, the second time": {nap, "2026-10-25T01:30:00Z", 0.5},
		"an hour that comes twice, after":           {nap, "2026-10-25T02:00:00Z", 0},
		"a day that begins elsewhere before":        {`{"Mon 00:00-24:00 Pacific/Auckland": 50%}`, "2026-11-22T12:00:00Z", 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, err := time.Parse(time.RFC3339, tc.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := headroomOf(t, tc.headroom).At(at); got != tc.want {
				t.Errorf("headroom %s at %s = %g, want %g", tc.headroom, tc.at, got, tc.want)
			}
		})
	}
}

// A zone that is not known here leaves others too much rather than too little.
func TestHeadroomOfUnknownZone(t *testing.T) {
	t.Parallel()
	h := Headroom{Windows: []HeadroomWindow{{When: Window{Zone: "Nowhere/Here"}, Share: 0.5}}}
	if got := h.At(time.Now()); got != 0.5 {
		t.Errorf("headroom = %g, want 0.5", got)
	}
}

// What is written in different ways is one window, and is shown in one way.
func TestWindowText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"08:00-18:00":                                "08:00-18:00 UTC",
		"8:00-18:00 Asia/Kolkata":                    "08:00-18:00 Asia/Kolkata",
		" Mon-Fri  08:00-18:00  UTC ":                "Mon-Fri 08:00-18:00 UTC",
		"mon-FRI 08:00-18:00":                        "Mon-Fri 08:00-18:00 UTC",
		"Mon 08:00-18:00":                            "Mon 08:00-18:00 UTC",
		"Sat, Sun 00:00-24:00":                       "Sat,Sun 00:00-24:00 UTC",
		"Sat-Sun 00:00-24:00":                        "Sat,Sun 00:00-24:00 UTC",
		"Sun,Mon 00:00-24:00":                        "Sun,Mon 00:00-24:00 UTC",
		"Fri-Mon 00:00-24:00":                        "Fri-Mon 00:00-24:00 UTC",
		"Sun-Sat 00:00-24:00":                        "00:00-24:00 UTC",
		"Mon,Wed-Fri,Thu,Sun 00:00-24:00":            "Wed-Fri,Sun,Mon 00:00-24:00 UTC",
		"Mon,Tue,Wed,Fri 22:00-06:00":                "Mon-Wed,Fri 22:00-06:00 UTC",
		"22:00-00:00":                                "22:00-24:00 UTC",
		"00:00-24:00 America/Argentina/Rio_Gallegos": "00:00-24:00 America/Argentina/Rio_Gallegos",
		"00:00-24:00 Etc/GMT+5":                      "00:00-24:00 Etc/GMT+5",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			w, err := parseWindow(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.String(); got != want {
				t.Errorf("window = %q, want %q", got, want)
			}
		})
	}
}

// Every set of days is shown so that it is read back as the same.
func TestWeekdaysText(t *testing.T) {
	t.Parallel()
	for days := Weekdays(1); days < everyDay; days++ {
		if got, err := parseDays(days.String()); err != nil || got != days {
			t.Errorf("days %07b are %s, read back as %07b (%v)", days, days, got, err)
		}
	}
}

func TestHeadroomString(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"0":      "0%",
		"7%":     "7%",
		"12.50%": "12.5%",
		`{default: 10%, "Mon-Fri 08:00-18:00 Europe/Berlin": 60%, "Sat,Sun 00:00-24:00": 0%}`: "10%, 60% Mon-Fri 08:00-18:00 Europe/Berlin, 0% Sat,Sun 00:00-24:00 UTC",
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			if got := headroomOf(t, value).String(); got != want {
				t.Errorf("headroom = %q, want %q", got, want)
			}
		})
	}
}

// What goes to workers comes out as it went in; a plain share is a number there, as it always was.
func TestHeadroomJSON(t *testing.T) {
	t.Parallel()
	// Days, hours and zones that are as long as they can be, as often as they may be.
	longest := Headroom{Default: 0.12345678901234567}
	for i := range maxHeadroomWindows {
		w, err := parseWindow(fmt.Sprintf("Mon,Tue,Thu,Sat 22:%02d-21:59 America/Argentina/ComodRivadavia", i%60))
		if err != nil {
			t.Fatal(err)
		}
		longest.Windows = append(longest.Windows, HeadroomWindow{When: w, Share: 1.2345678901234567e-300})
	}
	for name, tc := range map[string]struct {
		headroom Headroom
		want     string // "" for anything
	}{
		"nothing":       {Headroom{}, `{"max_failed":{}}`},
		"a plain share": {headroomOf(t, "20%"), `{"headroom":0.2,"max_failed":{}}`},
		"a default":     {headroomOf(t, "{default: 20%}"), `{"headroom":0.2,"max_failed":{}}`},
		"windows": {
			headroomOf(t, `{default: 10%, "Mon-Fri 08:00-18:00 Europe/Berlin": 60%, "Sat,Sun 00:00-24:00": 0%}`),
			`{"headroom":{"default":0.1,"windows":[{"when":"Mon-Fri 08:00-18:00 Europe/Berlin","share":0.6},` +
				`{"when":"Sat,Sun 00:00-24:00 UTC","share":0}]},"max_failed":{}}`,
		},
		"windows of nothing": {headroomOf(t, `{"Sun 00:00-24:00": 0%}`), `{"headroom":{"windows":[{"when":"Sun 00:00-24:00 UTC","share":0}]},"max_failed":{}}`},
		"the longest":        {longest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits := Limits{Headroom: tc.headroom}
			text, err := json.Marshal(limits)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want != "" && string(text) != tc.want {
				t.Errorf("encoded\n got %s\nwant %s", text, tc.want)
			}
			var got Limits
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(limits, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			if !reflect.DeepEqual(limits, got) { // by which a worker sees that terms changed
				t.Error("not deeply equal")
			}
		})
	}
}

// What comes through Redis may be anything; what is no headroom is refused and changes nothing.
func TestHeadroomJSONRefused(t *testing.T) {
	t.Parallel()
	window := func(when, share string) string {
		return `{"windows":[{"when":"` + when + `","share":` + share + `}]}`
	}
	for name, text := range map[string]string{
		"a share of all":          "1",
		"a share below nothing":   "-0.1",
		"a share far off":         "1e308",
		"a share beyond numbers":  "1e999",
		"a text":                  `"20%"`,
		"true":                    "true",
		"a list":                  "[0.2]",
		"a default of all":        `{"default":1}`,
		"a default of text":       `{"default":"20%"}`,
		"a key of later versions": `{"default":0.2,"months":[]}`,
		"windows as a map":        `{"windows":{}}`,
		"a window's share of all": window("Mon 00:00-24:00", "1"),
		"a window's share below":  window("Mon 00:00-24:00", "-1e-9"),
		"a window of nothing":     window("", "0.5"),
		"an unknown day":          window("Mno 00:00-24:00", "0.5"),
		"a bad time":              window("25:00-26:00", "0.5"),
		"an unknown zone":         window("00:00-24:00 Europe/Atlantis", "0.5"),
		"a path for a zone":       window("00:00-24:00 ../../../etc/passwd", "0.5"),
		"a path from the root":    window("00:00-24:00 /etc/passwd", "0.5"),
		"a device for a zone":     window("00:00-24:00 /dev/zero", "0.5"),
		"the machine's zone":      window("00:00-24:00 Local", "0.5"),
		"the machine's own zone":  window("00:00-24:00 localtime", "0.5"),
		"a long zone":             window("00:00-24:00 "+strings.Repeat("A", 1000), "0.5"),
		"a long day":              window(strings.Repeat("M", 1000)+" 00:00-24:00", "0.5"),
		"too many windows":        `{"windows":[` + strings.TrimSuffix(strings.Repeat(`{"when":"00:00-24:00","share":0},`, maxHeadroomWindows+1), ",") + `]}`,
		"very many windows":       `{"windows":[` + strings.Repeat("{},", 1<<20) + `{}]}`,
		"a very long window":      window(strings.Repeat("x", 1<<20), "0.5"),
		"deeply nested":           `{"windows":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := Limits{Concurrency: 1, Headroom: Headroom{Default: 0.5}}
			got := before
			err := json.Unmarshal([]byte(`{"headroom":`+text+`}`), &got)
			if err == nil {
				t.Fatalf("no error, but %v", got)
			}
			if len(err.Error()) > 300 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if diff := cmp.Diff(before, got); diff != "" {
				t.Errorf("limits (-want +got):\n%s", diff)
			}
		})
	}
}

// What is too long is refused before it is looked at.
func TestHeadroomJSONTooLong(t *testing.T) { // not in parallel: it counts allocations
	text := []byte(`{"windows":[` + strings.Repeat("{},", 1<<20) + `{}]}`)
	var h Headroom
	if allocs := testing.AllocsPerRun(1, func() {
		if h.UnmarshalJSON(text) == nil {
			t.Error("no error")
		}
	}); allocs > 10 {
		t.Errorf("%g allocations, want no more than an error takes", allocs)
	}
}

// Each thing that can be wrong with a headroom is told with its place and what to write.
func TestHeadroomErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ value, want string }{
		"a misspelt default":      {"{defult: 10%}", `8:14: limits.headroom: unknown key "defult"; did you mean default?`},
		"a default in capitals":   {"{Default: 10%}", `8:14: limits.headroom: unknown key "Default"; did you mean default?`},
		"a key that is no window": {"{nights: 10%}", `8:14: limits.headroom "nights": write default, or a window such as "Mon-Fri 08:00-18:00 Europe/Berlin"`},
		"times of another style":  {"{8am-6pm: 10%}", `8:14: limits.headroom "8am-6pm": write default, or a window such as "Mon-Fri 08:00-18:00 Europe/Berlin"`},
		"a misspelt day":          {`{"Mno-Fri 08:00-18:00": 10%}`, `8:14: limits.headroom "Mno-Fri 08:00-18:00": unknown day "Mno"; did you mean Mon?`},
		"a day in full":           {`{"Saturday 08:00-18:00": 10%}`, `8:14: limits.headroom "Saturday 08:00-18:00": unknown day "Saturday"; did you mean Sat?`},
		"a day with a colon":      {`{"Mon: 08:00-18:00": 10%}`, `8:14: limits.headroom "Mon: 08:00-18:00": unknown day "Mon:"; did you mean Mon?`},
		"days without a comma":    {`{"Sat Sun 08:00-18:00": 10%}`, `8:14: limits.headroom "Sat Sun 08:00-18:00": unknown day "Sat Sun"; write days as Mon, Tue, Wed, Thu, Fri, Sat or Sun, with - or , between them`},
		"no day at all":           {`{"holidays 08:00-18:00": 10%}`, `8:14: limits.headroom "holidays 08:00-18:00": unknown day "holidays"; write days as Mon, Tue, Wed, Thu, Fri, Sat or Sun, with - or , between them`},
		"a range of one day":      {`{"Mon-Mon 08:00-18:00": 10%}`, `8:14: limits.headroom "Mon-Mon 08:00-18:00": Mon-Mon begins and ends on one day; write Mon for that day, or no days for every day`},
		"one time":                {`{"Mon 08:00": 10%}`, `8:14: limits.headroom "Mon 08:00": "08:00" must be two times with - between them and no blanks, such as 08:00-18:00`},
		"blanks between times":    {`{"08:00 - 18:00": 10%}`, `8:14: limits.headroom "08:00 - 18:00": "08:00" must be two times with - between them and no blanks, such as 08:00-18:00`},
		"an hour that is none":    {`{"08:00-25:00": 10%}`, `8:14: limits.headroom "08:00-25:00": time "25:00" is not from 00:00 to 24:00`},
		"after the day's end":     {`{"08:00-24:01": 10%}`, `8:14: limits.headroom "08:00-24:01": time "24:01" is not from 00:00 to 24:00`},
		"a minute that is none":   {`{"08:60-18:00": 10%}`, `8:14: limits.headroom "08:60-18:00": time "08:60" is not from 00:00 to 24:00`},
		"a time in words":         {`{"08:00-noon": 10%}`, `8:14: limits.headroom "08:00-noon": time "noon" must be hours and minutes from 00:00 to 24:00`},
		"an empty window":         {`{"08:00-08:00": 10%}`, `8:14: limits.headroom "08:00-08:00": 08:00-08:00 is empty; write 00:00-24:00 for the whole day`},
		"a window at the end":     {`{"24:00-06:00": 10%}`, `8:14: limits.headroom "24:00-06:00": 24:00-06:00 begins at the end of its day; write 00:00 and the next day`},
		"an unknown zone":         {`{"08:00-18:00 Europe/Berln": 10%}`, `8:14: limits.headroom "08:00-18:00 Europe/Berln": unknown zone "Europe/Berln"; write a name of the IANA database such as Europe/Berlin, or UTC`},
		"a zone in small letters": {`{"08:00-18:00 europe/berlin": 10%}`, `8:14: limits.headroom "08:00-18:00 europe/berlin": unknown zone "europe/berlin"; did you mean Europe/Berlin?`},
		"utc in small letters":    {`{"08:00-18:00 utc": 10%}`, `8:14: limits.headroom "08:00-18:00 utc": unknown zone "utc"; did you mean UTC?`},
		"a zone with a blank":     {`{"08:00-18:00 America/New York": 10%}`, `8:14: limits.headroom "08:00-18:00 America/New York": unknown zone "America/New York"; did you mean America/New_York?`},
		"a city":                  {`{"08:00-18:00 Tokyo": 10%}`, `8:14: limits.headroom "08:00-18:00 Tokyo": unknown zone "Tokyo"; did you mean Asia/Tokyo?`},
		"an offset":               {`{"08:00-18:00 +02:00": 10%}`, `8:14: limits.headroom "08:00-18:00 +02:00": unknown zone "+02:00"; write a name of the IANA database such as Europe/Berlin, or UTC`},
		"the machine's zone":      {`{"08:00-18:00 Local": 10%}`, `8:14: limits.headroom "08:00-18:00 Local": unknown zone "Local"; write a name of the IANA database such as Europe/Berlin, or UTC`},
		"a share of all":          {`{"08:00-18:00": 100%}`, `8:29: limits.headroom "08:00-18:00" must be under 100%, or no call could start; it is 100%`},
		"a default of all":        {`{default: 150%}`, `8:23: limits.headroom.default must be under 100%, or no call could start; it is 150%`},
		"a share without a sign":  {`{"08:00-18:00": 0.2}`, `8:29: limits.headroom "08:00-18:00" must be a share of the limits such as 20%, not 0.2`},
		"a window without share":  {`{"08:00-18:00": ~}`, `8:29: limits.headroom "08:00-18:00" has no share; write one such as 20%`},
		"a list":                  {`[20%]`, `8:13: limits.headroom must be a share of the limits such as 20%, or shares by windows such as {default: 10%, "Mon-Fri 08:00-18:00 Europe/Berlin": 60%}, not a list`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseJob("job.yaml", []byte(testJob+"limits:\n  headroom: "+tc.value+"\n"), Options{})
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff("job.yaml:"+tc.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// All that is wrong is told at once.
func TestHeadroomErrorsTogether(t *testing.T) {
	t.Parallel()
	const file = testJob + "limits:\n  headroom:\n    defalt: 10%\n    Mo 08:00-18:00: 20%\n    18:00-20:00 Berlin: 100%\n"
	want := `job.yaml:9:5: limits.headroom: unknown key "defalt"; did you mean default?` + "\n" +
		`job.yaml:10:5: limits.headroom "Mo 08:00-18:00": unknown day "Mo"; did you mean Mon?` + "\n" +
		`job.yaml:11:5: limits.headroom "18:00-20:00 Berlin": unknown zone "Berlin"; did you mean Europe/Berlin?`
	_, err := parseJob("job.yaml", []byte(file), Options{})
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestTooManyWindows(t *testing.T) {
	t.Parallel()
	file := testJob + "limits:\n  headroom:\n"
	for i := range maxHeadroomWindows + 1 {
		file += fmt.Sprintf("    \"%02d:%02d-24:00\": 1%%\n", i/60, i%60)
	}
	const want = "job.yaml:9:5: limits.headroom has 65 windows and may have 64; put days with the same hours into one, such as Mon,Wed-Fri"
	if _, err := parseJob("job.yaml", []byte(file), Options{}); err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

// The command line gives a share, windows, or one of them.
func TestHeadroomBySet(t *testing.T) {
	t.Parallel()
	const windows = "{default: 10%, \"08:00-18:00\": 60%}"
	for name, tc := range map[string]struct{ file, set, want string }{
		"a share for nothing":   {"", "limits.headroom=30%", "30%"},
		"a share for a share":   {"20%", "limits.headroom=30%", "30%"},
		"a share for windows":   {windows, "limits.headroom=30%", "30%"},
		"windows for a share":   {"20%", `limits.headroom={default: 5%, "Sun 00:00-24:00 Europe/Berlin": 0%}`, "5%, 0% Sun 00:00-24:00 Europe/Berlin"},
		"a default for windows": {windows, "limits.headroom.default=30%", "30%, 60% 08:00-18:00 UTC"},
		"a default for nothing": {"", "limits.headroom.default=30%", "30%"},
		"a window's own share":  {windows, "limits.headroom.08:00-18:00=70%", "10%, 70% 08:00-18:00 UTC"},
		"one more window":       {windows, "limits.headroom.Sat,Sun 00:00-24:00 Europe/Berlin=0", "10%, 60% 08:00-18:00 UTC, 0% Sat,Sun 00:00-24:00 Europe/Berlin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job, err := parseJob("job.yaml", []byte(testJob+"limits:\n  headroom: "+tc.file+"\n"), Options{Set: []string{tc.set}})
			if err != nil {
				t.Fatal(err)
			}
			if got := job.Limits.Headroom.String(); got != tc.want {
				t.Errorf("headroom = %q, want %q", got, tc.want)
			}
		})
	}
}

// Vars are replaced in windows as they are elsewhere.
func TestHeadroomOfVars(t *testing.T) {
	t.Parallel()
	const file = "vars: {days: Mon-Fri, share: 60%}\n" + testJob + `limits: {headroom: {"${days} 08:00-18:00": "${share}"}}`
	job, err := parseJob("job.yaml", []byte(file), Options{Vars: map[string]string{"days": "Sat"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := job.Limits.Headroom.String(), "0%, 60% Sat 08:00-18:00 UTC"; got != want {
		t.Errorf("headroom = %q, want %q", got, want)
	}
}

// What is left of the limits hour by hour makes up how long work takes.
func TestHeadroomStretch(t *testing.T) {
	t.Parallel()
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		headroom   string
		from       time.Time
		work, want time.Duration
	}{
		"no headroom":                  {"0", monday, time.Hour, time.Hour},
		"no work":                      {`{"Mon 00:00-24:00": 50%}`, monday, 0, 0},
		"a plain share":                {"75%", monday, time.Hour, 4 * time.Hour},
		"within a window":              {`{"Mon 00:00-24:00": 50%}`, monday, time.Hour, 2 * time.Hour},
		"out of a window":              {`{"08:00-18:00": 50%}`, monday.Add(16 * time.Hour), 4 * time.Hour, 5 * time.Hour},
		"into a window":                {`{"08:00-18:00": 50%}`, monday.Add(7 * time.Hour), 2 * time.Hour, 3 * time.Hour},
		"many weeks":                   {`{default: 50%, "Sat,Sun 00:00-24:00": 0%}`, monday, 216 * time.Hour, 14 * day},
		"nearly all left for others":   {"99.999999999999%", monday, 1000 * day, math.MaxInt64},
		"nearly all left, by a window": {`{"00:00-24:00": 99.999999999999%}`, monday, 1000 * day, math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := headroomOf(t, tc.headroom).Stretch(tc.from, tc.work); (got - tc.want).Abs() > time.Millisecond {
				t.Errorf("%s of work takes %s, want %s", tc.work, got, tc.want)
			}
		})
	}
}
