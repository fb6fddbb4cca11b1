package jobs

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// compareValues orders two values: numbers by their value whatever their spelling, text byte by byte. Text beside a
// number counts as a number if it spells one, because CSV knows nothing else. ok is false when the two have no
// order.
func compareValues(a, b value) (order int, ok bool) {
	switch {
	case a.kind == valueText && b.kind == valueText:
		return strings.Compare(a.String(), b.String()), true
	case a.kind == valueNumber || b.kind == valueNumber:
		x, okX := a.numeral()
		y, okY := b.numeral()
		if !okX || !okY {
			return 0, false
		}
		return compareNumbers(x, y), true
	}
	return 0, false
}

// equalValues reports whether two values are the same. Lists and objects are the same when their compact texts are.
func equalValues(a, b value) bool {
	if order, ok := compareValues(a, b); ok {
		return order == 0
	}
	return a.kind == b.kind && bytes.Equal(a.appendJSON(nil), b.appendJSON(nil))
}

// numeral is the spelling of a number, or of text that is one.
func (v value) numeral() (string, bool) {
	switch v.kind {
	case valueNumber:
		return strings.TrimSpace(string(v.raw)), true
	case valueText:
		text := strings.TrimSpace(v.String())
		return text, text != "" && gjson.Valid(text) && gjson.Parse(text).Type == gjson.Number
	default:
		return "", false
	}
}

// compareNumbers orders two JSON numbers exactly: 1, 1.0 and 10e-1 are one, 9007199254740993 and
// 9007199254740992 are two.
func compareNumbers(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return normalNumber(a).compare(normalNumber(b))
}

// decimal is sign × 0.digits × 10^exponent, without zeros at either end of digits; zero has sign 0.
type decimal struct {
	sign     int
	digits   string
	exponent int64
}

// normalNumber reads a valid JSON number without ever expanding its exponent.
func normalNumber(text string) decimal {
	d := decimal{sign: 1}
	text, negative := strings.CutPrefix(text, "-")
	if negative {
		d.sign = -1
	}
	mantissa := text
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		mantissa = text[:at]
		// An exponent over 64 bits is clamped: such numbers are all as good as infinite, or as zero.
		d.exponent, _ = strconv.ParseInt(text[at+1:], 10, 64) // out of range gives the bound
		d.exponent = min(max(d.exponent, -1<<60), 1<<60)
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	d.exponent += int64(len(whole))
	digits := whole + fraction
	significant := strings.TrimLeft(digits, "0")
	d.exponent -= int64(len(digits) - len(significant))
	d.digits = strings.TrimRight(significant, "0")
	if d.digits == "" {
		return decimal{}
	}
	return d
}

func (d decimal) compare(e decimal) int {
	if d.sign != e.sign {
		return cmp.Compare(d.sign, e.sign)
	}
	order := cmp.Compare(d.exponent, e.exponent)
	if order == 0 {
		order = strings.Compare(d.digits, e.digits)
	}
	return d.sign * order
}
