package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

const (
	rateWindow  = 10 * time.Second
	widestBar   = 40
	narrowBar   = 8
	shortestWhy = 24 // columns below which other segments make room for the reason to wait
)

// style is what a terminal can and should show.
type style struct{ colour, unicode bool }

// meter measures records a second over the last ten seconds.
type meter struct{ samples []sample }

type sample struct {
	at   time.Duration
	done int64
}

// observe takes in how many records were done at a time and returns the rate; 0 in the first second, which says little.
func (m *meter) observe(at time.Duration, done int64) float64 {
	m.samples = append(m.samples, sample{at, done})
	for len(m.samples) > 2 && m.samples[1].at <= at-rateWindow {
		m.samples = m.samples[1:]
	}
	first := m.samples[0]
	if at-first.at < time.Second {
		return 0
	}
	return float64(done-first.done) / (at - first.at).Seconds()
}

// timeLeft says how long the rest takes at rate, where that is known.
func timeLeft(s snapshot, rate float64) (time.Duration, bool) {
	if !s.TotalKnown || rate <= 0 || s.Done >= s.Total {
		return 0, false
	}
	return time.Duration(min(float64(s.Total-s.Done)/rate, 1e9) * float64(time.Second)), true
}

// segment is a piece of a progress line.
type segment struct {
	text string
	// rank orders segments by how soon they go when the line is too narrow, the highest first; 0 stays.
	rank int
	// least is how many columns of the text are enough; 0 means all.
	least int
	paint string // an SGR parameter, or empty
}

const (
	red    = "31"
	yellow = "33"
	green  = "32"
)

// render lays a snapshot out in lines of at most width columns: as plain text, and as written to a terminal.
func render(s snapshot, rate float64, width int, st style) (plain, painted []string) {
	gap := " | "
	if st.unicode {
		gap = " · "
	}
	for _, line := range []struct {
		segments []segment
		gap      string
	}{{firstLine(s, rate, width, st), "  "}, {secondLine(s), gap}} {
		if len(line.segments) == 0 {
			continue
		}
		text, colours := compose(line.segments, line.gap, width, st)
		plain, painted = append(plain, text), append(painted, colours)
	}
	return plain, painted
}

// firstLine says how far the run is and how fast it goes.
func firstLine(s snapshot, rate float64, width int, st style) []segment {
	var line []segment
	if s.TotalKnown {
		line = append(line,
			segment{text: fmt.Sprintf("%3d%%", percent(s.Done, s.Total)), rank: 1},
			segment{text: formatCount(s.Done) + "/" + formatCount(s.Total), rank: 2})
	} else {
		line = append(line, segment{text: formatCount(s.Done) + " done, " + formatCount(s.Total) + " read so far"})
	}
	if rate > 0 {
		line = append(line, segment{text: formatRate(rate), rank: 4})
	}
	if left, known := timeLeft(s, rate); known {
		line = append(line, segment{text: "ETA " + formatTime(left), rank: 3})
	}
	if s.Phase != "" {
		line = append(line, segment{text: clean(s.Phase), rank: 5})
	}
	line = fit(line, 2, width)
	// A quarter of the line, whatever the rest needs, so that the bar keeps its length while numbers change.
	if columns := max(narrowBar, min(width/4, widestBar)); s.TotalKnown && columns+2+total(line, 2) <= width {
		line = append([]segment{{text: bar(s.Done, s.Total, columns, st), paint: green}}, line...)
	}
	return line
}

// secondLine says what it costs, what goes wrong and what it waits for.
func secondLine(s snapshot) []segment {
	var line []segment
	add := func(is bool, seg segment) {
		if is {
			line = append(line, seg)
		}
	}
	add(s.Tokens != snapshot{}.Tokens, segment{
		text: formatTokens(s.Tokens.Input+s.Tokens.CacheRead+s.Tokens.CacheWrite()) + " in, " + formatTokens(s.Tokens.Output) + " out", rank: 4,
	})
	add(s.Priced, segment{text: formatDollars(s.Cost), rank: 2})
	add(s.Reused > 0, segment{text: formatCount(s.Reused) + " reused", rank: 7})
	add(s.Retries > 0, segment{text: formatCount(s.Retries) + " retries", rank: 3})
	add(s.Repeats > 0, segment{text: formatCount(s.Repeats) + " repeats", rank: 6})
	add(s.Failed > 0, segment{text: formatCount(s.Failed) + " failed", rank: 1, paint: red})
	add(s.InFlight > 0, segment{text: formatCount(int64(s.InFlight)) + " in flight", rank: 5})
	waiting := "waiting: "
	if s.Waiting > 0 {
		waiting = formatCount(int64(s.Waiting)) + " " + waiting
	}
	add(s.Why != "", segment{text: waiting + clean(s.Why), least: shortestWhy, paint: yellow})
	return line
}

// compose fits segments into width columns and joins them.
func compose(line []segment, gap string, width int, st style) (plain, painted string) {
	line = fit(line, cells(gap), width)
	if over := total(line, cells(gap)) - width; over > 0 { // only what stays at any width is left
		last := &line[len(line)-1]
		last.text = cut(last.text, cells(last.text)-over, st)
	}
	for i, seg := range line {
		if i > 0 {
			plain += gap
			painted += gap
		}
		plain += seg.text
		if st.colour && seg.paint != "" {
			seg.text = "\x1b[" + seg.paint + "m" + seg.text + "\x1b[0m"
		}
		painted += seg.text
	}
	return plain, painted
}

// fit drops segments until the rest need no more than width columns.
func fit(line []segment, gap, width int) []segment {
	for {
		need, drop := -gap, -1
		for i, seg := range line {
			columns := cells(seg.text)
			if seg.least > 0 {
				columns = min(columns, seg.least)
			}
			need += gap + columns
			if seg.rank > 0 && (drop < 0 || seg.rank > line[drop].rank) {
				drop = i
			}
		}
		if need <= width || drop < 0 || len(line) == 1 {
			return line
		}
		line = append(append([]segment{}, line[:drop]...), line[drop+1:]...)
	}
}

func total(line []segment, gap int) int {
	sum := -gap
	for _, seg := range line {
		sum += gap + cells(seg.text)
	}
	return sum
}

func bar(done, of int64, width int, st style) string {
	full, empty := "#", "-"
	if st.unicode {
		full, empty = "█", "░"
	}
	n := width * percent(done, of) / 100
	return strings.Repeat(full, n) + strings.Repeat(empty, width-n)
}

// percent is rounded down, so that 100 means all.
func percent(done, of int64) int {
	if done >= of {
		return 100
	}
	return int(float64(done) / float64(of) * 100)
}

// clean keeps text from elsewhere (an API's error, for one) from moving the cursor or breaking the line.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// cut shortens text to width columns.
func cut(text string, width int, st style) string {
	end := "..."
	if st.unicode {
		end = "…"
	}
	var kept strings.Builder
	room := width - cells(end)
	for _, r := range text {
		room -= cells(string(r))
		if room < 0 {
			break
		}
		kept.WriteRune(r)
	}
	return kept.String() + end
}

// cells is how many columns text takes. Characters from Hangul on are counted as wide: a line that turns out too short
// is harmless, one too long is not.
func cells(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case r >= 0x1100 && (r < 0x2000 || r >= 0x2e80):
			n += 2
		default:
			n++
		}
	}
	return n
}
