package jobs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Window is some hours on some days of each week, by the clocks of a time zone.
//
// It is what those clocks show that counts. Where they are put forward, hours that they do not show are in no window;
// where they are put back, hours that they show twice are in it twice.
type Window struct {
	// Days are those on which the window begins.
	Days Weekdays
	// Begin (0 to 1439) and End (1 to 1440) are minutes after midnight; the window ends before End. When End is not after
	// Begin it ends on the next day.
	Begin, End int
	// Zone is a name in the IANA time zone database (https://www.iana.org/time-zones).
	Zone string
}

// Weekdays is a set of days: bit n is time.Weekday n.
type Weekdays uint8

const (
	everyDay      Weekdays = 1<<7 - 1
	minutesOfDay           = 24 * 60
	maxZone                = 64 // bytes; the longest name has 32
	windowExample          = `"Mon-Fri 08:00-18:00 Europe/Berlin"`
)

var (
	dayNames = []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	// startOfTimes tells the times from the days before them.
	startOfTimes = regexp.MustCompile(`^[0-9]+:`)
	timeOfDay    = regexp.MustCompile(`^([0-9]{1,2}):([0-9]{2})$`)
	blankCommas  = regexp.MustCompile(`\s*,\s*`)
	// zoneName leaves out names that are a machine's own (localtime, posix/…, right/…) and paths.
	zoneName = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*)*$`)
	regions  = []string{"Europe", "America", "Asia", "Africa", "Australia", "Pacific", "Atlantic", "Indian", "America/Argentina"}
)

// Open reports whether t is in the window. A window whose zone is not known here is always open: better too much is
// left to others than too little.
func (w Window) Open(t time.Time) bool {
	zone, err := loadZone(w.Zone)
	if err != nil {
		return true
	}
	t = t.In(zone)
	minute, today := t.Hour()*60+t.Minute(), t.Weekday()
	if w.Begin < w.End {
		return w.Days.has(today) && w.Begin <= minute && minute < w.End
	}
	return w.Days.has(today) && w.Begin <= minute || w.Days.has((today+6)%7) && minute < w.End
}

// String gives the window as a job file has it: "Mon-Fri 08:00-18:00 Europe/Berlin".
func (w Window) String() string {
	days := w.Days.String()
	if days != "" {
		days += " "
	}
	return fmt.Sprintf("%s%02d:%02d-%02d:%02d %s", days, w.Begin/60, w.Begin%60, w.End/60, w.End%60, w.Zone)
}

func (s Weekdays) has(day time.Weekday) bool { return s&(1<<day) != 0 }

// hasName is has by the place in dayNames, counted on through the week's end.
func (s Weekdays) hasName(place int) bool { return s.has(time.Weekday((place + 1) % 7)) }

// String gives "Mon-Wed,Sat,Sun", or "" for every day.
func (s Weekdays) String() string {
	if s == everyDay {
		return ""
	}
	var parts []string
	for first := range dayNames {
		if !s.hasName(first) || s.hasName(first+6) {
			continue // not where a run of days begins
		}
		last := first
		for s.hasName(last + 1) {
			last++
		}
		if last-first >= 2 {
			parts = append(parts, dayNames[first]+"-"+dayNames[last%7])
			continue
		}
		for place := first; place <= last; place++ {
			parts = append(parts, dayNames[place%7])
		}
	}
	return strings.Join(parts, ",")
}

// parseWindow reads "[days] HH:MM-HH:MM [zone]". Without days it is every day; without a zone UTC, since the workers of
// a run may be in places with different clocks.
func parseWindow(text string) (Window, error) {
	fields := strings.Fields(blankCommas.ReplaceAllString(text, ","))
	times := slices.IndexFunc(fields, startOfTimes.MatchString)
	if times < 0 {
		return Window{}, errors.New("write default, or a window such as " + windowExample)
	}
	w := Window{Days: everyDay, Zone: "UTC"}
	var err error
	if times > 0 {
		if w.Days, err = parseDays(strings.Join(fields[:times], " ")); err != nil {
			return Window{}, err
		}
	}
	if w.Begin, w.End, err = parseHours(fields[times]); err != nil {
		return Window{}, err
	}
	if zone := fields[times+1:]; len(zone) > 0 {
		w.Zone = strings.Join(zone, " ")
		if _, err := loadZone(w.Zone); err != nil {
			return Window{}, err
		}
	}
	return w, nil
}

// parseDays reads "Mon", "Sat,Sun", "Mon-Fri", "Fri-Mon" and lists of them.
func parseDays(text string) (Weekdays, error) {
	var days Weekdays
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := parseDay(from)
		if err != nil {
			return 0, err
		}
		last := first
		if isRange {
			if last, err = parseDay(to); err != nil {
				return 0, err
			}
			if first == last {
				return 0, fmt.Errorf("%s begins and ends on one day; write %s for that day, or no days for every day", part, dayNames[first])
			}
			if last < first {
				last += len(dayNames) // through the week's end
			}
		}
		for place := first; place <= last; place++ {
			days |= 1 << ((place + 1) % 7)
		}
	}
	return days, nil
}

// parseDay gives the place of a day in dayNames.
func parseDay(text string) (int, error) {
	for place, name := range dayNames {
		if strings.EqualFold(text, name) {
			return place, nil
		}
	}
	names := slices.Clone(dayNames)
	for day := time.Sunday; day <= time.Saturday; day++ {
		names = append(names, day.String())
	}
	if near := nearest(text, names); near != "" && !strings.Contains(text, " ") { // a blank is between two days
		return 0, fmt.Errorf("unknown day %s; did you mean %s?", quoted(text), near[:3])
	}
	return 0, fmt.Errorf("unknown day %s; write days as Mon, Tue, Wed, Thu, Fri, Sat or Sun, with - or , between them", quoted(text))
}

// parseHours reads "08:00-18:00" as minutes after midnight.
func parseHours(text string) (begin, end int, err error) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		return 0, 0, fmt.Errorf("%s must be two times with - between them and no blanks, such as 08:00-18:00", quoted(text))
	}
	if begin, err = parseTimeOfDay(from); err != nil {
		return 0, 0, err
	}
	if end, err = parseTimeOfDay(to); err != nil {
		return 0, 0, err
	}
	switch {
	case begin == end:
		return 0, 0, fmt.Errorf("%s is empty; write 00:00-24:00 for the whole day", text)
	case begin == minutesOfDay:
		return 0, 0, fmt.Errorf("%s begins at the end of its day; write 00:00 and the next day", text)
	case end == 0:
		end = minutesOfDay // the same moment
	}
	return begin, end, nil
}

func parseTimeOfDay(text string) (minutes int, err error) {
	digits := timeOfDay.FindStringSubmatch(text)
	if digits == nil {
		return 0, fmt.Errorf("time %s must be hours and minutes from 00:00 to 24:00", quoted(text))
	}
	hours, _ := strconv.Atoi(digits[1]) // two digits are a number
	minutes, _ = strconv.Atoi(digits[2])
	if minutes > 59 || hours*60+minutes > minutesOfDay {
		return 0, fmt.Errorf("time %s is not from 00:00 to 24:00", quoted(text))
	}
	return hours*60 + minutes, nil
}

// zones holds each zone that was loaded, by its name; there are about 600.
var zones sync.Map

// loadZone finds a zone by its name, which is the same on every machine. The error says what to write.
func loadZone(name string) (*time.Location, error) {
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil //nolint:forcetypeassert // nothing else is stored
	}
	if zone, ok := findZone(name); ok {
		zones.Store(name, zone)
		return zone, nil
	}
	return nil, fmt.Errorf("unknown zone %s%s", quoted(name), suggestZone(name))
}

// findZone looks a zone up in the database of the machine, or the one in the binary. "Local" is no zone here: it is
// another one on each machine.
func findZone(name string) (*time.Location, bool) {
	if len(name) > maxZone || !zoneName.MatchString(name) || name == "Local" {
		return nil, false
	}
	zone, err := time.LoadLocation(name)
	return zone, err == nil
}

// suggestZone looks for what was meant by a name in the wrong case, with blanks, or without its region.
func suggestZone(name string) string {
	if len(name) <= maxZone {
		parts := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == ' ' || r == '_' })
		title := regexp.MustCompile(`(^|[/_])[a-z]`).ReplaceAllStringFunc(strings.Join(parts, "_"), strings.ToUpper)
		candidates := []string{strings.ToUpper(name), title}
		for _, region := range regions {
			candidates = append(candidates, region+"/"+title)
		}
		for _, candidate := range candidates {
			if _, ok := findZone(candidate); ok {
				return "; did you mean " + candidate + "?"
			}
		}
	}
	return "; write a name of the IANA database such as Europe/Berlin, or UTC"
}
