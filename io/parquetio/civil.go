package parquetio

import (
	"math"
	"math/bits"
	"strconv"
)

const (
	secondsOfDay    = 86_400
	nanosOfSecond   = 1_000_000_000
	daysOfEra       = 146_097 // 400 years of the Gregorian calendar
	epochFromMarch0 = 719_468 // days from 0000-03-01 to 1970-01-01
)

// unitDigits is the number of digits of a second's fraction in a unit.
func unitDigits(unit string) int {
	switch unit {
	case "millis":
		return 3
	case "micros":
		return 6
	default:
		return 9
	}
}

var tens = [...]int64{1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000}

// appendDate appends the proleptic Gregorian date of a number of days since 1970-01-01: "2026-11-22". Years
// outside 0000 to 9999 have a sign and six digits or more, as ISO 8601 writes them.
func appendDate(dst []byte, days int64) []byte {
	// Counting from a first of March puts the leap day at the end of the year.
	days += epochFromMarch0
	era := floorDiv(days, daysOfEra)
	dayOfEra := days - era*daysOfEra
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36_524 - dayOfEra/146_096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*dayOfYear + 2) / 153
	day := dayOfYear - (153*shifted+2)/5 + 1
	month, year := shifted+3, era*400+yearOfEra
	if month > 12 {
		month, year = month-12, year+1
	}
	switch {
	case year > 9999:
		dst = appendPadded(append(dst, '+'), year, 6)
	case year < 0:
		dst = appendPadded(append(dst, '-'), -year, 6)
	default:
		dst = appendPadded(dst, year, 4)
	}
	dst = appendPadded(append(dst, '-'), month, 2)
	return appendPadded(append(dst, '-'), day, 2)
}

// appendClock appends a time of day, given in units of 10^-digits seconds: "13:45:07.123".
func appendClock(dst []byte, n int64, digits int) []byte {
	seconds, fraction := n/tens[digits], n%tens[digits]
	dst = appendPadded(dst, seconds/3600, 2)
	dst = appendPadded(append(dst, ':'), seconds/60%60, 2)
	dst = appendPadded(append(dst, ':'), seconds%60, 2)
	return appendPadded(append(dst, '.'), fraction, digits)
}

// appendTimestamp appends an instant, given in units of 10^-digits seconds since 1970-01-01.
func appendTimestamp(dst []byte, n int64, digits int) []byte {
	unitsOfDay := secondsOfDay * tens[digits]
	days := floorDiv(n, unitsOfDay)
	dst = append(appendDate(dst, days), 'T')
	return appendClock(dst, n-days*unitsOfDay, digits)
}

func appendPadded(dst []byte, n int64, digits int) []byte {
	for at := digits - 1; at > 0 && n < tens[at]; at-- {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, n, 10)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// text is what is left to parse of a date or time; ok turns false at the first fault.
type text struct {
	left []byte
	ok   bool
}

func (t *text) take(b byte) bool {
	if len(t.left) > 0 && t.left[0] == b {
		t.left = t.left[1:]
		return true
	}
	return false
}

func (t *text) expect(b byte) { t.ok = t.take(b) && t.ok }

// number reads between least and most digits.
func (t *text) number(least, most int) int64 {
	n, count := int64(0), 0
	for count < most && len(t.left) > 0 && t.left[0] >= '0' && t.left[0] <= '9' {
		n, count = n*10+int64(t.left[0]-'0'), count+1
		t.left = t.left[1:]
	}
	t.ok = t.ok && count >= least
	return n
}

// date reads a date as days since 1970-01-01.
func (t *text) date() int64 {
	var year int64
	switch {
	case t.take('+'):
		year = t.number(6, 9)
	case t.take('-'):
		year = -t.number(6, 9)
	default:
		year = t.number(4, 4)
	}
	t.expect('-')
	month := t.number(2, 2)
	t.expect('-')
	day := t.number(2, 2)
	t.ok = t.ok && month >= 1 && month <= 12 && day >= 1 && day <= daysOfMonth(year, month)
	if month <= 2 {
		year--
		month += 12
	}
	era := floorDiv(year, 400)
	yearOfEra := year - era*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	return era*daysOfEra + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear - epochFromMarch0
}

func daysOfMonth(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	default:
		return 31
	}
}

// clock reads a time of day in units of 10^-digits seconds; digits beyond must be zeros.
func (t *text) clock(digits int) int64 {
	hour := t.number(2, 2)
	t.expect(':')
	minute := t.number(2, 2)
	t.expect(':')
	second := t.number(2, 2)
	t.ok = t.ok && hour < 24 && minute < 60 && second < 60
	n := (hour*3600 + minute*60 + second) * tens[digits]
	if !t.take('.') {
		return n
	}
	before := len(t.left)
	fraction := t.number(1, digits)
	read := before - len(t.left)
	for t.take('0') {
	}
	return n + fraction*tens[max(digits-read, 0)]
}

// parseDate reads "2026-11-22".
func parseDate(s []byte) (int32, bool) {
	t := text{s, true}
	days := t.date()
	return int32(days), t.ok && len(t.left) == 0 && days >= math.MinInt32 && days <= math.MaxInt32 //nolint:gosec // checked
}

// parseClock reads "13:45:07.123".
func parseClock(s []byte, digits int) (int64, bool) {
	t := text{s, true}
	n := t.clock(digits)
	return n, t.ok && len(t.left) == 0
}

// parseTimestamp reads "2026-11-22T13:45:07.123Z", with an offset in place of Z too; without either when not utc.
func parseTimestamp(s []byte, digits int, utc bool) (int64, bool) {
	t := text{s, true}
	days := t.date()
	t.expect('T')
	clock := t.clock(digits)
	if utc && !t.take('Z') {
		sign := int64(-1)
		if !t.take('+') {
			t.expect('-')
			sign = 1
		}
		hours := t.number(2, 2)
		t.expect(':')
		minutes := t.number(2, 2)
		t.ok = t.ok && hours < 24 && minutes < 60
		clock += sign * (hours*3600 + minutes*60) * tens[digits]
	}
	unitsOfDay := secondsOfDay * tens[digits]
	if days < 0 && clock > 0 {
		// So that the first day that fits is not refused for its midnight.
		days, clock = days+1, clock-unitsOfDay
	}
	high, low := bits.Mul64(uint64(max(days, -days)), uint64(unitsOfDay)) //nolint:gosec // both are positive
	if !t.ok || len(t.left) > 0 || high != 0 || low > math.MaxInt64 {
		return 0, false
	}
	n := int64(low)
	if days < 0 {
		n = -n
	}
	sum := n + clock
	if clock > 0 && sum < n || clock < 0 && sum > n {
		return 0, false
	}
	return sum, true
}
